"""Tables that are drawn with lines: which places the lines enclose, in rows and columns.

Lines that touch each other belong to one table. Where a line between two places is missing, one cell covers both; the
outer lines of a table may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf
from operator import itemgetter

from lorag.documents.pages.letters import Box

Line = tuple[float, float, float]
"""Where a line stands, and from where to where it goes along the other axis."""
Place = tuple[int, int]
"""A row and a column, from 0."""

_NEAR = 3.0
"""Points between lines that are one: the two of a double border, or those of neighbouring cells."""
_COVERED = 0.5
"""The share of a side that a line between two places has to cover."""
_MOST_LINES, _MOST_PLACES = 400, 20_000
"""More of them are a drawing."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The columns' edges from left to right, the rows' edges from top to bottom, and for each place its cell.

    A cell is named by its first place.
    """

    columns: tuple[float, ...]
    rows: tuple[float, ...]
    cells: dict[Place, Place]

    @property
    def box(self) -> Box:
        """What the grid covers."""
        return self.columns[0], self.rows[-1], self.columns[-1], self.rows[0]

    def cell(self, x: float, y: float) -> Place | None:
        """The cell at a point; ``None`` outside of the grid."""
        left, bottom, right, top = self.box
        if not (left <= x <= right and bottom <= y <= top):
            return None
        row = sum(y < edge for edge in self.rows[1:-1])
        return self.cells[row, sum(x > edge for edge in self.columns[1:-1])]


def grids(rulings: Iterable[Box]) -> list[Grid]:
    """The grids of at least two rows and two columns that ``rulings`` (thin boxes) draw, the largest first."""
    lying, standing = list[Line](), list[Line]()
    for left, bottom, right, top in rulings:
        if right - left > top - bottom:
            lying.append(((bottom + top) / 2, left, right))
        else:
            standing.append(((left + right) / 2, bottom, top))
    lying, standing = _merged(lying), _merged(standing)
    if len(lying) + len(standing) > _MOST_LINES:
        return []
    found = [_grid(*lines) for lines in _connected(lying, standing)]
    kept = [grid for grid in found if grid is not None]
    return sorted(kept, key=lambda grid: (grid.columns[0] - grid.columns[-1]) * (grid.rows[0] - grid.rows[-1]))


def _merged(lines: Iterable[Line]) -> list[Line]:
    """The lines with those made one that continue or repeat each other."""
    merged = list[Line]()
    for group in _near(lines):
        at = sum(line[0] for line in group) / len(group)
        begin, end = inf, -inf
        for _, first, last in sorted(group, key=itemgetter(1)):
            if end > -inf and first > end + _NEAR:
                merged.append((at, begin, end))
                begin, end = inf, -inf
            begin, end = min(begin, first), max(end, last)
        merged.append((at, begin, end))
    return merged


def _edges(lines: Iterable[Line], ends: Iterable[Line]) -> list[float]:
    """Where lines stand and where those across them end, in ascending order; one value for all that are near."""
    values = [*(line[0] for line in lines), *(end for line in ends for end in line[1:])]
    return [sum(line[0] for line in group) / len(group) for group in _near((at, at, at) for at in values)]


def _near(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """The lines in groups that stand near each other, in ascending order."""
    group = list[Line]()
    for line in sorted(lines):
        if group and line[0] - group[0][0] > _NEAR:
            yield group
            group = []
        group.append(line)
    if group:
        yield group


def _connected(lying: Sequence[Line], standing: Sequence[Line]) -> Iterator[tuple[list[Line], list[Line]]]:
    """The lines in groups that touch each other."""
    left = set(range(len(standing)))
    waiting = list(lying)
    while waiting:
        group, down, to_see = list[Line](), list[Line](), [waiting.pop()]
        while to_see:
            line = to_see.pop()
            group.append(line)
            for number in [number for number in left if _touch(line, standing[number])]:
                left.remove(number)
                down.append(standing[number])
                to_see += [other for other in waiting if _touch(other, standing[number])]
                waiting = [other for other in waiting if not _touch(other, standing[number])]
        yield group, down


def _touch(lying: Line, standing: Line) -> bool:
    return _reaches(lying, standing[0]) and _reaches(standing, lying[0])


def _reaches(line: Line, at: float) -> bool:
    return line[1] - _NEAR <= at <= line[2] + _NEAR


def _grid(lying: Sequence[Line], standing: Sequence[Line]) -> Grid | None:
    """The grid of lines that touch each other; ``None`` where they are none, or cells are no rectangles."""
    columns, rows = _edges(standing, lying), _edges(lying, standing)[::-1]
    if len(columns) < 3 or len(rows) < 3 or len(columns) * len(rows) > _MOST_PLACES:
        return None
    cells = {place: place for place in product(range(len(rows) - 1), range(len(columns) - 1))}
    for row, column in list(cells):
        width, height = (columns[column], columns[column + 1]), (rows[row + 1], rows[row])
        if column and not _has_line(standing, columns[column], height):
            _join(cells, (row, column - 1), (row, column))
        if row and not _has_line(lying, rows[row], width):
            _join(cells, (row - 1, column), (row, column))
    grid = _without_idle_edges(columns, rows, {place: _first(cells, place) for place in cells})
    if min(len(grid.columns), len(grid.rows)) < 3:
        return None
    return grid if all(_is_rectangle(members) for members in _members(grid).values()) else None


def _without_idle_edges(columns: Sequence[float], rows: Sequence[float], cells: Mapping[Place, Place]) -> Grid:
    """The grid without the edges that part no cells: an underline in a cell ends at such ones."""
    high, wide = len(rows) - 1, len(columns) - 1
    down = [at for at in range(high) if not at or any(cells[at - 1, each] != cells[at, each] for each in range(wide))]
    across = [at for at in range(wide) if not at or any(cells[each, at - 1] != cells[each, at] for each in range(high))]
    firsts: dict[Place, Place] = {}
    kept = {
        (row, column): firsts.setdefault(cells[high_at, wide_at], (row, column))
        for row, high_at in enumerate(down)
        for column, wide_at in enumerate(across)
    }
    return Grid((*(columns[at] for at in across), columns[-1]), (*(rows[at] for at in down), rows[-1]), kept)


def _has_line(lines: Iterable[Line], at: float, side: tuple[float, float]) -> bool:
    """Whether there is a line along most of a side."""
    begin, end = side
    covered = sum(max(0.0, min(end, line[2]) - max(begin, line[1])) for line in lines if abs(line[0] - at) <= _NEAR)
    return covered >= _COVERED * (end - begin)


def _first(cells: dict[Place, Place], place: Place) -> Place:
    while cells[place] != place:
        place = cells[place]
    return place


def _join(cells: dict[Place, Place], one: Place, other: Place) -> None:
    first, last = sorted((_first(cells, one), _first(cells, other)))
    cells[last] = first


def _members(grid: Grid) -> dict[Place, list[Place]]:
    members: dict[Place, list[Place]] = {}
    for place, cell in grid.cells.items():
        members.setdefault(cell, []).append(place)
    return members


def _is_rectangle(places: Sequence[Place]) -> bool:
    rows, columns = ({place[axis] for place in places} for axis in (0, 1))
    return len(places) == (max(rows) - min(rows) + 1) * (max(columns) - min(columns) + 1)


def spans(grid: Grid) -> dict[Place, tuple[int, int]]:
    """How many columns and rows each cell covers."""
    return {
        cell: (len({column for _, column in places}), len({row for row, _ in places}))
        for cell, places in _members(grid).items()
    }
