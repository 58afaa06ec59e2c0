"""One LoRA finetune with TRL's SFTTrainer, in TRL's environment: reads a job, writes the measurement as JSON."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from memory import peak_bytes
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import SFTConfig, SFTTrainer


def main(job: dict[str, Any]) -> None:
    """Trains on rows that are token ids already, so that both sides learn from the same tokens."""
    set_seed(job["seed"])
    rows = job["rows"]
    tuned = job["variant"] == "tuned"
    if tuned:
        rows = sorted(rows, key=lambda row: len(row["input_ids"]))
    dtype = torch.bfloat16 if tuned and job["bf16"] else torch.float32
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=dtype)
    config = SFTConfig(
        output_dir=job["out"] + ".trainer",
        use_cpu=not torch.cuda.is_available(),
        bf16=not tuned and job["bf16"],
        gradient_checkpointing=not tuned,
        train_sampling_strategy="sequential" if tuned else "random",
        per_device_train_batch_size=job["rows_per_step"],
        num_train_epochs=job["epochs"],
        learning_rate=job["learning_rate"],
        lr_scheduler_type="cosine",
        warmup_steps=job["warmup_steps"],
        seed=job["seed"],
        save_strategy="no",
        completion_only_loss=True,
        report_to="none",
        disable_tqdm=True,
        logging_steps=1000,
    )
    lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(job["model"]),
        peft_config=lora,
    )
    learned = sum(label != -100 for row in trainer.train_dataset for label in row["labels"])
    if learned != sum(sum(row["completion_mask"]) for row in rows):
        raise SystemExit(f"TRL learns {learned} tokens, not those of the job")
    wall, cpu = time.perf_counter(), time.process_time()
    trainer.train()
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    trainer.save_model(job["out"])
    peak = peak_bytes()
    found = {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak, "steps": trainer.state.global_step}
    Path(job["found"]).write_text(json.dumps(found))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
