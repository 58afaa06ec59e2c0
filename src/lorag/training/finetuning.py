"""Trains a model: a method of PEFT's or all weights, the Hugging Face ``Trainer``, our batches and our loss.

Defaults are chosen to learn facts: LoRA on every linear layer (attention alone learns clearly less), rank 16, no
dropout, a learning rate of ten times that of full finetuning and more. A killed training resumes from its last epoch.
The base is as before when it ends.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorag.errors import InputError, ModelError
from lorag.files import fingerprint, folder_whole
from lorag.interfaces import Progress, no_progress
from lorag.llm.rendering import Rendered
from lorag.settings import FinetuneSettings, PromptSettings
from lorag.training.adapter import MANIFEST, Adapter, Parent, checkpoints_of
from lorag.training.control_questions import MultipleChoice
from lorag.training.data.holdout import Kind, split
from lorag.training.estimate import Estimate, estimate_in_parts
from lorag.training.estimate import estimate as estimate_of
from lorag.training.forgetting import forgetting, measure
from lorag.training.kernels.batching import RenderedRows, batches, rows
from lorag.training.memory_limits import memory_errors
from lorag.training.recipe import Probing, TimeLimit
from lorag.training.trackers import tracker
from lorag.types import Conversation

_CHECKED, _CHECKED_ROWS, _CHECKED_TOKENS = 32, 8, 512
"""Most trained rows that serving is checked by where none are held out; most rows and tokens of a batch of a check, for
which the library makes logits of all rows wherever one of them is supervised."""
HELD = ("gradient_checkpointing", "shard", "cpu_offload")
"""Settings that decide where numbers are held, and nothing of what comes out."""

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from lorag.training.methods import Learner
    from lorag.training.trainer import Course


@dataclass(frozen=True, slots=True)
class Base:
    """The model that is trained, its tokenizer, and what the manifest calls it: a name and its weights' fingerprint."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    weights: str


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A model made trainable, and what it is going to learn."""

    learning: Learner
    learned: RenderedRows
    held_out: RenderedRows
    held_out_kind: Kind
    steps: Sequence[Sequence[Rendered]]
    held_out_steps: Sequence[Sequence[Rendered]]
    checked: Sequence[Sequence[Rendered]]
    estimate: Estimate


def train(
    base: Base,
    conversations: Sequence[Conversation],
    out: Path,
    settings: FinetuneSettings,
    *,
    replayed: Sequence[Conversation] = (),
    parent: Parent | None = None,
    control: Sequence[MultipleChoice] = (),
    prompt: PromptSettings | None = None,
    probing: Probing | None = None,
    most_seconds: float | None = None,
    report_to: str | None = None,
    progress: Progress = no_progress,
) -> Adapter:
    """The adapter trained on ``conversations``, saved in ``out``; the base is as before when this returns.

    ``replayed`` are trained on as well, and never held out; the weights begin as those of ``parent``; ``control`` are
    asked where forgetting is measured, and ``probing`` asks after each pass; no pass but the first begins that would
    end after ``most_seconds``; ``prompt`` is recorded as that of ``conversations``; ``report_to`` names a tracker that
    shows the course. Raises ``InputError`` without conversations, or where memory does not suffice, and ``ModelError``
    when the parent does not load, the loss is not a number, or nothing was learned.
    """
    from lorag.training.trainer import mean_loss

    start = time.perf_counter()
    with _prepare(base, conversations, replayed, settings, parent) as prepared:
        prepared.estimate.require_memory()
        progress("finetuning", 0, prepared.estimate.updates, str(prepared.estimate))
        learning, held_out = prepared.learning, prepared.held_out.kept
        before = mean_loss(learning.library_loss, prepared.checked) if held_out else None
        general = partial(
            measure, learning.causal, base.tokenizer, control, progress, virtual=lambda: learning.before(1)
        )
        known = general("before") if settings.measure_forgetting else None
        identity = _identity(base, prepared, settings, parent, conversations)
        limit = TimeLimit(most_seconds, prepared.estimate.later_share) if most_seconds is not None else None
        course = _trained(prepared, identity, out, settings, probing, report_to, progress, start, limit)
        curve = course.losses
        ended = mean_loss(learning.library_loss, prepared.checked)
        adapter = Adapter(
            **_facts(base, prepared, settings),
            folder=str(out),
            data=data_fingerprint(conversations),
            rehearsed=len(replayed),
            steps=len(curve),
            seconds=course.seconds_before + time.perf_counter() - start,
            loss_first=curve[0],
            loss_last=sum(curve[-5:]) / len(curve[-5:]),
            held_out_loss_before=before,
            held_out_loss_after=ended if held_out else None,
            forgetting=forgetting(known, general("after")) if known else None,
            loss_curve=curve,
            checked_loss=ended,
            prompt=prompt or PromptSettings(),
            parent=parent,
            recalls=course.recalls,
            epochs=course.epochs,
            out_of_time=course.out_of_time,
        )
        _save(learning, base, adapter, out)
    return adapter


def _facts(base: Base, prepared: _Prepared, settings: FinetuneSettings) -> dict[str, Any]:
    """What the manifest holds of a training that is known before its first step."""
    from lorag.training.kernels.loss import plain_loss

    return {
        "method": settings.method,
        "base": base.name,
        "base_weights": base.weights,
        "template": hashlib.sha256(str(base.tokenizer.chat_template).encode()).hexdigest()[:16],
        "conversations": len(prepared.learned.kept),
        "too_long": prepared.learned.too_long + prepared.held_out.too_long,
        "held_out": len(prepared.held_out.kept),
        "held_out_kind": prepared.held_out_kind,
        "tokens": prepared.learned.tokens,
        "supervised_tokens": prepared.learned.supervised_tokens,
        "step": "library" if prepared.learning.loss is plain_loss else "fused",
        "settings": {**asdict(settings), "learning_rate": settings.rate},
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }


def estimate(
    base: Base,
    conversations: Sequence[Conversation],
    settings: FinetuneSettings,
    *,
    replayed: Sequence[Conversation] = (),
) -> Estimate:
    """What ``train`` with the same arguments would take; some steps are computed and nothing is written."""
    with _prepare(base, conversations, replayed, settings) as prepared:
        return prepared.estimate


def checked_batches(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Conversation],
    settings: FinetuneSettings,
    replayed: Sequence[Conversation] = (),
) -> list[tuple[Rendered, ...]]:
    """The rows of a training with these arguments that its ``checked_loss`` is of, in batches."""
    parts = split(conversations, settings)
    kept = rows(tokenizer, parts.held_out or (*parts.learned, *replayed), settings.max_tokens).kept
    return _checked(kept, ()) if parts.held_out else _checked((), kept)


def _checked(held_out: Sequence[Rendered], learned: Sequence[Rendered]) -> list[tuple[Rendered, ...]]:
    """All rows held out, or else some of the learned ones, evenly spaced."""
    kept = held_out or learned[:: -(-len(learned) // _CHECKED)]
    return batches(kept, _CHECKED_TOKENS, _CHECKED_ROWS)


def data_fingerprint(conversations: Sequence[Conversation]) -> str:
    """What the manifest calls these conversations."""
    return fingerprint([[[m.role, m.content, *([] if m.learned else [0])] for m in c.messages] for c in conversations])


@contextmanager
def _prepare(
    base: Base,
    conversations: Sequence[Conversation],
    replayed: Sequence[Conversation],
    settings: FinetuneSettings,
    parent: Parent | None = None,
) -> Iterator[_Prepared]:
    """Everything ready for the first step; what fails for want of memory says which setting to lower."""
    from lorag.training.kernels.loss import choose_loss, plain_loss
    from lorag.training.methods import learner
    from lorag.training.processes.sharding import shard

    if not conversations:
        raise InputError("there is no conversation to train on")
    parts = split(conversations, settings)
    learned = rows(base.tokenizer, (*parts.learned, *replayed), settings.max_tokens)
    held_out = rows(base.tokenizer, parts.held_out, settings.max_tokens)
    steps, held_out_steps = (
        batches(part.kept, settings.batch_tokens, settings.batch_rows) for part in (learned, held_out)
    )
    start = Path(parent.folder) if parent is not None else None
    with memory_errors(), learner(base.model, learned.kept[0], settings, start) as learning:
        by_library = settings.shard or settings.gradient_checkpointing
        learning.loss = plain_loss if by_library else choose_loss(learning.causal, steps[0][:2])
        expected = (estimate_in_parts if settings.shard else estimate_of)(learning, steps, settings)
        if settings.shard:
            expected.require_memory()
            shard(learning.causal, settings)
        checked = _checked(held_out.kept, learned.kept)
        yield _Prepared(learning, learned, held_out, parts.kind, steps, held_out_steps, checked, expected)


def _trained(
    prepared: _Prepared,
    identity: str,
    out: Path,
    settings: FinetuneSettings,
    probing: Probing | None,
    report_to: str | None,
    progress: Progress,
    start: float,
    limit: TimeLimit | None,
) -> Course:
    """The course of the training. Raises ``ModelError`` when no weight is another one after it."""
    from lorag.training.trainer import run

    learning = prepared.learning
    begun = _norms(learning)
    steps, held_out = prepared.steps, prepared.held_out_steps
    shown = tracker(report_to, out) if report_to is not None else None
    watched = (progress, probing, shown, start, limit)
    course = run(learning, steps, held_out, out, identity, settings, *watched)
    if _norms(learning) == begun:
        raise ModelError("training changed nothing; raise epochs or learning_rate")
    return course


def _identity(
    base: Base,
    prepared: _Prepared,
    settings: FinetuneSettings,
    parent: Parent | None,
    conversations: Sequence[Conversation],
) -> str:
    """What decides the course of a training; one that was interrupted resumes only where it is the same."""
    # PiSSA's checkpoints once held factors of half the rank.
    form = ["twice the rank"] if settings.spec.principal_parts else []
    form += [parent.weights] if parent is not None else []
    # The ids of rows do not tell which of their answers are only read.
    form += [data_fingerprint(conversations)] if not all(m.learned for c in conversations for m in c.messages) else []
    decisive = {name: value for name, value in asdict(settings).items() if name not in HELD}
    return fingerprint([base.weights, [row.ids for row in prepared.learned.kept], decisive, *form])


def _save(learning: Learner, base: Base, adapter: Adapter, out: Path) -> None:
    """Writes what was trained whole, its manifest last, in the first of several processes while the others wait."""
    from accelerate import PartialState  # type: ignore[import-untyped]

    whole = learning.state_dict() if adapter.settings["shard"] else {}
    with PartialState().main_process_first():
        if not PartialState().is_main_process:
            return
        with folder_whole(out) as temporary:
            learning.save(temporary, base.tokenizer, base.name, whole)
            (temporary / MANIFEST).write_text(adapter.to_json())
        shutil.rmtree(checkpoints_of(out), ignore_errors=True)


def _norms(learning: Learner) -> list[float]:
    """A number for each trained weight, by which it is seen whether any of them changed."""
    return [float(weight.norm()) for weight in learning.trained().values()]
