"""What the notebook's calls are configured with, under the old names: plain values, checked where they are used.

A field's default is what happens here, which is not always the old default. ``Idle`` marks a field that is accepted
and changes nothing: where it asks for something else, the call that takes the configuration names it in a warning.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lorag.errors import InputError
from lorag.neural_chat.knobs import Idle
from lorag.neural_chat.plugins import Plugins, plugins

if TYPE_CHECKING:
    from lorag.neural_chat.training_arguments import TrainingArguments as TrainingArguments


def __getattr__(name: str) -> Any:
    """``TrainingArguments``, which brings transformers with it, when it is first asked for."""
    if name == "TrainingArguments":
        from lorag.neural_chat.training_arguments import TrainingArguments

        return TrainingArguments
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(slots=True)
class ModelArguments:
    """Which model is trained."""

    model_name_or_path: str | None = None
    config_name: Idle[str | None] = None
    tokenizer_name: Idle[str | None] = None
    cache_dir: Idle[str | None] = None
    use_fast_tokenizer: Idle[bool] = True
    model_revision: Idle[str] = "main"
    token: Idle[str | None] = None
    use_auth_token: Idle[bool] = False
    trust_remote_code: Idle[bool] = False


@dataclass(slots=True)
class DataArguments:
    """What it is trained on: a folder, a file, or a data set of the hub."""

    dataset_name: str | None = None
    dataset_config_name: Idle[str | None] = None
    train_file: str | None = None
    validation_file: Idle[str | None] = None
    train_dir: str | None = None
    validation_dir: Idle[str | None] = None
    max_seq_length: int = 512
    validation_split_percentage: int = 0
    max_source_length: Idle[int | None] = None
    max_target_length: Idle[int | None] = None
    num_beams: Idle[int | None] = None
    preprocessing_num_workers: Idle[int | None] = None
    overwrite_cache: Idle[bool] = False
    pad_to_max_length: Idle[bool] = False
    max_train_samples: Idle[int | None] = None
    max_eval_samples: Idle[int | None] = None
    keep_in_memory: Idle[bool] = True
    dataset_seed: Idle[int | None] = None
    dataset_cache_directory: Idle[str | None] = None
    dataset_concatenation: Idle[bool] = False
    special_tokens: Idle[list[str] | None] = None
    eval_dataset_size: Idle[int | None] = None
    streaming: Idle[bool] = False
    image_column: Idle[str | None] = None
    caption_column: Idle[str | None] = None

    @property
    def source(self) -> str:
        """The one place the conversations are read from. Raises ``InputError`` when none, or several, are named."""
        named = [place for place in (self.dataset_name, self.train_file, self.train_dir) if place]
        if len(named) != 1:
            raise InputError(f"expected one of dataset_name, train_file and train_dir, found {named or 'none'}")
        return named[0]


@dataclass(slots=True)
class FinetuningArguments:
    """What is trained of it. The shape of a row says what it is, so ``task`` is only checked."""

    peft: str = "lora"
    lora_rank: int = 8
    lora_alpha: int = 16
    lora_dropout: Idle[float] = 0.0
    lora_target_modules: Idle[list[str] | None] = None
    lora_all_linear: Idle[bool] = True
    num_virtual_tokens: int = 10
    ptun_hidden_size: Idle[int | None] = None
    adapter_layers: Idle[int | None] = None
    adapter_len: Idle[int | None] = None
    qlora: bool = False
    bits: Idle[int] = 4
    quant_type: Idle[str] = "nf4"
    double_quant: Idle[bool] = True
    full_finetune: bool = False
    train_on_inputs: Idle[bool] = False
    task: str = "completion"
    do_lm_eval: bool = False
    lm_eval_tasks: Idle[list[str] | None] = None
    eval_ppl: Idle[bool] = True
    device: str = "auto"


@dataclass(slots=True)
class TextGenerationFinetuningConfig:
    """One finetuning; ``training_args`` are ours, or those of transformers."""

    model_args: ModelArguments
    data_args: DataArguments
    training_args: Any
    finetune_args: FinetuningArguments


@dataclass(slots=True)
class GenerationConfig:
    """How an answer is drawn."""

    device: str = "auto"
    temperature: float = 0.1
    top_k: int = 40
    top_p: float = 0.75
    repetition_penalty: float = 1.1
    num_beams: int = 1
    max_new_tokens: int = 256
    do_sample: bool = True
    num_return_sequences: Idle[int] = 1
    bad_words_ids: Idle[list[int] | None] = None
    force_words_ids: Idle[list[int] | None] = None
    use_cache: Idle[bool] = True
    return_stats: Idle[bool] = False
    format_version: Idle[str | None] = None
    task: Idle[str] = ""
    sql_metadata: Idle[str] = ""
    audio_output_path: Idle[str | None] = None
    use_hpu_graphs: Idle[bool] = False
    cpu_jit: Idle[bool] = False
    num_gpus: Idle[int] = 0
    max_gpu_memory: Idle[int | None] = None
    use_fp16: Idle[bool] = False
    ipex_int8: Idle[bool] = False
    assistant_model: Idle[str | None] = None


@dataclass(slots=True)
class LoadingModelConfig:
    """What is loaded beside the base."""

    peft_path: str | None = None
    gguf_model_path: str | None = None
    use_cache: Idle[bool] = True
    cpu_jit: Idle[bool] = False
    ipex_int8: Idle[bool] = False
    use_hpu_graphs: Idle[bool] = False
    use_deepspeed: Idle[bool] = False
    use_tpp: Idle[bool] = False
    use_neural_speed: Idle[bool] = False
    use_vllm: Idle[bool] = False
    vllm_engine_params: Idle[Any] = None
    world_size: Idle[int] = 1
    assistant_model: Idle[str | None] = None
    hf_access_token: Idle[str | None] = None


@dataclass(slots=True)
class MixedPrecisionConfig:
    """The dtype the weights are held in."""

    dtype: str = "bfloat16"


@dataclass(slots=True)
class WeightOnlyQuantConfig:
    """Weights of few bits: 4 are held as NF4, whatever algorithm is named."""

    bits: int = 4
    weight_dtype: Idle[str | None] = None
    compute_dtype: Idle[str | None] = None
    algorithm: Idle[str | None] = None
    group_size: Idle[int | None] = None
    scheme: Idle[str | None] = None
    sym_full_range: Idle[bool | None] = None


RtnConfig = GPTQConfig = AwqConfig = TeqConfig = AutoRoundConfig = WeightOnlyQuantConfig


@dataclass(slots=True)
class PipelineConfig:
    """A chatbot: its model, what is loaded beside it, and a copy of the plugins as they are now."""

    model_name_or_path: str | None = None
    tokenizer_name_or_path: Idle[str | None] = None
    hf_endpoint_url: str | None = None
    hf_access_token: Idle[str | None] = None
    device: str = "auto"
    task: Idle[str] = ""
    plugins: Plugins = field(default_factory=lambda: plugins)
    loading_config: LoadingModelConfig | None = None
    optimization_config: Any = None
    assistant_model: Idle[str | None] = None
    serving_config: Idle[Any] = None
    openai_config: Any = None
    switches: Plugins = field(init=False)
    """The plugins themselves, whose ``enable`` is read at every call."""

    def __post_init__(self) -> None:
        """Copies the plugins' arguments."""
        self.switches = self.plugins
        self.plugins = copy.deepcopy(self.plugins)
