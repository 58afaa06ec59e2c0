"""HTML pages: what counts as their text is trafilatura's judgement; navigation and footers do not."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from lorag.documents.parsers.parsed import Parsed
from lorag.documents.parsers.text import decode
from lorag.errors import DataError

_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?([\w:-]+)""", re.IGNORECASE)
_HEAD_BYTES = 4096


def parse_html(path: Path, data: bytes) -> Parsed:
    """The page's ``main`` element where there is exactly one, else its body, and the page's title."""
    from lxml import etree, html  # type: ignore[import-untyped]

    declared = _CHARSET.search(data[:_HEAD_BYTES])
    page, notes = decode(path, data, declared[1].decode() if declared else None)
    text, title = None, ""
    with suppress(etree.ParserError):  # raised for a page without any element
        tree = html.document_fromstring(page.encode(), parser=html.HTMLParser(encoding="utf-8"))
        title = " ".join((tree.findtext(".//title") or "").split())
        mains = tree.findall(".//main")
        content = mains[0] if len(mains) == 1 else tree.find("body")
        text = None if content is None else _markdown(content)
    if not text:
        raise DataError(path, "no text found in this page; fill it or take it out of the folder")
    return Parsed(text, title, notes=notes)


def _markdown(content: Any) -> str | None:
    """The text of an lxml element as Markdown, without navigation and footers; None where there is none.

    The element is handed over as one article. Left to find the article by itself, trafilatura drops the headings and
    tables of short pages, and every article but the first.
    """
    import trafilatura
    from lxml import html
    from trafilatura.settings import use_config

    for element in content.iter("main", "article"):
        element.tag = "div"
    content.tag = "article"
    page = html.document_fromstring("<html><body></body></html>")
    page.body.append(content)
    config = use_config()
    config.set("DEFAULT", "MIN_EXTRACTED_SIZE", "1")  # short pages take the same way as long ones
    return trafilatura.extract(
        page,
        output_format="markdown",
        include_tables=True,
        include_comments=False,
        favor_recall=True,
        fast=True,
        config=config,
    )
