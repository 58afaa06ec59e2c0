"""Jupyter notebooks (ipynb): the cells in order, code and what it printed as fenced code.

Pictures, widgets and other results without a text are not read, which is noted; nor are the traces of errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lorag.documents.markdown_structure import escaped, fenced, first_title
from lorag.documents.parsers.html import read_page
from lorag.documents.parsers.markup.markdown_source import front_matter, plain_markdown
from lorag.documents.parsers.parsed import Parsed, blocks, counted
from lorag.documents.parsers.text import decode
from lorag.errors import DataError

_SHOWN = ("text/markdown", "text/plain", "text/html", "text/latex")
"""The forms of a result, the best first."""
_NAME_ONLY = re.compile(r"<[\w.]+ (?:object|at 0x[0-9a-f]+)[^<>]*>", re.IGNORECASE)
"""The plain text of a result that only another form shows."""
_UNREAD_NOTE = "result{s} without a text, which {were} not read"


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
    kinds = [[*data] for output in outputs if (data := output.get("data"))]
    if any(kind.startswith("image/") for each in kinds for kind in each):
        notes = (*notes, "has pictures that were not read")
    unread = sum(not any(kind in _SHOWN or kind.startswith("image/") for kind in each) for each in kinds)
    notes = (*notes, *counted({_UNREAD_NOTE: unread}))
    has_head = bool(cells) and cells[0].get("cell_type") != "code"
    title, meta, below = front_matter(_joined(cells[0].get("source")) if has_head else "")
    if title or meta:
        cells = [{"cell_type": "markdown", "source": below}, *cells[1:]]
    parts = [part for cell in cells for part in _cell(path, cell)]
    read = blocks(part for part, _ in parts)
    said = dict.fromkeys(note for _, each in parts for note in each)
    return Parsed(read, title or first_title(read), notes=(*notes, *said), meta=meta)


def _cell(path: Path, cell: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The parts of a cell, each with notes on it."""
    source = _joined(cell.get("source"))
    if cell.get("cell_type") == "markdown":
        yield plain_markdown(source)
    else:
        yield fenced(source), ()
        yield from (_output(path, output) for output in cell.get("outputs") or [])


def _output(path: Path, output: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """What a cell printed or gave back, and notes on it."""
    data = output.get("data") or {}
    forms = {form: _joined(data[form]) for form in _SHOWN if form in data}
    if len(forms) > 1 and _NAME_ONLY.fullmatch(forms.get("text/plain", "").strip()):
        del forms["text/plain"]
    form, text = next(iter(forms.items()), ("", _joined(output.get("text"))))
    match form:
        case "text/markdown":
            return plain_markdown(text)
        case "text/html":
            page, counts = read_page(path, text.replace("\0", "").encode(errors="replace"))
            return page.text, (*page.notes, *counted(counts))
        case "text/latex":
            return escaped(text), ()
    return fenced(text), ()


def _joined(lines: object) -> str:
    text = "".join(map(str, lines)) if isinstance(lines, list) else str(lines or "")
    return text.replace("\r\n", "\n").replace("\r", "\n")
