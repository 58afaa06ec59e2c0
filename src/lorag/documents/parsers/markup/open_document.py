"""OpenDocument files (odt, ods, odp): a text, a section for each sheet, or a section for each slide.

Values of sheets are read as they are shown. What a merged cell says stands in every row and column of it. Headings and
items have the numbers that are shown. Text that was deleted while changes were tracked and tables of contents are not
read, nor are hidden text, comments, headers, footers, embedded objects, and pictures but for their alternative text,
which are noted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from lorag.documents.cell_format import shown
from lorag.documents.grid import Cell, filled, stretches
from lorag.documents.list_numbers import Level, ListNumbers
from lorag.documents.markdown_structure import escaped, first_title, table
from lorag.documents.parsers.archive import opened, xml_part
from lorag.documents.parsers.parsed import HIDDEN_SHEETS, Parsed, blocks, counted, in_places
from lorag.documents.superscripts import Shift, lowered, raised
from lorag.errors import DataError

_NAME = "{{urn:oasis:names:tc:opendocument:xmlns:{}:1.0}}{}".format
_PARAGRAPH, _HEADING, _LIST, _NOTE, _BLANKS = (_NAME("text", tag) for tag in ("p", "h", "list", "note", "s"))
_SPAN, _STYLE = _NAME("text", "span"), _NAME("text", "style-name")
_SAID_OF = (_NAME("svg-compatible", "title"), _NAME("svg-compatible", "desc"))
"""The alternative text of a picture or a shape."""
_ITEM, _LEVEL, _FIRST = (_NAME("text", name) for name in ("list-item", "level", "start-value"))
_TABLE, _ROW, _CELL = (_NAME("table", tag) for tag in ("table", "table-row", "table-cell"))
_SIGNS = {_NAME("text", "tab"): "\t", _NAME("text", "line-break"): "\n"}
_UNREAD = {
    *(
        _NAME("text", tag)
        for tag in ("tracked-changes", "sequence-decls", "table-of-content", "note-citation", "number")
    ),
    *(_NAME("office", tag) for tag in ("annotation", "forms", "event-listeners")),
    _NAME("presentation", "notes"),
}
_NOTED = {
    _NAME("drawing", "image"): "has pictures, of which only the alternative text was read",
    _NAME("office", "annotation"): "has comments, which were not read",
    _NAME("drawing", "object"): "has embedded objects, which were not read",
}
_HIDDEN_NOTE = "has hidden text, which was not read"
_AROUND = {side: f"{side}{{s}}, which {{were}} not read" for side in ("header", "footer")}
_KINDS = {"1": "decimal", "a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
_OUTLINE = "headings"
_DURATION = re.compile(r"PT(\d+)H(\d+)M(\d+(?:\.\d+)?)S")
_MANIFEST, _DEEPEST, _MOST_REPEATED, _MOST_STYLES = "META-INF/manifest.xml", 6, 1000, 10


def parse_open_document(path: Path, data: bytes) -> Parsed:
    """The whole of it; the title is its first heading of level 1, or the one among its properties.

    Raises ``DataError`` for a file that is encrypted.
    """
    with opened(data) as archive:
        if _MANIFEST in archive.namelist() and b"encryption-data" in archive.read(_MANIFEST):
            raise DataError(path, "is encrypted with a password; save a copy without it")
        content = xml_part(archive, "content.xml")
        properties, styles = (
            xml_part(archive, name) if name in archive.namelist() else None for name in ("meta.xml", "styles.xml")
        )
    body = content.find(_NAME("office", "body"))
    parts = [part for part in (styles, content) if part is not None]
    lists, has_hidden = _Lists(parts), _as_shown(body, parts)
    slides = partial(_slides, lists=lists)
    kinds: dict[str, Callable[[Any], Iterator[tuple[str, str]]]] = {
        _NAME("office", "spreadsheet"): _sheets,
        _NAME("office", "presentation"): slides,
        _NAME("office", "drawing"): slides,
    }
    found = next((child for child in body if child.tag in (*kinds, _NAME("office", "text"))), body)
    around: tuple[str, ...] = ()
    if found.tag in kinds:
        text, places = in_places(kinds[found.tag](found))
    else:
        text, places = blocks([*_blocks(found, lists), *_notes(found)]), ()
        around = counted({} if styles is None else dict(_around(styles)))
    named = None if properties is None else properties.findtext(".//{http://purl.org/dc/elements/1.1/}title")
    notes = [_HIDDEN_NOTE] if has_hidden else []
    notes += [note for tag, note in _NOTED.items() if next(found.iter(tag), None) is not None]
    if hidden := [name for name in _hidden_sheets(content) if any(place.name == f"sheet {name}" for place in places)]:
        notes.append(f"{HIDDEN_SHEETS}: {', '.join(hidden)}")
    return Parsed(text, first_title(text) or named or "", places, (*notes, *around))


def _around(styles: Any) -> Iterator[tuple[str, int]]:
    """The notes that count the headers and footers of pages that have words."""
    for side, note in _AROUND.items():
        tags = [_NAME("style", f"{side}{which}") for which in ("", "-left", "-first")]
        yield note, sum(bool(_words(each).strip()) for each in styles.iter(*tags))


def _as_shown(body: Any, parts: Sequence[Any]) -> bool:
    """Takes hidden words out of ``body``, and writes those above or below the line by their signs; whether words were
    hidden.
    """
    looks = dict(_looks(parts))
    hidden = [each for each in body.iter(_SPAN, _PARAGRAPH, _HEADING) if looks.get(each.get(_STYLE, "")) is _hide]
    has_hidden = any(_words(each).strip() for each in hidden)
    for each in hidden:
        each.clear(keep_tail=True)
    runs = list[tuple[Shift, list[Any]]]()
    for span in body.iter(_SPAN):
        shift, before = looks.get(span.get(_STYLE, "")), span.getprevious()
        if shift is not None and next(span.iter(_NOTE), None) is None:
            follows = runs and runs[-1][0] is shift and runs[-1][1][-1] is before and not before.tail
            if follows:
                runs[-1][1].append(span)
            else:
                runs.append((shift, [span]))
    for shift, spans in runs:
        previous, above = spans[0].getprevious(), spans[0].getparent()
        before = above.text if previous is None else previous.tail
        words = shift("".join(map(_words, spans)), before or "", spans[-1].tail or "")
        for span in spans:
            span.clear(keep_tail=True)
        spans[0].text = words
    return has_hidden


def _hide(words: str, before: str, after: str) -> str:
    return ""


def _looks(parts: Sequence[Any]) -> Iterator[tuple[str, Shift]]:
    """For the styles whose text is hidden, above or below the line, what becomes of it."""
    styles = {each.get(_NAME("style", "name")): each for part in parts for each in part.iter(_NAME("style", "style"))}
    for name in styles:
        if look := _look(styles, name):
            yield name, look


def _look(styles: Mapping[str, Any], name: str) -> Shift | None:
    """What a style says of its text, or else the style that it is made from."""
    for _ in range(_MOST_STYLES):
        style = styles.get(name)
        if style is None:
            return None
        look = style.find(_NAME("style", "text-properties"))
        if look is not None and look.get(_NAME("text", "display")) == "none":
            return _hide
        if look is not None and (place := look.get(_NAME("style", "text-position"))):
            return lowered if place.startswith(("sub", "-")) else None if place.startswith("0%") else raised
        name = style.get(_NAME("style", "parent-style-name"), "")
    return None


def _hidden_sheets(content: Any) -> Iterator[str]:
    """The names of the tables that their style hides."""
    hidden = {
        properties.getparent().get(_NAME("style", "name"))
        for properties in content.iter(_NAME("style", "table-properties"))
        if properties.get(_NAME("table", "display")) == "false"
    }
    for sheet in content.iter(_TABLE):
        if sheet.get(_NAME("table", "style-name")) in hidden:
            yield sheet.get(_NAME("table", "name")) or ""


def _sheets(body: Any) -> Iterator[tuple[str, str]]:
    for sheet in body.iterchildren(_TABLE):
        name = sheet.get(_NAME("table", "name")) or ""
        tables = [table(rows) for rows in stretches(filled(_rows(sheet)))]
        yield f"sheet {name}", blocks([f"## {name}", *tables]) if tables else ""


def _slides(body: Any, lists: _Lists) -> Iterator[tuple[str, str]]:
    for number, page in enumerate(body.iterchildren(_NAME("drawing", "page")), start=1):
        title, shapes = "", list[str]()
        for shape in page:
            if shape.get(_NAME("presentation", "class")) == "title" and not title:
                title = " ".join(_words(shape).split())
            elif shape.tag not in _UNREAD:
                shapes += _blocks(shape, lists)
        said = " ".join(_words(notes) for notes in page.iterchildren(_NAME("presentation", "notes"))).strip()
        yield f"slide {number}", blocks([f"## {title}" if title else "", *shapes, f"Notes: {said}" if said else ""])


class _Lists:
    """The numbers of headings and items, which are asked for in reading order."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self._styles = {
            style.get(_NAME("style", "name"), _OUTLINE): dict(map(_level, style.iterchildren("*")))
            for part in parts
            for tag in ("list-style", "outline-style")
            for style in part.iter(_NAME("text", tag))
        }
        self._numbers = ListNumbers()
        self._names: dict[str, str] = {}
        """The name under which a list is counted, by its identifier, and that of the last list of a style."""

    def name(self, element: Any, style: str) -> str:
        """The name under which the items of a list are counted: that of another list which it continues, or its own."""
        earlier = element.get(_NAME("text", "continue-list"))
        if earlier is None and element.get(_NAME("text", "continue-numbering")) == "true":
            earlier = f"style {style}"
        name = self._names.get(earlier or "", f"list {len(self._names)}")
        identifier = element.get("{http://www.w3.org/XML/1998/namespace}id")
        self._names |= {name: name, f"style {style}": name, **({identifier: name} if identifier else {})}
        return name

    def number(self, element: Any, name: str, style: str, depth: int) -> str:
        """The number of a heading or item at ``depth``, from 0; empty for a bullet."""
        levels, first = self._styles.get(style, {}), element.get(_FIRST)
        if depth not in levels:
            return ""
        return self._numbers.following(name, levels, depth, int(first) if first else None)


def _level(element: Any) -> tuple[int, Level]:
    """A level of a list's style, from 0."""
    level, shown = min(int(element.get(_LEVEL) or 1), 9), int(element.get(_NAME("text", "display-levels")) or 1)
    kind = _KINDS.get(element.get(_NAME("style", "num-format")) or "", "none")
    numbers = ".".join(f"%{number}" for number in range(max(1, level - shown + 1), level + 1))
    before, behind = (element.get(_NAME("style", f"num-{side}")) or "" for side in ("prefix", "suffix"))
    return level - 1, Level(kind, f"{before}{numbers}{behind}", int(element.get(_FIRST) or 1))


def _blocks(element: Any, lists: _Lists) -> Iterator[str]:
    """Headings, paragraphs, lists and tables in an element, also those of its sections and boxes."""
    for child in element:
        if child.tag == _HEADING:
            level = int(child.get(_NAME("text", "outline-level")) or 1)
            numbered = child.get(_NAME("text", "is-list-header")) != "true"
            yield _heading(child, lists.number(child, _OUTLINE, _OUTLINE, level - 1) if numbered else "")
        elif child.tag == _PARAGRAPH:
            yield escaped(_words(child).strip())
        elif child.tag == _LIST:
            style = child.get(_NAME("text", "style-name")) or ""
            yield from _list_blocks(_items(child, 0, style, lists.name(child, style), lists))
        elif child.tag == _TABLE:
            yield table(filled(_rows(child)))
        elif child.tag in _SAID_OF:
            yield escaped(_words(child).strip())
        elif isinstance(child.tag, str) and child.tag not in _UNREAD:
            yield from _blocks(child, lists)


def _heading(element: Any, number: str) -> str:
    words = _words(element).split()
    level = min(int(element.get(_NAME("text", "outline-level")) or 1), _DEEPEST)
    return f"{'#' * level} {' '.join([*number.split(), *words])}" if words else ""


def _list_blocks(items: Iterable[tuple[bool, str]]) -> Iterator[str]:
    """The items of a list together, but for headings, which word processors number as items."""
    for is_heading, group in groupby(items, itemgetter(0)):
        texts = [text for _, text in group]
        yield from texts if is_heading else ["\n".join(texts)]


def _items(element: Any, depth: int, style: str, name: str, lists: _Lists) -> Iterator[tuple[bool, str]]:
    """The items of a list and of those within it, and whether each is a heading."""
    for item in element:
        said = [child for child in item if child.tag != _LIST]
        words = "\n".join(_words(child).strip() for child in said)
        number = lists.number(item, name, style, depth) if words.strip() and item.tag == _ITEM else ""
        if any(child.tag == _HEADING for child in said):
            for child in said:
                yield True, _heading(child, number) if child.tag == _HEADING else escaped(_words(child).strip())
        elif words.strip():
            yield False, f"{'  ' * depth}{number or '-'} {words}".replace("\n", "\n" + "  " * (depth + 1))
        for inner in item.iterchildren(_LIST):
            yield from _items(inner, depth + 1, inner.get(_NAME("text", "style-name")) or style, name, lists)


def _rows(element: Any) -> Iterator[list[Cell]]:
    for row in element.iter(_ROW):
        if next(row.iterancestors(_TABLE)) is element:
            cells = [_cell(cell) for cell in row.iterchildren(_CELL)]
            while cells and not cells[-1].text:
                cells.pop()
            yield from [cells] * (_count(row, "number-rows-repeated") if cells else 1)


def _cell(cell: Any) -> Cell:
    """A cell; one that is repeated is like one that covers as many columns."""
    columns = _count(cell, "number-columns-spanned") * _count(cell, "number-columns-repeated")
    return Cell(_words(cell).strip() or _value(cell), columns, _count(cell, "number-rows-spanned"))


def _value(cell: Any) -> str:
    """The value of a cell without text, which some programs leave out; it has no format but its kind."""
    kind, value = (cell.get(_NAME("office", name)) or "" for name in ("value-type", "value"))
    if kind == "percentage" and value:
        return shown(float(value), "0.##########%")
    if kind == "currency":
        return f"{value} {cell.get(_NAME('office', 'currency')) or ''}".strip()
    if kind == "time":
        return _DURATION.sub(r"\1:\2:\3", cell.get(_NAME("office", "time-value")) or "")
    if kind in ("date", "boolean", "string"):
        value = cell.get(_NAME("office", f"{kind}-value")) or ""
        return value.upper() if kind == "boolean" else value.replace("T", " ") if kind == "date" else value
    return value


def _count(element: Any, name: str) -> int:
    return min(int(element.get(_NAME("table", name)) or 1), _MOST_REPEATED)


def _words(element: Any) -> str:
    """The text of an element and of all in it, a line for each paragraph, cells of inner tables by their marks."""
    parts = [element.text or ""]
    for child in element:
        if child.tag == _NOTE:
            parts.append(f"[^{child.get(_NAME('text', 'id'))}]")
        elif child.tag in _SIGNS:
            parts.append(_SIGNS[child.tag])
        elif child.tag == _BLANKS:
            parts.append(" " * min(int(child.get(_NAME("text", "c")) or 1), _MOST_REPEATED))
        elif child.tag == _TABLE:
            rows = filled(_rows(child))
            parts.append("\n" + "; ".join(", ".join(" ".join(cell.split()) for cell in row) for row in rows) + "\n")
        elif child.tag in _SAID_OF:
            parts.append(f" {_words(child).strip()} ")
        elif isinstance(child.tag, str) and child.tag not in _UNREAD:
            parts.append(f"\n{_words(child)}" if child.tag == _PARAGRAPH else _words(child))
        parts.append(child.tail or "")
    return "".join(parts)


def _notes(body: Any) -> Iterator[str]:
    """Footnotes and endnotes with the marks that refer to them."""
    for note in body.iter(_NOTE):
        if words := _words(note).strip():
            yield f"[^{note.get(_NAME('text', 'id'))}]: {words}"
