"""A web page as Markdown: all of its text but what steers the reader or the browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from lorag.documents.grid import Cell, filled
from lorag.documents.markdown_structure import escaped, fenced, table
from lorag.documents.superscripts import fraction, joined, lowered, power, raised

_EMBEDDED = ("object", "embed", "iframe")
_UNREAD = {"script", "style", "template", "noscript", "nav", "head", "annotation", "annotation-xml", *_EMBEDDED}
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = {
    *("address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "div", "dl"),
    *("dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hgroup", "html", "legend", "li", "main"),
    *("menu", "ol", "p", "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul", "hr"),
    *_HEADINGS,
}
_LISTS = {"ul", "ol", "menu"}
_OF_TABLES = {"table": ("thead", "tbody", "tfoot", "tr"), "thead": ("tr",), "tbody": ("tr",), "tfoot": ("tr",)}
"""The parts of a table that are made of rows, by where they stand."""
_MARKS = {"del": "~~", "s": "~~", "strike": "~~"}
_SHIFTED = {"sup": raised, "sub": lowered}
_FORMULAS = ("msup", "msub", "msubsup", "mfrac")
_DRAWN = ("text", "title", "desc", "foreignobject")
"""The parts of a drawing (SVG) that hold its words; a title and a description are its alternative text."""
_NOT_WRITTEN = ("hidden", "password", "file", "color", "range")
"""Kinds of input whose value is no text that a reader sees."""
_BLANKS = re.compile(r"[ \t\n\r\f]+")
_DEEPEST = 200
"""Elements inside each other; below, the words are read without their structure."""


def markdown(element: Any) -> str:
    """The text of an lxml element: headings, paragraphs, lists, code and tables, without navigation and footers."""
    return "\n\n".join(_blocks(element, 0))


def holds_hidden_text(element: Any) -> bool:
    """Whether an lxml element has words in it that a reader does not see and ``markdown`` leaves out."""
    hidden = (each for each in element.iter("*") if each.tag == "noscript" or _is_hidden(each))
    return any("".join(each.itertext()).strip() for each in hidden)


def heading_above(element: Any) -> str:
    """The nearest heading of level 1 in front of an lxml element that has none itself, as Markdown; else nothing."""
    if any(map(_line, element.iter("h1"))):
        return ""
    titles = [_line(each) for each in element.xpath("preceding::h1") if _is_shown(each)]
    return next((f"# {title}" for title in reversed(titles) if title), "")


def count_pictures(element: Any) -> int:
    """How many pictures in an lxml element a reader sees, but for those that an empty text marks as decoration."""
    return sum(each.get("alt") != "" and _is_shown(each) for each in element.iter("img"))


def count_embedded(element: Any) -> int:
    """How many other pages and objects in an lxml element a reader sees."""
    return sum(not _is_hidden(each) and _is_shown(each.getparent()) for each in element.iter(*_EMBEDDED))


def count_options(element: Any) -> int:
    """How many options of the menus in an lxml element a reader sees only after a click."""
    menus = (menu for menu in element.iter("select") if _is_shown(menu))
    return sum(sum(1 for _ in menu.iter("option")) - len(_chosen(menu)) for menu in menus)


def _blocks(element: Any, depth: int) -> Iterator[str]:
    """The blocks in an element. Words that stand beside blocks are blocks too."""
    words = [element.text or ""]

    def gathered() -> list[str]:
        text = "".join(words)
        words.clear()
        return _beside(text)

    for child in element:
        if _is_read(child):
            if depth < _DEEPEST and _is_block(child):
                yield from gathered()
                yield from _block(child, depth + 1)
            else:
                words.append(_words(child, depth + 1))
        words.append(child.tail or "")
    yield from gathered()


def _block(element: Any, depth: int) -> Iterator[str]:
    tag = element.tag
    if tag in _HEADINGS:
        title = _line(element)
        yield from [f"{'#' * _HEADINGS[tag]} {title}"] if title else []
    elif tag == "pre":
        parts = element.xpath(".//text() | .//br")
        yield from filter(None, [fenced("".join(part if isinstance(part, str) else "\n" for part in parts))])
    elif tag == "table" and element.get("role") != "presentation":
        yield from _table(element, depth)
    elif tag in _LISTS:
        yield from ["\n".join(items)] if (items := list(_items(element, depth))) else []
    else:
        yield from _blocks(element, depth)


def _items(element: Any, depth: int) -> Iterator[str]:
    """The items of a list with all in them, indented below their marks; words between items are items too."""
    number = 0
    for blocks in _item_blocks(element, depth):
        if blocks:
            number += 1
            mark = f"{number}. " if element.tag == "ol" else "- "
            rest = "".join(f"{_between(block)}{block}" for block in blocks[1:])
            yield mark + (blocks[0] + rest).replace("\n", "\n" + " " * min(len(mark), 3))


def _item_blocks(element: Any, depth: int) -> Iterator[list[str]]:
    yield _beside(element.text)
    for child in element:
        if _is_read(child):
            yield list((_blocks if child.tag == "li" else _block)(child, depth + 1))
        yield _beside(child.tail)


def _beside(words: str | None) -> list[str]:
    return [escaped(text)] if (text := _tidy(words or "")) else []


def _between(block: str) -> str:
    return "\n" if block.startswith(("- ", "1. ")) else "\n\n"


def _table(element: Any, depth: int) -> Iterator[str]:
    """A table below its caption; one of a single column of blocks lays out a page and is read as such."""
    outside: list[str] = []
    rows = _rows(element, outside)
    yield from _beside("".join(outside))
    if all(len(row) <= 1 for row in rows) and any(_is_block(inner) for row in rows for cell in row for inner in cell):
        for row in rows:
            for cell in row:
                yield from _blocks(cell, depth + 1)
    elif text := table(filled([_cell(cell) for cell in row] for row in rows)):
        yield text


def _rows(element: Any, outside: list[str]) -> list[list[Any]]:
    """The cells of each row. Captions and all else outside of cells, which browsers show above, go to ``outside``."""
    rows: list[list[Any]] = [[]] if element.tag == "tr" else []
    outside.append(element.text or "")
    for child in element:
        if _is_read(child):
            if child.tag in _OF_TABLES.get(element.tag, ()):
                rows += _rows(child, outside)
            elif element.tag == "tr" and child.tag in ("td", "th"):
                rows[0].append(child)
            else:
                outside.append(_words(child, 1))
        outside.append(child.tail or "")
    return rows


def _cell(cell: Any) -> Cell:
    return Cell(_line(cell), _count(cell.get("colspan")), _count(cell.get("rowspan")))


def _count(value: str | None) -> int:
    return int(value) if value and value.strip().isdecimal() else 1


def _line(element: Any) -> str:
    """All words of an element in one line."""
    return " ".join(_words(element, 0).replace("\x00", " ").split())


def _words(element: Any, depth: int) -> str:
    """The words of an element and of all in it: blocks apart, rows and cells of inner tables by their marks."""
    tag = element.tag
    if (shown := _shown_instead(element)) is not None:
        return shown
    if depth >= _DEEPEST:
        return "".join(element.itertext())
    if tag in _FORMULAS:
        return _formula(tag, [_words(child, depth + 1).strip() for child in element if _is_read(child)])
    parts = [element.text or ""]
    for child in element:
        if _is_read(child):
            parts.append(_words(child, depth + 1))
        parts.append(child.tail or "")
    words = joined(parts) if next(element.iter(*_FORMULAS), None) is not None else "".join(parts)
    if tag in _SHIFTED:
        previous, above = element.getprevious(), element.getparent()
        before = previous.tail if previous is not None else above.text if above is not None else ""
        return _SHIFTED[tag](words, before or "", element.tail or "")
    if tag in _MARKS and words.strip():
        return f"{_MARKS[tag]}{words.strip()}{_MARKS[tag]}"
    if depth and tag in ("td", "th"):
        return f" {words.strip()}, " if element.getnext() is not None else f" {words.strip()} "
    if depth and tag in ("tr", "li", "p", "dd", "div"):
        return f" {words.strip()}; " if tag in ("tr", "li") and element.getnext() is not None else f" {words} "
    is_line = tag == "tspan" and (element.get("x") or element.get("dy"))
    return f" {words} " if tag in _BLOCKS or is_line else words


def _shown_instead(element: Any) -> str | None:
    """What a reader sees of an element that does not show all its words; None for every other one."""
    match element.tag:
        case "br":
            return "\x00"
        case "img":
            return f" {element.get('alt') or ''} "
        case "input":
            return _input(element)
        case "select":
            return f" {', '.join(_line(option) for option in _chosen(element))} "
        case "svg":
            parts = (part for part in element.iter(*_DRAWN) if _is_drawn(part))
            return f" {' '.join(map(_line, parts))} "
    return None


def _formula(tag: str, parts: list[str]) -> str:
    """An exponent, an index or a fraction of MathML; the words of one that lacks a part."""
    match tag, parts:
        case "msup", [base, above]:
            return base + power(above)
        case "msub", [base, below]:
            return base + lowered(below)
        case "msubsup", [base, below, above]:
            return base + lowered(below) + power(above)
        case "mfrac", [above, below]:
            return fraction(above, below)
    return " ".join(parts)


def _input(element: Any) -> str:
    kind = (element.get("type") or "text").lower()
    if kind in ("checkbox", "radio"):
        return "☒ " if element.get("checked") is not None else "☐ "
    return "" if kind in _NOT_WRITTEN else f" {element.get('alt' if kind == 'image' else 'value') or ''} "


def _chosen(menu: Any) -> list[Any]:
    """The options that a closed menu shows: those that are selected, or else the first one."""
    options = list(menu.iter("option"))
    selected = [option for option in options if option.get("selected") is not None]
    return selected or ([] if menu.get("multiple") is not None else options[:1])


def _is_drawn(part: Any) -> bool:
    """Whether a part of a drawing is shown, and not within another one; of a switch only the first child is."""
    above = list(part.iterancestors())
    is_other = any(
        outer.tag == "switch" and next(inner.itersiblings("*", preceding=True), None) is not None
        for inner, outer in pairwise((part, *above))
    )
    return not is_other and _is_shown(part) and {each.tag for each in above}.isdisjoint(("defs", "symbol", *_DRAWN))


def _tidy(words: str) -> str:
    """Blanks of the source as one, and the line breaks that the page shows."""
    lines = (_BLANKS.sub(" ", line).strip() for line in words.split("\x00"))
    return "\n".join(line for line in lines if line)


def _is_block(element: Any) -> bool:
    """Whether an element stands by itself, or something in it does."""
    if element.tag in ("svg", "select"):
        return False
    return element.tag in _BLOCKS or any(child.tag in _BLOCKS for child in element.iterdescendants() if _is_read(child))


def _is_read(element: Any) -> bool:
    """Whether an element shows text to a reader; comments, hidden ones and the page's own footer do not."""
    if not isinstance(element.tag, str) or element.tag in _UNREAD or _is_hidden(element):
        return False
    if element.get("role") in ("navigation", "contentinfo"):
        return False
    return element.tag != "footer" or next(element.iterancestors("article", "section", "blockquote"), None) is not None


def _is_shown(element: Any) -> bool:
    """Whether an element and all around it are read."""
    return all(map(_is_read, (element, *element.iterancestors())))


def _is_hidden(element: Any) -> bool:
    """Whether a reader never sees an element; what a click or a search in the page shows is not hidden."""
    if element.get("role") == "tabpanel":
        return False
    hidden = element.get("hidden")
    return hidden not in (None, "until-found") or bool(_HIDDEN.search(element.get("style") or ""))
