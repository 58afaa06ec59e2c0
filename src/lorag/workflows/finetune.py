"""Finetune: conversations become an adapter that answers in the form in which it is served."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from lorag import build
from lorag.chat.kept_prompt import read_prompt
from lorag.chat.prompts import as_served, without_examples
from lorag.errors import InputError, LoragError
from lorag.files import draw, fingerprint, require_replaceable, require_writable
from lorag.interfaces import Progress, no_progress
from lorag.llm.engines.transformers import TransformersModel
from lorag.models import naming
from lorag.models.fingerprint import weights_fingerprint
from lorag.settings import REFUSAL, REPLAY_SHARE, FinetuneSettings, PromptSettings, RecipeSettings
from lorag.training.adapter import MANIFEST, Adapter, read_adapter, require_continuable, shape_of
from lorag.training.control_questions import MultipleChoice, read_control
from lorag.training.data.conversations import read_conversations, without_thoughts
from lorag.training.data.inspection import contradictions
from lorag.training.estimate import Estimate
from lorag.training.finetuning import HELD, data_fingerprint
from lorag.training.processes.lost_process import lost_process_errors
from lorag.training.recipe import read_recipe
from lorag.training.trackers import require_tracker
from lorag.types import Conversation
from lorag.workflows.evaluate import check_tasks, evaluate_models
from lorag.workflows.finetuning.adapter_training import estimate_training, measure_again, parent_of, train_adapter
from lorag.workflows.finetuning.chosen_training import train_chosen, unchosen
from lorag.workflows.finetuning.own_probes import lesson
from lorag.workflows.recipe_search import Probes, Training
from lorag.workflows.synthesize import plain_words

Thoughts = Literal["train", "strip"]


@dataclass(frozen=True, slots=True)
class _Job:
    """What a call asks for, read and checked."""

    served: Sequence[Conversation]
    """The conversations as they are served."""
    replayed: Sequence[Conversation]
    """Old conversations among them, as they are served."""
    control: Sequence[MultipleChoice]
    settings: FinetuneSettings
    start: Adapter | None
    """The adapter that is continued."""
    prompt: PromptSettings
    """What the conversations stand under: what is continued stays under its own."""


def finetune(
    conversations: Path | str,
    out: Path | str,
    *,
    model: str | None = None,
    settings: FinetuneSettings | None = None,
    continue_from: Path | str | None = None,
    replay: Path | str | None = None,
    replay_share: float = REPLAY_SHARE,
    recipe: RecipeSettings | None = None,
    prompt: Path | str | None = None,
    control: Path | str | None = None,
    tasks: Path | str | None = None,
    thoughts: Thoughts = "train",
    report_to: str | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Adapter:
    """The adapter trained on conversations, saved in ``out`` in PEFT's format.

    If it is killed, the same call resumes from the last finished epoch; a finished adapter is returned as it is.

    Args:
        conversations: A JSONL file, a folder of such files, or the name of a hub's data set.
        out: The folder of the adapter.
        model: The base, as in ``language_model``; None takes the default.
        settings: How it is trained.
        continue_from: The folder of an adapter whose weights the training begins from, with its base and its shape
            where no others are named.
        replay: Conversations trained before, of which a fixed sample is mixed in, without those whose question is asked
            by a new one.
        replay_share: The share of that sample in all conversations, 0 to below 1, as far as there are enough.
        recipe: Chooses wordings, learning rate and passes within its budget, by what the model knows in wordings that
            are kept from training. A learning rate in ``settings`` and passes in ``recipe`` are fixed. What was tried
            is in ``recipe.json`` beside the adapter.
        prompt: A JSON file of the prompt that the adapter is trained under, records, and is asked under, such as
            ``RUN/prompts/retrieval.json`` of a comparison; its worked examples are left out.
        control: A JSONL of multiple-choice questions, asked before and after the training to see what was forgotten.
        tasks: YAML files of lm-evaluation-harness, as in ``evaluate``. Where they fail, a warning gives the reason, and
            the training is kept.
        thoughts: What assistants say in ``<think>`` before their answers: ``train`` learns it, ``strip`` leaves it out.
        report_to: A tracker for the losses: ``tensorboard``, ``wandb``, ``mlflow`` or ``trackio``.
        overwrite: Removes what was trained in ``out`` before.
        progress: Called as the work proceeds, with a stage and how much of it is done.

    Returns:
        How the adapter was trained, and what was measured.

    Raises:
        DataError: With the line number: a row that is not a conversation, or not a multiple-choice question.
        InputError: ``out`` cannot be written or holds something else, such as another training; or the adapter to
            continue has another shape.
        ModelError: The adapter to continue was trained on another base.

    Examples:
        >>> adapter = lorag.finetune("chat.jsonl", "adapter", settings=lorag.FinetuneSettings(epochs=2))
        >>> print(adapter.loss_first, adapter.loss_last)
    """
    with lost_process_errors():
        job = _job(conversations, control, tasks, settings, continue_from, replay, replay_share, prompt, thoughts)
        _require_together(job, recipe, tasks, report_to)
        identity = _identity(job, recipe, build.model_name(model, progress)) if recipe is not None else ""
        found = _finished(Path(out), job, recipe, identity, model, overwrite, progress)
        is_checked = found is not None and (found.served_format is not None or job.settings.shard)
        if found is not None and is_checked and tasks is None:
            return found
        engine = build.trainable_model(model, job.settings, progress, job.start)
        if found is None and recipe is not None:
            start = (engine, job.served, Probes((), job.prompt), Path(out), job.settings, recipe, job.control, progress)
            adapter = train_chosen(Training(*start, identity=identity, overwrite=overwrite))
        elif found is None:
            adapter = _trained(engine, job, Path(out), report_to, progress)
        elif is_checked:
            adapter = found
        else:  # killed before it was loaded again
            shared = (job.served, job.settings, progress, job.control)
            adapter = measure_again(engine, found, *shared, replayed=job.replayed)
        if tasks is not None:
            _evaluate(engine, adapter, Path(tasks), progress)
        return adapter


def _require_together(
    job: _Job, recipe: RecipeSettings | None, tasks: Path | str | None, report_to: str | None
) -> None:
    """Raises ``InputError`` for what cannot be asked for at once, and for a tracker that is not there."""
    if recipe is not None and (job.start is not None or job.replayed):
        raise InputError("a recipe is only for training from the base, without replay; leave it out")
    if job.settings.shard and (recipe is not None or tasks is not None):
        raise InputError("with shard no process holds a model that answers; leave the recipe, or the tasks, out")
    if report_to is not None:
        require_tracker(report_to)
        if recipe is not None:
            raise InputError(
                "a recipe tries several trainings, but a tracker shows one; leave out the recipe or report_to"
            )


def _trained(engine: TransformersModel, job: _Job, out: Path, report_to: str | None, progress: Progress) -> Adapter:
    parent = parent_of(job.start) if job.start is not None else None
    shared = (job.served, out, job.settings, progress, job.control)
    return train_adapter(engine, *shared, replayed=job.replayed, parent=parent, prompt=job.prompt, report_to=report_to)


def estimate_finetune(
    conversations: Path | str,
    *,
    model: str | None = None,
    settings: FinetuneSettings | None = None,
    continue_from: Path | str | None = None,
    replay: Path | str | None = None,
    replay_share: float = REPLAY_SHARE,
    prompt: Path | str | None = None,
    control: Path | str | None = None,
    tasks: Path | str | None = None,
    progress: Progress = no_progress,
) -> Estimate:
    """The time and memory that ``finetune`` would take. One step is computed, and nothing is written.

    Args:
        conversations: As in ``finetune``, and so are the other parameters.
        model: The base.
        settings: How it would be trained.
        continue_from: The adapter that the training would begin from.
        replay: Conversations trained before.
        replay_share: Their share of all.
        prompt: The prompt that it would be trained under.
        control: Multiple-choice questions; they are checked, and their time is not counted.
        tasks: Tasks of lm-evaluation-harness; they are checked, and their time is not counted.
        progress: Called as the work proceeds, with a stage and how much of it is done.

    Returns:
        Seconds, bytes and updates; ``str`` of it is a line for people.

    Raises:
        DataError: As ``finetune`` does.
        InputError: As ``finetune`` does.

    Examples:
        >>> estimate = lorag.estimate_finetune("chat.jsonl")
        >>> print(estimate.seconds, estimate.activation_bytes)
    """
    with lost_process_errors():
        job = _job(conversations, control, tasks, settings, continue_from, replay, replay_share, prompt)
        engine = build.trainable_model(model, job.settings, progress, job.start)
        return estimate_training(engine, job.served, job.settings, replayed=job.replayed)


def control_questions(path: Path | str | None, settings: FinetuneSettings) -> list[MultipleChoice]:
    """The control questions of a file; none where none is named. Raises ``InputError`` where nothing would ask them."""
    if path is None:
        return []
    if not settings.measure_forgetting:
        raise InputError("control questions are asked only with measure_forgetting=True; set it, or leave them out")
    return read_control(Path(path))


def _evaluate(engine: TransformersModel, adapter: Adapter, tasks: Path, progress: Progress) -> None:
    """Scores what was trained, in the first of several processes; what fails is a warning."""
    from accelerate import PartialState  # type: ignore[import-untyped]

    if not PartialState().is_main_process:
        return
    try:
        evaluate_models(engine, build.finetuned_model(engine, adapter), adapter, tasks, progress)
    except LoragError as error:
        folder = adapter.folder
        again = f"`lorag evaluate {folder} --tasks {tasks}` tries that again"
        warnings.warn(f"{error}; the finished training is in {folder!r}, and {again}", stacklevel=2)


def _job(
    conversations: Path | str,
    control: Path | str | None,
    tasks: Path | str | None,
    settings: FinetuneSettings | None,
    continue_from: Path | str | None,
    replay: Path | str | None,
    replay_share: float,
    prompt: Path | str | None,
    thoughts: Thoughts = "train",
) -> _Job:
    """Everything that is given, read and checked."""
    start = read_adapter(Path(continue_from)) if continue_from is not None else None
    settings = settings or FinetuneSettings(**(shape_of(start) if start is not None else {}))
    if start is not None:
        require_continuable(start, settings)
        if prompt is not None:
            raise InputError("a continued adapter keeps the prompt that it was trained under; leave prompt out")
    if not 0 <= replay_share < 1:
        raise InputError(f"replay_share {replay_share!r} is not between 0 and 1")
    if thoughts not in get_args(Thoughts):
        raise InputError(f"thoughts {thoughts!r} is not one of {', '.join(get_args(Thoughts))}")
    new = read_conversations(conversations)
    new = without_thoughts(new) if thoughts == "strip" else new
    old = replay_sample(read_conversations(replay), new, replay_share) if replay is not None else []
    if unclear := len(contradictions(new, plain_words)):
        warnings.warn(
            f"{unclear} conversations ask the same as another but answer differently, and all of them are trained on;"
            f" `lorag data check {conversations}` names the first ones",
            stacklevel=3,
        )
    asked = control_questions(control, settings)
    if tasks is not None:
        check_tasks(Path(tasks), settings.method)
    given = without_examples(read_prompt(Path(prompt)).settings) if prompt is not None else PromptSettings()
    under = start.prompt if start is not None else given
    served, replayed = ([as_served(conversation, REFUSAL, under) for conversation in each] for each in (new, old))
    return _Job(served, replayed, asked, settings, start, under)


def replay_sample(old: Sequence[Conversation], new: Sequence[Conversation], share: float) -> list[Conversation]:
    """Old conversations so many that they make their share beside the new ones; none asks what a new one answers."""
    asked = {plain_words(conversation.opening) for conversation in new}
    kept = [conversation for conversation in old if plain_words(conversation.opening) not in asked]
    count = round(len(new) * share / (1 - share))
    return sorted(kept, key=lambda conversation: draw(f"replay {conversation.opening}"))[:count]


def _identity(job: _Job, recipe: RecipeSettings, model: str) -> str:
    """Fingerprint of everything that decides what is chosen."""
    control = [asdict(question) for question in job.control]
    prompt = [asdict(job.prompt)] if job.prompt != PromptSettings() else []  # as recipes of earlier versions have it
    return fingerprint([model, data_fingerprint(job.served), asdict(job.settings), asdict(recipe), control, *prompt])


def _finished(
    out: Path,
    job: _Job,
    recipe: RecipeSettings | None,
    identity: str,
    model: str | None,
    overwrite: bool,
    progress: Progress,
) -> Adapter | None:
    """What this job has trained in ``out`` already; None where ``out`` is nothing, empty, or to be replaced.

    Raises ``InputError`` where ``out`` cannot be written, is what is continued, or holds something else. A recipe that
    is there is the one of ``identity``.
    """
    require_writable(out.absolute().parent)
    if job.start is not None and out.resolve() == Path(job.start.folder).resolve():
        raise InputError(f"{str(out)!r} holds the adapter that is continued; choose another folder with --out")
    require_replaceable(out, MANIFEST)
    if overwrite or not (out / MANIFEST).is_file():
        return None
    found, chosen = read_adapter(out), read_recipe(out)
    if chosen is None:
        what = _difference(found, job, recipe, model, progress)
    elif recipe is None:
        what = "conversations with --auto, or by a comparison"
    else:
        what = "" if chosen.identity == identity != "" else "other conversations, or chosen by other settings"
    if what:
        raise InputError(
            f"{str(out)!r} holds a finetune trained on {what} ({found.conversations} of them, base"
            f" {found.base}); choose another folder with --out, or delete it"
        )
    return found if recipe is None or found.served_format is not None else None  # a recipe checks it where it resumes


def _difference(found: Adapter, job: _Job, recipe: RecipeSettings | None, model: str | None, progress: Progress) -> str:
    """What ``found``, which no recipe chose, was trained on or how, where the job trains otherwise; else empty."""
    if found.data != data_fingerprint(job.served):
        return "other conversations"
    if found.prompt != job.prompt:
        return "these conversations under another prompt"
    settings = job.settings
    if recipe is not None:
        if lesson(job.served, recipe.probed_facts).probes:
            return "these conversations without --auto"
        settings = unchosen(settings, recipe)
    wanted = {**asdict(settings), "learning_rate": settings.rate}
    had = {**asdict(FinetuneSettings()), **found.settings}
    apart = {name: (had[name], value) for name, value in wanted.items() if had[name] != value and name not in HELD}
    base = build.model_name(job.start.base if model is None and job.start is not None else model, progress)
    if build.is_remote(base) or weights_fingerprint(naming.resolve(base, "llm", progress)) != found.base_weights:
        apart["base"] = (found.base, base if base != found.base else "other weights of that name")
    parent = parent_of(job.start) if job.start is not None else None
    if (found.parent and found.parent.weights) != (parent and parent.weights):
        apart["parent"] = (found.parent and found.parent.folder, parent and parent.folder)
    replays = not (settings.general_share or settings.general_text_share) and found.rehearsed
    if replays or job.replayed:  # the manifest has their number alone
        apart["replayed conversations"] = (found.rehearsed, len(job.replayed))
    if (asked := bool(found.forgetting and found.forgetting.control)) != bool(job.control):
        apart["control questions"] = (asked, bool(job.control))
    shown = ", ".join(f"{name} {before} instead of {now}" for name, (before, now) in apart.items())
    return f"these conversations with {shown}" if shown else ""
