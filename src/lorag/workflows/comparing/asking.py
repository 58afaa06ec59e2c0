"""Asks the arms of a comparison; what a run has recorded is not asked again."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from lorag.chat.bot import ChatBot
from lorag.evaluation.answers.gold_context import EvidenceRetriever
from lorag.evaluation.results import BOTH, CEILINGS, EVIDENCE, FINETUNED_EVIDENCE, LONG_CONTEXT, RETRIEVAL
from lorag.evaluation.row_log import Phase, Row, RowLog
from lorag.evaluation.runner import ask
from lorag.files import draw, fingerprint
from lorag.interfaces import LanguageModel, Progress, Retriever
from lorag.llm.engines.completion_cache import CachedModel, Generate
from lorag.llm.engines.ledger import Ledger
from lorag.llm.engines.transformers import TransformersModel
from lorag.retrieval.knowledge import Knowledge
from lorag.retrieval.whole_index import ALL_TOKENS, WholeIndex
from lorag.settings import CompareSettings
from lorag.types import Completion, Example, LinearProbe
from lorag.workflows.comparing.prompt_trials import Prompting
from lorag.workflows.on_ray.answering import Workers
from lorag.workspace import Run

_FEWEST_ALONE, _MOST_ALONE, _SECONDS_ALONE = 5, 20, 20.0
"""Questions that each arm answers one by one: the fewest and the most, and the seconds after which it is done."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What every stage of a comparison shares: where it lies, what it searches in, and how it is set."""

    run: Run
    log: RowLog
    """What has been answered."""
    knowledge: Knowledge
    settings: CompareSettings
    progress: Progress
    ledger: Ledger | None = None
    """Keeps what models on this machine answer; of servers the engine keeps it."""
    further: dict[Run, RowLog] = field(default_factory=dict)
    """The parts of the run for trainings with other seeds, and what has been answered under each. More are added where
    the first training leaves room for them."""
    workers: Workers | None = None
    """Those of a cluster that answer for the models of this process."""

    def cached(self, model: LanguageModel, generate: Generate | None = None) -> CachedModel:
        """``model``, asked nothing that is kept: by ``generate``, or else on the cluster, where there is one."""
        probe: LinearProbe | None = getattr(model, "probe", None)
        read = "" if probe is None else f" {fingerprint(asdict(probe))}"
        identity = f"{model.name} {getattr(model, 'dtype', '')}{read}"
        if generate is None and self.workers is not None and isinstance(model, TransformersModel):
            return CachedModel(model, self.ledger, identity, self.workers.generating(model), self.workers.count)
        return CachedModel(model, self.ledger, identity, generate)


@dataclass(frozen=True, slots=True)
class Arm:
    """A model and how it is asked."""

    model: CachedModel
    prompting: Prompting


def recall(arms: Mapping[str, Arm], scene: Scene) -> None:
    """Lets the model behind each arm know what it has answered."""
    if scene.settings.chat.sampling.thinking != "off":
        return  # rows hold answers without the thoughts before them; whole ones are in the ledger
    for row in scene.log.rows.values():
        if row.arm in arms and row.answer.error is None and row.answer.prompt:  # the gate answers without one
            arms[row.arm].model.remember(row.answer.prompt, scene.settings.chat.sampling, _completion(row))


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


def ask_arms(phase: Phase, examples: Sequence[Example], arms: Mapping[str, Arm], scene: Scene) -> None:
    """Asks the arms in one phase: the same questions, each arm in the prompt that suits it best."""
    for name, bot in _bots(examples, arms, scene).items():
        size = arms[name].model.workers * scene.settings.slice_size
        ask(name, bot, examples, phase, scene.log, size, scene.progress, scene.knowledge)


def _bots(examples: Sequence[Example], arms: Mapping[str, Arm], scene: Scene) -> dict[str, ChatBot]:
    chunks = scene.knowledge.chunks()
    gold = EvidenceRetriever(chunks, examples, scene.knowledge)
    retrievers: dict[str, Retriever | None] = {
        RETRIEVAL: scene.knowledge,
        BOTH: scene.knowledge,
        EVIDENCE: gold,
        FINETUNED_EVIDENCE: gold,
        LONG_CONTEXT: WholeIndex(chunks),
    }
    bots = {}
    for name, arm in arms.items():
        retriever, settings = retrievers.get(name), scene.settings
        if name == LONG_CONTEXT:
            settings = replace(settings, chat=replace(settings.chat, context_tokens=ALL_TOKENS))
        gated = settings.retrieval.leaves_out and retriever is scene.knowledge
        bots[name] = arm.prompting.bot(arm.model, retriever, settings, gated)
    return bots


def time_alone(examples: Sequence[Example], arms: Mapping[str, Arm], scene: Scene) -> None:
    """Measures how long one user waits: each arm that runs on this machine answers some questions one by one.

    Answers are streamed as an assistant's are, not taken from a batch or from the ledger. The first one is not counted:
    it computes what all share, such as the keys of worked examples. What a run has measured is not measured again.
    """
    questions = [each.question for each in sorted(examples, key=lambda each: draw(f"alone {each.id}"))][:_MOST_ALONE]
    left = {
        name: arm
        for name, arm in arms.items()
        if name not in (*CEILINGS, *scene.run.waits()) and isinstance(arm.model.model, TransformersModel)
    }
    for done, (name, bot) in enumerate(_bots(examples, left, scene).items() if left else (), 1):
        begun, waits = time.perf_counter(), list[tuple[float, float]]()
        _wait(bot, questions[0])
        for question in questions:
            waits.append(_wait(bot, question))
            if len(waits) >= _FEWEST_ALONE and time.perf_counter() - begun > _SECONDS_ALONE:
                break
        scene.run.write_waits({name: waits})
        scene.progress("timing single answers", done, len(left))


def _wait(bot: ChatBot, question: str) -> tuple[float, float]:
    """Seconds to the first piece of the answer and to its end."""
    begun = time.perf_counter()
    pieces = [time.perf_counter() for _ in bot.reply(question)]
    end = time.perf_counter()
    return (pieces[0] if pieces else end) - begun, end - begun


def asked_all(log: RowLog, examples: Sequence[Example], arms: Sequence[str], *phases: Phase) -> bool:
    """Whether these arms were asked all of these questions in these phases."""
    return all((phase, arm, example.id) in log.rows for phase in phases for arm in arms for example in examples)


def rows_before(log: RowLog, arms: Collection[str]) -> list[Row]:
    """What these arms answered before an update."""
    return [row for row in log.rows.values() if row.arm in arms and row.phase == "before"]
