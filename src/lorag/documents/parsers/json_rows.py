"""JSON and JSONL: a document per row, with its text and its name under one of the keys that such files use."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lorag.documents.parsers.parsed import NoTextError, attributes_of
from lorag.errors import DataError
from lorag.files import read_jsonl, read_text
from lorag.types import Document

_TEXT_KEYS = ("doc", "content", "text", "page_content", "body")
_LISTED = 10
_EXAMPLE = '{"doc_id": "returns", "doc": "You may return …"}'


def parse_rows(path: Path, source: str) -> list[Document]:
    """The documents of a JSONL file, or of a JSON file that holds a list of objects, in their order.

    The text is under the first of ``_TEXT_KEYS`` that a row has. The id is ``doc_id`` or ``link``, or, without either,
    ``source`` and the row's number; a ``doc_id`` that is a number stands behind ``source`` too. The title is ``title``,
    or empty where that is blank; what else a row holds becomes its ``meta``. Rows with the same ``link`` are parts of
    one document. Raises ``NoTextError`` where no row has a text, and ``DataError``, with the line for JSONL, for a
    broken row and for a ``doc_id`` that is used twice.
    """
    rows = list(read_jsonl(path) if path.suffix.lower() == ".jsonl" else _read_list(path))
    if rows and not any(key in row for _, row in rows for key in _TEXT_KEYS):
        number, row = rows[0]
        raise NoTextError(path, f"{_place(path, number)}: {_no_text(row)}")
    documents: dict[str, Document] = {}
    row_of: dict[str, int] = {}
    for number, row in rows:
        key = next((key for key in _TEXT_KEYS if key in row), "doc")
        if key not in row:
            raise _error(path, number, _no_text(row))
        text = _string(path, number, row, key).replace("\r\n", "\n")
        title = _string(path, number, row, "title") if str(row.get("title") or "").strip() else ""
        name = _name(path, number, row, source)
        meta = attributes_of(row, {key, "doc_id", "title"})
        if name not in documents:
            documents[name], row_of[name] = Document(name, text, source, title, meta=meta), number
        elif "doc_id" not in row:
            first = documents[name]
            both = tuple(dict.fromkeys((*first.meta, *meta)))
            documents[name] = Document(name, f"{first.text}\n\n{text}", source, first.title or title, meta=both)
        else:
            raise _error(path, number, f"doc_id {name!r} is already used in {_place(path, row_of[name])}")
    if not documents:
        raise DataError(path, f"no documents; expected rows like {_EXAMPLE}")
    return list(documents.values())


def _no_text(row: dict[str, Any]) -> str:
    found = [*row][:_LISTED]
    more = f" and {len(row) - _LISTED} more" if len(row) > _LISTED else ""
    return f"expected the text under {', '.join(_TEXT_KEYS)}; found {', '.join(found) or 'nothing'}{more}"


def _name(path: Path, number: int, row: dict[str, Any], source: str) -> str:
    if type(row.get("doc_id")) is int:
        return f"{source}:{row['doc_id']}"
    if "doc_id" in row:
        return _string(path, number, row, "doc_id")
    link = row.get("link")
    return link if isinstance(link, str) and link.strip() else f"{source}:{number}"


def _read_list(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    """The objects of a JSON list with their numbers from 1; an object by itself is a list of one."""
    try:
        value = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(path, f"broken JSON at column {error.colno}: {error.msg}", error.lineno) from error
    for number, row in enumerate(value if isinstance(value, list) else [value], start=1):
        if not isinstance(row, dict):
            raise _error(path, number, f"expected an object like {_EXAMPLE}, found {type(row).__name__}")
        yield number, row


def _string(path: Path, number: int, row: dict[str, Any], key: str) -> str:
    """A row's value that is text and not blank."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        found = "nothing" if key not in row else "blank text" if isinstance(value, str) else type(value).__name__
        raise _error(path, number, f"{key} holds {found}, expected text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _error(path, number, f"{key} holds half a surrogate pair at character {error.start}") from error
    return value


def _place(path: Path, number: int) -> str:
    return f"line {number}" if path.suffix.lower() == ".jsonl" else f"row {number}"


def _error(path: Path, number: int, message: str) -> DataError:
    """An error at a row: by its line in JSONL, by its number in JSON, where a row may take many lines."""
    if path.suffix.lower() == ".jsonl":
        return DataError(path, message, number)
    return DataError(path, f"row {number}: {message}")
