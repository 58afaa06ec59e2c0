"""Workbooks (xlsx): a section for each sheet, with a table for each stretch of rows between blank ones.

Values are read as they were last computed and stored, without number formats; a formula that was never computed is
read as it is written. Charts and pictures are not read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime, time
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

from lorag.documents.markdown_structure import table
from lorag.documents.parsers.parsed import Parsed, blocks, in_places


def parse_sheets(path: Path, data: bytes) -> Parsed:
    """Every sheet under its name as a heading; sheets without a value are left out."""
    import openpyxl  # type: ignore[import-untyped]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions, which hold no text
        values, formulas = (
            openpyxl.load_workbook(BytesIO(data), read_only=True, data_only=computed) for computed in (True, False)
        )
        parts = []
        for shown, written in zip(values.worksheets, formulas.worksheets, strict=True):
            tables = [table(rows) for rows in _stretches(_rows(shown, written))]
            parts.append((f"sheet {shown.title}", blocks([f"## {shown.title}", *tables]) if tables else ""))
    text, places = in_places(parts)
    return Parsed(text, values.properties.title or "", places)


def _rows(shown: Any, written: Any) -> Iterator[list[str]]:
    """The rows of a sheet as texts: of each cell its value, or else its formula."""
    for sheet in (shown, written):
        sheet.reset_dimensions()  # what a file says of its size may be wrong
    for values, formulas in zip(shown.iter_rows(values_only=True), written.iter_rows(values_only=True), strict=True):
        yield [_text(formula if value is None else value) for value, formula in zip(values, formulas, strict=True)]


def _stretches(rows: Iterator[list[str]]) -> Iterator[Sequence[list[str]]]:
    """Runs of rows that hold something."""
    for filled, run in groupby(rows, any):
        if filled:
            yield list(run)


def _text(value: Any) -> str:
    """A cell's value as people write it; days without a time of day are days."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ")
    return str(getattr(value, "text", value))
