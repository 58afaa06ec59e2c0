"""What a comparison finds: arms, differences between them, and a verdict. Plain values; nothing here computes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from lorag.evaluation.answers.support.standing import Support
from lorag.evaluation.cost.price_list import Prices
from lorag.evaluation.row_log import Phase, Row
from lorag.evaluation.statistics import Difference, Estimate
from lorag.settings import VerdictSettings
from lorag.types import Example

BASE = "base"
FINETUNED = "finetuned"
RETRIEVAL = "retrieval"
BOTH = "both"
LONG_CONTEXT = "long context"
"""The base model with all documents in its prompt; measured on request, where they fit."""
EVIDENCE = "base with gold passages"
"""The ceiling: the base model with passages of the evidence documents in its prompt."""
FINETUNED_EVIDENCE = "finetuned with gold passages"
"""The ceiling of the finetuned model."""
CEILINGS = (EVIDENCE, FINETUNED_EVIDENCE)
"""What is measured to judge the other arms by, and never chosen."""
CONTINUED = "continued"
"""The finetune, trained further on what the update changed; asked after it, without sources."""
RETRAINED = "retrained"
"""A finetune from the base on what holds after the update; asked after it, without sources."""

ARMS = (BASE, FINETUNED, RETRIEVAL, BOTH, LONG_CONTEXT)
"""The arms of Lorag that are compared, in the order of tables. An arm of any other name is the user's own."""
FOLLOWING = (CONTINUED, RETRAINED)
"""How a finetune follows an update. They stand in a table of their own, and the verdict does not choose among them."""
COST_ORDER = (RETRIEVAL, LONG_CONTEXT, FINETUNED, BOTH)
"""The arms of Lorag that may be chosen, cheapest to build and keep up to date first.

A long context is built as quickly as an index and follows every update, but each question pays for all documents.
"""


def own_arms(arms: Iterable[str]) -> list[str]:
    """Those of ``arms`` that are the user's own, by name."""
    return sorted({*arms} - {*ARMS, *CEILINGS, *FOLLOWING})


def compared(arms: Iterable[str]) -> list[str]:
    """Those of ``arms`` that are compared, in the order of tables: without ceilings and what follows an update."""
    present = set(arms)
    return [*(arm for arm in ARMS if arm in present), *own_arms(present)]


def candidates(arms: Iterable[str]) -> list[str]:
    """Those of ``arms`` that may be chosen, cheapest first.

    The user's own come last: what they cost is not known here, so they are chosen only for a gain that is shown.
    """
    present = set(arms)
    return [*(arm for arm in COST_ORDER if arm in present), *own_arms(present)]


def pairs(arms: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs of ``arms`` that are compared: every candidate with the base, then costlier ones with cheaper ones.

    Differences are first minus second.
    """
    present = set(arms)
    chosen = candidates(present)
    with_base = [(arm, BASE) for arm in chosen] if BASE in present else []
    return with_base + [(second, first) for first, second in combinations(chosen, 2)]


Choice = str
"""An arm by its name in ``CHOSEN_ARMS``, or by its own where it is the user's; else "neither" or "undecided"."""
CHOSEN_ARMS: Mapping[Choice, str] = {
    "retrieval": RETRIEVAL,
    "long context": LONG_CONTEXT,
    "finetuning": FINETUNED,
    "both": BOTH,
}
"""The arm of Lorag that a verdict recommends."""
NO_ARM = ("neither", "undecided")
"""Choices that recommend none."""
TRAINED = (FINETUNED, BOTH)
"""The arms that may be chosen and take a training."""


@dataclass(frozen=True, slots=True)
class ErrorSplit:
    """Numbers of answerable questions with evidence.

    By whether a passage of an evidence document was in the prompt, and whether the answer was right.
    """

    retrieved_right: int
    retrieved_wrong: int
    missed_right: int
    missed_wrong: int


@dataclass(frozen=True, slots=True)
class Latency:
    """The seconds that one user waits, measured on questions asked one after another."""

    questions: int
    first_token: float
    """Median seconds to the first token, the search included."""
    first_token_p95: float
    answer: float
    """Median seconds to the end of the answer."""
    answer_p95: float


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One arm in one phase. A metric that applied to no question is missing from ``estimates``, never zero.

    Names in ``estimates``, each a share of the questions it applies to:
    ``correct`` (all questions), ``correct_strict`` and ``correct_lenient`` (the same by a stricter and a more lenient
    comparison), ``correct_answerable``, ``exact_match``, ``contains``, ``token_f1``, ``new_content_recall``, ``style``;
    ``unsupported`` (answers with a claim that passages do not support) and ``right_and_supported``, where any arm had
    passages; where answers cite their sources, ``citation_precision`` (citations whose passage supports their sentence)
    and ``citation_recall`` (sentences supported by what they cite), means over the answers that cite;
    ``refusal_recall`` (refused of unanswerable), ``refusal_precision`` (unanswerable of refused),
    ``false_refusal`` (refused of answerable), ``hallucination`` (answered of unanswerable);
    ``recall_at_5``, ``mrr_at_10``, ``evidence_in_prompt`` (a passage of an evidence document), ``reference_in_prompt``
    (a passage that holds a reference), for arms that retrieve, over answerable questions with evidence;
    after an update ``uptake`` (changed questions right by the new references), ``stale`` (changed questions
    answered with an old reference and no new one), ``accuracy_new``, ``accuracy_unchanged``.
    A metric of the user's own has its name, and the mean of what it gave.
    """

    arm: str
    phase: Phase
    questions: int
    estimates: Mapping[str, Estimate]
    seconds: float | None
    """Median seconds of search and generation per question, without failed answers; None if all failed. Where
    questions are answered in batches, the seconds of a question are its share of its batch."""
    prompt_tokens: float | None
    """Mean over answers that did not fail; None if none were counted, as for an arm of your own."""
    completion_tokens: float | None
    """As ``prompt_tokens``."""
    errors: int
    """Number of questions without an answer; each counts as wrong."""
    truncated: int
    """Number of answers cut at the token limit."""
    error_split: ErrorSplit | None = None
    """Errors of search and of answers; None for arms that do not retrieve."""
    collateral: Difference | None = None
    """On unchanged questions: accuracy after the update minus accuracy before it; for a finetune that follows the
    update, minus that of the first finetune."""
    update_seconds: float | None = None
    """Seconds to bring the arm up to date; None if nothing was done, or it was not measured."""
    seconds_p95: float | None = None
    """95th percentile of the same seconds."""
    latency: Latency | None = None
    """In the last phase, for models on this machine; None if it was not measured."""
    trainings: tuple[float, ...] = ()
    """Share right after each training, by the measure that decides; empty with one training."""
    over_trainings: Mapping[str, float] = field(default_factory=dict)
    """Mean of each estimate over several trainings, which requirements are compared with; empty with one."""

    @property
    def waits(self) -> tuple[float | None, float | None]:
        """Median and 95th percentile of the seconds to a whole answer: for one user if measured, else in a batch."""
        if self.latency is not None:
            return self.latency.answer, self.latency.answer_p95
        return self.seconds, self.seconds_p95

    @property
    def accuracy(self) -> Estimate:
        """The estimate of ``correct``."""
        return self.estimates["correct"]


@dataclass(frozen=True, slots=True)
class ArmDifference:
    """``first`` minus ``second`` in ``metric``; ``adjusted_p`` is Holm's over the pairs of this phase and metric."""

    metric: str
    phase: Phase
    first: str
    second: str
    difference: Difference
    adjusted_p: float


Term = Literal[
    "Certainty",
    "Requirements",
    "External knowledge",
    "Ceiling",
    "Trainings",
    "Dynamic data",
    "Customisation",
    "Support",
    "Refusals",
    "Warning",
    "Note",
    "Marks",
]
"""What a reason is about. A warning speaks against the verdict, a note limits it."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A sentence under a verdict."""

    term: Term
    text: str

    def __str__(self) -> str:
        return f"{self.term}: {self.text}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The recommended way to give a model knowledge, with reasons."""

    choice: Choice
    sentence: str
    """The verdict in at most 25 words."""
    reasons: tuple[Reason, ...]
    bottleneck: str | None = None
    """``"model or metric"`` if few answers are right even with gold passages."""
    more_questions: tuple[int, int] | None = None
    """If undecided, the range of further questions that would settle it; None if questions would not help."""
    cheapest: Choice | None = None
    """If undecided between arms, the cheapest one that is clearly better than the base model."""
    depends_on_scoring: bool = False
    """Whether it is undecided because strict or lenient scoring gives another choice; marks by people can then
    decide."""
    these_documents_only: bool = False
    """Whether the questions come from too few documents to generalise to others."""


@dataclass(frozen=True, slots=True)
class Built:
    """Cost of building the arms; None if unknown, as in runs of earlier versions."""

    index_seconds: float | None = None
    """Seconds to index the documents before the update; for an interrupted run, those after the interruption."""
    training_seconds: float | None = None
    """Seconds of all trainings for the first finetune, including those that chose its recipe."""
    index_bytes: int | None = None
    weights_bytes: int | None = None
    """Size of the base model in memory."""
    finetuned_bytes: int | None = None
    """Size of the finetuned model in memory."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A finished comparison, with every row from which it was computed."""

    arms: tuple[ArmResult, ...]
    """Every arm in every phase."""
    differences: tuple[ArmDifference, ...]
    """Differences between the compared arms, in each metric that can decide."""
    verdict: Verdict
    """The recommended arm, with reasons."""
    facts: Mapping[str, str]
    """Models, settings, versions and counts that are needed to trust or repeat the run."""
    notes: tuple[str, ...]
    """Notes that limit the results."""
    settings: VerdictSettings
    """The settings of the verdict's rule."""
    examples: tuple[Example, ...]
    """The questions as read; references after an update are in ``answers_after``."""
    rows: tuple[Row, ...]
    """All answers, ordered by phase, arm and question."""
    scores: tuple[Mapping[str, float | None], ...]
    """For each of ``rows``, values by metric; None if a metric does not apply."""
    support: tuple[tuple[Support, ...], ...]
    """For each of ``rows``, whether passages support the claims of the answer; empty if it makes none."""
    tried: Mapping[str, Any] = field(default_factory=dict)
    """What was tried before the comparison, as JSON objects: ``prompts`` by arm, and the ``recipe`` of the finetune."""
    built: Built = field(default_factory=Built)
    """Cost of building the arms."""
    prices: Prices | None = None
    """Your prices; None if none were given."""
    not_finetuned: str | None = None
    """The note that gives the reason why no finetuned arm was measured; None if one was, or an earlier version ran."""
    folder: Path = field(default=Path(), compare=False)
    """Folder of the run with its ``report.html`` and ``result.json``, where it was written or read."""

    @property
    def warnings(self) -> list[Reason]:
        """Reasons that speak against the verdict, those based on marks by people, and why nothing was finetuned."""
        shown = [reason for reason in self.verdict.reasons if reason.term in ("Marks", "Warning")]
        return shown if self.not_finetuned is None else [*shown, Reason("Note", self.not_finetuned)]

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases that were measured, in order."""
        present = {arm.phase for arm in self.arms}
        phases: tuple[Phase, ...] = ("before", "after")
        return tuple(phase for phase in phases if phase in present)

    def at(self, phase: Phase) -> dict[str, ArmResult]:
        """The arms measured in ``phase`` by name, in the order of tables, the ceiling last.

        Args:
            phase: ``before`` or ``after`` the update of the documents.

        Returns:
            One result for each arm, without those that follow an update.
        """
        return {arm.arm: arm for arm in self.arms if arm.phase == phase and arm.arm not in FOLLOWING}

    @property
    def updated(self) -> dict[str, ArmResult]:
        """Results after an update by arm: retrieval, the first finetune, and the finetunes that follow the update;
        empty without one.
        """
        after = {arm.arm: arm for arm in self.arms if arm.phase == "after"}
        return {name: after[name] for name in (RETRIEVAL, FINETUNED, *FOLLOWING) if name in after}
