"""Rows of training data from files, folders and hubs, each with the place it stands at.

What is wrong with one row (broken JSON, a missing cell) is reported for that row and the others are read; what is wrong
with a whole file (no such file, bytes that are no text, an open quotation mark) raises. What a row means is not decided
here.
"""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorag.documents.parsers.delimited import separator
from lorag.documents.parsers.text import decode
from lorag.errors import DataError, FetchError, require
from lorag.files import files_below

_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")
_ACCEPTED = f"{', '.join(_SUFFIXES)} files, a folder of them, or OWNER/NAME of a data set of the hub"
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_MARK, _EMPTY = re.compile(r"\s*([\[,\]])\s*"), re.compile(r"\s*\[\s*\]\s*")


@dataclass(frozen=True, slots=True)
class DataRow:
    """A JSON value, or a table's cells by column, and where it begins; ``problem`` says why there is no value."""

    source: Path
    line: int
    value: Any = None
    problem: str = ""


def read_rows(path: Path) -> Iterator[DataRow]:
    """The rows of a file, of every file below a folder in the order of their paths, or of a hub's data set.

    ``.jsonl`` holds a JSON value a line, ``.json`` one array (or, like ``.jsonl``, a value a line), ``.csv`` and
    ``.tsv`` a table under a line of column names. Raises ``DataError`` for a file that is missing, of another kind,
    empty or not readable as a whole; ``FetchError`` when the hub cannot be reached.
    """
    if path.is_dir():
        files = [file for file in files_below(path) if file.suffix.lower() in _SUFFIXES]
        if not files:
            raise DataError(path, f"no training data in this folder; accepted are {_ACCEPTED}")
        for file in files:
            yield from _file_rows(file)
    elif not path.exists() and path.suffix.lower() not in _SUFFIXES and _HUB_NAME.fullmatch(path.as_posix()):
        yield from _hub_rows(path)
    else:
        yield from _file_rows(path)


def _file_rows(path: Path) -> Iterator[DataRow]:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES and path.is_file():
        raise DataError(path, f"unknown kind of training data {path.suffix!r}; accepted are {_ACCEPTED}")
    text = _text(path)
    if suffix in (".csv", ".tsv"):
        rows = _table(path, text)
    elif suffix == ".json" and text.lstrip().startswith("["):
        rows = _array(path, text)
    else:
        rows = _lines(path, text)
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise DataError(path, "holds no conversation; fill it or remove it")


def _text(path: Path) -> str:
    """The text of a file; a code page that was found out from its letters is named in a warning."""
    if not path.is_file():
        raise DataError(path, "no such file" if not path.exists() else "is a folder, expected a file")
    text, notes = decode(path, path.read_bytes())
    for note in notes:
        warnings.warn(f"{path} {note}", stacklevel=2)
    return text


def _lines(path: Path, text: str) -> Iterator[DataRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield DataRow(path, number, json.loads(line))
        except (ValueError, RecursionError) as error:
            yield DataRow(path, number, problem=f"{_broken(error)}; expected one JSON value on each line")


def _array(path: Path, text: str) -> Iterator[DataRow]:
    """The elements of a JSON array, decoded one by one so that each has its line."""
    if _EMPTY.fullmatch(text):
        return
    decoder, line, counted = json.JSONDecoder(), 1, 0
    mark = _MARK.match(text)
    while mark is not None and mark[1] != "]":
        line, counted = line + text.count("\n", counted, mark.end()), mark.end()
        try:
            value, end = decoder.raw_decode(text, mark.end())
        except (ValueError, RecursionError) as error:
            raise DataError(path, f"{_broken(error)}; the rest of the array cannot be read", line) from error
        yield DataRow(path, line, value)
        mark = _MARK.match(text, end)
    if mark is None or mark.end() < len(text):
        raise DataError(path, "the array does not end after its last row; expected one array and nothing else", line)


def _broken(error: ValueError | RecursionError) -> str:
    return f"broken JSON: {error.msg if isinstance(error, json.JSONDecodeError) else error}"


def _table(path: Path, text: str) -> Iterator[DataRow]:
    """The rows of a table, cells by column in lower case; a ``doc_ids`` cell holds names with ``;`` between them."""
    csv.field_size_limit(max(len(text), csv.field_size_limit()))  # a cell may be as long as its file
    delimiter, table = separator(text, path.suffix, has_names=True)
    before = int(table != text)
    reader = csv.reader(io.StringIO(table, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        if len(set(columns)) < len(columns):
            raise DataError(path, f"a column is named twice among {columns}; rename one", before + 1)
        begin = before + reader.line_num + 1
        for cells in reader:
            if len(cells) == len(columns):
                row: dict[str, Any] = dict(zip(columns, cells, strict=True))
                if "doc_ids" in row:
                    row["doc_ids"] = [name.strip() for name in row["doc_ids"].split(";") if name.strip()]
                yield DataRow(path, begin, row)
            elif cells:
                hint = f"put a cell that holds {delimiter!r} into quotation marks"
                yield DataRow(path, begin, problem=f"{len(cells)} cells under {len(columns)} columns; {hint}")
            begin = before + reader.line_num + 1
    except csv.Error as error:
        raise DataError(path, f"broken table: {error}; check the quotation marks", before + reader.line_num) from error


def _hub_rows(name: Path) -> Iterator[DataRow]:
    """The rows of a data set's ``train`` split, or of its only one; ``line`` counts them from 1."""
    here = f"{name} is not a file or folder here"
    datasets = require("datasets", "hub", f"{here}; reading it from the hub")
    try:
        splits = datasets.load_dataset(name.as_posix())
    except FileNotFoundError as error:
        raise DataError(name, f"is neither here nor a data set of the hub; accepted are {_ACCEPTED}") from error
    except OSError as error:
        raise FetchError(f"{here}, and the hub cannot be reached: {error}; give a file or a folder") from error
    except ValueError as error:
        raise DataError(name, f"does not load from the hub: {error}; save what you want as JSONL") from error
    chosen = "train" if "train" in splits else next(iter(splits))
    if chosen != "train" and len(splits) > 1:
        raise DataError(name, f"has the splits {', '.join(splits)} and no train; save the one you want as JSONL")
    for number, value in enumerate(splits[chosen], start=1):
        yield DataRow(name, number, value)
