"""The first table of a report: what one wants of an assistant against the arms, each with a mark and a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorag.evaluation.cost.arm_costs import arm_costs
from lorag.evaluation.cost.worth import arm_prices
from lorag.evaluation.labels import whole_percent
from lorag.evaluation.report.cost_tables import money
from lorag.evaluation.report.result_tables import NOTHING, Table
from lorag.evaluation.results import BOTH, TRAINED, ArmResult, Comparison, compared
from lorag.evaluation.statistics import Estimate, Interval
from lorag.settings import RecipeSettings

AMONG_THE_BEST, BEHIND = "✓", "✗"
LEGEND = (
    "✓ the best arm, or one whose interval holds the best value; ✗ behind it. Of minutes, money and seconds the least"
    " is best, and up to a tenth, a minute or a tenth of a second more is level with it."
)
"""What the marks mean. It is for looking at; what decides is the test of every pair."""
SHORT_LEGEND = f"%: {AMONG_THE_BEST} best or level, {BEHIND} behind"
_TENTH = 0.1
_MOST_ROWS = 8
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
    """One row a factor that was measured in the last phase, one column an arm; percent, money or minutes, seconds."""
    last = comparison.at(comparison.phases[-1])
    arms = {name: last[name] for name in compared(last)}
    rows = [_marked(factor, arms) for factor in _FACTORS if any(factor.metric in a.estimates for a in arms.values())]
    rows += [row for row in (_forgetting(comparison, arms), _cost(comparison)) if row is not None]
    alone = " for one user" if any(arm.latency for arm in arms.values()) else ""
    waits = [[each for each in arm.waits if each is not None] for arm in arms.values()]
    shown = [", ".join(f"{seconds:.2f}" for seconds in wait) for wait in waits]
    rows.append((f"seconds{alone}: median, p95", *_least([wait[0] if wait else None for wait in waits], shown, _TENTH)))
    return Table(("", *arms), tuple(rows))


def short_factor_table(comparison: Comparison) -> Table:
    """``factor_table`` for a terminal: of more than eight rows the last ones are left out in which no arm is behind."""
    whole = factor_table(comparison)
    rows = list(whole.rows)
    for row in reversed(whole.rows):
        if len(rows) > _MOST_ROWS and not any(BEHIND in cell for cell in row[1:]):
            rows.remove(row)
    return Table((SHORT_LEGEND, *whole.headings[1:]), tuple(rows))


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


def _cost(comparison: Comparison) -> tuple[str, ...] | None:
    """What questions cost, if the prices are known, else minutes of indexing and of all trainings.

    None where that is not known of any arm.
    """
    if (prices := comparison.prices) is not None:
        costs = [each.thousand if prices.questions is None else each.whole_thousand for each in arm_prices(comparison)]
        name, level = f"1,000 questions, {prices.currency}", 0.0
        shown = list(map(money, costs))
    else:
        seconds = [each.build_seconds for each in arm_costs(comparison)]
        costs = [None if each is None else each / 60 for each in seconds]
        name, level = "minutes to build", 1.0
        shown = [NOTHING if each is None else f"{each:.1f}" for each in costs]
    return (name, *_least(costs, shown, level)) if any(costs) else None


def _least(values: Sequence[float | None], shown: Sequence[str], level: float) -> list[str]:
    """What is ``shown`` of ``values``, marked by the least: level with it is a tenth more, or ``level``."""
    least = min((value for value in values if value is not None), default=0.0)
    most = max(least * (1 + _TENTH), least + level)
    marked = zip(values, shown, strict=True)
    return [NOTHING if v is None else f"{AMONG_THE_BEST if v <= most else BEHIND} {text}" for v, text in marked]
