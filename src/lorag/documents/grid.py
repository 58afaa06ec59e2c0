"""Tables whose cells span rows and columns as plain grids: what a cell says holds in every place that it covers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, takewhile

_MOST = 1000
"""Columns that one cell covers; more are a mistake of the file."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell says, and how many columns and rows it covers."""

    text: str
    columns: int = 1
    rows: int = 1


Placed = tuple[int, Cell, bool]
"""A cell with its first column, and whether it continues the cell above it."""


def merged(rows: Sequence[Sequence[Placed]]) -> Iterator[list[Cell]]:
    """The cells of each row; one that those below it continue covers their rows, and they are left out."""
    for at, row in enumerate(rows, start=1):
        yield [
            replace(cell, rows=1 + _continued(rows[at:], column)) for column, cell, continues in row if not continues
        ]


def _continued(rows: Sequence[Sequence[Placed]], column: int) -> int:
    """How many of the rows continue the cell above them in ``column``."""
    is_continued = (any(first == column and continues for first, _, continues in row) for row in rows)
    return sum(1 for _ in takewhile(bool, is_continued))


def filled(rows: Iterable[Sequence[Cell]]) -> list[list[str]]:
    """The rows with every place filled that a cell covers."""
    rows = list(rows)
    places: list[dict[int, str]] = [{} for _ in rows]
    for at, row in enumerate(rows):
        column = 0
        for cell in row:
            while column in places[at]:
                column += 1
            covered = range(column, column + min(max(cell.columns, 1), _MOST))
            for line in places[at : at + max(cell.rows, 1)]:
                for each in covered:
                    line.setdefault(each, cell.text)
            column = covered.stop
    return [[line.get(column, "") for column in range(max(line, default=-1) + 1)] for line in places]


def stretches(rows: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    """The tables of a sheet: runs of rows that hold something."""
    for holds_something, run in groupby(rows, any):
        if holds_something:
            yield list(run)
