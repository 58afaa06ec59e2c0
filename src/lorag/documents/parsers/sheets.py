"""Workbooks (xlsx): a section for each sheet, with a table for each stretch of rows between blank ones.

Values are read as they were last computed and stored, and written as the sheet shows them; a formula that was never
computed is read as it is written. What a merged cell says stands in every row and column of it. Text boxes follow the
tables of their sheet. Charts, comments and pictures are not read, which is noted.
"""

from __future__ import annotations

import posixpath
import re
import warnings
from collections.abc import Iterator, Mapping
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from lorag.documents.cell_format import shown
from lorag.documents.grid import stretches
from lorag.documents.markdown_structure import escaped, table
from lorag.documents.office_text import drawn_line
from lorag.documents.parsers.archive import opened, xml_part
from lorag.documents.parsers.parsed import HIDDEN_SHEETS, Parsed, blocks, counted, in_places
from lorag.documents.superscripts import Shift, in_line, lowered, on_line, raised

_MERGED = re.compile(rb"""<(?:\w+:)?mergeCell\b[^>]*?\bref=["']([A-Z]+\d+:[A-Z]+\d+)["']""")
_UNREAD = {
    "chart{s}, which {were} not read": (re.compile(r"xl/charts/chart"), re.compile(rb"<(?:\w+:)?chartSpace\b")),
    "comment{s}, which {were} not read": (re.compile(r"xl/comments"), re.compile(rb"<(?:\w+:)?comment\b")),
    "picture{s}, which {were} not read": (re.compile(r"xl/drawings/drawing"), re.compile(rb"<(?:\w+:)?pic\b")),
}
"""Notes, each with the parts of the file and the elements in them that it is about."""
_MOST_MERGED = 100_000
"""Places that a merged cell fills; one of more is a mistake of the file, and stays where it begins."""

_SHIFTED: Mapping[str, Shift] = {"superscript": raised, "subscript": lowered}
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"

Merged = Mapping[int, Mapping[int, tuple[int, int]]]
"""For a row and a column, both from 1, the place of the merged cell that covers them."""


def parse_sheets(path: Path, data: bytes) -> Parsed:
    """Every sheet under its name as a heading; sheets without a value are left out, hidden ones are noted."""
    import openpyxl  # type: ignore[import-untyped]

    with warnings.catch_warnings(), opened(data) as archive:
        warnings.simplefilter("ignore")  # of styles and extensions, which hold no text
        values, formulas = (
            openpyxl.load_workbook(BytesIO(data), read_only=True, data_only=computed, rich_text=True)
            for computed in (True, False)
        )
        parts, hidden, unknown = [], [], []
        for computed, written in zip(values.worksheets, formulas.worksheets, strict=True):
            filled = list(stretches(_rows(computed, written)))
            tables = [*map(table, filled), *_boxes(archive, computed._worksheet_path)]
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


def _boxes(archive: ZipFile, sheet: str) -> Iterator[str]:
    """The text of the boxes and shapes on a sheet, which is given by the name of its part."""
    folder, name = posixpath.split(sheet)
    relations = f"{folder}/_rels/{name}.rels"
    for relation in xml_part(archive, relations) if relations in archive.namelist() else ():
        drawing = posixpath.normpath(posixpath.join("/", folder, relation.get("Target") or ""))[1:]
        if (relation.get("Type") or "").endswith("/drawing") and drawing in archive.namelist():
            for body in xml_part(archive, drawing).iter("{*}txBody"):
                if next(body.iterancestors(_FALLBACK), None) is None:
                    text = "\n".join(map(drawn_line, body.iterchildren("{*}p"))).replace("\v", "\n").strip()
                    yield from [escaped(text)] if text else []


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
        return shown(_plain(formula.value), "")
    return shown(_plain(cell.value), cell.number_format or "")


def _plain(value: Any) -> Any:
    """``value``; if it is text with formats, the text, with the value that signs above and below the line give it."""
    if not isinstance(value, list):
        return value
    parts = groupby(value, _shift)
    return in_line((shift, "".join(map(str, texts))) for shift, texts in parts)


def _shift(part: Any) -> Shift:
    """What the text of a part becomes by its place above, below or on the line."""
    font = getattr(part, "font", None)
    return _SHIFTED.get(font.vertAlign, on_line) if font is not None else on_line
