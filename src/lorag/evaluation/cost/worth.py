"""Which arm is worth its price: what questions cost, when a costlier build pays, and what right answers must be worth.

Without prices everything is counted in hours of the machine. Shares of right answers are those that were measured; how
sure they are is the verdict's to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from lorag.evaluation.cost.arm_costs import ArmCosts, arm_costs
from lorag.evaluation.cost.price_list import MACHINE_HOURS, Prices, Rates
from lorag.evaluation.requirements import read_requirements
from lorag.evaluation.results import BASE, ArmResult, Comparison, compared
from lorag.evaluation.verdict import deciding_metric

_HOUR, _MILLION, THOUSAND = 3600, 1_000_000, 1000
NO_ASSISTANT = "none"
"""Stands for asking no arm: where wrong answers do so much harm that no arm is worth asking."""


@dataclass(frozen=True, slots=True)
class Price:
    """What an arm costs in the currency of the prices. None stands where something was not measured."""

    arm: str
    build: float | None
    update: float | None
    thousand: float | None
    """1,000 questions."""
    whole_thousand: float | None
    """1,000 questions with their part of building and of the updates; None where the use is not known."""


@dataclass(frozen=True, slots=True)
class BreakEven:
    """``dear`` costs more to build than ``cheap``, and less to ask."""

    dear: str
    cheap: str
    questions: int
    """After so many, the dearer build is paid back."""
    per_update: int | None
    """So many questions between two updates pay for what an update of it costs more; None without an update."""


@dataclass(frozen=True, slots=True)
class Step:
    """The best arm from the weight ``worth``, until the next step."""

    worth: float
    arm: str


def prices_of(comparison: Comparison) -> Prices:
    """The user's prices, or the machine's hours."""
    return comparison.prices or MACHINE_HOURS


def arm_prices(comparison: Comparison) -> tuple[Price, ...]:
    """What each arm that is compared costs, in the order of tables."""
    prices = prices_of(comparison)
    return tuple(_price(costs, prices) for costs in arm_costs(comparison))


def _price(costs: ArmCosts, prices: Prices) -> Price:
    rates = prices.of(costs.arm)
    build, update = (
        None if seconds is None and not fixed else (seconds or 0.0) / _HOUR * rates.machine_hour + fixed
        for seconds, fixed in ((costs.build_seconds, rates.build), (costs.update_seconds, rates.update))
    )
    asked, whole = _question(costs, rates), None
    known = asked is not None and build is not None and (update is not None or not prices.updates)
    if known and prices.questions is not None:
        once = (build or 0.0) + prices.updates * (update or 0.0)
        whole = THOUSAND * ((asked or 0.0) + once / prices.questions)
    return Price(costs.arm, build, update, None if asked is None else THOUSAND * asked, whole)


def _question(costs: ArmCosts, rates: Rates) -> float | None:
    """The price of a question: its search by time, its answer by tokens where they have a price, else by time."""
    machine = rates.machine_hour / _HOUR
    search = costs.search.mean * machine if costs.search is not None else 0.0
    if rates.million_tokens_in or rates.million_tokens_out:
        if costs.prompt_tokens is None or costs.completion_tokens is None:
            return None
        tokens_in, tokens_out = costs.prompt_tokens, costs.completion_tokens
        return search + (tokens_in * rates.million_tokens_in + tokens_out * rates.million_tokens_out) / _MILLION
    spent = [part.mean for part in (costs.first_token, costs.generation) if part is not None]
    return search + sum(spent) * machine if spent else None


def break_evens(prices: Sequence[Price]) -> tuple[BreakEven, ...]:
    """Every pair of arms of which one costs more to build and less to ask; the base, which is not built, left out."""
    found = []
    for dear, cheap in permutations([each for each in prices if each.arm != BASE], 2):
        if dear.build is None or cheap.build is None or dear.thousand is None or cheap.thousand is None:
            continue
        saved = (cheap.thousand - dear.thousand) / THOUSAND
        if dear.build <= cheap.build or saved <= 0:
            continue
        between = None
        if dear.update is not None and cheap.update is not None:
            between = math.ceil(max(0.0, dear.update - cheap.update) / saved)
        found.append(BreakEven(dear.arm, cheap.arm, math.ceil((dear.build - cheap.build) / saved), between))
    return tuple(found)


def worth_steps(comparison: Comparison) -> tuple[Step, ...]:
    """Which arm brings most, by what a right answer is worth: its share of right answers times that, minus its price.

    Among arms that meet every requirement and have a price: with its part of building and updates where the use is
    known, else of asking alone. The first step begins at 0.
    """
    arms, metric = _eligible(comparison)
    whole = prices_of(comparison).questions is not None
    offers = []
    for price in arm_prices(comparison):
        cost = price.whole_thousand if whole else price.thousand
        if cost is not None and price.arm in arms:
            offers.append((-cost / THOUSAND, arms[price.arm].estimates[metric].mean, price.arm))
    return _steps(offers)


def harm_steps(comparison: Comparison) -> tuple[Step, ...]:
    """Which arm brings most, by the harm of a wrong answer: its share of right answers minus that times its wrong ones.

    A right answer brings 1; a refusal where there is an answer brings nothing and does no harm, and a failure neither.
    Among arms that meet every requirement and ``NO_ASSISTANT``.
    """
    arms, metric = _eligible(comparison)
    last, wrong = comparison.phases[-1], dict.fromkeys(arms, 0)
    for row, scores in zip(comparison.rows, comparison.scores, strict=True):
        if row.phase == last and row.arm in arms and row.answer.error is None and not scores["refused"]:
            wrong[row.arm] += not scores[metric]
    offers = [(arm.estimates[metric].mean, -wrong[name] / arm.questions, name) for name, arm in arms.items()]
    return _steps([*offers, (0.0, 0.0, NO_ASSISTANT)])


def _eligible(comparison: Comparison) -> tuple[dict[str, ArmResult], str]:
    """The arms that meet every requirement, cheapest first, and the metric that decides."""
    arms, required = comparison.at(comparison.phases[-1]), read_requirements(comparison.settings.require)
    kept = {name: arms[name] for name in compared(arms) if not any(each.excess(arms[name]) for each in required)}
    return kept, deciding_metric(tuple(comparison.arms), comparison.settings)


def _steps(offers: Sequence[tuple[float, float, str]]) -> tuple[Step, ...]:
    """The best of ``offers`` from a weight of 0 upwards: each brings its first number plus the weight times its second.

    Of equal ones the earlier.
    """
    if not offers:
        return ()
    start, rise, arm = max(offers, key=lambda offer: offer[:2])
    steps = [Step(0.0, arm)]
    while better := [offer for offer in offers if offer[1] > rise]:
        weights = {offer: (start - offer[0]) / (offer[1] - rise) for offer in better}
        start, rise, arm = min(better, key=lambda offer: (weights[offer], -offer[1]))
        steps.append(Step(weights[start, rise, arm], arm))
    return tuple(steps)
