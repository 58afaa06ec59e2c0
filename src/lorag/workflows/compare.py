"""Compare: the same questions to the base model, a finetune, retrieval and both, and what the difference is worth.

One call reads everything and refuses what is wrong before any expensive work, indexes, trains, asks, and judges.
Every step leaves its result in the run folder, so that the same call resumes a run that was interrupted and asks
nothing twice. Of a remote model there are no weights to train, so finetuning is then not measured, and said not to be.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from lorag import build
from lorag.chat.bot import ChatBot
from lorag.documents.load import Loaded, load_documents
from lorag.errors import InputError
from lorag.evaluation.answers.gold_context import EvidenceRetriever
from lorag.evaluation.answers.style import Style, read_style
from lorag.evaluation.comparison import BASE, BOTH, EVIDENCE, FINETUNED, RETRIEVAL, Comparison, compare_rows
from lorag.evaluation.examples import check_evidence, read_examples, sample
from lorag.evaluation.report.html_page import write_report
from lorag.evaluation.report.json_record import result_json
from lorag.evaluation.row_log import Moment, Row
from lorag.evaluation.runner import ask, recorded_rows
from lorag.files import LineLog, fingerprint, write_whole
from lorag.interfaces import LanguageModel, Progress, Retriever, no_progress
from lorag.llm.engines.completion_cache import CachedModel
from lorag.llm.engines.transformers import TransformersModel
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import DEFAULT_EMBEDDER, CompareSettings, SyncSettings
from lorag.training.adapter import Adapter, read_adapter
from lorag.training.control_questions import MultipleChoice
from lorag.training.data.conversations import read_conversations
from lorag.training.loss_curve import loss_curve
from lorag.types import Completion, Conversation, Document, Example
from lorag.workflows.finetune import control_questions, train_adapter
from lorag.workflows.training_data import TrainingData, training_data
from lorag.workspace import DEFAULT, Run, Workspace

_NOT_TRAINED = (
    "Finetuning was not measured, alone or with retrieval: the weights of {} are not on this machine. Answers come from"
    " its server, which alone decides whether the same question gets the same answer again."
)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Everything the caller brought, read and checked."""

    documents: Sequence[Document]
    examples: list[Example]
    tested: list[Example]
    training: list[Conversation] | None
    update: Sequence[Document] | None
    notes: tuple[str, ...]
    style: Style | None
    control: list[MultipleChoice]

    @property
    def moments(self) -> tuple[Moment, ...]:
        """When questions are asked: before the update, and after it when there is one."""
        return ("before",) if self.update is None else ("before", "after")


@dataclass(frozen=True, slots=True)
class _Scene:
    """The scene of one comparison: its folder and index."""

    run: Run
    knowledge: Knowledge
    settings: CompareSettings
    progress: Progress


def compare(
    documents: Path | str,
    questions: Path | str,
    *,
    train: Path | str | None = None,
    update: Path | str | None = None,
    style: Path | str | None = None,
    control: Path | str | None = None,
    model: str | None = None,
    embedder: str = DEFAULT_EMBEDDER,
    out: Path | str | None = None,
    settings: CompareSettings | None = None,
    notes: Sequence[str] = (),
    progress: Progress = no_progress,
) -> Comparison:
    """The comparison of base, finetuned, retrieval and both on your documents and questions, with its verdict.

    ``documents`` and ``update`` are folders or ``docs.jsonl`` files, ``questions`` a ``qa.jsonl``, ``train`` a JSONL
    of conversations, ``style`` a JSON of declared checks, ``control`` a JSONL of multiple-choice questions that the
    model is asked before and after its training. The run, its rows, ``result.json`` and ``report.html`` lie in ``out``;
    the same call on the same folder resumes. ``notes`` are printed with the caveats.

    Raises ``InputError`` and its kind for anything wrong in what was given, before a model is loaded.
    """
    settings = settings or CompareSettings()
    if model is not None and build.is_remote(model):
        for what, given in {
            "the training data": train is not None,
            "the control questions": control is not None,
            "how to finetune": settings.finetune != CompareSettings().finetune,
        }.items():
            if given:
                raise InputError(f"{model} is a remote model and cannot be trained here; leave out {what}")
    inputs = _read(documents, questions, train, update, style, control, settings)
    name = build.model_name(model, progress)
    identity = _identity(inputs, name, embedder, settings)
    run = Run.open(Path(out) if out is not None else _default_out(identity), identity)
    log = run.rows()
    if not _asked_all(log, inputs.tested, _arms(name), *inputs.moments):
        _fill(log, inputs, run, name, embedder, settings, progress)
    rows = list(recorded_rows(log).values())
    made = run.read_facts()
    facts = {"run folder": str(run.folder), **made["facts"]}
    caveats = (*made["notes"], *_notes(inputs, settings), *notes)
    comparison = compare_rows(rows, inputs.tested, inputs.style, settings.verdict, facts, caveats)
    write_whole(run.result, result_json(comparison))
    write_report(comparison, run.report)
    return comparison


def _fill(
    log: LineLog,
    inputs: _Inputs,
    run: Run,
    model: str,
    embedder: str,
    settings: CompareSettings,
    progress: Progress,
) -> None:
    """Indexes, trains and asks until ``log`` holds every row; what is there already is kept."""
    remote = build.is_remote(model)
    engine = build.language_model(model) if remote else build.trainable_model(model, settings.finetune, progress)
    knowledge = build.knowledge(run.index, embedder, settings.chunks, settings.retrieval, progress)
    scene = _Scene(run, knowledge, settings, progress)
    if not _asked_all(log, inputs.tested, _arms(model), "before"):
        knowledge.sync(inputs.documents, progress)
    models = dict.fromkeys(_arms(model), CachedModel(engine))
    facts = _facts(inputs, model, embedder, settings)
    if isinstance(engine, TransformersModel):
        data, adapter = _adapter(inputs, scene, engine)
        finetuned = build.finetuned_model(engine, adapter)
        models |= dict.fromkeys((FINETUNED, BOTH), CachedModel(finetuned))
        facts |= _training_facts(engine, finetuned, adapter, settings)
        run.write_facts(facts, (data.origin, *_training_notes(adapter)))
    else:
        run.write_facts(facts, [_NOT_TRAINED.format(model)])
    _recall(models, log, settings)
    _ask("before", inputs.tested, models, scene, log)
    if inputs.update is not None:
        knowledge.sync(inputs.update, progress, settings=SyncSettings(max_removed_share=1))
        _ask("after", [example.after_update() for example in inputs.tested], models, scene, log)


def _read(
    documents: Path | str,
    questions: Path | str,
    train: Path | str | None,
    update: Path | str | None,
    style: Path | str | None,
    control: Path | str | None,
    settings: CompareSettings,
) -> _Inputs:
    """All files, read and checked against each other, before anything is built."""
    now = load_documents(documents).require_all()
    later = load_documents(update).require_all() if update is not None else None
    examples = read_examples(Path(questions))
    read = [now] if later is None else [now, later]
    check_evidence(examples, [document.id for each in read for document in each.documents], Path(questions))
    return _Inputs(
        documents=now.documents,
        examples=examples,
        tested=sample(examples, settings.limit, settings.seed),
        training=read_conversations(train) if train is not None else None,
        update=later.documents if later is not None else None,
        notes=tuple(dict.fromkeys(note for each in read for note in _document_notes(each))),
        style=read_style(Path(style)) if style is not None else None,
        control=control_questions(control, settings.finetune),
    )


def _identity(inputs: _Inputs, model: str, embedder: str, settings: CompareSettings) -> dict[str, str]:
    """Fingerprints of everything that decides the result; a run resumes only where all are the same."""

    def of_documents(documents: Sequence[Document] | None) -> str:
        return fingerprint([[d.id, d.version] for d in documents or ()])

    return {
        "documents": of_documents(inputs.documents),
        "questions": fingerprint([asdict(example) for example in inputs.examples]),
        "training data": fingerprint([asdict(conversation) for conversation in inputs.training or ()]),
        "update": of_documents(inputs.update),
        "style": fingerprint(asdict(inputs.style) if inputs.style else None),
        "model": model,
        "embedder": embedder,
        "settings": fingerprint({**asdict(settings), "verdict": None}),
        **({"control questions": fingerprint(list(map(asdict, inputs.control)))} if inputs.control else {}),
    }


def _default_out(identity: Mapping[str, str]) -> Path:
    return Workspace(DEFAULT).runs / fingerprint(dict(identity))[:8]


def _arms(model: str) -> tuple[str, ...]:
    """The arms that are asked, in this order: a remote model has no finetuned ones."""
    return (BASE, RETRIEVAL, EVIDENCE) if build.is_remote(model) else (BASE, FINETUNED, RETRIEVAL, BOTH, EVIDENCE)


def _asked_all(log: LineLog, examples: Sequence[Example], arms: Sequence[str], *moments: Moment) -> bool:
    recorded = recorded_rows(log)
    return all((moment, arm, example.id) in recorded for moment in moments for arm in arms for example in examples)


def _adapter(inputs: _Inputs, scene: _Scene, engine: TransformersModel) -> tuple[TrainingData, Adapter]:
    """The training conversations and the adapter trained on them, made now or found in the run folder."""
    run, settings = scene.run, scene.settings
    data = training_data(
        inputs.training,
        inputs.examples,
        inputs.tested,
        scene.knowledge,
        engine,
        run,
        settings,
        scene.progress,
    )
    if (run.adapter / "lorag.json").is_file():
        return data, read_adapter(run.adapter)
    return data, train_adapter(
        engine, data.conversations, run.adapter, settings.finetune, scene.progress, inputs.control
    )


def _recall(models: Mapping[str, CachedModel], log: LineLog, settings: CompareSettings) -> None:
    """Lets the model behind each arm know what it has answered."""
    for row in recorded_rows(log).values():
        if row.answer.error is None and row.answer.prompt:  # the gate answers without one
            models[row.arm].remember(row.answer.prompt, settings.chat.sampling, _completion(row))


def _completion(row: Row) -> Completion:
    usage = row.answer.usage
    finish = "length" if row.answer.truncated else "stop"
    return Completion(
        row.answer.text,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.generate_seconds,
        finish,  # type: ignore[arg-type]
        usage.prefill_seconds,
    )


def _ask(
    moment: Moment,
    examples: Sequence[Example],
    models: Mapping[str, LanguageModel],
    scene: _Scene,
    log: LineLog,
) -> None:
    """Asks every arm at one moment: the same questions, the same prompts, other knowledge."""
    evidence = EvidenceRetriever(scene.knowledge.chunks(), examples)
    retrievers: dict[str, Retriever | None] = {
        BASE: None,
        FINETUNED: None,
        RETRIEVAL: scene.knowledge,
        BOTH: scene.knowledge,
        EVIDENCE: evidence,
    }
    for arm, model in models.items():
        retriever = retrievers[arm]
        gated = scene.settings.retrieval.leaves_out and retriever is scene.knowledge
        bot = ChatBot(model, retriever, scene.settings.chat, scene.settings.retrieval.k, gated=gated)
        ask(arm, bot, examples, moment, log, scene.settings.slice_size, scene.progress)


def _facts(inputs: _Inputs, model: str, embedder: str, settings: CompareSettings) -> dict[str, str]:
    """What one needs to know to repeat the run."""
    packages = ("lorag", "torch", "transformers", "peft", "lancedb", "onnxruntime")
    return {
        "model": f"{model} (greedy decoding, at most {settings.chat.sampling.max_tokens} tokens)",
        "embedder": embedder,
        "documents": f"{len(inputs.documents)}" + (f", {len(inputs.update)} after the update" if inputs.update else ""),
        "questions": f"{len(inputs.tested)} asked of {len(inputs.examples)}",
        "context": f"up to {settings.chat.context_tokens} tokens of passages of at most {settings.chunks.max_tokens}",
        "seeds": f"sample {settings.seed}, training {settings.finetune.seed}, bootstrap {settings.verdict.seed}",
        "versions": ", ".join(f"{name} {version(name)}" for name in packages),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def _training_facts(
    engine: TransformersModel, finetuned: TransformersModel, adapter: Adapter, settings: CompareSettings
) -> dict[str, str]:
    other = "" if finetuned.dtype == engine.dtype else f", those that were trained in {finetuned.dtype}"
    return {
        "weights": f"{engine.dtype}{other}",
        "finetuning": f"{adapter.conversations} conversations, {adapter.steps} steps,"
        f" {adapter.seconds / 60:.1f} minutes",
        "training loss": loss_curve(adapter.loss_curve),
        "method": str(settings.finetune),
        "served": adapter.served,
        "forgetting": str(adapter.forgetting or "not measured"),
    }


def _training_notes(adapter: Adapter) -> list[str]:
    notes = ["One adapter was trained, with one seed; another seed gives a somewhat different finetuned arm."]
    if adapter.too_long:
        limit = adapter.settings["max_tokens"]
        notes.append(f"{adapter.too_long} conversations longer than {limit} tokens were not trained on.")
    return notes


def _document_notes(loaded: Loaded) -> list[str]:
    """What a verdict over these documents does not know of them."""
    notes = [f"Of the documents, {note}." for note in loaded.notes]
    if loaded.passed_over:
        notes.append(f"Files of other kinds were passed over: {', '.join(loaded.passed_over)}.")
    return notes


def _notes(inputs: _Inputs, settings: CompareSettings) -> list[str]:
    """Caveats that follow from what was asked for."""
    notes = list(inputs.notes)
    if len(inputs.tested) < len(inputs.examples):
        notes.append(
            f"{len(inputs.tested)} of {len(inputs.examples)} questions were asked: a fixed pseudo-random sample"
            " (--limit); more questions give narrower intervals."
        )
    if inputs.style is not None:
        notes.append("The declared style was not asked for in any prompt: an arm keeps it only if training taught it.")
    return notes
