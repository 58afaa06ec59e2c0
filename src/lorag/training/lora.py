"""Trains a LoRA adapter: stock PEFT layers, the Hugging Face ``Trainer``, our batches and our loss.

Defaults are chosen to learn facts: every linear layer (attention alone learns clearly less), rank 16, no dropout,
a learning rate about ten times that of full finetuning. A killed training resumes from its last epoch. Not here:
other methods than LoRA, several machines, a faster step; the frozen base is neither copied nor changed.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorag.errors import InputError, ModelError
from lorag.files import fingerprint, folder_whole, write_whole
from lorag.interfaces import Progress, no_progress
from lorag.settings import FinetuneSettings
from lorag.training.adapter import MANIFEST, Adapter
from lorag.training.batching import IGNORED, Batch, Rows, batches, rows
from lorag.types import Conversation

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer


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
    if not conversations:
        raise InputError("there is no conversation to train on")
    learned, held_out = split(conversations, settings)
    data, kept_back = (rows(tokenizer, part, settings.max_tokens) for part in (learned, held_out))
    identity = fingerprint([base, [row.ids for row in data.kept], asdict(settings)])
    adapted = _with_lora(model, settings)
    try:
        start = time.perf_counter()
        held_out_batches = batches(kept_back.kept, settings.batch_tokens)
        before = mean_loss(adapted, held_out_batches)
        curve = _run(adapted, data, out, identity, settings, progress)
        adapter = Adapter(
            folder=str(out),
            base=base,
            template=hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()[:16],
            data=fingerprint([[[m.role, m.content] for m in c.messages] for c in conversations]),
            conversations=len(data.kept),
            too_long=data.too_long + kept_back.too_long,
            held_out=len(kept_back.kept),
            tokens=data.tokens,
            supervised_tokens=data.supervised_tokens,
            steps=len(curve),
            seconds=time.perf_counter() - start,
            loss_first=curve[0],
            loss_last=sum(curve[-5:]) / len(curve[-5:]),
            held_out_loss_before=before,
            held_out_loss_after=mean_loss(adapted, held_out_batches),
            loss_curve=tuple(curve),
            settings=asdict(settings),
            versions={name: version(name) for name in ("torch", "transformers", "peft")},
        )
        _save(adapted, adapter, out)
    finally:
        adapted.unload()
    shutil.rmtree(_checkpoints(out), ignore_errors=True)
    return adapter


def _with_lora(model: PreTrainedModel, settings: FinetuneSettings) -> PeftModel:
    """The model with fresh LoRA layers, initialised from the settings' seed."""
    import torch
    from peft import LoraConfig, PeftModel

    torch.manual_seed(settings.seed)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return PeftModel(model, config)


def split(
    conversations: Sequence[Conversation], settings: FinetuneSettings
) -> tuple[list[Conversation], list[Conversation]]:
    """Conversations to learn and conversations held out, apart by source document so that neither tells of the other.

    A document goes by a hash of its name and the seed; a conversation without evidence by its question.
    """

    def held(conversation: Conversation) -> bool:
        key = " ".join(conversation.evidence) or conversation.question
        digest = hashlib.sha256(f"{settings.seed}:{key}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < settings.held_out_share

    learned = [c for c in conversations if not held(c)]
    if not learned:
        return list(conversations), []
    return learned, [c for c in conversations if held(c)]


def mean_loss(model: PeftModel, data: Sequence[Batch]) -> float | None:
    """Mean cross entropy a supervised token over all batches, or None without any."""
    import torch

    if not data:
        return None
    total, tokens = 0.0, 0
    with torch.inference_mode():
        for batch in data:
            count = int((batch.labels != IGNORED).sum())
            total += float(batch_loss(model, batch)) * count
            tokens += count
    return total / tokens


def batch_loss(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Mean cross entropy over the batch's supervised tokens, from the logits of the last positions only.

    The shared prefix is run once and its keys and values stand before every row; gradients flow through it.
    """
    import torch
    from transformers import DynamicCache

    device = next(model.parameters()).device
    ids, mask, prefix = batch.ids.to(device), batch.mask.to(device), batch.prefix.to(device)
    rows, shared = len(ids), len(prefix)
    positions = shared + (mask.cumsum(-1) - 1).clamp(min=0)
    cache = None
    if shared:
        cache = DynamicCache()
        model(input_ids=prefix[None], past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(rows)
        mask = torch.cat([mask.new_ones(rows, shared), mask], dim=1)
    keep = batch.answer_tokens + 1
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=cache is not None,
        logits_to_keep=keep,
    )
    logits, labels = out.logits[:, :-1], batch.labels[:, 1:][:, 1 - keep :].to(device)
    chosen = labels != IGNORED
    return torch.nn.functional.cross_entropy(logits[chosen].float(), labels[chosen])


def _checkpoints(out: Path) -> Path:
    return out.with_name(f".{out.name}.checkpoints")


def _run(
    model: PeftModel, data: Rows, out: Path, identity: str, settings: FinetuneSettings, progress: Progress
) -> list[float]:
    """Trains in place and returns the loss of every step; continues an interrupted training of the same identity."""
    folder = _checkpoints(out)
    mark = folder / "identity"
    if not (mark.is_file() and mark.read_text() == identity):
        shutil.rmtree(folder, ignore_errors=True)
        write_whole(mark, identity)
    trainer = _trainer(model, batches(data.kept, settings.batch_tokens), folder, settings, progress)
    # A checkpoint that a kill left half-written lacks the state file, which is written last.
    saved = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    newest = max(saved, key=lambda path: int(path.name.split("-")[1]), default=None)
    trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    curve = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    if not curve or any(loss != loss for loss in curve):
        raise ModelError("the training loss is not a number; lower the learning rate")
    return curve


def _trainer(
    model: PeftModel, data: list[Batch], folder: Path, settings: FinetuneSettings, progress: Progress
) -> Trainer:
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    class Steps(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress("finetuning", state.global_step, state.max_steps)

    class BatchTrainer(Trainer):
        """A dataset item is a whole batch; the sampler shuffles batches, whose rows stay together."""

        def compute_loss(
            self, model: torch.nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            return batch_loss(model, inputs["batch"])

    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(10, len(data)),
        weight_decay=0.0,
        logging_steps=1,
        save_strategy="epoch",
        save_total_limit=2,
        seed=settings.seed,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    trainer = BatchTrainer(
        model=model,
        args=arguments,
        train_dataset=[{"batch": batch} for batch in data],
        data_collator=lambda items: items[0],
        callbacks=[Steps()],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _save(model: PeftModel, adapter: Adapter, out: Path) -> None:
    """Writes the adapter whole, its manifest last. Raises ``ModelError`` when nothing was learned."""
    weights = [p for name, p in model.named_parameters() if "lora_B" in name]
    if not any(bool(p.any()) for p in weights):
        raise ModelError("training left the adapter at zero: it would change nothing; raise epochs or learning_rate")
    with folder_whole(out) as temporary:
        # Named only now: PEFT would ask a model hub about that name at every checkpoint.
        model.peft_config["default"].base_model_name_or_path = adapter.base
        # LoRA leaves the vocabulary as it is, so there is nothing to ask about either.
        model.save_pretrained(str(temporary), save_embedding_layers=False)
        (temporary / MANIFEST).write_text(adapter.to_json())
