"""Comma- and tab-separated values: one Markdown table, the first row its header."""

from __future__ import annotations

import csv
import re
from io import StringIO
from itertools import islice
from pathlib import Path

from lorag.documents.markdown_structure import table
from lorag.documents.parsers.parsed import Parsed
from lorag.documents.parsers.text import decode
from lorag.errors import DataError

_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 50
_SEPARATOR_LINE = re.compile(r"\"?sep=(.)\"?\n", re.IGNORECASE)
"""The line by which Excel is told the separator."""


def parse_separated(path: Path, data: bytes) -> Parsed:
    """The rows as a table; ``.tsv`` is separated by tabs, ``.csv`` by whichever sign cuts its rows most evenly."""
    text, notes = decode(path, data)
    csv.field_size_limit(max(len(data), csv.field_size_limit()))  # a cell may be as long as its file, which is limited
    try:
        delimiter, text = separator(text, path.suffix)
        return Parsed(table(csv.reader(StringIO(text, newline=""), delimiter=delimiter)), notes=notes)
    except csv.Error as error:
        raise DataError(path, f"cannot be read as separated values ({error}); repair it or save it as .txt") from error


def separator(text: str, suffix: str, *, has_names: bool = False) -> tuple[str, str]:
    """The sign between the cells of a table, and the table without the line that tells Excel this sign.

    Where no such line and no suffix ``.tsv`` decides, it is the sign that cuts the first rows most evenly; in a table
    that begins with the names of its columns, the first sign that is in them if they lack that one.
    """
    if told := _SEPARATOR_LINE.match(text):
        return told[1], text[told.end() :]
    if suffix.lower() == ".tsv":
        return "\t", text
    even = _even_delimiter(text)
    names = text.split("\n", 1)[0]
    return next((sign for sign in (even, *_DELIMITERS) if sign in names), ",") if has_names else even, text


def _even_delimiter(text: str) -> str:
    """The sign by which most of the first rows have the same number of cells; among equals, the most cells."""

    def evenness(delimiter: str) -> tuple[float, int]:
        rows = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
        widths = [len(row) for row in islice(rows, _SAMPLE_ROWS) if row]
        usual = max(set(widths), key=widths.count, default=0)
        return (widths.count(usual) / len(widths), usual) if usual > 1 else (0.0, 0)

    return max(_DELIMITERS, key=evenness)
