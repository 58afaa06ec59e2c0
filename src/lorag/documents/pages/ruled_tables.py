"""Tables of a page that lines are drawn around."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lorag.documents.grid import Cell, filled
from lorag.documents.pages.letters import Box, Letter, Part, continues, pieces, text_of
from lorag.documents.pages.ruled_grids import Grid, Place, grids, spans

_FILLED, _CROSSING = 0.25, 0.02
"""The share of the cells of a table with text, at least, and of its letters on a line, at most."""
_LONG, _LONG_WIDE = 12, 2
"""Lines of a cell, and of one that covers several columns, at most, where such cells hold most of the text: more are a
column of a page, or its text in a frame."""
_UNDIVIDED = 0.2
"""The share of its rows, at most, in which lines are missing between columns of text."""


def ruled_tables(letters: Sequence[Letter], rulings: Iterable[Box]) -> list[Part]:
    """The tables that lines draw around text; of two that overlap the larger one."""
    tables: list[Part] = []
    for grid in grids(rulings):
        is_free = not any(_overlap(grid.box, table.box) for table in tables)
        if is_free and (table := _table(letters, grid)) is not None:
            tables.append(table)
    return tables


def _has_gaps(letters: Sequence[Letter], numbers: Sequence[int], grid: Grid) -> bool:
    """Whether the text of a cell that covers several columns stands in some of them, and in none of it across two."""
    columns = [
        {sum(part.box[side] > edge for edge in grid.columns) for side in (0, 2)}
        for part in pieces([letters[number] for number in numbers], set())
    ]
    return all(len(each) == 1 for each in columns) and len(set().union(*columns)) > 1


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and one[2] > other[0] and one[1] < other[3] and one[3] > other[1]


def _table(letters: Sequence[Letter], grid: Grid) -> Part | None:
    """A grid with its text; ``None`` where the lines are those of a drawing, or not all of those of a table."""
    sizes, cells = spans(grid), _cells(letters, grid)
    texts = {place: text for place, numbers in cells.items() if (text := text_of(letters, numbers))}
    rows, columns = ({place[axis] for place in texts} for axis in (0, 1))
    repeated = sum(len(text) * (sizes[place][0] * sizes[place][1] - 1) for place, text in texts.items())
    if min(len(rows), len(columns)) < 2 or len(texts) < _FILLED * len(sizes):
        return None
    count = sum(map(len, texts.values()))
    running = sum(len(text) for place, text in texts.items() if _is_long(text, sizes[place][0]))
    if max(repeated, 2 * running) > count or _is_crossed(letters, grid, cells):
        return None
    undivided = {place[0] for place in texts if sizes[place][0] > 1 and _has_gaps(letters, cells[place], grid)}
    if len(undivided) > _UNDIVIDED * len(grid.rows):
        return None
    placed: list[list[Cell]] = [[] for _ in grid.rows[1:]]
    for (row, column), (wide, high) in sorted(sizes.items()):
        placed[row].append(Cell(texts.get((row, column), ""), wide, high))
    return Part(sorted(number for within in cells.values() for number in within), grid.box, "", filled(placed))


def _is_long(text: str, columns: int) -> bool:
    return text.count("\n") >= (_LONG_WIDE if columns > 1 else _LONG)


def _cells(letters: Sequence[Letter], grid: Grid) -> dict[Place, list[int]]:
    """The numbers of the letters in each cell; a text too long for the last column is drawn over its border."""
    cells: dict[Place, list[int]] = {}
    place: Place | None = None
    before: Letter | None = None
    for number, letter in enumerate(letters):
        if letter.is_drawn:
            at = grid.cell(*letter.middle)
            place = place if at is None and before and continues(before, letter) else at
            before = letter
        if place is not None:
            cells.setdefault(place, []).append(number)
    return cells


def _is_crossed(letters: Sequence[Letter], grid: Grid, cells: Mapping[Place, Sequence[int]]) -> bool:
    """Whether the lines go through more letters than they do in a table."""
    sizes = spans(grid)
    crossing = count = 0
    for place, numbers in cells.items():
        row, column = place
        wide, high = sizes[place]
        box = grid.columns[column], grid.rows[row + high], grid.columns[column + wide], grid.rows[row]
        within = [letters[number] for number in numbers if grid.cell(*letters[number].middle) == place]
        crossing += sum(_crosses(letter.box, box) for letter in within if letter.is_drawn)
        count += len(numbers)
    return crossing > _CROSSING * count


def _crosses(letter: Box, cell: Box) -> bool:
    """Whether a line around a cell goes through a letter in it."""
    left, bottom, right, top = letter
    wide, middle, near = (right - left) / 4, (bottom + top) / 2, (top - bottom) / 5
    beside = left < cell[0] - wide or right > cell[2] + wide
    return beside or middle < cell[1] + near or middle > cell[3] - near
