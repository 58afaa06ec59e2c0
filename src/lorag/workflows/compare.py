"""Compare: the same questions to the base model, a finetune, retrieval and both, and what the difference is worth.

One call reads everything and refuses what is wrong before any expensive work, indexes, trains, asks, and judges.
Every step leaves its result in the run folder, so that the same call resumes a run that was interrupted and asks
nothing twice. Of a remote model there are no weights to train, so finetuning is then not measured, and said not to be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lorag import build
from lorag.chat.kept_prompt import KeptPrompt
from lorag.errors import InputError
from lorag.evaluation.answers.gold_context import EvidenceRetriever
from lorag.evaluation.comparison import (
    BASE,
    BOTH,
    EVIDENCE,
    FINETUNED,
    FINETUNED_EVIDENCE,
    RETRIEVAL,
    Comparison,
    compare_rows,
)
from lorag.evaluation.report.html_page import write_report
from lorag.evaluation.report.json_record import result_json
from lorag.evaluation.requirements import read_requirements
from lorag.evaluation.row_log import Moment, Row
from lorag.evaluation.runner import ask, recorded_rows
from lorag.files import LineLog, draw, fingerprint, write_whole
from lorag.interfaces import LanguageModel, Progress, Retriever, no_progress
from lorag.llm.engines.completion_cache import CachedModel
from lorag.llm.engines.transformers import TransformersModel
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import (
    DEFAULT_EMBEDDER,
    CompareSettings,
    PromptSettings,
    SyncSettings,
)
from lorag.training.adapter import Adapter, read_adapter
from lorag.training.data.conversations import write_conversations
from lorag.training.recipe import Recipe
from lorag.types import Completion, Conversation, Example, Message
from lorag.workflows.comparing.facts import recipe_notes, run_facts, training_facts, training_notes
from lorag.workflows.comparing.following import UPDATE_SHARE, First, follow
from lorag.workflows.comparing.inputs import Inputs, identity_of, input_notes, read_inputs
from lorag.workflows.comparing.prompt_trials import (
    WITHOUT_SOURCES,
    Prompting,
    Shown,
    chosen_prompt,
    trials,
    worked_examples,
)
from lorag.workflows.comparing.scene import Scene
from lorag.workflows.comparing.sourced import with_sources, within
from lorag.workflows.comparing.training_data import (
    TrainingData,
    affordable_wordings,
    brought,
    held_out,
    own_conversations,
    synthesised_conversations,
    training_data,
    widened,
)
from lorag.workflows.finetuning.adapter_training import train_adapter
from lorag.workflows.recipe_search import Probe, Training, attached, probes_of, train_best
from lorag.workspace import DEFAULT, Run, Workspace

_NOT_TRAINED = (
    "Finetuning was not measured, alone or with retrieval: the weights of {} are not on this machine. Answers come from"
    " its server, which alone decides whether the same question gets the same answer again."
)
_MOST_LOOKED_AT = 400
"""Conversations among which worked examples are looked for."""


@dataclass(frozen=True, slots=True)
class _Arm:
    """A model and how it is asked."""

    model: CachedModel
    prompting: Prompting


@dataclass(frozen=True, slots=True)
class _Finetuned:
    """The finetune of a comparison and its arms."""

    engine: TransformersModel
    model: TransformersModel
    """What was trained of ``engine``."""
    arms: dict[str, _Arm]
    facts: dict[str, str]
    notes: list[str]
    first: First | None
    """How it was made; None where the training was set by hand, so that nothing follows an update."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """What the prompt of each arm is chosen by."""

    shown: Shown
    questions: list[Example]
    scene: Scene

    def prompting(
        self, arm: str, candidates: Sequence[PromptSettings], model: LanguageModel, knowledge: Knowledge | None
    ) -> Prompting:
        """The prompt of an arm, chosen among ``candidates``; the one set by hand where none is to be chosen."""
        settings = self.scene.settings
        given = candidates if settings.prompt_questions else (settings.chat.prompt,)
        gated = settings.retrieval.leaves_out and knowledge is not None
        return chosen_prompt(
            arm,
            given,
            self.shown,
            self.questions,
            lambda prompting: prompting.bot(model, knowledge, settings, gated),
            self.scene.run.prompts / f"{arm}.json",
            self.scene.progress,
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
    is that of every arm; without one it is chosen for each.
    The run, its rows, ``result.json`` and ``report.html`` lie in ``out``; the same call on the same folder resumes.
    ``notes`` are printed with the caveats. ``show`` is called with the first results, of everything that needs no
    training, before the training begins.

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
    if not (run.is_told and _asked_all(log, inputs.tested, _arms(name), *inputs.moments)):
        _fill(log, inputs, run, name, embedder, settings, progress, show)
    rows = list(recorded_rows(log).values())
    made = run.read_facts()
    facts = {"run folder": str(run.folder), **made["facts"]}
    caveats = (*made["notes"], *input_notes(inputs, settings), *notes)
    told = (facts, caveats, run.tried(), run.update_seconds())
    comparison = compare_rows(rows, inputs.tested, inputs.style, settings.verdict, *told)
    write_whole(run.result, result_json(comparison))
    write_report(comparison, run.report)
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
    """Indexes, asks and trains until ``log`` holds every row; what is there already is kept.

    Base, retrieval and the base with gold passages come first: they need no training, and ``show`` gets what they say.
    """
    remote = build.is_remote(model)
    engine = build.language_model(model) if remote else build.trainable_model(model, settings.finetune, progress)
    knowledge = build.knowledge(run.index, embedder, settings.chunks, settings.retrieval, progress)
    scene = Scene(run, knowledge, settings, progress)
    if not _asked_all(log, inputs.tested, _arms(model), "before"):
        knowledge.sync(inputs.documents, progress)
    own = own_conversations(inputs.training, inputs.examples, inputs.tested, settings.chat.response_template)
    trial = _trial(own, inputs, scene, engine)
    base = CachedModel(engine)
    base_prompt = trial.prompting("base", WITHOUT_SOURCES, base, None)
    retrieval_prompt = trial.prompting("retrieval", trial.shown.preferred, base, knowledge)
    arms = {
        BASE: _Arm(base, base_prompt),
        RETRIEVAL: _Arm(base, retrieval_prompt),
        EVIDENCE: _Arm(base, retrieval_prompt),
    }
    facts = run_facts(inputs, model, embedder, settings)
    facts |= {"prompt of base": str(base_prompt.choice), "prompt of retrieval": str(retrieval_prompt.choice)}
    _recall(arms, log, settings)
    _ask("before", inputs.tested, arms, scene, log)
    if show is not None and not remote:
        show(compare_rows(_rows_of(log, arms), inputs.tested, inputs.style, settings.verdict, facts, inputs.notes))
    finetuned = _finetuned(own, inputs, retrieval_prompt, trial, engine) if not remote else None
    if finetuned is not None:
        arms |= finetuned.arms
        facts |= finetuned.facts
        _recall(arms, log, settings)
        _ask("before", inputs.tested, arms, scene, log)
    notes = [_NOT_TRAINED.format(model)] if finetuned is None else finetuned.notes
    if inputs.update is not None:
        begun = time.perf_counter()
        knowledge.sync(inputs.update, progress, settings=SyncSettings(max_removed_share=1))
        run.write_update_seconds({RETRIEVAL: time.perf_counter() - begun})
        _ask("after", [example.after_update() for example in inputs.tested], arms, scene, log)
        if finetuned is not None and finetuned.first is not None:
            notes += _followed(finetuned, finetuned.first, inputs, scene, log)
    run.write_facts(facts, notes)


def _finetuned(
    own: TrainingData | None, inputs: Inputs, retrieval: Prompting, trial: _Trial, engine: LanguageModel
) -> _Finetuned:
    """The finetune of a comparison, trained now or found in its run, and the prompts of its arms."""
    scene = trial.scene
    if not isinstance(engine, TransformersModel):
        raise TypeError(f"{engine.name} has no weights to train")
    trained = _trained_prompt(retrieval, scene.settings)
    data, adapter, recipe = _adapter(own, inputs, trained, trial, engine)
    model = build.finetuned_model(engine, adapter)
    cached = CachedModel(model)
    forms = (trained, replace(trained, examples=retrieval.choice.prompt.examples or 3))
    alone = trial.prompting("finetuned", forms, cached, None)
    both = trial.prompting("both", forms, cached, scene.knowledge)
    facts = {"prompt of finetuned": str(alone.choice), "prompt of both": str(both.choice)}
    facts |= training_facts(engine, model, adapter, scene.settings, recipe)
    return _Finetuned(
        engine,
        model,
        # The ceiling before the last arm: a run with every row of that is whole, as those without this ceiling are.
        {FINETUNED: _Arm(cached, alone), FINETUNED_EVIDENCE: _Arm(cached, both), BOTH: _Arm(cached, both)},
        facts,
        [data.origin, *training_notes(adapter), *recipe_notes(recipe)],
        First(brought(scene.run, own), adapter, recipe, trained) if recipe is not None else None,
    )


def _followed(finetuned: _Finetuned, first: First, inputs: Inputs, scene: Scene, log: LineLog) -> Sequence[str]:
    """Asks the finetunes that follow the update, without sources; what is to be told of them."""
    if finetuned.model.adapter is not None:
        finetuned.engine.weights.detach(finetuned.model.adapter)
    followed = follow(first, inputs, finetuned.engine, scene)
    examples = [example.after_update() for example in inputs.tested]
    for name, adapter in followed.adapters.items():
        with attached(finetuned.engine, adapter) as model:
            arms = {name: _Arm(CachedModel(model), finetuned.arms[FINETUNED].prompting)}
            _recall(arms, log, scene.settings)
            _ask("after", examples, arms, scene, log)
    scene.run.write_update_seconds({name: adapter.seconds for name, adapter in followed.adapters.items()})
    return followed.notes


def _trial(own: TrainingData | None, inputs: Inputs, scene: Scene, engine: LanguageModel) -> _Trial:
    """What prompts are chosen by: worked examples, and questions that are not tested."""
    settings = scene.settings
    conversations = sorted(own.conversations if own else (), key=lambda c: (c.is_text, draw(f"trial {c.question}")))
    fit = within(engine.count_tokens, settings.chat.context_tokens)
    refusal = settings.chat.response_template
    sourced = with_sources(conversations[:_MOST_LOOKED_AT], scene.knowledge, settings.retrieval.k, fit, refusal)
    shown = worked_examples(sourced, inputs.tested, refusal)
    if inputs.prompt is not None:
        shown = replace(shown, given=inputs.prompt.examples)
    recipe = settings.recipe
    limit = settings.prompt_questions or (recipe.probed_facts if recipe else 0)  # the recipe is chosen on them as well
    return _Trial(shown, trials(inputs.examples, inputs.tested, sourced, shown, limit), scene)


def _trained_prompt(retrieval: Prompting, settings: CompareSettings) -> PromptSettings:
    """What the finetuned arms are trained under: the prompt of retrieval without examples.

    A refusal is offered, so that it is learned, unless the prompt was set by hand.
    """
    prompt = replace(retrieval.choice.prompt, examples=0, refused_example=False)
    return replace(prompt, offer_refusal=True) if settings.prompt_questions else prompt


def _default_out(identity: Mapping[str, str]) -> Path:
    return Workspace(DEFAULT).runs / fingerprint(dict(identity))[:8]


def _arms(model: str) -> tuple[str, ...]:
    """The arms that are asked, in this order: a remote model has no finetuned ones."""
    return (BASE, RETRIEVAL, EVIDENCE) if build.is_remote(model) else (BASE, FINETUNED, RETRIEVAL, BOTH, EVIDENCE)


def _asked_all(log: LineLog, examples: Sequence[Example], arms: Sequence[str], *moments: Moment) -> bool:
    recorded = recorded_rows(log)
    return all((moment, arm, example.id) in recorded for moment in moments for arm in arms for example in examples)


def _adapter(
    own: TrainingData | None,
    inputs: Inputs,
    prompt: PromptSettings,
    trial: _Trial,
    engine: TransformersModel,
) -> tuple[TrainingData, Adapter, Recipe | None]:
    """The training conversations, the adapter trained on them and how it was chosen; made now or found in the run."""
    scene = trial.scene
    run, settings, progress = scene.run, scene.settings, scene.progress
    recipe = settings.recipe
    if recipe is not None and inputs.update is not None:
        recipe = replace(recipe, minutes=recipe.minutes * (1 - UPDATE_SHARE))
    if not run.training_facts.is_file():
        own = own or synthesised_conversations(scene.knowledge, engine, inputs.tested, run, progress)
        write_conversations(run.brought, own.conversations)
        if recipe is not None:
            own = widened(own, affordable_wordings(own, prompt, engine, settings, recipe), inputs.tested)
            own = held_out(own, {example.question for example in trial.questions})
    data = training_data(own or TrainingData((), ""), scene.knowledge, engine, prompt, run, settings)
    if recipe is not None:
        trained = {conversation.question for conversation in data.conversations}
        probes = probes_of(_probes(trial, trained, scene, engine), prompt, settings)
        shared = (run.adapter, settings.finetune, recipe, inputs.control, progress)
        return data, *train_best(Training(engine, data.conversations, probes, *shared))
    if (run.adapter / "lorag.json").is_file():
        return data, read_adapter(run.adapter), None
    given = (run.adapter, settings.finetune, progress, inputs.control)
    return data, train_adapter(engine, data.conversations, *given, prompt=prompt), None


def _probes(trial: _Trial, trained: Collection[str], scene: Scene, engine: LanguageModel) -> list[Probe]:
    """The questions of the trial that have an answer and are not trained on, with passages that hold the answer."""
    settings, refusal = scene.settings, scene.settings.chat.response_template
    untrained = [example for example in trial.questions if example.question not in trained]
    asked = {example.question: example for example in untrained if example.answers and example.evidence}
    conversations = [
        Conversation((Message("user", question), Message("assistant", example.answers[0])), example.evidence)
        for question, example in asked.items()
    ]
    fit = within(engine.count_tokens, settings.chat.context_tokens)
    found = with_sources(conversations, scene.knowledge, settings.retrieval.k, fit, refusal)
    return [Probe(asked[each.conversation.question], each.sources) for each in found]


def _rows_of(log: LineLog, arms: Collection[str]) -> list[Row]:
    return [row for row in recorded_rows(log).values() if row.arm in arms and row.moment == "before"]


def _recall(arms: Mapping[str, _Arm], log: LineLog, settings: CompareSettings) -> None:
    """Lets the model behind each arm know what it has answered."""
    for row in recorded_rows(log).values():
        if row.arm in arms and row.answer.error is None and row.answer.prompt:  # the gate answers without one
            arms[row.arm].model.remember(row.answer.prompt, settings.chat.sampling, _completion(row))


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


def _ask(moment: Moment, examples: Sequence[Example], arms: Mapping[str, _Arm], scene: Scene, log: LineLog) -> None:
    """Asks the arms at one moment: the same questions, each arm in the prompt that suits it best."""
    gold = EvidenceRetriever(scene.knowledge.chunks(), examples)
    retrievers: dict[str, Retriever | None] = {
        RETRIEVAL: scene.knowledge,
        BOTH: scene.knowledge,
        EVIDENCE: gold,
        FINETUNED_EVIDENCE: gold,
    }
    for name, arm in arms.items():
        retriever = retrievers.get(name)
        gated = scene.settings.retrieval.leaves_out and retriever is scene.knowledge
        bot = arm.prompting.bot(arm.model, retriever, scene.settings, gated)
        ask(name, bot, examples, moment, log, scene.settings.slice_size, scene.progress)
