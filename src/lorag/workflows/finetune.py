"""Finetune: conversations become an adapter that answers in the form in which it is served."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lorag import build
from lorag.chat.prompts import as_served, question_prompt
from lorag.errors import InputError, LoragError
from lorag.files import require_writable, write_whole
from lorag.interfaces import Progress, no_progress
from lorag.llm.engines.base_model import automatic_format, fits
from lorag.llm.engines.transformers import TransformersModel
from lorag.llm.rendering import Rendered
from lorag.settings import REFUSAL, FinetuneSettings, PromptSettings
from lorag.training.adapter import MANIFEST, NOISE, Adapter, read_adapter
from lorag.training.control_questions import MultipleChoice, read_control
from lorag.training.data.conversations import read_conversations
from lorag.training.data.general_replay import general_replay
from lorag.training.estimate import Estimate
from lorag.training.finetuning import Base, checked_batches, data_fingerprint, estimate, train
from lorag.training.memory_limits import memory_errors
from lorag.types import Conversation
from lorag.workflows.evaluate import check_tasks, evaluate_models


def finetune(
    conversations: Path | str,
    out: Path | str,
    *,
    model: str | None = None,
    settings: FinetuneSettings | None = None,
    control: Path | str | None = None,
    tasks: Path | str | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Adapter:
    """The adapter trained on a file, a folder or a hub's data set of conversations, saved in ``out`` in PEFT's format.

    ``control`` is a JSONL of multiple-choice questions, asked before and after to see what was forgotten. ``tasks`` are
    YAML files of lm-evaluation-harness, run on the base and on what was trained (``lorag.workflows.evaluate``); where
    they fail, a warning says why, and the training stands. With ``overwrite``, what was trained on other conversations
    may make room. Killed, the same call resumes from the last finished epoch.

    Raises ``DataError`` with the line number for a row that is no conversation or no such question, ``InputError``
    when ``out`` cannot be written or holds something else; all before a model is loaded.
    """
    settings = settings or FinetuneSettings()
    served, asked = _checked(conversations, control, tasks, settings)
    _require_free(Path(out), served, overwrite)
    engine = build.trainable_model(model, settings, progress)
    adapter = train_adapter(engine, served, Path(out), settings, progress, asked)
    if tasks is not None:
        _evaluate(engine, adapter, Path(tasks), progress)
    return adapter


def estimate_finetune(
    conversations: Path | str,
    *,
    model: str | None = None,
    settings: FinetuneSettings | None = None,
    control: Path | str | None = None,
    tasks: Path | str | None = None,
    progress: Progress = no_progress,
) -> Estimate:
    """The time and memory that ``finetune`` would take; one step is computed and nothing is written.

    ``control`` and ``tasks`` are checked, and their time is not counted.
    """
    settings = settings or FinetuneSettings()
    served, _ = _checked(conversations, control, tasks, settings)
    return estimate_training(build.trainable_model(model, settings, progress), served, settings)


def estimate_training(
    engine: TransformersModel, conversations: Sequence[Conversation], settings: FinetuneSettings
) -> Estimate:
    """The time and memory that ``train_adapter`` would take with the same arguments."""
    replayed = _general_replay(engine, conversations, settings)
    return estimate(_base(engine), conversations, settings, replayed=replayed)


def train_adapter(
    engine: TransformersModel,
    conversations: Sequence[Conversation],
    out: Path,
    settings: FinetuneSettings,
    progress: Progress = no_progress,
    control: Sequence[MultipleChoice] = (),
    prompt: PromptSettings | None = None,
) -> Adapter:
    """The adapter trained on conversations as they are, on an engine to which no adapter was attached yet.

    ``prompt`` is the one that they stand under, None for the default, and is recorded: the adapter is asked under it.

    What was saved is loaded again, and the number format that keeps what was learned is recorded in it. Where none
    does, or it does not load, a warning gives the reason.
    """
    replayed = _general_replay(engine, conversations, settings)
    adapter = train(
        _base(engine),
        conversations,
        out,
        settings,
        replayed=replayed,
        control=control,
        prompt=prompt,
        progress=progress,
    )
    return _as_served(engine, adapter, checked_batches(engine.weights.tokenizer, conversations, settings, replayed))


def control_questions(path: Path | str | None, settings: FinetuneSettings) -> list[MultipleChoice]:
    """The control questions of a file; none where none is named. Raises ``InputError`` where nothing would ask them."""
    if path is None:
        return []
    if not settings.measure_forgetting:
        raise InputError("control questions are asked only with measure_forgetting=True; set it, or leave them out")
    return read_control(Path(path))


def _as_served(engine: TransformersModel, adapter: Adapter, checked: Sequence[Sequence[Rendered]]) -> Adapter:
    """``adapter`` with its loss as it is served; measured and recorded in the first of several processes."""
    from accelerate import PartialState  # type: ignore[import-untyped]

    if not PartialState().is_main_process:
        return adapter
    try:
        with memory_errors():
            measured = _measured(engine, adapter, checked)
    except LoragError as error:
        warnings.warn(f"what was trained is saved, and could not be loaded again to be checked: {error}", stacklevel=2)
        return adapter
    write_whole(Path(adapter.folder) / MANIFEST, measured.to_json())
    if not _keeps(measured):
        warnings.warn(
            f"what is served is not what was trained: {measured.served}; set LORAG_NUMBER_FORMAT=float32 where memory"
            " holds that, or train again",
            stacklevel=2,
        )
    return measured


def _measured(engine: TransformersModel, adapter: Adapter, checked: Sequence[Sequence[Rendered]]) -> Adapter:
    """The adapter on its base as that is; all weights in the machine's number format, in float32 if it loses any."""
    if adapter.method != "full":
        served = build.finetuned_model(engine, adapter)
        try:
            return _loaded(adapter, served, checked)
        finally:
            if served.adapter is not None:
                engine.weights.detach(served.adapter)
    gc.collect()  # the copy that was trained, which the library's trainer holds in a circle
    own = automatic_format(engine.weights.model.device.type)
    measured = _loaded(adapter, build.finetuned_model(engine, adapter, own), checked)
    if _keeps(measured) or own == "float32" or not fits(Path(adapter.folder), "float32"):
        return measured
    return _loaded(adapter, build.finetuned_model(engine, adapter, "float32"), checked)


def _loaded(adapter: Adapter, served: TransformersModel, checked: Sequence[Sequence[Rendered]]) -> Adapter:
    return replace(adapter, served_format=served.dtype, served_loss=_loss(served, checked))


def _keeps(adapter: Adapter) -> bool:
    """Whether what was loaded is what was trained."""
    ended, served = adapter.checked_loss, adapter.served_loss
    return ended is not None and served is not None and abs(served - ended) <= NOISE


def _loss(served: TransformersModel, checked: Sequence[Sequence[Rendered]]) -> float:
    """Mean cross entropy a supervised token, as the model answers."""
    from lorag.training.kernels.loss import plain_loss
    from lorag.training.trainer import mean_loss

    with served.applied() as model:
        return mean_loss(lambda rows: plain_loss(model, rows, served.before(len(rows))), checked)


def _evaluate(engine: TransformersModel, adapter: Adapter, tasks: Path, progress: Progress) -> None:
    """Scores what was trained, in the first of several processes; what fails is a warning."""
    from accelerate import PartialState

    if not PartialState().is_main_process:
        return
    try:
        evaluate_models(engine, build.finetuned_model(engine, adapter), adapter, tasks, progress)
    except LoragError as error:
        folder = adapter.folder
        again = f"`lorag evaluate {folder} --tasks {tasks}` tries that again"
        warnings.warn(f"{error}; what was trained is whole in {folder!r}, and {again}", stacklevel=2)


def _checked(
    conversations: Path | str, control: Path | str | None, tasks: Path | str | None, settings: FinetuneSettings
) -> tuple[list[Conversation], list[MultipleChoice]]:
    """The conversations as they are served, and the control questions; all that is given is checked."""
    served = [as_served(conversation, REFUSAL) for conversation in read_conversations(conversations)]
    asked = control_questions(control, settings)
    if tasks is not None:
        check_tasks(Path(tasks), settings.method)
    return served, asked


def _require_free(out: Path, served: Sequence[Conversation], overwrite: bool) -> None:
    """Raises ``InputError`` unless ``out`` can be written and is nothing, empty, or trained on these conversations.

    With ``overwrite`` it may be trained on any.
    """
    require_writable(out.absolute().parent)
    if out.exists() and not out.is_dir():
        raise InputError(f"{str(out)!r} is a file; choose a folder with --out")
    if (out / MANIFEST).is_file():
        found = read_adapter(out)
        if not overwrite and found.data != data_fingerprint(served):
            raise InputError(
                f"{str(out)!r} holds what was trained on other conversations ({found.conversations} of them, base"
                f" {found.base}); choose another folder with --out, or take it away"
            )
    elif out.is_dir() and any(out.iterdir()):
        raise InputError(f"{str(out)!r} holds other files, which training would replace; choose another with --out")


def _base(engine: TransformersModel) -> Base:
    weights = engine.weights
    return Base(weights.model, weights.tokenizer, weights.name, weights.fingerprint)


def _general_replay(
    engine: TransformersModel, conversations: Sequence[Conversation], settings: FinetuneSettings
) -> list[Conversation]:
    """General questions so many that they make their share of all that is trained on, as far as there are any."""
    count = round(len(conversations) * settings.general_share / (1 - settings.general_share))
    return general_replay(engine, count, lambda question: question_prompt(question, (), REFUSAL))
