"""Tables of a page without lines between their columns: pieces of lines that stand below each other.

Only what is drawn row by row is taken for a table: columns of a text, and addresses beside each other, are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lorag.documents.pages.letters import Box, Letter, Part, around, text_of

_ROWS, _SHARE, _FILLED = 3, 0.6, 0.7
"""Rows that fill several columns, at least, their share of all rows, and the share of all cells that are filled."""
_GAP, _APART, _BELOW = 0.8, 5, 0.5
"""Between columns at least, between rows at most, and between lines of a cell at most, in heights of a line."""
_ABOVE = 3
"""How far a cell may begin above the first one, in heights of a line."""
_CELL_LINES, _MOST = 12, 1000
"""Lines of the first cell, and pieces of lines of a table, at most."""
_VARIES = 1.1
"""By how much the heights of lines of one font differ at most."""
_AMOUNT = re.compile(r"\d[.,]\d")
"""What no title of a column has."""
_BLANK = 0.35
"""How wide a blank is at most, in heights of a line."""
_MARK = re.compile(r"\W+|[(\[]?\w{1,3}[.)\]]+|[\d.]+\.")
"""What stands in front of an item of a list."""

Ends = list[tuple[float, float]]
"""The left and right ends of columns, from left to right."""
Row = dict[int, list[Part]]
"""The pieces of lines in each column that a row fills."""


def with_tables(letters: Sequence[Letter], parts: Sequence[Part], rulings: Sequence[Box]) -> list[Part]:
    """The parts with each table as one part; they come in the order in which they are drawn."""
    found: list[Part] = []
    at = 0
    while at < len(parts):
        rows = _table(letters, parts, at, rulings) if not at or _begins_line(parts[at - 1], parts[at]) else []
        if rows:
            within = [part for row in rows for cell in row.values() for part in cell]
            numbers = [number for part in parts[at : at + len(within)] for number in part.numbers]
            found.append(Part(numbers, around(letters, numbers), "", _texts(letters, rows)))
            at += len(within)
        else:
            found.append(parts[at])
            at += 1
    return found


def _begins_line(before: Part, part: Part) -> bool:
    return before.box[0] > part.box[0] or not part.box[1] < before.middle < part.box[3]


def _texts(letters: Sequence[Letter], rows: Sequence[Row]) -> list[list[str]]:
    def text(cell: Iterable[Part]) -> str:
        return text_of(letters, [number for part in cell for number in part.numbers])

    return [[text(row.get(column, ())) for column in range(max(map(max, rows)) + 1)] for row in rows]


def _table(letters: Sequence[Letter], parts: Sequence[Part], first: int, rulings: Sequence[Box]) -> list[Row]:
    """The rows of the table that begins with a part; an empty list where none does."""
    run, ends = _run(parts, first)
    if len(ends) < 2:
        return []
    rows = _rows(letters, run, ends, rulings)
    while rows and len(rows[-1]) < 2:
        rows.pop()
    if not rows:
        return []
    rows = _without_halves(rows, len(ends))
    columns = {column for row in rows for column in row}
    filled, several = sum(map(len, rows)), sum(len(row) > 1 for row in rows)
    is_full = len(columns) > 2 and len(rows) > 1 and filled == len(rows) * len(columns)
    if not is_full and (several < max(_ROWS, _SHARE * len(rows)) or filled < _FILLED * len(rows) * len(columns)):
        return []
    return [] if len(rows[0]) < 2 or (len(columns) == 2 and _is_list(rows)) else rows


def _is_list(rows: Sequence[Row]) -> bool:
    """Whether the first column has the marks of a list, or counts: footnotes, lines of code."""
    first = [part.text for row in rows for part in row.get(0, ())]
    if all(text.isdecimal() for text in first):
        return [int(text) for text in first] == [int(first[0]) + at for at in range(len(first))]
    return 2 * sum(_MARK.fullmatch(text) is not None for text in first) > len(rows)


def _run(parts: Sequence[Part], first: int) -> tuple[list[Part], Ends]:
    """The parts from the first on that stand in columns, and these columns."""
    run, ends, low = list[Part](), Ends(), parts[first].box[3]
    for part in parts[first : first + _MOST]:
        wider = None if part.rows else _with_part(ends, part)
        if (
            wider is None
            or part.box[3] < low - _APART * part.height
            or (run and part.middle > run[0].box[3] + _ABOVE * part.height)
        ):
            break
        if len(wider) == 1 and (len(run) == _CELL_LINES or (run and not _is_below(run[-1], part))):
            break
        run.append(part)
        ends, low = wider, min(low, part.box[1])
    return run, ends


def _with_part(ends: Ends, part: Part) -> Ends | None:
    """The columns with a part in the one that it is near to, or in a new one; ``None`` where it is near to two."""
    left, right = part.box[0], part.box[2]
    gap = _GAP * part.height
    near = [pair for pair in ends if pair[0] < right + gap and pair[1] > left - gap]
    if len(near) > 1:
        return None
    column = (min([left, *(pair[0] for pair in near)]), max([right, *(pair[1] for pair in near)]))
    return sorted([*(pair for pair in ends if pair not in near), column])


def _rows(letters: Sequence[Letter], run: Sequence[Part], ends: Ends, rulings: Sequence[Box]) -> list[Row]:
    """The parts in rows, until one of them stands where no next cell can be."""
    rows: list[Row] = []
    last, low = -1, 0.0
    before = run[0]
    for part in run:
        column = next(number for number, (left, right) in enumerate(ends) if left < part.box[2] and right > part.box[0])
        is_below = not rows or part.middle < low
        if rows and column > last and not is_below:
            rows[-1][column] = [part]
        elif rows and column == last and _wraps(letters, before, part, ends[column][1], rulings):
            rows[-1][column].append(part)
        elif is_below:
            rows.append({column: [part]})
            low = part.box[1]
        else:
            break
        last, low, before = column, min(low, part.box[1]), part
    return rows


def _is_below(before: Part, part: Part) -> bool:
    return part.middle < before.box[1] and before.box[1] - part.box[3] <= _BELOW * part.height


def _wraps(letters: Sequence[Letter], before: Part, part: Part, right: float, rulings: Iterable[Box]) -> bool:
    """Whether a part continues the text of the one above it, whose line had no room for its first word."""
    is_same = max(before.height, part.height) <= _VARIES * min(before.height, part.height)
    if not is_same or not _is_below(before, part) or any(_is_between(line, before, part) for line in rulings):
        return False
    word = around(letters, part.numbers[: len(part.text.split()[0])])
    return before.box[2] + word[2] - word[0] + _BLANK * part.height > right


def _is_between(line: Box, above: Part, below: Part) -> bool:
    return below.middle < line[1] and line[3] < above.middle and line[0] < below.box[2] and line[2] > below.box[0]


def _without_halves(rows: Sequence[Row], count: int) -> list[Row]:
    """The rows with the columns made one of which the first row fills one and the others fill the next: a title may
    stand beside its numbers.
    """
    filled = [{number for number, row in enumerate(rows) if column in row} for column in range(count)]
    numbers, held = [0], filled[0]
    for column, after in enumerate(filled[1:], start=1):
        title = rows[0].get(column if after == {0} else column - 1, ())
        is_half = {0} in (held, after) and not held & after and not any(_AMOUNT.search(part.text) for part in title)
        numbers.append(numbers[-1] + (not is_half))
        held = held | after if is_half else after
    return [{numbers[column]: cell for column, cell in row.items()} for row in rows]
