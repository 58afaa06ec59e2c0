"""A finetuning in the old terms, in ours."""

from __future__ import annotations

import math
import warnings
from dataclasses import fields
from typing import Any

from lorag.errors import InputError
from lorag.finetune_methods import Method
from lorag.neural_chat.config import FinetuningArguments, TextGenerationFinetuningConfig
from lorag.neural_chat.knobs import require_known, turned
from lorag.settings import FinetuneSettings

_METHODS: dict[str, Method] = {"lora": "lora", "prompt": "prompt", "prefix": "prefix"}
TASKS = ("completion", "chat", "SlimOrca", "summarization", "code-generation")
READ = frozenset(
    {
        "output_dir",
        "num_train_epochs",
        "learning_rate",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "seed",
        "do_train",
        "do_eval",
        "use_cpu",
        "bf16",
        "fp16",
    }
)
"""Training arguments that are read; every other one that differs from its default is named in a warning."""


def finetune_settings(config: TextGenerationFinetuningConfig) -> FinetuneSettings:
    """What the core trains by. Raises ``InputError`` for a method or task it does not have, and where not to train."""
    data, training, tuning = config.data_args, config.training_args, config.finetune_args
    require_known("task", tuning.task, TASKS)
    if not training.do_train:
        raise InputError("TrainingArguments.do_train is False, so there is nothing to do; set it to True")
    held_out = data.validation_split_percentage / 100 or FinetuneSettings().held_out_share
    return FinetuneSettings(
        method=_method(tuning),
        rank=tuning.lora_rank,
        alpha=tuning.lora_alpha,
        virtual_tokens=tuning.num_virtual_tokens,
        learning_rate=training.learning_rate,
        epochs=_epochs(training.num_train_epochs),
        batch_rows=training.per_device_train_batch_size,
        batch_tokens=training.per_device_train_batch_size * data.max_seq_length,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        max_tokens=data.max_seq_length,
        held_out_share=held_out if training.do_eval else 0.0,
        measure_forgetting=tuning.do_lm_eval,
        seed=training.seed,
    )


def idle_knobs(config: TextGenerationFinetuningConfig) -> list[str]:
    """The names of everything that asks for something else than what happens."""
    arguments = config.training_args
    plain = type(arguments)(output_dir=arguments.output_dir, use_cpu=arguments.use_cpu)  # which turns others with it
    return [
        *turned(config.model_args),
        *turned(config.data_args),
        *turned(config.finetune_args),
        *(f"TrainingArguments.{name}" for name in _differing(arguments, plain) if name not in READ),
    ]


def _differing(arguments: Any, plain: Any) -> list[str]:
    names = [each.name for each in fields(arguments)]
    return [name for name in names if getattr(arguments, name) != getattr(plain, name)]


def _method(tuning: FinetuningArguments) -> Method:
    if tuning.full_finetune:
        return "full"
    require_known("peft method", tuning.peft, _METHODS)
    if tuning.qlora and tuning.peft != "lora":
        raise InputError(f"qlora trains LoRA on 4 bits, but peft is {tuning.peft!r}; leave one of them out")
    return "qlora" if tuning.qlora else _METHODS[tuning.peft]


def _epochs(asked: float) -> int:
    whole = math.ceil(asked)
    if whole != asked:
        warnings.warn(f"num_train_epochs {asked!r} is rounded up to {whole} whole epochs", stacklevel=4)
    return whole
