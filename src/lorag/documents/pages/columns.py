"""Columns of running text: which lines of a page are read one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from lorag.documents.pages.letters import Box, Part

_LINES, _LETTERS = 3, 16
"""Lines that a column has at least, and letters that most of them have; less are cells of a table."""
_WIDTH = 5
"""How many times as wide as high so many letters are at least."""
_SHARES = range(15, 86)
"""Where columns may begin, in percent of the width of what is divided."""


def in_columns(parts: list[Part]) -> list[list[Part]]:
    """The parts of a page in groups that are read one after the other."""
    groups = _divided(parts)
    if len(groups) == 1:
        return groups
    return [inner for group in groups for inner in in_columns(group)]


def _divided(parts: list[Part]) -> list[list[Part]]:
    """The parts on both sides of the gap that the fewest lines cross, and what goes across it, in reading order."""
    if len(parts) < 2 * _LINES:
        return [parts]
    left, right = min(part.box[0] for part in parts), max(part.box[2] for part in parts)
    best, fewest = [parts], len(parts)
    for share in _SHARES:
        at = left + (right - left) * share / 100
        across = [part for part in parts if _goes_across(part.box, at)]
        if len(across) < fewest and len(groups := _bands(parts, across, at)) > 1:
            best, fewest = groups, len(across)
    return best


def _goes_across(box: Box, at: float) -> bool:
    """Whether a line stands on both sides, and not just a little too long."""
    return min(at - box[0], box[2] - at) > (box[2] - box[0]) / 10


def _bands(parts: Sequence[Part], across: Sequence[Part], at: float) -> list[list[Part]]:
    """From the top down what goes across, and each two columns between; one group where there are no columns."""
    groups: list[list[Part]] = [[]]
    band: list[Part] = []
    edges = {id(part) for part in across}
    for part in [*sorted(parts, key=lambda part: -part.middle), None]:
        if part is not None and id(part) not in edges:
            band.append(part)
            continue
        sides = [[each for each in band if (sum(each.box[::2]) < 2 * at) == is_left] for is_left in (True, False)]
        if all(map(_is_column, sides)):
            above, below = _around_columns(sides)
            groups[-1] += above
            groups += [*([each for each in side if each not in above and each not in below] for side in sides), below]
        else:
            groups[-1] += band
        band = []
        groups[-1] += [part] if part is not None else []
    return [group for group in groups if group]


def _around_columns(sides: Sequence[Sequence[Part]]) -> tuple[list[Part], list[Part]]:
    """What stands in the middle above and below all columns: a short title, a page's number."""
    parts = [part for side in sides for part in side]
    left, right = min(part.box[0] for part in parts), max(part.box[2] for part in parts)
    above, below = list[Part](), list[Part]()
    for side, other in (sides, sides[::-1]):
        for part in side:
            if abs(sum(part.box[::2]) - left - right) <= (right - left) / 10:
                if part.box[1] > max(each.box[3] for each in other):
                    above.append(part)
                elif part.box[3] < min(each.box[1] for each in other):
                    below.append(part)
    return above, below


def _is_column(parts: Sequence[Part]) -> bool:
    """Whether the lines are running text: several, most of them long, and many that begin within a sentence."""
    lines = [part for part in parts if part.rows is None]
    if len(lines) < _LINES or median(len(part.text) for part in lines) < _LETTERS:
        return False
    if median(part.box[2] - part.box[0] - _WIDTH * part.height for part in lines) < 0:
        return False
    return 3 * sum(part.text[0].isalpha() and not part.text[0].isupper() for part in lines) >= len(lines)
