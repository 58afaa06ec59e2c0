"""Training arguments of old code that transformers has taken out since: renamed, without effect, or kept."""

from __future__ import annotations

RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "no_cuda": "use_cpu",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
}
"""Names that were taken out, and what is called the same today."""
IDLE = frozenset(
    {
        "fp16_backend",
        "group_by_length",
        "half_precision_backend",
        "include_inputs_for_metrics",
        "jit_mode_eval",
        "logging_dir",
        "past_index",
        "push_to_hub_token",
        "ray_scope",
        "save_safetensors",
        "torchdynamo",
        "tpu_num_cores",
        "use_ipex",
        "use_legacy_prediction_loop",
        "use_mps_device",
        "warmup_ratio",
    }
)
"""Names that were taken out and have no effect here either."""
KEPT = "overwrite_output_dir"
"""The one that was taken out and is honoured: what was trained on other conversations may make room."""
