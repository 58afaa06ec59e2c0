"""Compare: the same questions to the base model, a finetune, retrieval and both, and what the difference is worth.

One call reads everything and refuses what is wrong before any expensive work, indexes, trains, asks, and judges.
Every step leaves its result in the run folder, so that the same call resumes a run that was interrupted and asks
nothing twice. Of a remote model there are no weights to train, so finetuning is then not measured, and said not to be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lorag import build
from lorag.chat.kept_prompt import KeptPrompt
from lorag.errors import InputError
from lorag.evaluation.comparison import (
    BASE,
    BOTH,
    EVIDENCE,
    FINETUNED,
    RETRIEVAL,
    Comparison,
    compare_rows,
)
from lorag.evaluation.marks.review import with_marks
from lorag.evaluation.report.html_page import write_report
from lorag.evaluation.report.json_record import result_json
from lorag.evaluation.requirements import read_requirements
from lorag.evaluation.row_log import Moment
from lorag.evaluation.runner import recorded_rows
from lorag.files import LineLog, fingerprint, write_whole
from lorag.interfaces import Progress, no_progress
from lorag.llm.engines.completion_cache import CachedModel
from lorag.settings import (
    DEFAULT_EMBEDDER,
    CompareSettings,
    SyncSettings,
)
from lorag.workflows.comparing.arm_prompts import trial_of
from lorag.workflows.comparing.asking import Arm, ask_arms, asked_all, recall, rows_before
from lorag.workflows.comparing.facts import run_facts
from lorag.workflows.comparing.finetuned import ask_following, ask_further, further_seeds, train_finetuned
from lorag.workflows.comparing.inputs import Inputs, identity_of, input_notes, read_inputs
from lorag.workflows.comparing.prompt_trials import (
    WITHOUT_SOURCES,
)
from lorag.workflows.comparing.scene import Scene
from lorag.workflows.comparing.training_data import (
    own_conversations,
)
from lorag.workspace import DEFAULT, Run, Workspace

_NOT_TRAINED = (
    "Finetuning was not measured, alone or with retrieval: the weights of {} are not on this machine. Answers come from"
    " its server, which alone decides whether the same question gets the same answer again."
)


def compare(
    documents: Path | str,
    questions: Path | str,
    *,
    train: Path | str | None = None,
    update: Path | str | None = None,
    train_update: Path | str | None = None,
    style: Path | str | None = None,
    control: Path | str | None = None,
    prompt: KeptPrompt | None = None,
    model: str | None = None,
    embedder: str = DEFAULT_EMBEDDER,
    out: Path | str | None = None,
    settings: CompareSettings | None = None,
    notes: Sequence[str] = (),
    progress: Progress = no_progress,
    show: Callable[[Comparison], None] | None = None,
) -> Comparison:
    """The comparison of base, finetuned, retrieval and both on your documents and questions, with its verdict.

    ``documents`` and ``update`` are folders or ``docs.jsonl`` files, ``questions`` a ``qa.jsonl``, ``train`` a JSONL
    of conversations, ``train_update`` one about what the update changed, ``style`` a JSON of declared checks,
    ``control`` a JSONL of multiple-choice questions that the model is asked before and after its training. ``prompt``
    is that of every arm; without one it is chosen for each. The run, its rows, ``result.json`` and ``report.html`` lie
    in ``out``; the same call on the same folder resumes. ``notes`` are printed with the caveats. ``show`` is called
    with the first results, of everything that needs no training, before the training begins.

    Raises ``InputError`` and its kind for anything wrong in what was given, before a model is loaded.
    """
    settings = settings or CompareSettings()
    for requirement in read_requirements(settings.verdict.require):
        if requirement.needs_update and update is None:
            raise InputError(f"{requirement} is only known after an update of the documents; give one (--update)")
    if prompt is not None:
        settings = replace(settings, prompt_questions=0, chat=prompt.applied(settings.chat))
    if model is not None and build.is_remote(model):
        for what, given in {
            "the training data": train is not None or train_update is not None,
            "the control questions": control is not None,
            "how to finetune": settings.finetune != CompareSettings().finetune,
        }.items():
            if given:
                raise InputError(f"{model} is a remote model and cannot be trained here; leave out {what}")
    inputs = read_inputs(documents, questions, train, update, style, control, settings, prompt, train_update)
    name = build.model_name(model, progress)
    identity = identity_of(inputs, name, embedder, settings)
    run = Run.open(Path(out) if out is not None else _default_out(identity), identity)
    log = run.rows()
    if not (run.has_facts and _asked_everything(run, log, inputs, name, settings, *inputs.moments)):
        _fill(log, inputs, run, name, embedder, settings, progress, show)
    rows = list(recorded_rows(log).values())
    made = run.read_facts()
    facts = {"run folder": str(run.folder), **made["facts"]}
    caveats = (*made["notes"], *input_notes(inputs, settings), *notes)
    further = [list(recorded_rows(part.rows()).values()) for part in further_seeds(run, name, settings)]
    told = (facts, caveats, run.tried(), run.update_seconds(), further)
    comparison = compare_rows(rows, inputs.tested, inputs.style, settings.verdict, *told)
    write_whole(run.result, result_json(comparison))
    write_report(with_marks(comparison, run.folder), run.report)
    return comparison


def _fill(
    log: LineLog,
    inputs: Inputs,
    run: Run,
    model: str,
    embedder: str,
    settings: CompareSettings,
    progress: Progress,
    show: Callable[[Comparison], None] | None,
) -> None:
    """Indexes, asks and trains until ``log`` holds every row; finished rows are kept.

    Base, retrieval and the base with gold passages come first: they need no training, and ``show`` gets what they say.
    """
    remote = build.is_remote(model)
    engine = build.language_model(model) if remote else build.trainable_model(model, settings.finetune, progress)
    knowledge = build.knowledge(run.index, embedder, settings.chunks, settings.retrieval, progress)
    scene = Scene(run, knowledge, settings, progress)
    if not _asked_everything(run, log, inputs, model, settings, "before"):
        knowledge.sync(inputs.documents, progress)
    own = own_conversations(inputs.training, inputs.examples, inputs.tested, settings.chat.response_template)
    trial = trial_of(own, inputs, scene, engine)
    base = CachedModel(engine)
    base_prompt = trial.prompting("base", WITHOUT_SOURCES, base, None)
    retrieval_prompt = trial.prompting("retrieval", trial.shown.preferred, base, knowledge)
    arms = {
        BASE: Arm(base, base_prompt),
        RETRIEVAL: Arm(base, retrieval_prompt),
        EVIDENCE: Arm(base, retrieval_prompt),
    }
    facts = run_facts(inputs, model, embedder, settings)
    facts |= {"prompt of base": str(base_prompt.choice), "prompt of retrieval": str(retrieval_prompt.choice)}
    recall(arms, log, settings)
    ask_arms("before", inputs.tested, arms, scene, log)
    if show is not None and not remote:
        show(compare_rows(rows_before(log, arms), inputs.tested, inputs.style, settings.verdict, facts, inputs.notes))
    finetuned = train_finetuned(own, inputs, retrieval_prompt, trial, engine) if not remote else None
    if finetuned is not None:
        arms |= finetuned.arms
        facts |= finetuned.facts
        recall(arms, log, settings)
        ask_arms("before", inputs.tested, arms, scene, log)
        ask_further("before", inputs.tested, finetuned, scene)
    notes = [_NOT_TRAINED.format(model)] if finetuned is None else finetuned.notes
    if inputs.update is not None:
        begun = time.perf_counter()
        knowledge.sync(inputs.update, progress, settings=SyncSettings(max_removed_share=1))
        run.write_update_seconds({RETRIEVAL: time.perf_counter() - begun})
        ask_arms("after", [example.after_update() for example in inputs.tested], arms, scene, log)
        if finetuned is not None:
            ask_further("after", [example.after_update() for example in inputs.tested], finetuned, scene)
            notes += ask_following(finetuned, inputs, scene, log)
    run.write_facts(facts, notes)


def _default_out(identity: Mapping[str, str]) -> Path:
    return Workspace(DEFAULT).runs / fingerprint(dict(identity))[:8]


def _arms(model: str) -> tuple[str, ...]:
    """The arms that are asked, in this order: a remote model has no finetuned ones."""
    return (BASE, RETRIEVAL, EVIDENCE) if build.is_remote(model) else (BASE, FINETUNED, RETRIEVAL, BOTH, EVIDENCE)


def _asked_everything(
    run: Run, log: LineLog, inputs: Inputs, model: str, settings: CompareSettings, *moments: Moment
) -> bool:
    """Whether every arm was asked every question at these moments, under every training."""
    trained = [part.rows() for part in further_seeds(run, model, settings)]
    return asked_all(log, inputs.tested, _arms(model), *moments) and all(
        asked_all(further, inputs.tested, (FINETUNED, BOTH), *moments) for further in trained
    )
