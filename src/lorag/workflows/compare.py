"""Compare: the same questions to the base model, a finetune, retrieval and both, and what the difference is worth.

One call reads everything and refuses what is wrong before any expensive work, indexes, trains, asks, and judges.
Every step leaves its result in the run folder, so that the same call resumes a run that was interrupted and asks
nothing twice. A finetune may come from elsewhere, served beside its base or as an adapter; of a remote model without
one there is nothing to train, so finetuning is then not measured, and said not to be.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lorag import build
from lorag.chat.kept_prompt import KeptPrompt
from lorag.chat.own_responder import Answering
from lorag.errors import DataError, InputError
from lorag.evaluation.answers.own_metrics import Measuring
from lorag.evaluation.answers.support.judging import readings_of, unusable_note
from lorag.evaluation.comparison import (
    BASE,
    BOTH,
    EVIDENCE,
    FINETUNED,
    RETRIEVAL,
    Comparison,
    claims_to_judge,
    compare_rows,
)
from lorag.evaluation.cost.price_list import Prices, read_prices
from lorag.evaluation.marks.review import with_marks
from lorag.evaluation.report.html_page import write_report
from lorag.evaluation.report.json_record import result_json
from lorag.evaluation.requirements import read_requirements
from lorag.evaluation.results import ARMS, LONG_CONTEXT, compared
from lorag.evaluation.row_log import Phase, RowLog
from lorag.evaluation.runner import ask
from lorag.files import fingerprint, full_disk_errors, write_whole
from lorag.interfaces import LanguageModel, Progress, Responder, no_progress
from lorag.llm.engines.ledger import Ledger
from lorag.llm.engines.openai import RemoteModel
from lorag.models import catalogue, naming
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import (
    DEFAULT_EMBEDDER,
    CompareSettings,
    SyncSettings,
)
from lorag.workflows.comparing.arm_prompts import Trial, trial_of
from lorag.workflows.comparing.asking import Arm, Scene, ask_arms, asked_all, recall, rows_before, time_alone
from lorag.workflows.comparing.brought_arms import BroughtFinetune, brought_finetune, unchanged
from lorag.workflows.comparing.facts import built, run_facts, run_options
from lorag.workflows.comparing.finetuned import NOT_FINETUNED, Finetuned, ask_following, ask_further, train_finetuned
from lorag.workflows.comparing.inputs import Inputs, identity_of, input_notes, read_inputs
from lorag.workflows.comparing.long_context import ask_long_context, long_context_arm
from lorag.workflows.comparing.prompt_trials import WITHOUT_SOURCES, Prompting
from lorag.workflows.comparing.training_data import TrainingData, own_conversations
from lorag.workflows.finetuning.brought import Brought, read_brought
from lorag.workflows.on_ray.answering import Workers, workers
from lorag.workspace import DEFAULT, Chosen, Run, Workspace

_NOT_TRAINED = (
    f"{NOT_FINETUNED} the weights of {{}} are not on this machine. Answers come from its server, which may answer the"
    " same question differently when it is asked again."
)


@dataclass(frozen=True, slots=True)
class _Job:
    """What is compared, under which settings, and the run that keeps it."""

    inputs: Inputs
    run: Run
    log: RowLog
    """What has been answered."""
    further: dict[Run, RowLog]
    """As in ``Scene``."""
    model: str
    """The full name of the base."""
    embedder: str
    settings: CompareSettings
    progress: Progress

    @property
    def is_remote(self) -> bool:
        """Whether a server answers for the base, so that it cannot be trained here."""
        return build.is_remote(self.model)


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
    finetuned: str | None = None,
    adapter: Path | str | None = None,
    arms: Mapping[str, Answering | Responder] | None = None,
    metrics: Mapping[str, Measuring] | None = None,
    embedder: str = DEFAULT_EMBEDDER,
    out: Path | str | None = None,
    settings: CompareSettings | None = None,
    prices: Path | str | None = None,
    against: Path | str | None = None,
    notes: Sequence[str] = (),
    judge: str | None = None,
    ray: str | None = None,
    progress: Progress = no_progress,
    show: Callable[[Comparison], None] | None = None,
) -> Comparison:
    """The comparison of base, finetuned, retrieval and both on your documents and questions, with its verdict.

    The run lies in ``out``: its options, rows, ``result.json`` and ``report.html``. The same call on the same folder
    resumes it, and asks nothing twice.

    Args:
        documents: A folder, or a ``docs.jsonl``.
        questions: A ``qa.jsonl``, as ``read_examples`` reads it.
        train: A JSONL of conversations to train on. None: other wordings of the questions, or conversations made from
            the documents.
        update: The documents after a change; every question is asked again after it.
        train_update: A JSONL of conversations about what the update changed.
        style: A JSON file of declared checks of style.
        control: A JSONL of multiple-choice questions that the model is asked before and after its training.
        prompt: The prompt of every arm. None chooses one for each arm, on questions that are not tested.
        model: The base, as in ``language_model``; None takes the default.
        finetuned: The name of a finetune that is served, as its base ``model`` is. Nothing is trained then.
        adapter: The folder of an adapter, of Lorag or in PEFT's format. Nothing is trained then.
        arms: Arms of your own by name: functions from questions to answers, judged by the same rule.
        metrics: Metrics of your own by name: functions from the text of an answer and its ``Example`` to a number, or
            None where the metric does not apply. They are measured for every arm, and do not decide the verdict.
        embedder: The name of the embedder.
        out: The folder of the run. None: one of its own below ``.lorag/runs``.
        settings: How many questions, and how to search, train, ask and judge.
        prices: A TOML file of what tokens and machines cost.
        against: The folder of another run; what models were asked there in the same way is taken from it.
        notes: Caveats of your own, printed with the others.
        judge: The name of a model that judges claims of answers beside the rule.
        ray: The address of a Ray cluster whose machines answer for a local model and its finetunes, or ``local``.
        progress: Called as the work proceeds, with a stage and how much of it is done.
        show: Called with the first results, before the training begins.

    Returns:
        Scores of every arm with their intervals, the differences between arms, and the verdict: where people marked
        answers of the run and the metric cannot be relied on, the one by marks.

    Raises:
        InputError: Anything wrong in what was given, before a model is loaded.
        RunMismatchError: ``out`` holds a run of other questions, documents or settings.
        BudgetError: The tokens that servers may be asked for are spent; the same call with more of them resumes.

    Examples:
        >>> result = lorag.compare("docs", "qa.jsonl", out="run")
        >>> print(result.verdict.sentence)
        >>> print({name: arm.accuracy.mean for name, arm in result.at("before").items()})
    """
    given: dict[str, object] = {"documents": documents, "questions": questions, "train": train, "update": update}
    given |= {"train-update": train_update, "style": style, "control": control, "model": model, "finetuned": finetuned}
    given |= {"adapter": adapter, "embedder": None if embedder == DEFAULT_EMBEDDER else embedder}
    given |= {"prices": prices, "against": against, "judge": judge}
    wanted = settings = settings or CompareSettings()
    brought = read_brought(finetuned, adapter)
    _require_sensible(settings, update, model, judge, ray)
    model = brought.base(model) if brought is not None else model
    _require_trainable(model, brought, settings, train is not None or train_update is not None, control is not None)
    if prompt is not None:
        settings = replace(settings, prompt_questions=0, chat=prompt.applied(settings.chat))
    inputs = read_inputs(
        documents, questions, train, update, style, control, settings, prompt, train_update, brought, arms, metrics
    )
    priced = read_prices(Path(prices), compared((*ARMS, *inputs.own))) if prices is not None else None
    name = build.model_name(model, progress)
    embedder = catalogue.available_embedder(embedder, {}, progress)
    if brought is not None:
        brought.require_base(name, progress)
    judge = _ready_judge(judge, settings, progress) if judge is not None else None
    settings = _with_pinned_reranker(settings, progress)
    identity = identity_of(inputs, name, embedder, settings)
    folder, earlier = Path(out) if out is not None else _default_out(identity), Path(against) if against else None
    run = Run.open(folder, identity, earlier)
    with full_disk_errors(folder), run.writing():
        _write_options(run, given, wanted, prompt, {"arms": arms, "metrics": metrics, "notes": notes})
        parts = [] if build.is_remote(name) else run.further(settings.seeds)
        further = {part: RowLog(part.rows) for part in parts}
        job = _Job(inputs, run, RowLog(run.rows), further, name, embedder, settings, progress)
        if not (run.has_facts and _asked_everything(job, *inputs.phases)):
            here = _printing_here(show) if show is not None and ray is not None else show
            with nullcontext() if ray is None else workers(ray) as on_cluster:
                _fill(job, here, on_cluster)
    return _compared(job, judge, priced, notes)


def _printing_here(show: Callable[[Comparison], object]) -> Callable[[Comparison], object]:
    """``show``, which prints where this call does: while a cluster is there, the standard output is Ray's."""
    here = sys.stdout

    def shown(first: Comparison) -> object:
        with redirect_stdout(here):
            return show(first)

    return shown


def _write_options(
    run: Run,
    given: Mapping[str, object],
    wanted: CompareSettings,
    prompt: KeptPrompt | None,
    beside: Mapping[str, object],
) -> None:
    """Writes the options of ``lorag compare`` that repeat the run, with the prompt as a file of its own."""
    if prompt is not None:
        write_whole(run.given_prompt, json.dumps(prompt.to_json(), indent=2))
        given = {**given, "prompt": run.given_prompt}
    without = [name for name, value in beside.items() if value]
    try:
        chosen = Workspace().chosen()
    except DataError:  # this call does not need that file, and the command refuses it
        chosen = Chosen()
    write_whole(run.options, run_options(given, wanted, chosen, without))


def _with_pinned_reranker(settings: CompareSettings, progress: Progress) -> CompareSettings:
    """``settings`` with the commit of a hub's reranker, so that a resumed run reads by the same weights."""
    if settings.retrieval.reranker is None:
        return settings
    name = naming.pinned(settings.retrieval.reranker, "reranker", progress)
    return replace(settings, retrieval=replace(settings.retrieval, reranker=name))


def _compared(job: _Job, judge: str | None, prices: Prices | None, notes: Sequence[str]) -> Comparison:
    """The comparison of everything that the run has recorded, written into it; marks of people may decide it."""
    run, inputs = job.run, job.inputs
    made = run.read_facts()
    repeat = f"lorag compare --config {shlex.quote(str(run.options))} --out NEW_FOLDER"
    facts = {"run folder": str(run.folder), "to repeat": repeat, **made["facts"]}
    caveats = [*made["notes"], *input_notes(inputs), *notes]
    tested = {example.id for example in inputs.tested}  # of many questions, earlier versions asked all
    further = [[row for row in log.rows.values() if row.example_id in tested] for log in job.further.values()]
    rows = [row for row in job.log.rows.values() if row.example_id in tested]
    readings = None
    if judge is not None:
        asked = claims_to_judge([*rows, *(row for part in further for row in part)], inputs.tested)
        readings = readings_of(judge, asked, run.judged(), partial(_judge, judge, job), job.progress)
        facts["judge"] = f"{judge}, asked about {len(asked)} claims"
        caveats += unusable_note(judge, asked, len(asked) - len(readings))
    told = (facts, caveats, run.tried(), run.update_seconds(), further, readings, inputs.metrics, run.waits())
    comparison = compare_rows(rows, inputs.tested, inputs.style, job.settings.verdict, *told)
    comparison = replace(
        comparison, built=built(run, inputs), prices=prices, folder=run.folder, not_finetuned=made.get("not_finetuned")
    )
    write_whole(run.result, result_json(comparison))
    standing = with_marks(comparison, run.folder)
    write_report(standing, run.report)
    return standing


def _ready_judge(judge: str, settings: CompareSettings, progress: Progress) -> str:
    """The judge's full name, once its weights are here or its server was reached; raises as loading it would."""
    name = build.model_name(judge, progress)
    if build.is_remote(name):
        RemoteModel(name, settings.remote).require_reachable()
    else:
        naming.resolve(name, "llm", progress)
    return name


def _judge(name: str, job: _Job) -> LanguageModel:
    if not build.is_remote(name):
        return build.language_model(name, progress=job.progress)
    remote, log = job.settings.remote, job.run.asked() if job.is_remote else job.run.asked_judge()
    return RemoteModel(name, remote, Ledger(log, remote.max_cost_tokens))


def _require_sensible(
    settings: CompareSettings, update: Path | str | None, model: str | None, judge: str | None, ray: str | None
) -> None:
    """Raises ``InputError`` for a requirement that only an update lets be measured, where there is none.

    And for a limit of what servers are asked, where none is, for thoughts that are to be shown, and for a cluster that
    nothing is asked on.
    """
    if settings.chat.sampling.thinking == "shown":
        raise InputError("thoughts are never part of an answer that is scored; expected thinking off or hidden")
    if ray is not None and model is not None and build.is_remote(model):
        raise InputError(
            f"a Ray cluster answers for models without a server of their own, and {model} has one; leave out ray"
        )
    served = any(name is not None and build.is_remote(name) for name in (model, judge))
    if settings.remote.max_cost_tokens is not None and not served:
        raise InputError("max_cost_tokens limits the tokens on servers, and no server is used; leave it out")
    for requirement in read_requirements(settings.verdict.require):
        if requirement.needs_update and update is None:
            missing = "can only be measured after an update; give the updated documents with --update"
            raise InputError(f"{requirement} {missing}")


def _require_trainable(
    model: str | None, brought: Brought | None, settings: CompareSettings, data: bool, control: bool
) -> None:
    """Raises ``InputError`` where something is given for a training, and nothing is trained."""
    remote = model is not None and build.is_remote(model)
    if not remote and brought is None:
        return
    reason = f"{model} is a remote model and cannot be trained here" if remote else f"{brought} is not trained further"
    for what, given in {
        "the training data": data,
        "the control questions": control,
        "how to finetune": settings.finetune != CompareSettings().finetune,
        "the further seeds": brought is not None and (settings.seeds or 1) > 1,
    }.items():
        if given:
            raise InputError(f"{reason}; leave out {what}")


def _fill(job: _Job, show: Callable[[Comparison], object] | None, on_cluster: Workers | None) -> None:
    """Indexes, asks and trains until the log holds every row; finished rows are kept.

    Base, retrieval and the base with gold passages come first: they need no training, and ``show`` gets what they say.
    """
    inputs, run, settings, progress = job.inputs, job.run, job.settings, job.progress
    ledger = Ledger(run.asked(), settings.remote.max_cost_tokens, run.asked_earlier())
    engine, elsewhere = _models(job, ledger)
    knowledge = build.knowledge(run.index, job.embedder, settings.chunks, settings.retrieval, progress)
    kept = None if job.is_remote else ledger
    scene = Scene(run, job.log, knowledge, settings, progress, kept, job.further, on_cluster)
    if not _asked_everything(job, "before"):
        _index(job, knowledge)
    own = own_conversations(inputs.training, inputs.examples, inputs.tested, settings.chat.response_template)
    trial = trial_of(own, inputs, scene, engine)
    base = scene.cached(engine)
    base_prompt = trial.prompting("base", WITHOUT_SOURCES, base, None)
    reader = trial.reader("retrieval", base, trial.retrieval(base))
    arms = {BASE: Arm(base, base_prompt), RETRIEVAL: reader, EVIDENCE: reader}
    facts = run_facts(inputs, job.model, job.embedder, settings)
    if on_cluster is not None:
        facts["cluster"] = f"asked by the last call, with {on_cluster.count} workers"
    facts |= {"prompt of base": str(base_prompt.choice), "prompt of retrieval": str(reader.prompting)}
    recall(arms, scene)
    ask_arms("before", inputs.tested, arms, scene)
    if show is not None and inputs.brought is None and not job.is_remote:
        first = rows_before(job.log, arms)
        told = (settings.verdict, {"run folder": str(run.folder), **facts}, inputs.notes)
        shown = compare_rows(first, inputs.tested, inputs.style, *told, own=inputs.metrics)
        show(replace(shown, folder=run.folder))
    tuned = _finetune(own, inputs, elsewhere, reader.prompting, trial, engine)
    notes = [*trial.notes, *([tuned] if isinstance(tuned, str) else tuned.notes)]
    if not isinstance(tuned, str):
        arms |= tuned.arms
        facts |= tuned.facts
        recall(arms, scene)
    long_context, beside = long_context_arm(engine, reader.prompting, scene) if settings.long_context else None, {}
    for phase in inputs.phases:
        if phase == "after":
            _update(job, knowledge)
        ask_arms(phase, inputs.asked(phase), arms, scene)
        if long_context is not None:
            facts[LONG_CONTEXT], caveats = ask_long_context(phase, inputs, long_context, scene)
            notes += caveats
            beside = {} if caveats else {LONG_CONTEXT: long_context}
        if isinstance(tuned, Finetuned):
            ask_further(phase, inputs.asked(phase), tuned, trial)
    if isinstance(tuned, Finetuned) and inputs.update is not None:
        notes += ask_following(tuned, inputs, scene)
    time_alone(inputs.asked(last := inputs.phases[-1]), arms | beside, scene)
    for name, responder in inputs.own.items():
        asking = (inputs.asked(last), last, job.log, settings.slice_size, progress, knowledge)
        ask(name, responder, *asking, keeps_failed=False)
    if isinstance(tuned, BroughtFinetune):
        notes += unchanged(job.log.rows.values())
    run.write_facts(facts, notes, tuned if isinstance(tuned, str) else None)


def _finetune(
    own: TrainingData | None,
    inputs: Inputs,
    elsewhere: LanguageModel | None,
    retrieval: Prompting,
    trial: Trial,
    engine: LanguageModel,
) -> Finetuned | BroughtFinetune | str:
    """The finetune: the one that was made ``elsewhere``, or one trained here; a note where there is none."""
    if inputs.brought is not None and elsewhere is not None:
        return brought_finetune(inputs.brought, elsewhere, engine.name, retrieval, trial)
    if build.is_remote(engine.name):
        return _NOT_TRAINED.format(engine.name)
    return train_finetuned(own, inputs, retrieval, trial, engine)


def _models(job: _Job, ledger: Ledger) -> tuple[LanguageModel, LanguageModel | None]:
    """The base, and the finetune where it was made elsewhere: loaded, or found to be served, before anything is asked.

    The base of what is trained here has the dtype of its method.
    """
    brought, settings = job.inputs.brought, job.settings
    trained = brought.trained if brought is not None else None
    if not job.is_remote:
        method = trained.method if trained is not None else settings.finetune.method
        finetune = replace(settings.finetune, method=method)  # type: ignore[arg-type]
        base = build.trainable_model(job.model, finetune, job.progress)
        job.run.write_built({"weights_bytes": base.weight_bytes})
        return base, brought.on(base) if brought is not None else None
    served = [RemoteModel(name, settings.remote, ledger) for name in (job.model, brought and brought.served) if name]
    for each in served:
        each.require_reachable()
    return served[0], served[1] if brought is not None else None


def _index(job: _Job, knowledge: Knowledge) -> None:
    """Brings the index to the documents as they are, and notes what that took."""
    begun = time.perf_counter()
    knowledge.sync(job.inputs.documents, job.progress)
    job.run.write_built({"index_seconds": time.perf_counter() - begun})


def _update(job: _Job, knowledge: Knowledge) -> None:
    """Brings the index up to date with the changed documents, and notes what that took."""
    begun = time.perf_counter()
    knowledge.sync(job.inputs.update or (), job.progress, settings=SyncSettings(max_removed_share=1))
    job.run.write_update_seconds({RETRIEVAL: time.perf_counter() - begun})


def _default_out(identity: Mapping[str, str]) -> Path:
    return Workspace(DEFAULT).runs / fingerprint(dict(identity))[:8]


def _asked_everything(job: _Job, *phases: Phase) -> bool:
    """Whether every arm was asked every question in these phases, under every training."""
    run, log, inputs = job.run, job.log, job.inputs
    # What earlier versions did not ask, such as the ceiling of the finetune, is not asked for again.
    is_tuned = inputs.brought is not None or not (job.is_remote or run.teaches_nothing)
    tuned = (FINETUNED, BOTH) if is_tuned else ()
    own = [phase for phase in phases if phase == inputs.phases[-1]]
    return (
        asked_all(log, inputs.tested, (BASE, RETRIEVAL, EVIDENCE, *tuned), *phases)
        and asked_all(log, inputs.tested, tuple(inputs.own), *own)
        and (not job.settings.long_context or (run.has_facts and LONG_CONTEXT in run.read_facts()["facts"]))
        and all(asked_all(part, inputs.tested, tuned, *phases) for part in job.further.values())
    )
