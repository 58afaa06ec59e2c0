"""HTML pages: all text of them but navigation and footers."""

from __future__ import annotations

import re
from contextlib import suppress
from html import escape
from pathlib import Path

from lorag.documents.parsers.markup.page_markdown import holds_hidden_text, markdown
from lorag.documents.parsers.parsed import NoTextError, Parsed
from lorag.documents.parsers.text import decode

_CHARSET = re.compile(
    rb"""<(?:meta[^>]{0,200}?charset|\?xml[^>]{0,200}?encoding)\s*=\s*["']?([\w:-]+)""", re.IGNORECASE
)
_XHTML = re.compile(r"<\?xml\b|<html[^>]{0,500}\sxmlns\s*=", re.IGNORECASE)
_LITERAL = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
"""Text in which XHTML knows no tags; HTML takes it for a comment."""
_HEAD_BYTES = 4096
_HIDDEN_NOTE = "has hidden text, which was not read"


def parse_html(path: Path, data: bytes) -> Parsed:
    """The page's ``main`` element where there is exactly one, else its body, and the page's title."""
    from lxml import etree, html  # type: ignore[import-untyped]

    declared = _CHARSET.search(data[:_HEAD_BYTES])
    page, notes = decode(path, data, declared[1].decode() if declared else None)
    if _XHTML.search(page, 0, _HEAD_BYTES):
        page = _LITERAL.sub(lambda literal: escape(literal[1]), page)
    text, title = "", ""
    with suppress(etree.ParserError):  # raised for a page without any element
        tree = html.document_fromstring(page.encode(), parser=html.HTMLParser(encoding="utf-8", huge_tree=True))
        title = " ".join((tree.findtext(".//title") or "").split())
        mains = tree.findall(".//main")
        content = mains[0] if len(mains) == 1 else tree.find("body")
        if content is not None:
            text = markdown(content)
            notes = (*notes, _HIDDEN_NOTE) if holds_hidden_text(content) else notes
    if not text:
        raise NoTextError(path, "no text found in this page; fill it or take it out of the folder")
    return Parsed(text, title, notes=notes)
