"""Jupyter notebooks (ipynb): the cells in order, code and what it printed as fenced code.

Pictures and widgets are not read, nor are the traces of errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lorag.documents.markdown_structure import fenced, first_title, marked_headings
from lorag.documents.parsers.parsed import Parsed, blocks
from lorag.documents.parsers.text import decode
from lorag.errors import DataError

_SHOWN = ("text/markdown", "text/plain")
"""The forms of a result, the best first."""


def parse_notebook(path: Path, data: bytes) -> Parsed:
    """The text of every cell; the title is the first heading of level 1. Raises ``DataError`` for another format."""
    text, notes = decode(path, data)
    notebook = json.loads(text)
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise DataError(path, "holds no cells; expected a notebook of format 4: open it in Jupyter and save it again")
    outputs = [output for cell in cells for output in cell.get("outputs") or []]
    if any(name.startswith("image/") for output in outputs for name in output.get("data") or {}):
        notes = (*notes, "has pictures that were not read")
    read = blocks(part for cell in cells for part in _cell(cell))
    return Parsed(read, first_title(read), notes=notes)


def _cell(cell: dict[str, Any]) -> Iterator[str]:
    source = _joined(cell.get("source"))
    if cell.get("cell_type") == "markdown":
        yield marked_headings(source)
    else:
        yield fenced(source)
        yield from map(_output, cell.get("outputs") or [])


def _output(output: dict[str, Any]) -> str:
    """What a cell printed or gave back."""
    data = output.get("data") or {}
    form = next((form for form in _SHOWN if form in data), None)
    if form is None:
        return fenced(_joined(output.get("text")))
    return _joined(data[form]) if form == "text/markdown" else fenced(_joined(data[form]))


def _joined(lines: object) -> str:
    return "".join(map(str, lines)) if isinstance(lines, list) else str(lines or "")
