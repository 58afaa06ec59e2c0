"""The letters of a page in the order in which they are read: columns one after the other, tables as grids.

Every letter is in the result exactly once, but for cells that cover several rows or columns, whose text is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

from lorag.documents.pages.aligned_tables import with_tables
from lorag.documents.pages.columns import in_columns
from lorag.documents.pages.letters import Box, Letter, Part, pieces, text_of
from lorag.documents.pages.ruled_tables import ruled_tables

Block = str | list[list[str]]
"""A text, or the rows of a table."""

_EDGE = 3.0
"""Points by which the border of a table may stand outside of its box."""


def arranged(letters: Sequence[Letter], rulings: Sequence[Box]) -> list[Block]:
    """The texts and tables of a page, whose letters come in the order in which it draws them, and whose lines are
    ``rulings`` (thin boxes); an empty list where it has no columns and no tables.
    """
    tables = ruled_tables(letters, rulings)
    parts = [*pieces(letters, {number for table in tables for number in table.numbers}), *tables]
    free = [line for line in rulings if not any(_stands_in(line, table.box) for table in tables)]
    groups = [with_tables(letters, sorted(group, key=_first), rulings) for group in in_columns(parts, free)]
    if len(groups) == 1 and all(part.rows is None for part in groups[0]):
        return []
    blocks: list[Block] = []
    for group in groups:
        numbers: list[int] = []
        for part in group:
            if part.rows is None:
                numbers += part.numbers
            else:
                blocks += [text_of(letters, numbers), part.rows]
                numbers = []
        blocks.append(text_of(letters, numbers))
    return [block for block in blocks if block]


def _stands_in(line: Box, table: Box) -> bool:
    return table[1] - _EDGE <= line[1] <= table[3] + _EDGE


def _first(part: Part) -> int:
    return part.numbers[0]
