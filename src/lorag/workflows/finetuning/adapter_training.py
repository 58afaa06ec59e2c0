"""Trains an engine's weights on conversations as they are, and loads what was saved again to measure its loss."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lorag import build
from lorag.chat.prompts import question_prompt
from lorag.errors import LoragError
from lorag.files import write_whole
from lorag.interfaces import LanguageModel, Progress, no_progress
from lorag.llm.engines.base_model import automatic_dtype, fits
from lorag.llm.engines.transformers import TransformersModel, adapter_fingerprint
from lorag.llm.rendering import Rendered
from lorag.settings import REFUSAL, FinetuneSettings, PromptSettings
from lorag.training.adapter import MANIFEST, NOISE, Adapter, Parent
from lorag.training.control_questions import MultipleChoice
from lorag.training.data.general_replay import general_replay, general_texts, texts_of_like_length
from lorag.training.estimate import Estimate
from lorag.training.finetuning import Base, checked_batches, estimate, train
from lorag.training.forgetting import General, forgetting, measure
from lorag.training.memory_limits import memory_errors
from lorag.training.recipe import Probing
from lorag.types import Conversation
from lorag.workflows.finetuning.strength import attached


def train_adapter(
    engine: TransformersModel,
    conversations: Sequence[Conversation],
    out: Path,
    settings: FinetuneSettings,
    progress: Progress = no_progress,
    control: Sequence[MultipleChoice] = (),
    *,
    replayed: Sequence[Conversation] = (),
    parent: Parent | None = None,
    probing: Probing | None = None,
    most_seconds: float | None = None,
    prompt: PromptSettings | None = None,
    report_to: str | None = None,
) -> Adapter:
    """The adapter trained on conversations as they are, on an engine to which no adapter was attached yet.

    ``replayed`` are trained on as well, and never held out; the weights begin as those of ``parent``; ``probing`` asks
    after each pass, and none but the first begins that would end after ``most_seconds``. ``prompt`` is the one that the
    conversations stand under, None for the default, and is recorded: the adapter is asked under it. ``report_to`` names
    a tracker that shows the course. What was saved is loaded again, and the dtype that keeps what was learned is
    recorded. Where none does, or it does not load, a warning gives the reason.
    """
    replayed = [*_general_replay(engine, conversations, settings), *replayed]
    adapter = train(
        _base(engine),
        conversations,
        out,
        settings,
        replayed=replayed,
        parent=parent,
        control=control,
        probing=probing,
        most_seconds=most_seconds,
        prompt=prompt,
        report_to=report_to,
        progress=progress,
    )
    if settings.shard:  # the base is in parts, and as a whole it may fit on no device
        return adapter
    return _as_served(engine, adapter, checked_batches(engine.weights.tokenizer, conversations, settings, replayed))


def measure_again(
    engine: TransformersModel,
    adapter: Adapter,
    conversations: Sequence[Conversation],
    settings: FinetuneSettings,
    progress: Progress = no_progress,
    control: Sequence[MultipleChoice] = (),
    *,
    replayed: Sequence[Conversation] = (),
) -> Adapter:
    """``adapter`` with what its manifest states of it as it is served: its losses, and what it forgot.

    For one that was set to another strength, or was not loaded again after its training. The other arguments are those
    that ``train_adapter`` trained it with.
    """
    replayed = [*_general_replay(engine, conversations, settings), *replayed]
    checked = checked_batches(engine.weights.tokenizer, conversations, settings, replayed)
    measured = _as_served(engine, adapter, checked)
    if adapter.strength == 1 or measured.served_loss is None:
        return measured
    changed = None
    if settings.measure_forgetting:
        before = _general(engine, control, progress, "before")
        with attached(engine, measured) as served:
            changed = forgetting(before, _general(served, control, progress, "after"))
    held_out = measured.served_loss if measured.held_out else None
    measured = replace(measured, held_out_loss_after=held_out, forgetting=changed)
    write_whole(Path(adapter.folder) / MANIFEST, measured.to_json())
    return measured


def estimate_training(
    engine: TransformersModel,
    conversations: Sequence[Conversation],
    settings: FinetuneSettings,
    *,
    replayed: Sequence[Conversation] = (),
) -> Estimate:
    """The time and memory that ``train_adapter`` would take with the same arguments; general text is not written."""
    replayed = [*_general_replay(engine, conversations, settings, write=False), *replayed]
    return estimate(_base(engine), conversations, settings, replayed=replayed)


def parent_of(adapter: Adapter) -> Parent:
    """``adapter`` as what another one begins from."""
    return Parent(adapter.folder, adapter_fingerprint(Path(adapter.folder)), adapter.data)


def _as_served(engine: TransformersModel, adapter: Adapter, checked: Sequence[Sequence[Rendered]]) -> Adapter:
    """``adapter`` with its loss as it is served; measured and recorded in the first of several processes."""
    from accelerate import PartialState  # type: ignore[import-untyped]

    if not PartialState().is_main_process:
        return adapter
    try:
        with memory_errors():
            measured = _measured(engine, adapter, checked)
    except LoragError as error:
        warnings.warn(
            f"the trained weights are saved, but could not be loaded again to check them: {error}", stacklevel=2
        )
        return adapter
    write_whole(Path(adapter.folder) / MANIFEST, measured.to_json())
    if measured.strength == 1 and not _keeps(measured, measured.checked_loss):
        warnings.warn(
            f"loaded again, the model does not keep what it learned: {measured.served}; set"
            " LORAG_NUMBER_FORMAT=float32 if memory allows, or train again",
            stacklevel=2,
        )
    return measured


def _measured(engine: TransformersModel, adapter: Adapter, checked: Sequence[Sequence[Rendered]]) -> Adapter:
    """The adapter on its base as that is; all weights in the machine's dtype, in float32 if it loses any.

    What was trained is compared with the end of its training, at a share of its strength with itself in float32.
    """
    if not adapter.spec.is_whole_model:
        with attached(engine, adapter) as served:
            return _loaded(adapter, served, checked)
    gc.collect()  # the copy that was trained, which the library's trainer holds in a circle
    own = automatic_dtype(engine.weights.model.device.type)
    measured = _loaded(adapter, build.finetuned_model(engine, adapter, own), checked)
    is_kept = adapter.strength == 1 and _keeps(measured, adapter.checked_loss)
    if is_kept or own == "float32" or not fits(Path(adapter.folder), "float32"):
        return measured
    exact = _loaded(adapter, build.finetuned_model(engine, adapter, "float32"), checked)
    return measured if adapter.strength != 1 and _keeps(measured, exact.served_loss) else exact


def _loaded(adapter: Adapter, served: TransformersModel, checked: Sequence[Sequence[Rendered]]) -> Adapter:
    return replace(adapter, served_format=served.stored_dtype, served_loss=_loss(served, checked))


def _keeps(adapter: Adapter, expected: float | None) -> bool:
    """Whether what was loaded is what was trained, whose loss is ``expected``."""
    served = adapter.served_loss
    return expected is not None and served is not None and abs(served - expected) <= NOISE


def _general(model: TransformersModel, control: Sequence[MultipleChoice], progress: Progress, moment: str) -> General:
    with model.applied() as causal:
        given = (model.weights.tokenizer, control, progress, moment)
        return measure(causal, *given, virtual=lambda: model.before(1))


def _loss(served: TransformersModel, checked: Sequence[Sequence[Rendered]]) -> float:
    """Mean cross entropy a supervised token, as the model answers."""
    from lorag.training.kernels.loss import plain_loss
    from lorag.training.trainer import mean_loss

    with served.applied() as model:
        return mean_loss(lambda rows: plain_loss(model, rows, served.before(len(rows))), checked)


def _base(engine: TransformersModel) -> Base:
    weights = engine.weights
    return Base(weights.model, weights.tokenizer, weights.name, weights.fingerprint)


def _general_replay(
    engine: LanguageModel,
    conversations: Sequence[Conversation],
    settings: FinetuneSettings,
    *,
    write: bool = True,
) -> list[Conversation]:
    """General questions and text so many that they make their shares of all that is trained on.

    Of questions as many as there are; without ``write``, text of like length.
    """
    whole = len(conversations) / (1 - settings.general_share - settings.general_text_share)
    answered, texts = (round(whole * share) for share in (settings.general_share, settings.general_text_share))
    return [
        *general_replay(engine, answered, lambda question: question_prompt(question, (), REFUSAL)),
        *(general_texts(engine, texts, settings.seed) if write else texts_of_like_length(texts)),
    ]
