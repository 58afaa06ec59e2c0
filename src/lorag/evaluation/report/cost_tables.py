"""Tables of what each arm takes and costs, and when which arm is worth it."""

from __future__ import annotations

from collections.abc import Callable

from lorag.evaluation.cost.arm_costs import ArmCosts, Spread, arm_costs
from lorag.evaluation.cost.worth import THOUSAND, Price, arm_prices, break_evens, harm_steps, prices_of, worth_steps
from lorag.evaluation.report.result_tables import NOTHING, Table
from lorag.evaluation.results import Comparison, Latency

_SPENT: dict[str, Callable[[ArmCosts], str]] = {
    "minutes to build": lambda arm: _figure(arm.build_seconds, 60),
    "seconds of an update": lambda arm: _figure(arm.update_seconds),
    "one user, first token": lambda arm: _wait(arm.latency, "first_token"),
    "one user, whole answer": lambda arm: _wait(arm.latency, "answer"),
    "search, seconds": lambda arm: _spread(arm.search),
    "first token, seconds": lambda arm: _spread(arm.first_token),
    "the rest, seconds": lambda arm: _spread(arm.generation),
    "prompt tokens": lambda arm: _figure(arm.prompt_tokens),
    "answer tokens": lambda arm: _figure(arm.completion_tokens),
    "model and index, MB": lambda arm: _figure(arm.bytes, 1_000_000),
}
_PRICED: dict[str, Callable[[Price], float | None]] = {
    "to build": lambda price: price.build,
    "an update": lambda price: price.update,
    "1,000 questions": lambda price: price.thousand,
    "1,000 questions, all in": lambda price: price.whole_thousand,
}


def cost_tables(comparison: Comparison) -> dict[str, Table]:
    """The tables that have something to tell, by their captions."""
    worth, harm, pays = worth_table(comparison), harm_table(comparison), break_even_table(comparison)
    tables = {"Seconds as median and 95th percentile, tokens as means": cost_table(comparison)}
    if len(worth.rows) > 1:
        tables["Value of right answers minus the price, from the measured shares without their intervals"] = worth
    if len(harm.rows) > 1:
        tables["Value of right answers minus the harm of wrong ones, from the same shares"] = harm
    if pays.rows:
        tables["When an arm that costs more to build but less per question pays off, by cost alone"] = pays
    return tables


def cost_table(comparison: Comparison) -> Table:
    """One row a cost that was measured, one column an arm; money or machine hours last."""
    costs, prices, currency = arm_costs(comparison), arm_prices(comparison), prices_of(comparison).currency
    spent = [(name, *(cell(arm) for arm in costs)) for name, cell in _SPENT.items()]
    priced = [(f"{name}, {currency}", *(money(value(each)) for each in prices)) for name, value in _PRICED.items()]
    measured = (row for row in (*spent, *priced) if any(cell != NOTHING for cell in row[1:]))
    return Table(("", *(arm.arm for arm in costs)), tuple(measured))


def break_even_table(comparison: Comparison) -> Table:
    """One row a pair of arms of which one costs more to build and less to ask, and when it pays."""
    rows = tuple(
        (
            f"{pair.dear} over {pair.cheap}",
            f"{pair.questions:,}",
            NOTHING if pair.per_update is None else f"{pair.per_update:,}",
        )
        for pair in break_evens(arm_prices(comparison))
    )
    return Table(("the costlier build pays off", "after questions", "and, for each update, after"), rows)


def worth_table(comparison: Comparison) -> Table:
    """One row for each arm that is best at some worth of right answers, from nothing upwards."""
    currency = prices_of(comparison).currency
    rows = tuple((f"{money(THOUSAND * step.worth)} {currency} or more", step.arm) for step in worth_steps(comparison))
    return Table(("1,000 right answers are worth", "the best arm"), rows)


def harm_table(comparison: Comparison) -> Table:
    """One row for each arm that is best at some harm of wrong answers, from none upwards."""
    rows = tuple((f"{money(step.worth)} or more", step.arm) for step in harm_steps(comparison))
    return Table(("right answers that balance a wrong one", "the best arm"), rows)


def money(value: float | None) -> str:
    """Two decimals, or two digits where it is less than 1; "–" where it is not known."""
    if value is None:
        return NOTHING
    return "0" if not value else f"{value:,.2f}" if value >= 1 else f"{value:.2g}" if value >= 0.001 else "< 0.001"


def _figure(value: float | None, unit: float = 1) -> str:
    if value is None:
        return NOTHING
    return f"{value / unit:,.0f}" if value >= 10 * unit or not value else f"{value / unit:.2g}"


def _spread(seconds: Spread | None) -> str:
    return NOTHING if seconds is None else f"{_seconds(seconds.median)}, {_seconds(seconds.p95)}"


def _wait(latency: Latency | None, part: str) -> str:
    if latency is None:
        return NOTHING
    return f"{_seconds(getattr(latency, part))}, {_seconds(getattr(latency, f'{part}_p95'))}"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 else "< 0.01"
