"""What the tables of a report hold, the same in Markdown and HTML: text only, "–" where nothing was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields

from lorag.evaluation.labels import METRIC_NAMES, number, p_value, plain, points, share, span, whole_percent
from lorag.evaluation.results import CONTINUED, FINETUNED, RETRAINED, RETRIEVAL, ArmResult, Comparison, ErrorSplit
from lorag.evaluation.row_log import Phase

NOTHING = "–"
"""Stands where a metric does not apply."""
_HEADLINE = (
    "correct",
    "right_and_supported",
    "unsupported",
    "hallucination",
    "false_refusal",
    "style",
    "uptake",
    "stale",
    "accuracy_new",
    "evidence_in_prompt",
)
"""The metrics of the arms' table, before the user's own; the others are in ``measures``."""

_FOLLOWED = ("uptake", "stale", "accuracy_new")
_WAYS = {
    RETRIEVAL: "retrieval, new index",
    FINETUNED: "finetuned, as it was",
    CONTINUED: "finetuned, continued",
    RETRAINED: "finetuned, retrained",
}


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and rows of equal length; the first cell of a row is its heading."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def arms_table(comparison: Comparison, phase: Phase) -> Table:
    """One row an arm: the headline metrics measured in ``phase``, with intervals, then seconds and tokens."""
    arms = comparison.at(phase)
    metrics = _with_own(_HEADLINE, arms)
    return Table(
        ("arm", *(METRIC_NAMES[metric] for metric in metrics), "seconds", "prompt tokens"),
        tuple((name, *(_estimate(arm, metric) for metric in metrics), *_costs(arm)) for name, arm in arms.items()),
    )


def _measured(metrics: Iterable[str], arms: Mapping[str, ArmResult]) -> list[str]:
    """The metrics that apply to one arm at least."""
    return [metric for metric in metrics if any(metric in arm.estimates for arm in arms.values())]


def _with_own(metrics: Iterable[str], arms: Mapping[str, ArmResult]) -> list[str]:
    """The same, and after them the user's own."""
    own = dict.fromkeys(m for arm in arms.values() for m in arm.estimates if m not in METRIC_NAMES)
    return [*_measured(metrics, arms), *own]


def _estimate(arm: ArmResult, metric: str) -> str:
    if metric not in arm.estimates:
        return NOTHING
    return (share if metric in METRIC_NAMES else plain)(arm.estimates[metric])


def _costs(arm: ArmResult) -> tuple[str, str]:
    seconds = NOTHING if arm.seconds is None else f"{arm.seconds:.2f}"
    return seconds, NOTHING if arm.prompt_tokens is None else f"{arm.prompt_tokens:.0f}"


def narrow_table(comparison: Comparison, phase: Phase) -> Table:
    """The arms' table turned, for a terminal: one row a headline metric, one column an arm, whole percents."""
    arms = comparison.at(phase)
    rows = [
        (METRIC_NAMES[metric], *(_whole(arm, metric) for arm in arms.values())) for metric in _with_own(_HEADLINE, arms)
    ]
    costs = [_costs(arm) for arm in arms.values()]
    rows += [("seconds", *(cost[0] for cost in costs)), ("prompt tokens", *(cost[1] for cost in costs))]
    return Table(("%", *arms), tuple(rows))


def _whole(arm: ArmResult, metric: str) -> str:
    if metric not in arm.estimates:
        return NOTHING
    return (whole_percent if metric in METRIC_NAMES else plain)(arm.estimates[metric])


def update_table(comparison: Comparison, *, narrow: bool = False) -> Table:
    """One row a way of following the update: its seconds, what it took up, and what that cost unchanged facts.

    ``narrow`` is for a terminal: whole percents.
    """
    arms = comparison.updated
    metrics = _measured(_FOLLOWED, arms)
    cell = _whole if narrow else _estimate
    headings = ("%" if narrow else "", "seconds", *(METRIC_NAMES[metric] for metric in metrics), "unchanged: change")
    return Table(
        headings,
        tuple(
            (
                _WAYS[name],
                NOTHING if arm.update_seconds is None else f"{arm.update_seconds:.0f}",
                *(cell(arm, metric) for metric in metrics),
                _change(arm, narrow),
            )
            for name, arm in arms.items()
        ),
    )


def _change(arm: ArmResult, narrow: bool) -> str:
    """What happened to unchanged questions, in points."""
    if arm.collateral is None:
        return NOTHING
    if not narrow:
        return points(arm.collateral)
    mean, interval = arm.collateral.mean, arm.collateral.interval
    return f"{100 * mean:+.0f} ({100 * interval.low:+.0f} to {100 * interval.high:+.0f})"


def measures_table(comparison: Comparison, phase: Phase) -> Table:
    """One row a measure, one column an arm: every estimate with its interval and number of questions."""
    arms = comparison.at(phase)
    rows = [
        (METRIC_NAMES[metric], *(_counted(arm, metric) for arm in arms.values()))
        for metric in _with_own(METRIC_NAMES, arms)
    ]
    costs: Mapping[str, list[str]] = {
        "median seconds per question": [_costs(arm)[0] for arm in arms.values()],
        "mean prompt tokens": [_costs(arm)[1] for arm in arms.values()],
        "mean answer tokens": [
            NOTHING if arm.completion_tokens is None else f"{arm.completion_tokens:.1f}" for arm in arms.values()
        ],
        "failed questions": [str(arm.errors) for arm in arms.values()],
        "answers cut": [str(arm.truncated) for arm in arms.values()],
    }
    if any(arm.collateral is not None for arm in arms.values()):
        rows.append(
            (
                "unchanged: after minus before",
                *(NOTHING if arm.collateral is None else points(arm.collateral) for arm in arms.values()),
            )
        )
    return Table(("measure", *arms), (*rows, *((name, *cells) for name, cells in costs.items())))


def _counted(arm: ArmResult, metric: str) -> str:
    return f"{_estimate(arm, metric)}, n {arm.estimates[metric].n}" if metric in arm.estimates else NOTHING


def differences_table(comparison: Comparison, phase: Phase) -> Table:
    """One row a pair of arms: the difference in percentage points, its interval, and both p-values."""
    rows = tuple(
        (
            f"{pair.first} minus {pair.second}"
            + ("" if pair.metric == "correct" else f" ({METRIC_NAMES[pair.metric]})"),
            number(pair.difference.mean, signed=True),
            span(pair.difference.interval, signed=True),
            f"{pair.difference.discordant} of {pair.difference.n}",
            p_value(pair.difference.p_value),
            NOTHING if pair.metric == "style" else p_value(pair.adjusted_p),
        )
        for pair in comparison.differences
        if pair.phase == phase
    )
    return Table(("arms", "points", "interval", "questions that differ", "p", "p (Holm)"), rows)


def split_table(comparison: Comparison, phase: Phase) -> Table:
    """One row an arm that retrieves: questions by whether an evidence document was retrieved and the answer right."""
    rows = tuple(
        (name, *map(str, astuple(arm.error_split)))
        for name, arm in comparison.at(phase).items()
        if arm.error_split is not None
    )
    return Table(("arm", *(kind.name.replace("_", ", ") for kind in fields(ErrorSplit))), rows)
