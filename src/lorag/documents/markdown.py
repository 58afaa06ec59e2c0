"""Where the headings of a Markdown text are.

Only ATX headings (``## Batteries``) count. Those inside fenced code do not; underlined (setext) headings and headings
inside HTML are not recognised. Rules: CommonMark 0.31, sections 4.2 and 4.5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(r"[^\n]*\n?")
_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: ``start`` is the character offset of its line, ``level`` is 1 to 6."""

    start: int
    level: int
    title: str


def headings(text: str) -> list[Heading]:
    """The headings of ``text`` in order; those without words are left out."""
    found = []
    fence = ""
    for match in _LINE.finditer(text):
        line = match[0].rstrip()
        if fence:
            fence = "" if _closes(line, fence) else fence
        elif opening := _FENCE.match(line):
            fence = opening[1]
        elif heading := _HEADING.match(line):
            title = _without_closing_marks((heading[2] or "").strip())
            if title:
                found.append(Heading(match.start(), len(heading[1]), title))
    return found


def _closes(line: str, fence: str) -> bool:
    """A fence is closed by at least as many of its own marks, and nothing else, on a line of their own."""
    marks = line.lstrip(" ")
    return len(line) - len(marks) <= 3 and len(marks) >= len(fence) and set(marks) == {fence[0]}


def _without_closing_marks(title: str) -> str:
    """``Batteries ##`` is ``Batteries``; in ``C#`` the mark belongs to the word."""
    bare = title.rstrip("#")
    return title if bare and not bare[-1].isspace() else bare.rstrip()
