"""Workbooks (xlsx): a section for each sheet, with a table for each stretch of rows between blank ones.

Values are read as they were last computed and stored, and written as the sheet shows them; a formula that was never
computed is read as it is written. What a merged cell says stands in every row and column of it. Charts,
comments and pictures are not read, which is noted.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from lorag.documents.cell_format import shown
from lorag.documents.grid import stretches
from lorag.documents.markdown_structure import table
from lorag.documents.parsers.archive import opened
from lorag.documents.parsers.parsed import HIDDEN_SHEETS, Parsed, blocks, counted, in_places

_MERGED = re.compile(rb"""<(?:\w+:)?mergeCell\b[^>]*?\bref=["']([A-Z]+\d+:[A-Z]+\d+)["']""")
_UNREAD = {
    "chart{s}, which {were} not read": (re.compile(r"xl/charts/chart"), re.compile(rb"<(?:\w+:)?chartSpace\b")),
    "comment{s}, which {were} not read": (re.compile(r"xl/comments"), re.compile(rb"<(?:\w+:)?comment\b")),
    "picture{s}, which {were} not read": (re.compile(r"xl/drawings/drawing"), re.compile(rb"<(?:\w+:)?pic\b")),
}
"""Notes, each with the parts of the file and the elements in them that it is about."""
_MOST_MERGED = 100_000
"""Places that a merged cell fills; one of more is a mistake of the file, and stays where it begins."""

Merged = Mapping[int, Mapping[int, tuple[int, int]]]
"""For a row and a column, both from 1, the place of the merged cell that covers them."""


def parse_sheets(path: Path, data: bytes) -> Parsed:
    """Every sheet under its name as a heading; sheets without a value are left out, hidden ones are noted."""
    import openpyxl  # type: ignore[import-untyped]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions, which hold no text
        values, formulas = (
            openpyxl.load_workbook(BytesIO(data), read_only=True, data_only=computed) for computed in (True, False)
        )
        parts, hidden, unknown = [], [], []
        for computed, written in zip(values.worksheets, formulas.worksheets, strict=True):
            filled = list(stretches(_rows(computed, written)))
            tables = [table(rows) for rows in filled]
            parts.append((f"sheet {computed.title}", blocks([f"## {computed.title}", *tables]) if tables else ""))
            if tables and computed.sheet_state != "visible":
                hidden.append(computed.title)
            if any(text.startswith("=") for rows in filled for row in rows for text in row):
                unknown.append(computed.title)
    text, places = in_places(parts)
    said = (
        (HIDDEN_SHEETS, hidden),
        ("has formulas without values, which were read as they are written; save it in a spreadsheet program", unknown),
    )
    notes = tuple(f"{note}: {', '.join(names)}" for note, names in said if names)
    return Parsed(text, values.properties.title or "", places, (*notes, *counted(_unread(data))))


def _unread(data: bytes) -> dict[str, int]:
    """The notes that count what was left out of a workbook."""
    with opened(data) as archive:
        return {
            note: sum(len(mark.findall(archive.read(name))) for name in archive.namelist() if part.match(name))
            for note, (part, mark) in _UNREAD.items()
        }


def _rows(computed: Any, written: Any) -> Iterator[list[str]]:
    """The rows of a sheet as texts: of each cell its value, or else its formula."""
    merged = _merged(computed)
    above: dict[tuple[int, int], str] = {}
    for sheet in (computed, written):
        sheet.reset_dimensions()  # what a file says of its size may be wrong
    pairs = zip(computed.iter_rows(), written.iter_rows(), strict=True)
    for row, (cells, formulas) in enumerate(pairs, start=1):
        texts = [_text(cell, formula) for cell, formula in zip(cells, formulas, strict=True)]
        covered = merged.get(row, {})
        texts += [""] * (max(covered, default=0) - len(texts))
        for column, begin in covered.items():
            if begin == (row, column):
                above[begin] = texts[column - 1]
            else:
                texts[column - 1] = texts[column - 1] or above.get(begin, "")
        yield texts


def _merged(sheet: Any) -> Merged:
    """What the merged cells of a sheet cover; a library that reads row by row does not know of them."""
    from openpyxl.utils.cell import range_boundaries  # type: ignore[import-untyped]

    covered: dict[int, dict[int, tuple[int, int]]] = {}
    with sheet._get_source() as source:
        ranges = _MERGED.findall(source.read())
    for found in ranges:
        left, top, right, bottom = range_boundaries(found.decode())
        if (right - left + 1) * (bottom - top + 1) <= _MOST_MERGED:
            for row in range(top, bottom + 1):
                covered.setdefault(row, {}).update(dict.fromkeys(range(left, right + 1), (top, left)))
    return covered


def _text(cell: Any, formula: Any) -> str:
    """A cell's value as it is shown, or else its formula as it is written."""
    if cell.value is None:
        return shown(formula.value, "")
    return shown(cell.value, cell.number_format or "")
