"""Jupyter notebooks (ipynb): the cells in order, code and what it printed as fenced code.

Pictures and widgets are not read, nor are the traces of errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lorag.documents.markdown_structure import fenced, first_title
from lorag.documents.parsers.markup.markdown_source import front_matter, plain_markdown
from lorag.documents.parsers.parsed import Parsed, blocks
from lorag.documents.parsers.text import decode
from lorag.errors import DataError

_SHOWN = ("text/markdown", "text/plain")
"""The forms of a result, the best first."""


def parse_notebook(path: Path, data: bytes) -> Parsed:
    """The text of every cell; the title is that of the front matter in the first cell, or the first heading of level 1.

    Raises ``DataError`` for another format.
    """
    text, notes = decode(path, data)
    notebook = json.loads(text)
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise DataError(path, "holds no cells; expected a notebook of format 4: open it in Jupyter and save it again")
    outputs = [output for cell in cells for output in cell.get("outputs") or []]
    if any(name.startswith("image/") for output in outputs for name in output.get("data") or {}):
        notes = (*notes, "has pictures that were not read")
    has_head = bool(cells) and cells[0].get("cell_type") != "code"
    title, meta, below = front_matter(_joined(cells[0].get("source")) if has_head else "")
    if title or meta:
        cells = [{"cell_type": "markdown", "source": below}, *cells[1:]]
    parts = [part for cell in cells for part in _cell(cell)]
    read = blocks(part for part, _ in parts)
    said = dict.fromkeys(note for _, each in parts for note in each)
    return Parsed(read, title or first_title(read), notes=(*notes, *said), meta=meta)


def _cell(cell: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The parts of a cell, each with notes on it."""
    source = _joined(cell.get("source"))
    if cell.get("cell_type") == "markdown":
        yield plain_markdown(source)
    else:
        yield fenced(source), ()
        yield from map(_output, cell.get("outputs") or [])


def _output(output: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """What a cell printed or gave back, and notes on it."""
    data = output.get("data") or {}
    form = next((form for form in _SHOWN if form in data), None)
    if form == "text/markdown":
        return plain_markdown(_joined(data[form]))
    return fenced(_joined(data[form] if form else output.get("text"))), ()


def _joined(lines: object) -> str:
    text = "".join(map(str, lines)) if isinstance(lines, list) else str(lines or "")
    return text.replace("\r\n", "\n").replace("\r", "\n")
