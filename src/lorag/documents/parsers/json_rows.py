"""JSON and JSONL: a document per row, with its text and its name under one of the keys that such files use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorag.documents.parsers.markup.markdown_source import DATA_NOTE, without_data
from lorag.documents.parsers.parsed import NoTextError, attributes_of, counted
from lorag.errors import DataError
from lorag.files import read_json, read_jsonl
from lorag.types import Document

_TEXT_KEYS = ("doc", "content", "text", "page_content", "body")
_MISSING_NOTE = "row{s} without text, which {were} not read"
_LISTED = 10
_EXAMPLE = '{"doc_id": "returns", "doc": "You may return …"}'


@dataclass(slots=True)
class _Found:
    """A document in the making: the row that it began in, its title, and the texts and values of all its rows."""

    row: int
    title: str
    texts: list[str] = field(default_factory=list)
    meta: list[tuple[str, str]] = field(default_factory=list)


def parse_rows(path: Path, source: str) -> tuple[list[Document], tuple[str, ...]]:
    """The documents of a JSONL file, or of a JSON file that holds a list of objects, in their order, and notes.

    The text is under the first of ``_TEXT_KEYS`` that holds one in a row; rows without a text are noted. The id is
    ``doc_id`` or ``link``, or, without either, ``source`` and the row's number; a ``doc_id`` that is a number stands
    behind ``source`` too. The title is ``title``, or empty where that is blank; what else a row holds becomes its
    ``meta``. Rows with the same ``link`` are parts of one document. Raises ``NoTextError`` where no row has a text, or
    the value of a JSON file is none of this, and ``DataError``, with the line for JSONL, for a broken row and for a
    ``doc_id`` that is used twice.
    """
    rows = list(read_jsonl(path) if path.suffix.lower() == ".jsonl" else _read_list(path))
    if not rows:
        raise NoTextError(path, f"no documents; expected rows like {_EXAMPLE}")
    found: dict[str, _Found] = {}
    missing = pictures = 0
    for number, row in rows:
        key = _text_key(row)
        whole = _string(path, number, row, key).replace("\r\n", "\n") if key else ""
        text = without_data(whole)
        pictures += text != whole
        if not text.strip():
            missing += 1
            continue
        title = _string(path, number, row, "title") if str(row.get("title") or "").strip() else ""
        name = _name(path, number, row, source)
        first = found.setdefault(name, _Found(number, title))
        if first.row != number and "doc_id" in row:
            raise _error(path, number, f"doc_id {name!r} is already used in {_place(path, first.row)}")
        first.title = first.title or title
        first.texts.append(text)
        blank = (other for other in _TEXT_KEYS if _is_blank(row.get(other)))
        first.meta += attributes_of(row, {key, "doc_id", "title", *blank})
    if not found:
        number, row = rows[0]
        raise NoTextError(path, f"{_place(path, number)}: {_no_text(row)}")
    documents = [
        Document(name, "\n\n".join(each.texts), source, each.title, meta=tuple(dict.fromkeys(each.meta)))
        for name, each in found.items()
    ]
    return documents, (*counted({_MISSING_NOTE: missing}), *([DATA_NOTE] if pictures else []))


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _no_text(row: dict[str, Any]) -> str:
    found = [f"{key} (without text)" if key in _TEXT_KEYS else key for key in [*row][:_LISTED]]
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
    """The objects of a JSON list with their numbers from 1; an object by itself is a list of one.

    Raises ``NoTextError`` where none is meant as a document, as in files of settings, and ``DataError`` where only some
    do not fit.
    """
    value = read_json(path)
    rows = list(enumerate(value if isinstance(value, list) else [value], start=1))
    kind = DataError if any(_is_meant(row) for _, row in rows) else NoTextError
    for number, row in rows:
        if not isinstance(row, dict):
            raise kind(path, f"row {number}: expected an object like {_EXAMPLE}, found {type(row).__name__}")
        if kind is NoTextError and (key := _text_key(row)):
            raise kind(path, f"row {number}: {key} holds {type(row[key]).__name__}, expected text")
        yield number, row


def _is_meant(row: object) -> bool:
    """Whether a row is a document, or is written as one: it has a text, or the keys of our own format."""
    return isinstance(row, dict) and ("doc_id" in row or "doc" in row or isinstance(row.get(_text_key(row)), str))


def _text_key(row: dict[str, Any]) -> str:
    """The key under which the text of a row stands, or else something that is none; empty where all are blank."""
    keys = [key for key in _TEXT_KEYS if not _is_blank(row.get(key))]
    return next((key for key in keys if isinstance(row[key], str)), keys[0] if keys else "")


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
