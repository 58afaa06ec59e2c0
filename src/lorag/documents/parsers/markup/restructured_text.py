"""reStructuredText (rst): the text as it is, with its underlined titles as headings and its tables as tables.

Directives, roles and comments stay as they are written, so that nothing of them is lost. A table with cells that span
others stays as it is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from unicodedata import east_asian_width

from lorag.documents.markdown_structure import escaped, first_title, table
from lorag.documents.parsers.parsed import Parsed
from lorag.documents.parsers.text import decode

_LINE = re.compile(r"([!-/:-@\[-`{-~])\1+$")
"""What stands below a title, and maybe above it."""
_RULED = re.compile(r"=+(?: +=+)+$")
"""A border of a simple table."""
_SPANS = re.compile(r"\s*-+(?:\s+-+)*$")
_DRAWN = re.compile(r"\+(?:[-=]+\+)+$")
"""A border of a grid table."""
_DEEPEST = 6


def parse_restructured(path: Path, data: bytes) -> Parsed:
    """The whole text; the title is the first heading of level 1, which is the first that is underlined at all."""
    text, notes = decode(path, data)
    found = "\n".join(_parts([line.rstrip() for line in text.expandtabs(8).split("\n")]))
    return Parsed(found, first_title(found), notes=notes)


def _parts(lines: Sequence[str]) -> Iterator[str]:
    """The lines; those that make a heading or a table as such."""
    levels: list[tuple[str, bool]] = []
    at = 0
    while at < len(lines):
        taken, title, style = _title(lines, at)
        if title:
            if style not in levels:
                levels.append(style)
            yield f"{'#' * min(levels.index(style) + 1, _DEEPEST)} {title}"
        else:
            rows, taken = _simple_table(lines, at) or _grid_table(lines, at) or ([], 1)
            yield table(rows) if rows else escaped(lines[at])
        at += taken


def _title(lines: Sequence[str], at: int) -> tuple[int, str, tuple[str, bool]]:
    """The number of lines a title takes, its text, and its marker; an empty text if there is no title."""
    line, below, under = (*lines[at : at + 3], "", "")[:3]
    if _LINE.match(line) and below.strip() and not _LINE.match(below) and under == line:
        return (3, below.strip(), (line[0], True)) if _width(below.strip()) <= len(line) else (1, "", ("", False))
    follows = at == 0 or not lines[at - 1].strip() or bool(_LINE.match(lines[at - 1]))
    is_title = line[:1].strip() and not _LINE.match(line) and _LINE.match(below) and _width(line) <= len(below)
    return (2, line, (below[0], False)) if is_title and follows else (1, "", ("", False))


def _width(title: str) -> int:
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in title)


def _simple_table(lines: Sequence[str], at: int) -> tuple[list[list[str]], int] | None:
    """The rows of a table between lines of equals signs that begins here, and its lines."""
    border = lines[at]
    if not _RULED.match(border):
        return None
    end = next((n for n in range(at + 1, len(lines)) if not lines[n].strip() and lines[n - 1] == border), len(lines))
    if lines[end - 1] != border or end - at < 3:
        return None
    starts = [match.start() for match in re.finditer("=+", border)]
    cuts = [slice(start, after) for start, after in zip(starts, [*starts[1:], None], strict=True)]
    rows: list[list[str]] = []
    for line in lines[at + 1 : end - 1]:
        if _SPANS.match(line) or any(line[start - 1 : start].strip() for start in starts[1:]):
            return None
        cells = [line[cut].strip() for cut in cuts]
        if line != border and any(cells):
            rows = [*rows, cells] if cells[0] or not rows else [*rows[:-1], _under(rows[-1], cells)]
    return rows, end - at


def _grid_table(lines: Sequence[str], at: int) -> tuple[list[list[str]], int] | None:
    """The rows of a table drawn with lines on all sides that begins here, and its lines."""
    border = lines[at]
    if not _DRAWN.match(border):
        return None
    end = next((n for n in range(at, len(lines)) if not lines[n].startswith(("+", "|"))), len(lines))
    bars = [number for number, sign in enumerate(border) if sign == "+"]
    rows: list[list[str]] = []
    for line in lines[at + 1 : end]:
        if _DRAWN.match(line):
            if [number for number, sign in enumerate(line) if sign == "+"] != bars:
                return None
            rows.append([""] * (len(bars) - 1))
        elif not rows:
            rows.append([""] * (len(bars) - 1))
        if line.startswith("|"):
            if any(line[bar : bar + 1] != "|" for bar in bars):
                return None
            rows[-1] = _under(rows[-1], [line[a + 1 : b].strip() for a, b in pairwise(bars)])
        elif not _DRAWN.match(line):
            return None
    return rows, end - at


def _under(cells: Sequence[str], more: Sequence[str]) -> list[str]:
    return [f"{above} {below}".strip() for above, below in zip(cells, more, strict=True)]
