"""The first table of a report: what one wants of an assistant against the arms, each with a mark and a number."""

from __future__ import annotations

from dataclasses import dataclass

from lorag.evaluation.cost.arm_costs import arm_costs
from lorag.evaluation.labels import whole_percent
from lorag.evaluation.report.result_tables import NOTHING, Table
from lorag.evaluation.results import BOTH, TRAINED, ArmResult, Comparison, compared
from lorag.evaluation.statistics import Estimate, Interval
from lorag.settings import RecipeSettings

AMONG_THE_BEST, BEHIND = "✓", "✗"
LEGEND = "✓ the best arm, or one whose interval holds the best value; ✗ behind it."
"""What the marks mean. It is for looking at; what decides is the test of every pair."""
_MOST_FORGETTING = RecipeSettings().most_forgetting
"""Nats per token of general text: more is marked."""


@dataclass(frozen=True, slots=True)
class _Factor:
    """A row: an estimate of each arm, of which more is better, or less where ``inverted``."""

    name: str
    metric: str
    inverted: bool = False


_FACTORS = (
    _Factor("knows the facts", "correct_answerable"),
    _Factor("right and supported", "right_and_supported"),
    _Factor("follows changes", "uptake"),
    _Factor("keeps the style", "style"),
    _Factor("refuses when it should", "refusal_recall"),
    _Factor("answers when it can", "false_refusal", inverted=True),
)


def factor_table(comparison: Comparison) -> Table:
    """One row a factor that was measured in the last phase, one column an arm; percent, seconds and minutes."""
    last = comparison.at(comparison.phases[-1])
    arms = {name: last[name] for name in compared(last)}
    rows = [_marked(factor, arms) for factor in _FACTORS if any(factor.metric in a.estimates for a in arms.values())]
    rows += [row for row in (_forgetting(comparison, arms), _building(comparison)) if row is not None]
    alone = " for one user" if any(arm.latency for arm in arms.values()) else ""
    rows.append((f"seconds{alone}: median, p95", *(_latency(arm) for arm in arms.values())))
    return Table(("", *arms), tuple(rows))


def _marked(factor: _Factor, arms: dict[str, ArmResult]) -> tuple[str, ...]:
    found = {name: _value(factor, arm) for name, arm in arms.items()}
    best = max(value.mean for value in found.values() if value is not None)
    return (factor.name, *(NOTHING if each is None else _cell(each, best) for each in found.values()))


def _value(factor: _Factor, arm: ArmResult) -> Estimate | None:
    given = arm.estimates.get(factor.metric)
    if given is None or not factor.inverted:
        return given
    interval = Interval(1 - given.interval.high, 1 - given.interval.low)
    return Estimate(1 - given.mean, interval, given.n)


def _cell(value: Estimate, best: float) -> str:
    mark = AMONG_THE_BEST if value.interval.high >= best else BEHIND
    return f"{mark} {whole_percent(value)}"


def _forgetting(comparison: Comparison, arms: dict[str, ArmResult]) -> tuple[str, ...] | None:
    """What general text lost by the training that was taken; None where that was not probed."""
    recipe = comparison.tried.get("recipe")
    if not recipe:
        return None
    taken = next(each for each in recipe["strengths"] if each["share"] == recipe["strength"])["probed"]
    losses = dict.fromkeys(TRAINED, taken) | {BOTH: comparison.tried.get("reading", taken)}

    def changed(arm: str) -> str:
        if arm not in TRAINED:
            return AMONG_THE_BEST
        rise = losses[arm]["general_loss"] - recipe["before"]["general_loss"]
        return f"{AMONG_THE_BEST if rise <= _MOST_FORGETTING else BEHIND} {rise:+.2f} nats"

    return ("forgets nothing", *map(changed, arms))


def _building(comparison: Comparison) -> tuple[str, ...] | None:
    """Minutes of indexing and of all trainings; None where they are not known of any arm."""
    seconds = [costs.build_seconds for costs in arm_costs(comparison)]
    if not any(seconds):
        return None
    return ("minutes to build", *(NOTHING if each is None else f"{each / 60:.1f}" for each in seconds))


def _latency(arm: ArmResult) -> str:
    if arm.latency is not None:
        return f"{arm.latency.answer:.2f}, {arm.latency.answer_p95:.2f}"
    if arm.seconds is None:
        return NOTHING
    slow = "" if arm.seconds_p95 is None else f", {arm.seconds_p95:.2f}"
    return f"{arm.seconds:.2f}{slow}"
