"""Steps over batches by the Hugging Face ``Trainer``: its optimizer, schedule, checkpoints, resumption, processes.

What is ours is what a step computes. The loss of an update is summed over all its supervised tokens, on every process
and in every accumulated batch, and divided by their number once, so that a token weighs the same wherever it stands.
"""

from __future__ import annotations

import json
import math
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import torch
from accelerate.utils import broadcast_object_list  # type: ignore[import-untyped]
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from lorag.errors import InputError, ModelError
from lorag.files import full_disk_errors, write_whole
from lorag.interfaces import LossNote, Progress
from lorag.llm.rendering import Rendered
from lorag.settings import FinetuneSettings
from lorag.training.adapter import checkpoints_of
from lorag.training.methods import Learner
from lorag.training.processes.lost_process import lost_process_errors
from lorag.training.processes.sharding import gathered, part_of, processes
from lorag.training.recipe import Probing, TimeLimit
from lorag.training.trackers import PROJECT

_RECALL = "eval_recall"
"""The name under which what is known after a pass is kept with the checkpoints."""
_OUT_OF_TIME = "eval_out_of_time"
"""The name under which it is kept that there is no time for another pass."""


@dataclass(frozen=True, slots=True)
class Course:
    """The course of a training."""

    losses: tuple[float, ...]
    """Of every update."""
    recalls: tuple[float, ...]
    """What was known after each pass; empty where nothing was probed."""
    seconds_before: float
    """What it took up to the checkpoint from which it was resumed; 0 where nothing interrupted it."""
    epochs: int
    """Passes that were trained."""
    out_of_time: bool
    """Whether there was no time for another pass."""


def run(
    model: Learner,
    steps: Sequence[Sequence[Rendered]],
    held_out: Sequence[Sequence[Rendered]],
    out: Path,
    identity: str,
    settings: FinetuneSettings,
    progress: Progress,
    probing: Probing | None = None,
    tracker: TrainerCallback | None = None,
    start: float | None = None,
    limit: TimeLimit | None = None,
) -> Course:
    """Trains in place and returns the course of it; ``out`` is where what is trained will be saved.

    With ``patience``, training stops when the held-out loss has not fallen for so many epochs, and the adapter of the
    best epoch stays. With ``probing``, it stops when what is known has levelled off, and with a ``limit`` when there is
    no time for another pass; the adapter of the last pass stays. A ``tracker`` shows the course elsewhere as well. The
    training began at ``start`` of ``time.perf_counter``, None for now.

    An interrupted training of the same ``identity`` resumes from its last whole checkpoint; one of another identity
    is thrown away. Under ``torchrun`` every process trains on its share of the steps; on another number of processes an
    update stays what it was. Raises ``ModelError`` when the loss is not a number, ``InputError`` when an update
    cannot be shared so, ``OperationError`` when another process ended, and ``StorageError`` when a checkpoint finds no
    room on the disk.
    """
    start = time.perf_counter() if start is None else start
    checkpoints = checkpoints_of(out)
    mark, size, spent = checkpoints / "identity", checkpoints / "steps_of_an_update", checkpoints / "seconds"
    resumes = mark.is_file() and mark.read_text() == identity
    together = _steps_of_an_update(size, resumes, settings)
    evaluates = probing is not None or limit is not None
    trainer = _trainer(model, steps, held_out, out, settings, progress, evaluates, together // processes())
    earlier = float(spent.read_text()) if resumes and spent.is_file() else 0.0
    trainer.probing, trainer.limit, trainer.clock = probing, limit, _Clock(spent, start - earlier)
    trainer.add_callback(trainer.clock)
    if tracker is not None:
        trainer.add_callback(tracker)
    with trainer.accelerator.main_process_first():
        if not resumes and trainer.accelerator.is_main_process:
            shutil.rmtree(checkpoints, ignore_errors=True)
            write_whole(size, str(together))
            write_whole(mark, identity)
        # A checkpoint that a kill or a full disk left half-written lacks the state file, which is written last.
        for path in checkpoints.glob("checkpoint-*"):
            if not (path / "trainer_state.json").is_file():
                shutil.rmtree(path)
    saved = checkpoints.glob("checkpoint-*")
    newest = max(saved, key=lambda path: int(path.name.split("-")[1]), default=None)
    if newest is not None:
        trainer.end_where_it_ended(newest)
    with full_disk_errors(checkpoints), lost_process_errors():
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    curve = trainer.logged("loss")
    if not curve or not all(math.isfinite(loss) for loss in curve):
        raise ModelError(f"the training loss is not a number after {len(curve)} updates; lower the learning rate")
    few = max(1, min(5, len(curve) // 2))
    first, last = fmean(curve[:few]), fmean(curve[-few:])
    if last > first:
        warnings.warn(
            f"the training loss rose from {first:.2f} to {last:.2f}: training damaged the model; lower the"
            f" learning rate (it was {settings.rate:g})",
            stacklevel=2,
        )
    ended = limit is not None and bool(trainer.logged(_OUT_OF_TIME))
    return Course(curve, trainer.logged(_RECALL), earlier, round(trainer.state.epoch or 0), ended)


def _steps_of_an_update(size: Path, resumes: bool, settings: FinetuneSettings) -> int:
    """How many steps an update takes on all processes; where a training resumes, as many as when it began.

    Raises ``InputError`` where so many processes cannot share them evenly.
    """
    steps = int(size.read_text()) if resumes and size.is_file() else processes() * settings.gradient_accumulation_steps
    if steps % processes():
        raise InputError(
            f"this training began with updates of {steps} steps, which {processes()} processes cannot share evenly;"
            f" resume it on a number of processes that divides {steps}, or delete {str(size.parent)!r}"
        )
    return steps


def mean_loss(loss: Callable[[Sequence[Rendered]], torch.Tensor], data: Sequence[Sequence[Rendered]]) -> float:
    """Mean cross entropy a supervised token over all batches, of which there is one at least; ``loss`` is a batch's."""
    total, tokens = 0.0, 0
    with torch.no_grad():
        for batch in data:
            count = sum(sum(row.supervised) for row in batch)
            total += float(loss(batch)) * count
            tokens += count
    return total / tokens


class _RowsTrainer(Trainer):
    """A dataset item is a whole batch; the sampler shuffles batches, whose rows stay together."""

    held_out: Sequence[Sequence[Rendered]] = ()
    probing: Probing | None = None
    limit: TimeLimit | None = None
    clock: _Clock

    def end_where_it_ended(self, checkpoint: Path) -> None:
        """Leaves no further pass to train where the training had ended at ``checkpoint``, and was then killed."""
        state = json.loads((checkpoint / "trainer_state.json").read_text())
        recalls = [entry[_RECALL] for entry in state["log_history"] if _RECALL in entry]
        levelled_off = self.probing is not None and self.probing.levels_off(recalls)
        out_of_time = self.limit is not None and any(_OUT_OF_TIME in entry for entry in state["log_history"])
        if levelled_off or out_of_time:
            self.args.num_train_epochs = round(state["epoch"])

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
        """The held-out loss and what is known, as far as they are wanted, once an epoch; decides whether it ends."""
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
        # The first update of all has a rate of 0; one process decides for all, because their clocks differ.
        if self.limit is not None and self.state.global_step > 1 and not self.control.should_training_stop:
            (self.control.should_training_stop,) = broadcast_object_list([self.clock.ends(self.limit)])
            if self.control.should_training_stop:
                self.log({_OUT_OF_TIME: 1.0})
        return found


class _ShardedTrainer(_RowsTrainer):
    """One whose model is in parts already: it is not wrapped again, and what is saved is whole."""

    def _wrap_model(self, model: Any, *_: Any, **__: Any) -> Any:
        self.accelerator.prepare_model = lambda model, **_: model
        return model

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        self._save(output_dir, state_dict=cast("Learner", self.model).state_dict())

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        optimizer, schedule = self._moving()
        whole = gathered(optimizer.state_dict())
        if self.args.should_save:
            torch.save(whole, Path(output_dir) / "optimizer.pt")
            torch.save(schedule.state_dict(), Path(output_dir) / "scheduler.pt")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        optimizer, schedule = self._moving()
        read = partial(torch.load, map_location="cpu", weights_only=True)
        saved = read(Path(checkpoint) / "optimizer.pt")
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        for place, state in saved["state"].items():
            saved["state"][place] = {name: part_of(value, weights[place]) for name, value in state.items()}
        optimizer.load_state_dict(saved)
        schedule.load_state_dict(read(Path(checkpoint) / "scheduler.pt"))

    def _moving(self) -> tuple[torch.optim.Optimizer, Any]:
        """The optimizer and its schedule, which are there once training has begun."""
        assert self.optimizer is not None
        return self.optimizer, self.lr_scheduler


class _Steps(TrainerCallback):
    """Says how far the training is; ends it where going on could only cost time."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "loss" in logs:
            self._progress("finetuning", state.global_step, state.max_steps, LossNote(logs["loss"]))
            control.should_training_stop |= not math.isfinite(logs["loss"])


class _Clock(TrainerCallback):
    """Keeps what the training took up to its last checkpoint, so that a resumed one counts it too; times passes."""

    def __init__(self, path: Path, start: float) -> None:
        self._path, self._start = path, start
        self._passes, self._pass_began = 0, 0.0

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self._start

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._passes, self._pass_began = self._passes + 1, self._seconds

    def ends(self, limit: TimeLimit) -> bool:
        """Whether there is no time for another pass after the one that ends now."""
        now = self._seconds
        return limit.ends(now, now - self._pass_began, was_first=self._passes == 1)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            write_whole(self._path, str(self._seconds))


def _trainer(
    model: Learner,
    steps: Sequence[Sequence[Rendered]],
    held_out: Sequence[Sequence[Rendered]],
    out: Path,
    settings: FinetuneSettings,
    progress: Progress,
    evaluates: bool,
    accumulated: int,
) -> _RowsTrainer:
    updates = math.ceil(len(steps) / processes() / accumulated)
    on_cpu = not torch.cuda.is_available() if settings.shard else model.device.type == "cpu"
    stops = settings.patience > 0 and len(held_out) > 0
    arguments = TrainingArguments(
        output_dir=str(checkpoints_of(out)),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=accumulated,
        learning_rate=settings.rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(10, updates, updates * settings.epochs // 2),
        weight_decay=0.0,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="epoch",
        save_total_limit=2,
        eval_strategy="epoch" if stops or evaluates else "no",
        load_best_model_at_end=stops,
        metric_for_best_model="eval_loss" if stops else None,
        greater_is_better=False if stops else None,
        seed=settings.seed,
        use_cpu=on_cpu,
        ddp_backend="gloo" if processes() > 1 and on_cpu else None,
        report_to="none",
        run_name=out.name,
        project=PROJECT,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # else one process would cut every batch into pieces for all GPUs; torchrun takes them all
    trainer = (_ShardedTrainer if settings.shard else _RowsTrainer)(
        model=model,
        args=arguments,
        train_dataset=[_item(rows) for rows in steps],
        eval_dataset=[],
        data_collator=lambda items: items[0],
        callbacks=[_Steps(progress), *([EarlyStoppingCallback(settings.patience)] if stops else [])],
    )
    trainer.held_out = held_out
    trainer.model_accepts_loss_kwargs = True  # else the library would not count the supervised tokens
    trainer.remove_callback(PrinterCallback)
    return trainer


def _item(rows: Sequence[Rendered]) -> dict[str, Any]:
    """A batch as the ``Trainer`` counts it: ``labels`` are its supervised tokens, shifted already."""
    labels = torch.tensor([token for row in rows for token, said in zip(row.ids, row.supervised, strict=True) if said])
    return {"rows": rows, "labels": labels, "shift_labels": labels}
