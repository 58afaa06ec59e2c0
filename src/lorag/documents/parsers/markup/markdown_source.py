"""Markdown as people write it in the one form that the rest reads: front matter becomes title and values, underlined
headings become marked ones, and pictures that stand in the text as data leave their alternative text.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from lorag.documents.markdown_structure import first_title, marked_headings
from lorag.documents.parsers.parsed import Parsed, attributes_of
from lorag.documents.parsers.text import decode
from lorag.types import Attributes

_FRONT = re.compile(r"(---|\+\+\+)[ \t]*\n(.*?)(?:^|\n)(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_PICTURE = re.compile(r"!\[([^\]]*)\]\(\s*<?data:[^)]*\)")
_DEFINITION = re.compile(r"^ {0,3}\[[^\]\n]+\]:[ \t]*<?data:[^\n]*\n?", re.MULTILINE)
_DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w=.-]+)*;base64,[A-Za-z0-9+/=%]+")
DATA_NOTE = "holds pictures as data in its text, of which only the alternative text was read"


def parse_markdown(path: Path, data: bytes) -> Parsed:
    """The text with its headings marked; the title is that of the front matter, or the first heading of level 1."""
    text, notes = decode(path, data)
    title, meta, text = front_matter(text)
    text, said = plain_markdown(text)
    return Parsed(text, title or first_title(text), notes=(*notes, *said), meta=meta)


def plain_markdown(text: str) -> tuple[str, tuple[str, ...]]:
    """``text`` with its headings marked and without pictures as data, and notes on it; lines end as on Unix."""
    bare = without_data(text)
    return marked_headings(bare), (DATA_NOTE,) if bare != text else ()


def without_data(text: str) -> str:
    """``text`` with the alternative text of the pictures that stand in it as data."""
    return _DATA.sub("", _DEFINITION.sub("", _PICTURE.sub(r"\1", text))) if "data:" in text else text


def front_matter(text: str) -> tuple[str, Attributes, str]:
    """The title and the other values at the head of ``text``, and the text below it."""
    front, text = _values_and_rest(text)
    title = front.get("title")
    return title.strip() if isinstance(title, str) else "", attributes_of(front, {"title"}), text


def _values_and_rest(text: str) -> tuple[dict[str, Any], str]:
    """The values at the head of ``text``, YAML or TOML, and what follows; none where the head is something else."""
    import yaml  # type: ignore[import-untyped]

    head = _FRONT.match(text)
    if not head:
        return {}, text
    try:
        # The base loader leaves every value the text that it is.
        values = yaml.load(head[2], yaml.BaseLoader) if head[1] == "---" else tomllib.loads(head[2])
    except (yaml.YAMLError, tomllib.TOMLDecodeError):
        return {}, text
    return (values, text[head.end() :].lstrip("\n")) if isinstance(values, dict) else ({}, text)
