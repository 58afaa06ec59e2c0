"""Columns of running text: which lines of a page are read one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median

from lorag.documents.pages.letters import Box, Part

_LINES, _LETTERS = 3, 16
"""Lines that a column has at least, and letters that most of them have; less are cells of a table."""
_WIDTH = 5
"""How many times as wide as high so many letters are at least."""
_WORDS, _FULL, _RAGGED = 1.5, 0.4, 0.25
"""Words in a line of running text, the share of lines that are full, at least, and the share of its width that a full
line leaves free, at most."""
_FEW, _TWO_LINES, _LONG_ROW = 3, 1.7, 15
"""Stretches between rulings of a page with head and foot, and how many times as high as a line a row of two lines is at
least, and any row at most."""
_SHARES = range(15, 86)
"""Where columns may begin, in percent of the width of what is divided."""


def in_columns(parts: list[Part], rulings: Sequence[Box]) -> list[list[Part]]:
    """The parts of a page in groups that are read one after the other."""
    groups = _divided(parts, rulings)
    if len(groups) == 1:
        return groups
    return [inner for group in groups for inner in in_columns(group, rulings)]


def _divided(parts: list[Part], rulings: Sequence[Box]) -> list[list[Part]]:
    """The parts on both sides of the gap that the fewest lines cross, and what goes across it, in reading order."""
    if len(parts) < 2 * _LINES:
        return [parts]
    left, right = min(part.box[0] for part in parts), max(part.box[2] for part in parts)
    best, fewest = [parts], len(parts)
    for share in _SHARES:
        at = left + (right - left) * share / 100
        across = [part for part in parts if _goes_across(part.box, at)]
        if len(across) < fewest and len(_bands(parts, across, at, None)) > 1:
            best, fewest = _bands(parts, across, at, rulings), len(across)
    return best


def _goes_across(box: Box, at: float) -> bool:
    """Whether a line stands on both sides, and not just a little too long."""
    return min(at - box[0], box[2] - at) > (box[2] - box[0]) / 10


def _bands(parts: Sequence[Part], across: Sequence[Part], at: float, rulings: Sequence[Box] | None) -> list[list[Part]]:
    """From the top down what goes across, and each two columns between; one group where there are no columns. With
    ``rulings``, what could be columns or a table stays together if it is a table.
    """
    groups: list[list[Part]] = [[]]
    band: list[Part] = []
    edges = {id(part) for part in across}
    for part in [*sorted(parts, key=lambda part: -part.middle), None]:
        if part is not None and id(part) not in edges:
            band.append(part)
            continue
        sides = [[each for each in band if (sum(each.box[::2]) < 2 * at) == is_left] for is_left in (True, False)]
        if all(map(_is_column, sides)) and (rulings is None or not _is_table(sides, at, rulings)):
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


def _is_table(sides: Sequence[Sequence[Part]], at: float, rulings: Iterable[Box]) -> bool:
    """Whether the lines on both sides of a gap are cells: there are rulings between them, or those of a side are single
    words, or most of these end far from the longer ones below each other.
    """
    for side in sides:
        lines = [part for part in side if part.rows is None]
        words = sum(
            len(part.text.split()) if part.text.isascii() else _WORDS for part in lines
        )  # Chinese has no blanks
        if words < _WORDS * len(lines) or sum(map(_count_full, _below_each_other(lines))) < _FULL * len(lines):
            return True
    return _has_rows([part for side in sides for part in side], at, rulings)


def _has_rows(band: Sequence[Part], at: float, rulings: Iterable[Box]) -> bool:
    """Whether rulings across a gap divide a band into rows of a table: none is too long, and if they are no more than a
    page with head and foot has, some have two lines.
    """
    bottom, top = min(part.box[1] for part in band), max(part.box[3] for part in band)
    lying = [line for line in rulings if line[0] < at < line[2] and line[2] - line[0] > line[3] - line[1]]
    inner = sorted(line[1] for line in lying if bottom < line[1] < top)
    height = median(part.height for part in band)
    rows = [(above - below) / height for below, above in pairwise((bottom, *inner, top))]
    return max(rows) <= _LONG_ROW and (len(rows) > _FEW or sum(row > _TWO_LINES for row in rows) > 1)


def _below_each_other(lines: Iterable[Part]) -> Iterable[list[Part]]:
    """The lines in groups that begin at the same place."""
    groups: dict[int, list[Part]] = {}
    for line in lines:
        groups.setdefault(round(line.box[0] / line.height), []).append(line)
    return groups.values()


def _count_full(lines: Sequence[Part]) -> int:
    """How many lines end near the right end of all but the longest."""
    left, right = min(line.box[0] for line in lines), sorted(line.box[2] for line in lines)[-2:][0]
    return sum(line.box[2] >= right - _RAGGED * (right - left) for line in lines)
