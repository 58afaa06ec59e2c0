"""Trains a LoRA adapter: PEFT's layers, the Hugging Face ``Trainer``, our batches and our loss.

Defaults are chosen to learn facts: every linear layer (attention alone learns clearly less), rank 16, no dropout,
a learning rate about ten times that of full finetuning. A killed training resumes from its last epoch. Not here:
other methods than LoRA; the frozen base is neither copied nor changed.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from lorag.errors import InputError, ModelError
from lorag.files import fingerprint, folder_whole
from lorag.interfaces import Progress, no_progress
from lorag.settings import FinetuneSettings
from lorag.training.adapter import MANIFEST, Adapter
from lorag.training.batching import batches, rows
from lorag.training.forgetting import forgetting, measure
from lorag.training.holdout import split
from lorag.types import Conversation

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from lorag.training.trainer import Learner


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    out: Path,
    *,
    base: str,
    settings: FinetuneSettings,
    progress: Progress = no_progress,
) -> Adapter:
    """The adapter trained on ``conversations``, saved in ``out``; ``model`` is as before when this returns.

    ``base`` is the name kept in the manifest. Raises ``InputError`` without conversations and ``ModelError`` when
    the loss is not a number or the adapter learned nothing.
    """
    from lorag.training.loss import choose_loss, fused_loss
    from lorag.training.trainer import mean_loss, run

    if not conversations:
        raise InputError("there is no conversation to train on")
    parts = split(conversations, settings)
    data, kept_back = (rows(tokenizer, part, settings.max_tokens) for part in (parts.learned, parts.held_out))
    identity = fingerprint([base, [row.ids for row in data.kept], asdict(settings)])
    adapted = _with_lora(model, settings)
    try:
        start = time.perf_counter()
        steps, held_out = (batches(part.kept, settings.batch_tokens) for part in (data, kept_back))
        adapted.loss = choose_loss(adapted, steps[0][:2])
        before = mean_loss(adapted, held_out) if held_out else None
        general = measure(adapted, tokenizer) if settings.measure_forgetting else None
        curve = run(adapted, steps, held_out, _checkpoints(out), identity, settings, progress)
        adapter = Adapter(
            folder=str(out),
            base=base,
            template=hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()[:16],
            data=fingerprint([[[m.role, m.content] for m in c.messages] for c in conversations]),
            conversations=len(data.kept),
            too_long=data.too_long + kept_back.too_long,
            held_out=len(kept_back.kept),
            held_out_kind=parts.kind,
            tokens=data.tokens,
            supervised_tokens=data.supervised_tokens,
            steps=len(curve),
            step="fused" if adapted.loss is fused_loss else "library",
            seconds=time.perf_counter() - start,
            loss_first=curve[0],
            loss_last=sum(curve[-5:]) / len(curve[-5:]),
            held_out_loss_before=before,
            held_out_loss_after=mean_loss(adapted, held_out) if held_out else None,
            forgetting=forgetting(general, measure(adapted, tokenizer)) if general else None,
            loss_curve=tuple(curve),
            settings=asdict(settings),
            versions={name: version(name) for name in ("torch", "transformers", "peft")},
        )
        _save(adapted, adapter, out)
    finally:
        adapted.unload()
    return adapter


def _with_lora(model: PreTrainedModel, settings: FinetuneSettings) -> Learner:
    """The model with fresh LoRA layers, initialised from the settings' seed."""
    import torch
    from peft import LoraConfig

    from lorag.training.trainer import Learner

    torch.manual_seed(settings.seed)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return Learner(model, config)


def _save(model: Learner, adapter: Adapter, out: Path) -> None:
    """Writes the adapter whole, its manifest last, in the first of several processes while the others wait.

    Raises ``ModelError`` when nothing was learned.
    """
    from accelerate import PartialState  # type: ignore[import-untyped]

    weights = [p for name, p in model.named_parameters() if "lora_B" in name]
    if not any(bool(p.any()) for p in weights):
        raise ModelError("training left the adapter at zero: it would change nothing; raise epochs or learning_rate")
    with PartialState().main_process_first():
        if not PartialState().is_main_process:
            return
        with folder_whole(out) as temporary:
            # Named only now: PEFT would ask a model hub about that name at every checkpoint.
            model.peft_config["default"].base_model_name_or_path = adapter.base
            # LoRA leaves the vocabulary as it is, so there is nothing to ask about either.
            model.save_pretrained(str(temporary), save_embedding_layers=False)
            (temporary / MANIFEST).write_text(adapter.to_json())
        shutil.rmtree(_checkpoints(out), ignore_errors=True)


def _checkpoints(out: Path) -> Path:
    return out.with_name(f".{out.name}.checkpoints")
