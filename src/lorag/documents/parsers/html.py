"""HTML pages: all text of them but navigation and footers."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from html import escape
from pathlib import Path

from lorag.documents.parsers.markup.page_markdown import (
    count_embedded,
    count_options,
    count_pictures,
    heading_above,
    holds_hidden_text,
    markdown,
)
from lorag.documents.parsers.parsed import NoTextError, Parsed, blocks, counted
from lorag.documents.parsers.text import decode

_CHARSET = re.compile(
    rb"""<(?:meta[^>]{0,200}?charset|\?xml[^>]{0,200}?encoding)\s*=\s*["']?([\w:-]+)""", re.IGNORECASE
)
_XHTML = re.compile(r"<\?xml\b|<html[^>]{0,500}\sxmlns\s*=", re.IGNORECASE)
_LITERAL = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
"""Text in which XHTML knows no tags; HTML takes it for a comment."""
_HEAD_BYTES = 4096
_WORD = re.compile(r"\w+")
_HIDDEN_NOTE = "has hidden text, which was not read"
_OUTSIDE_NOTE = "word{s} outside its main element, which {were} not read"
_PICTURES_NOTE = "picture{s}, of which only the alternative text was read"
_EMBEDDED_NOTE = "embedded object{s}, which {were} not read"
_OPTIONS_NOTE = "option{s} in menus that {were} not chosen and not read"


def parse_html(path: Path, data: bytes) -> Parsed:
    """The page as ``read_page`` reads it. Raises ``NoTextError`` where it has no text."""
    page, counts = read_page(path, data)
    if not page.text:
        raise NoTextError(path, "no text found in this page; fill it or remove it from the folder")
    return replace(page, notes=(*page.notes, *counted(counts)))


def read_page(path: Path, data: bytes) -> tuple[Parsed, Counter[str]]:
    """The page's ``main`` element where there is exactly one, else its body, and the page's title.

    A heading of level 1 in front of ``main`` is read too where it has none. Next to the page are the notes that count
    what was left out, for ``counted``.
    """
    from lxml import etree, html  # type: ignore[import-untyped]

    declared = _CHARSET.search(data[:_HEAD_BYTES])
    page, notes = decode(path, data, declared[1].decode() if declared else None)
    if _XHTML.search(page, 0, _HEAD_BYTES):
        page = _LITERAL.sub(lambda literal: escape(literal[1]), page)
    text, title, counts = "", "", Counter[str]()
    with suppress(etree.ParserError):  # raised for a page without any element
        tree = html.document_fromstring(page.encode(), parser=html.HTMLParser(encoding="utf-8", huge_tree=True))
        title = " ".join(tree.xpath("string(//title[not(ancestor::svg)])").split())
        mains, body = tree.findall(".//main"), tree.find("body")
        content = mains[0] if len(mains) == 1 else body
        if content is not None:
            text = markdown(content)
            notes = (*notes, _HIDDEN_NOTE) if holds_hidden_text(content) else notes
            counts[_PICTURES_NOTE] = count_pictures(content)
            counts[_EMBEDDED_NOTE] = count_embedded(content)
            counts[_OPTIONS_NOTE] = count_options(content)
        if content is not body and body is not None and text:
            text = blocks([heading_above(content), text])
            counts[_OUTSIDE_NOTE] = max(0, _count_words(markdown(body)) - _count_words(text))
    return Parsed(text, title, notes=notes), counts


def _count_words(text: str) -> int:
    return len(_WORD.findall(text))
