"""Where the headings and tables of a Markdown text are, and how other formats are written as Markdown.

Only ATX headings (``## Batteries``) and pipe tables count, and neither inside fenced code; ``marked_headings`` makes
them of underlined (setext) ones. Rules: CommonMark 0.31, sections 4.2, 4.3 and 4.5; tables as in
GitHub Flavored Markdown 0.29, section 4.10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_LINE = re.compile(r"[^\n]*\n?")
_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_DELIMITER = re.compile(r" {0,3}(?=[^|\n]*\|)\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?$")
_CELL_END = re.compile(r"(?<!\\)\|")
_MARKS = re.compile(r"^( {0,3})(?=#{1,6}(?:[ \t]|$)|`{3}|~{3})", re.MULTILINE)
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)$")
_NO_PARAGRAPH = re.compile(r" {4}|\t| {0,3}(?:[-*+>|<]|\d+[.)][ \t]|[-*_ ]+$)")
"""What begins a list, a quotation, a table, HTML or a rule."""
_LINE_BREAKS = re.compile(r"[\r\n\v\f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: ``start`` is the character offset of its line, ``level`` is 1 to 6."""

    start: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class Table:
    """A pipe table from ``start`` to ``end``, from line to line; ``rows`` are the starts of the lines below the
    header and its delimiter.
    """

    start: int
    end: int
    header: str
    rows: tuple[int, ...]


def headings(text: str) -> list[Heading]:
    """The headings of ``text`` in order; those without words are left out."""
    found = []
    for start, line, fenced in _lines(text):
        heading = None if fenced else _HEADING.match(line)
        if heading and (title := _without_closing_marks((heading[2] or "").strip())):
            found.append(Heading(start, len(heading[1]), title))
    return found


def marked_headings(text: str) -> str:
    """``text`` with its underlined headings as ``# `` and ``## `` lines; all else stays as it is."""
    parts: list[str] = []
    done, paragraph = 0, list[tuple[int, str]]()  # the starts and lines of the paragraph that the line may end
    for start, line, fenced in _lines(text):
        is_prose = bool(line) and not fenced and not _HEADING.match(line)
        if not is_prose:
            paragraph = []
        elif not paragraph or not _UNDERLINE.match(line):
            paragraph.append((start, line))
        elif not _NO_PARAGRAPH.match(paragraph[0][1]):
            title = " ".join(each.strip() for _, each in paragraph)
            parts += [text[done : paragraph[0][0]], f"{'#' if '=' in line else '##'} {title}"]
            done, paragraph = start + len(line), []
    return "".join([*parts, text[done:]])


def first_title(text: str) -> str:
    """The first heading of level 1, or the empty string."""
    return next((heading.title for heading in headings(text) if heading.level == 1), "")


def tables(text: str) -> list[Table]:
    """The tables of ``text`` in order. A table ends before a blank line, a heading, or fenced code."""
    found = []
    before, cells_before, header = 0, 0, ""
    rows: list[int] | None = None  # of the table that the line may continue
    for start, line, fenced in _lines(text):
        if rows is not None:
            if line and not fenced and not _HEADING.match(line):
                rows.append(start)
                continue
            found.append(Table(before, start, header, tuple(rows)))
            rows, cells_before = None, 0
        cells = 0 if fenced or "|" not in line else _count_cells(line)
        if cells and cells == cells_before and _DELIMITER.match(line):
            rows = []
        else:
            before, cells_before, header = start, cells, line
    if rows is not None:
        found.append(Table(before, len(text), header, tuple(rows)))
    return found


def table(rows: Iterable[Sequence[str]]) -> str:
    """``rows`` as a Markdown table, the first one its header; a single cell as a line of its own.

    Rows and columns without a word are left out; line breaks in a cell become blanks.
    """
    filled = [[_on_a_line(cell).replace("|", "\\|") for cell in row] for row in rows]
    filled = [row for row in filled if any(row)]
    width = max(map(len, filled), default=0)
    used = [column for column in range(width) if any(len(row) > column and row[column] for row in filled)]
    shown = [[row[column] if len(row) > column else "" for column in used] for row in filled]
    if len(shown) == len(used) == 1:
        return escaped(shown[0][0].replace("\\|", "|"))
    lines = [f"| {' | '.join(row)} |" for row in shown]
    return "\n".join([*lines[:1], "|" + " --- |" * len(used), *lines[1:]]) if lines else ""


def _on_a_line(cell: str) -> str:
    return " ".join(filter(None, (line.strip() for line in _LINE_BREAKS.split(cell))))


def escaped(text: str) -> str:
    """``text`` of another format, with a backslash before what Markdown would take for a heading or a code fence."""
    return _MARKS.sub(r"\1\\", text)


def fenced(code: str) -> str:
    """``code`` between fences that are longer than any in it; nothing for blank code."""
    longest = max(map(len, re.findall("`{3,}", code)), default=2)
    fence = "`" * (longest + 1)
    bare = code.strip("\n")
    return f"{fence}\n{bare}\n{fence}" if code.strip() else ""


def _lines(text: str) -> Iterator[tuple[int, str, bool]]:
    """Each line's start, its text without white space at its end, and whether it belongs to fenced code."""
    fence = ""
    for match in _LINE.finditer(text):
        line = match[0].rstrip()
        if fence:
            yield match.start(), line, True
            fence = "" if _closes(line, fence) else fence
        else:
            opening = _FENCE.match(line)
            fence = opening[1] if opening else ""
            yield match.start(), line, bool(opening)


def _closes(line: str, fence: str) -> bool:
    """A fence is closed by at least as many of its own marks, and nothing else, on a line of their own."""
    marks = line.lstrip(" ")
    return len(line) - len(marks) <= 3 and len(marks) >= len(fence) and set(marks) == {fence[0]}


def _without_closing_marks(title: str) -> str:
    """``Batteries ##`` is ``Batteries``; in ``C#`` the mark belongs to the word."""
    bare = title.rstrip("#")
    return title if bare and not bare[-1].isspace() else bare.rstrip()


def _count_cells(line: str) -> int:
    """The cells of a row, whether or not it begins and ends with a bar. Indented code has none."""
    bare = line.lstrip(" ")
    if len(line) - len(bare) > 3:
        return 0
    ends = len(_CELL_END.findall(bare))
    return ends + 1 - bare.startswith("|") - (len(bare) > 1 and bare.endswith("|") and not bare.endswith("\\|"))
