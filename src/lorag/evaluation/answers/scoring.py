"""One arm's rows scored and summed up. Every number of a report but the differences between arms is made here."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from lorag.evaluation.answers.metrics import (
    LENIENT,
    STRICT,
    TEXT_METRICS,
    Correct,
    NewContentRecall,
    Refused,
    Style,
    StyleShare,
)
from lorag.evaluation.answers.own_metrics import Measuring, measured
from lorag.evaluation.answers.support.citations import citations, cites
from lorag.evaluation.answers.support.judge import Asked, Readings
from lorag.evaluation.answers.support.standing import Support, support, to_judge
from lorag.evaluation.examples import status_of
from lorag.evaluation.labels import METRIC_NAMES
from lorag.evaluation.results import BOTH, CEILINGS, EVIDENCE, LONG_CONTEXT, RETRIEVAL, ArmResult, ErrorSplit
from lorag.evaluation.row_log import Phase, Row
from lorag.evaluation.search.ranking_scores import retrieval_scores
from lorag.evaluation.statistics import Difference, Estimate, mean_interval, number_interval, paired_difference
from lorag.interfaces import Metric
from lorag.settings import VerdictSettings
from lorag.types import Answer, Chunk, Example

_TEXT_METRICS = (
    "correct",
    "right_and_supported",
    "unsupported",
    "citation_precision",
    "citation_recall",
    "correct_strict",
    "correct_lenient",
    "exact_match",
    "contains",
    "token_f1",
    "new_content_recall",
    "style",
)
_RETRIEVAL_METRICS = ("recall_at_5", "mrr_at_10", "evidence_in_prompt", "reference_in_prompt")

Select = Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class Scored:
    """The rows of one arm in one phase, in the order of the questions, with their scores.

    ``examples`` carry the references that hold in this phase; ``originals`` are the questions as read.
    """

    arm: str
    phase: Phase
    originals: tuple[Example, ...]
    examples: tuple[Example, ...]
    rows: tuple[Row, ...]
    scores: tuple[Mapping[str, float | None], ...]
    stale: tuple[float, ...]
    """1 for an answer with a reference from before the update and none from after it."""
    support: tuple[tuple[Support, ...], ...]
    """How passages stand to the claims of each answer."""

    def column(self, metric: str) -> list[float | None]:
        """The values of one metric, one for each question."""
        return [scores[metric] for scores in self.scores]

    def shares(self, metric: str) -> list[float]:
        """The values of one metric, 0 where it does not apply."""
        return [value or 0.0 for value in self.column(metric)]

    def graded(self, metric: str, grade: str) -> list[float]:
        """The values of ``correct`` or ``right_and_supported`` where a ``strict`` or ``lenient`` grade scores them."""
        right = self.shares(f"correct_{grade}")
        if metric == "correct":
            return right
        return [one * (1 - unsupported) for one, unsupported in zip(right, self.shares("unsupported"), strict=True)]


def score_rows(
    arm: str,
    phase: Phase,
    examples: Sequence[Example],
    rows: Sequence[Row],
    style: Style | None,
    searched: Mapping[str, Sequence[Chunk]] | None = None,
    readings: Readings | None = None,
    own: Mapping[str, Measuring] | None = None,
) -> Scored:
    """Scores ``rows``, one for each of ``examples`` in order, by the references that hold in ``phase``.

    An answer without passages of its own is checked against those that ``searched`` has for its question, if given.
    ``readings`` are a judge's, of claims that ``open_claims`` named. ``own`` are metrics of the user's own, which have
    no value for an answer that failed; raises ``InputError`` where one fails.
    """
    recall = NewContentRecall.fit(examples)
    current = tuple(example.after_update() if phase == "after" else example for example in examples)
    answers = [row.answer for row in rows]
    metrics: tuple[Metric, ...] = (
        Correct(recall),
        Correct(recall, STRICT),
        Correct(recall, LENIENT),
        *TEXT_METRICS,
        recall,
        Refused(),
        StyleShare(style),
    )
    scores: list[dict[str, float | None]] = [{} for _ in rows]
    for metric in metrics:
        for target, score in zip(scores, metric.score(current, answers), strict=True):
            target[score.metric] = score.value
    if arm in (RETRIEVAL, BOTH, EVIDENCE) or (arm != LONG_CONTEXT and any(answer.sources for answer in answers)):
        found = retrieval_scores(current, answers)
        for target, example, answer, values in zip(scores, current, answers, found, strict=True):
            applies = values["evidence_in_prompt"] is not None
            held = any(recall.holds(hit.chunk.text, example.question, example.answers) for hit in answer.sources)
            target.update({**values, "reference_in_prompt": float(held) if applies else None})
    claims = _claims(current, rows, searched, recall, readings)
    for target, example, answer, checked in zip(scores, current, answers, claims, strict=True):
        unsupported = float(any(claim.standing != "supported" for claim in checked))
        target["unsupported"] = unsupported if searched is not None else None
        target["right_and_supported"] = (target["correct"] or 0.0) * (1 - unsupported) if searched is not None else None
        target.update(_citation_scores(example, answer, recall))
        for name, function in (own or {}).items():
            failed = answer.error is not None
            target[name] = None if failed else measured(name, function, answer.text, example, f"the answer of {arm!r}")
    stale = tuple(
        float(
            answer.error is None
            and recall.is_right(answer.text, example.question, example.answers)
            and not recall.is_right(answer.text, example.question, example.after_update().answers)
        )
        for example, answer in zip(examples, answers, strict=True)
    )
    return Scored(arm, phase, tuple(examples), current, tuple(rows), tuple(scores), stale, tuple(claims))


def _claims(
    examples: Sequence[Example],
    rows: Sequence[Row],
    searched: Mapping[str, Sequence[Chunk]] | None,
    recall: NewContentRecall,
    readings: Readings | None,
) -> list[tuple[Support, ...]]:
    """How passages stand to each answer's claims; empty where no arm was given passages."""
    if searched is None:
        return [() for _ in rows]
    return [
        _support(row, example, searched[example.id], recall, readings)
        for example, row in zip(examples, rows, strict=True)
    ]


def _support(
    row: Row, example: Example, searched: Sequence[Chunk], recall: NewContentRecall, readings: Readings | None = None
) -> tuple[Support, ...]:
    checked = _checked(row.answer, example, searched, recall)
    return support(*checked, elsewhere=_elsewhere(row), readings=readings)


def _elsewhere(row: Row) -> list[Chunk]:
    return [hit.chunk for hit in row.found]


def is_supported(row: Row, example: Example, searched: Sequence[Chunk], recall: NewContentRecall) -> bool:
    """Whether passages support every claim of an answer, by rule; ``example`` has the references that hold."""
    return all(claim.standing == "supported" for claim in _support(row, example, searched, recall))


def open_claims(row: Row, example: Example, searched: Sequence[Chunk], recall: NewContentRecall) -> list[Asked]:
    """What a judge can be asked about an answer; ``example`` has the references that hold."""
    return to_judge(*_checked(row.answer, example, searched, recall), elsewhere=_elsewhere(row))


def _checked(
    answer: Answer, example: Example, searched: Sequence[Chunk], recall: NewContentRecall
) -> tuple[str, str, Sequence[Chunk], list[str]]:
    """The answer, its question and the passages of its prompt, or, where that had none, ``searched``.

    Last come the references that are taken as supported: those that it gives, and that a passage has.
    """
    passages = [hit.chunk for hit in answer.sources] or searched
    return answer.text, example.question, passages, _granted(answer, example, passages, recall)


def _citation_scores(example: Example, answer: Answer, recall: NewContentRecall) -> dict[str, float | None]:
    """How well an answer cites its sources; None where it cites none."""
    sources, cited = [hit.chunk for hit in answer.sources], None
    if sources and cites(answer.text):
        granted = _granted(answer, example, sources, recall)
        cited = citations(answer.text, example.question, sources, granted)
    return {
        "citation_precision": cited.precision if cited else None,
        "citation_recall": cited.recall if cited else None,
    }


def _granted(answer: Answer, example: Example, passages: Sequence[Chunk], recall: NewContentRecall) -> list[str]:
    """The references that an answer gives, and that a passage has."""
    return [
        reference
        for reference in example.answers
        if recall.is_right(answer.text, example.question, [reference])
        and any(recall.holds(passage.text, example.question, [reference]) for passage in passages)
    ]


def clusters(examples: Sequence[Example]) -> list[Hashable]:
    """The document each question belongs to: its first evidence document, or itself where it names none."""
    return [("document", e.evidence[0]) if e.evidence else ("question", e.id) for e in examples]


def summarise(scored: Scored, before: Scored | None, settings: VerdictSettings) -> ArmResult:
    """The arm's estimates and costs; ``before`` is the same arm before the update, for the collateral change."""
    answers = [row.answer for row in scored.rows]
    done = [answer.usage for answer in answers if answer.error is None]
    counted = done if any(usage.prompt_tokens for usage in done) else []  # an own arm may count none
    return ArmResult(
        arm=scored.arm,
        phase=scored.phase,
        questions=len(answers),
        estimates=_estimates(scored, settings),
        seconds=statistics.median(u.retrieve_seconds + u.generate_seconds for u in done) if done else None,
        prompt_tokens=statistics.fmean(u.prompt_tokens for u in counted) if counted else None,
        completion_tokens=statistics.fmean(u.completion_tokens for u in counted) if counted else None,
        errors=sum(answer.error is not None for answer in answers),
        truncated=sum(answer.truncated for answer in answers),
        error_split=_error_split(scored),
        collateral=None if before is None else _collateral(scored, before, settings),
    )


def _estimates(scored: Scored, settings: VerdictSettings) -> dict[str, Estimate]:
    """Every metric that applies to at least one question."""
    answerable = [bool(example.answers) for example in scored.examples]
    statuses = [status_of(example) for example in scored.originals]
    refused = [value or 0.0 for value in scored.column("refused")]
    answered = [float(not value and row.answer.error is None) for value, row in zip(refused, scored.rows, strict=True)]
    correct = scored.column("correct")
    own = [name for name in scored.scores[0] if name not in METRIC_NAMES and name != "refused"]
    estimates: dict[str, Estimate] = {}

    def add(name: str, values: Sequence[float | None], select: Select = lambda _: True) -> None:
        chosen = [i for i, value in enumerate(values) if value is not None and select(i)]
        if chosen:
            documents = clusters([scored.originals[i] for i in chosen])
            interval = number_interval if name in own else mean_interval
            estimates[name] = interval([values[i] or 0.0 for i in chosen], documents, settings)

    for metric in (*_TEXT_METRICS, *_RETRIEVAL_METRICS, *own):
        add(metric, [scores.get(metric) for scores in scored.scores])
    is_ceiling = scored.arm in CEILINGS  # measured where gold passages are known
    add("correct_answerable", correct, lambda i: answerable[i] and not (is_ceiling and not scored.examples[i].evidence))
    add("refusal_recall", refused, lambda i: not answerable[i])
    add("refusal_precision", [float(not known) for known in answerable], lambda i: refused[i] == 1.0)
    add("false_refusal", refused, lambda i: answerable[i] and scored.rows[i].answer.error is None)
    add("hallucination", answered, lambda i: not answerable[i])
    if scored.phase == "after":
        add("uptake", correct, lambda i: statuses[i] == "changed")
        add("stale", scored.stale, lambda i: statuses[i] == "changed")
        add("accuracy_new", correct, lambda i: statuses[i] == "new")
        add("accuracy_unchanged", correct, lambda i: statuses[i] == "unchanged")
    return estimates


def _error_split(scored: Scored) -> ErrorSplit | None:
    if "evidence_in_prompt" not in scored.scores[0]:
        return None
    counts = Counter((scores["evidence_in_prompt"], bool(scores["correct"])) for scores in scored.scores)
    return ErrorSplit(counts[1, True], counts[1, False], counts[0, True], counts[0, False])


def _collateral(after: Scored, before: Scored, settings: VerdictSettings) -> Difference | None:
    kept = [i for i, example in enumerate(after.originals) if status_of(example) == "unchanged"]
    if not kept:
        return None
    now, then = ([scored.column("correct")[i] or 0.0 for i in kept] for scored in (after, before))
    return paired_difference(now, then, clusters([after.originals[i] for i in kept]), settings)
