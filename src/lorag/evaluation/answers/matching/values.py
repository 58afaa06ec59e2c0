"""Whether two figures are one value: with their sign and unit, rounded where people round."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from lorag.evaluation.answers.matching.quantities import Quantity

_ONE = Decimal(1)


def same_value(
    wanted: Quantity, found: Quantity, exact: bool = False, versions: bool = False, scales: Sequence[Decimal] = ()
) -> bool:
    """Whether two figures are one value."""
    if wanted.kind == "date" and found.kind == "date":
        meant, written = (wanted, *wanted.parts), (found, *found.parts)
        return any(_same_date(one.values, other.values) for one in meant for other in written)
    if wanted.kind == "number" and found.kind == "date":
        return not wanted.dimension and wanted.values[0] == found.values[0]
    if wanted.kind == "decade" and not exact and found.kind in ("number", "date"):
        return 0 <= found.values[0] - wanted.values[0] < 10
    if wanted.kind == "decade" and found.kind == "range":
        return found.values[0] == wanted.values[0] and found.values[1] - found.values[0] in (9, 10)
    if wanted.kind != found.kind or not _same_dimension(wanted.dimension, found.dimension):
        return False
    if wanted.kind == "range":
        return all(same_value(one, other, exact) for one, other in zip(wanted.parts, found.parts, strict=True))
    if wanted.bound != found.bound and (exact or (wanted.bound and found.bound)):
        return False
    if versions and not wanted.dimension and "." in wanted.text + found.text:
        return wanted.text == found.text
    units = (wanted.size, found.size) if wanted.dimension == found.dimension else (_ONE, _ONE)
    factors = [units, *((units[0] * s, units[1]) for s in scales), *((units[0], units[1] * s) for s in scales)]
    return any(_near(wanted, found, exact, *each) for each in factors)


def _near(wanted: Quantity, found: Quantity, exact: bool, up: Decimal, down: Decimal) -> bool:
    """Whether two numbers, times their factors, are equal, or one is the other rounded.

    A rounded one has two figures and decimals, or three figures.
    """
    pairs = [(one * up, other * down) for one in wanted.values for other in found.values]
    if any(one == other for one, other in pairs):
        return True
    if exact or not (wanted.digits and found.digits):
        return False
    coarse, factor = max((wanted, up), (found, down), key=lambda pair: pair[0].step * pair[1])
    enough = coarse.digits >= (2 if coarse.decimals else 3)
    return enough and any(abs(one - other) * 2 <= coarse.step * factor for one, other in pairs)


def _same_date(wanted: Sequence[Decimal], found: Sequence[Decimal]) -> bool:
    return all(not one or one == other for one, other in zip(wanted, found, strict=True))


_ALIKE = ({"angle", "celsius"}, {"angle", "fahrenheit"}, {"angle", "kelvin"}, {"mass", "GBP"})
"""Dimensions whose units may be called the same: degrees, and pounds."""


def _same_dimension(one: str, other: str) -> bool:
    if not one or not other or one == other:
        return True
    return {one, other} in _ALIKE
