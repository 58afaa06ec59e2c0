"""Steps over batches by the Hugging Face ``Trainer``: its optimizer, schedule, checkpoints, resumption, processes.

What is ours is what a step computes. The loss of an update is summed over all its supervised tokens, on every process
and in every accumulated batch, and divided by their number once, so that a token weighs the same wherever it stands.
"""

from __future__ import annotations

import math
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import torch
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from lorag.errors import ModelError
from lorag.files import full_disk_errors, write_whole
from lorag.interfaces import Progress
from lorag.llm.rendering import Rendered
from lorag.settings import FinetuneSettings
from lorag.training.methods import Learner
from lorag.training.recipe import Probing
from lorag.training.trackers import PROJECT

_RECALL = "eval_recall"
"""The name under which what is known after a pass is kept with the checkpoints."""


@dataclass(frozen=True, slots=True)
class Course:
    """The course of a training."""

    losses: tuple[float, ...]
    """Of every update."""
    recalls: tuple[float, ...]
    """What was known after each pass; empty where nothing was probed."""


def run(
    model: Learner,
    steps: Sequence[Sequence[Rendered]],
    held_out: Sequence[Sequence[Rendered]],
    checkpoints: Path,
    identity: str,
    settings: FinetuneSettings,
    progress: Progress,
    probing: Probing | None = None,
    tracker: TrainerCallback | None = None,
) -> Course:
    """Trains in place and returns the course of it.

    With ``patience``, training stops when the held-out loss has not fallen for so many epochs, and the adapter of the
    best epoch stays. With ``probing``, it stops when what is known has levelled off, and the adapter of the last pass
    stays. A ``tracker`` shows the course elsewhere as well.

    An interrupted training of the same ``identity`` resumes from its last whole checkpoint; one of another identity
    is thrown away. Under ``torchrun`` every process trains on its share of the steps. Raises ``ModelError`` when the
    loss is not a number, and ``StorageError`` when a checkpoint finds no room on the disk.
    """
    trainer = _trainer(model, steps, held_out, checkpoints, settings, progress, probing)
    if tracker is not None:
        trainer.add_callback(tracker)
    mark = checkpoints / "identity"
    with trainer.accelerator.main_process_first():
        if not (mark.is_file() and mark.read_text() == identity):
            shutil.rmtree(checkpoints, ignore_errors=True)
            write_whole(mark, identity)
        # A checkpoint that a kill or a full disk left half-written lacks the state file, which is written last.
        for path in checkpoints.glob("checkpoint-*"):
            if not (path / "trainer_state.json").is_file():
                shutil.rmtree(path)
    saved = checkpoints.glob("checkpoint-*")
    newest = max(saved, key=lambda path: int(path.name.split("-")[1]), default=None)
    with full_disk_errors(checkpoints):
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    curve = trainer.logged("loss")
    if not curve or not all(math.isfinite(loss) for loss in curve):
        raise ModelError(f"the training loss is not a number after {len(curve)} updates; lower the learning rate")
    few = max(1, min(5, len(curve) // 2))
    first, last = fmean(curve[:few]), fmean(curve[-few:])
    if last > first:
        warnings.warn(
            f"the training loss rose from {first:.2f} to {last:.2f}: the model was not taught but damaged; lower the"
            f" learning rate (it was {settings.rate:g})",
            stacklevel=2,
        )
    return Course(curve, trainer.logged(_RECALL))


def mean_loss(loss: Callable[[Sequence[Rendered]], torch.Tensor], data: Sequence[Sequence[Rendered]]) -> float:
    """Mean cross entropy a supervised token over all batches, of which there is one at least; ``loss`` is a batch's."""
    total, tokens = 0.0, 0
    with torch.inference_mode():
        for batch in data:
            count = sum(sum(row.supervised) for row in batch)
            total += float(loss(batch)) * count
            tokens += count
    return total / tokens


class _RowsTrainer(Trainer):
    """A dataset item is a whole batch; the sampler shuffles batches, whose rows stay together."""

    held_out: Sequence[Sequence[Rendered]] = ()
    probing: Probing | None = None

    def logged(self, name: str) -> tuple[float, ...]:
        """All values of that name in order, those before an interruption included."""
        return tuple(float(entry[name]) for entry in self.state.log_history if name in entry)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        # The gradients of all processes are averaged, and every process counts the tokens of all.
        share = self.accelerator.num_processes * len(inputs["labels"]) / num_items_in_batch
        loss: torch.Tensor = model(rows=inputs["rows"]) * share
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The held-out loss and what is known, as far as they are wanted, once an epoch."""
        model, found = cast("Learner", self.model), dict[str, float]()
        if self.args.load_best_model_at_end:
            found["eval_loss"] = mean_loss(model, self.held_out)
        if self.probing is not None:
            model.eval()
            found[_RECALL] = self.probing.recall(model)
            model.train()
        self.log(found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        if self.probing is not None:
            self.control.should_training_stop |= self.probing.levels_off(self.logged(_RECALL))
        return found


class _Steps(TrainerCallback):
    """Says how far the training is; ends it where going on could only cost time."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" in logs:
            self._progress("finetuning", state.global_step, state.max_steps, f"loss {logs['loss']:.2f}")
            control.should_training_stop |= not math.isfinite(logs["loss"])


def _trainer(
    model: Learner,
    steps: Sequence[Sequence[Rendered]],
    held_out: Sequence[Sequence[Rendered]],
    checkpoints: Path,
    settings: FinetuneSettings,
    progress: Progress,
    probing: Probing | None,
) -> _RowsTrainer:
    processes = int(os.environ.get("WORLD_SIZE", 1))
    updates = math.ceil(len(steps) / processes / settings.gradient_accumulation_steps)
    stops = settings.patience > 0 and len(held_out) > 0
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        learning_rate=settings.rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(10, updates, updates * settings.epochs // 2),
        weight_decay=0.0,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="epoch",
        save_total_limit=2,
        eval_strategy="epoch" if stops or probing is not None else "no",
        load_best_model_at_end=stops,
        metric_for_best_model="eval_loss" if stops else None,
        greater_is_better=False if stops else None,
        seed=settings.seed,
        use_cpu=model.device.type == "cpu",
        ddp_backend="gloo" if processes > 1 and model.device.type == "cpu" else None,
        report_to="none",
        run_name=checkpoints.name.removeprefix(".").removesuffix(".checkpoints"),
        project=PROJECT,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # else one process would cut every batch into pieces for all GPUs; torchrun takes them all
    trainer = _RowsTrainer(
        model=model,
        args=arguments,
        train_dataset=[_item(rows) for rows in steps],
        eval_dataset=[],
        data_collator=lambda items: items[0],
        callbacks=[_Steps(progress), *([EarlyStoppingCallback(settings.patience)] if stops else [])],
    )
    trainer.held_out, trainer.probing = held_out, probing
    trainer.model_accepts_loss_kwargs = True  # else the library would not count the supervised tokens
    trainer.remove_callback(PrinterCallback)
    return trainer


def _item(rows: Sequence[Rendered]) -> dict[str, Any]:
    """A batch as the ``Trainer`` counts it: ``labels`` are its supervised tokens, shifted already."""
    labels = torch.tensor([token for row in rows for token, said in zip(row.ids, row.supervised, strict=True) if said])
    return {"rows": rows, "labels": labels, "shift_labels": labels}
