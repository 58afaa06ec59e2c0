"""OpenDocument files (odt, ods, odp): a text, a section for each sheet, or a section for each slide.

Values of sheets are read as they are shown. What a merged cell says stands in every row and column of it. Comments,
text that was deleted while changes were tracked, headers, footers and tables of contents are not read, nor are
pictures but for their alternative text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lorag.documents.grid import Cell, filled, stretches
from lorag.documents.markdown_structure import escaped, first_title, table
from lorag.documents.parsers.archive import opened, xml_part
from lorag.documents.parsers.parsed import Parsed, blocks, in_places
from lorag.errors import DataError

_NAME = "{{urn:oasis:names:tc:opendocument:xmlns:{}:1.0}}{}".format
_PARAGRAPH, _HEADING, _LIST, _NOTE, _BLANKS = (_NAME("text", tag) for tag in ("p", "h", "list", "note", "s"))
_TABLE, _ROW, _CELL = (_NAME("table", tag) for tag in ("table", "table-row", "table-cell"))
_SIGNS = {_NAME("text", "tab"): "\t", _NAME("text", "line-break"): "\n"}
_UNREAD = {
    *(_NAME("text", tag) for tag in ("tracked-changes", "sequence-decls", "table-of-content", "note-citation")),
    *(_NAME("office", tag) for tag in ("annotation", "forms", "event-listeners")),
    _NAME("presentation", "notes"),
}
_NOTED = {
    _NAME("drawing", "image"): "has pictures, of which only the alternative text was read",
    _NAME("office", "annotation"): "has comments, which were not read",
}
_MANIFEST, _DEEPEST, _MOST_REPEATED = "META-INF/manifest.xml", 6, 1000


def parse_open_document(path: Path, data: bytes) -> Parsed:
    """The whole of it; the title is its first heading of level 1, or the one among its properties.

    Raises ``DataError`` for a file that is encrypted.
    """
    with opened(data) as archive:
        if _MANIFEST in archive.namelist() and b"encryption-data" in archive.read(_MANIFEST):
            raise DataError(path, "is encrypted with a password; save a copy without it")
        content = xml_part(archive, "content.xml")
        properties = xml_part(archive, "meta.xml") if "meta.xml" in archive.namelist() else None
    body = content.find(_NAME("office", "body"))
    kinds: dict[str, Callable[[Any], Iterator[tuple[str, str]]]] = {
        _NAME("office", "spreadsheet"): _sheets,
        _NAME("office", "presentation"): _slides,
        _NAME("office", "drawing"): _slides,
    }
    found = next((child for child in body if child.tag in (*kinds, _NAME("office", "text"))), body)
    if found.tag in kinds:
        text, places = in_places(kinds[found.tag](found))
    else:
        text, places = blocks([*_blocks(found), *_notes(found)]), ()
    named = None if properties is None else properties.findtext(".//{http://purl.org/dc/elements/1.1/}title")
    notes = tuple(note for tag, note in _NOTED.items() if next(found.iter(tag), None) is not None)
    return Parsed(text, first_title(text) or named or "", places, notes)


def _sheets(body: Any) -> Iterator[tuple[str, str]]:
    for sheet in body.iterchildren(_TABLE):
        name = sheet.get(_NAME("table", "name")) or ""
        tables = [table(rows) for rows in stretches(filled(_rows(sheet)))]
        yield f"sheet {name}", blocks([f"## {name}", *tables]) if tables else ""


def _slides(body: Any) -> Iterator[tuple[str, str]]:
    for number, page in enumerate(body.iterchildren(_NAME("drawing", "page")), start=1):
        title, shapes = "", list[str]()
        for shape in page:
            if shape.get(_NAME("presentation", "class")) == "title" and not title:
                title = " ".join(_words(shape).split())
            elif shape.tag not in _UNREAD:
                shapes += _blocks(shape)
        said = " ".join(_words(notes) for notes in page.iterchildren(_NAME("presentation", "notes"))).strip()
        yield f"slide {number}", blocks([f"## {title}" if title else "", *shapes, f"Notes: {said}" if said else ""])


def _blocks(element: Any) -> Iterator[str]:
    """Headings, paragraphs, lists and tables in an element, also those of its sections and boxes."""
    for child in element:
        if child.tag == _HEADING:
            level = min(int(child.get(_NAME("text", "outline-level")) or 1), _DEEPEST)
            words = " ".join(_words(child).split())
            yield f"{'#' * level} {words}" if words else ""
        elif child.tag == _PARAGRAPH:
            yield escaped(_words(child).strip())
        elif child.tag == _LIST:
            yield "\n".join(_items(child, 0))
        elif child.tag == _TABLE:
            yield table(filled(_rows(child)))
        elif isinstance(child.tag, str) and child.tag not in _UNREAD:
            yield from _blocks(child)


def _items(element: Any, level: int) -> Iterator[str]:
    for item in element:
        words = "\n".join(_words(child).strip() for child in item if child.tag != _LIST)
        if words.strip():
            yield f"{'  ' * level}- {words}".replace("\n", "\n" + "  " * (level + 1))
        for inner in item.iterchildren(_LIST):
            yield from _items(inner, level + 1)


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
    return Cell(_words(cell).strip(), columns, _count(cell, "number-rows-spanned"))


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
        elif isinstance(child.tag, str) and child.tag not in _UNREAD:
            parts.append(f"\n{_words(child)}" if child.tag == _PARAGRAPH else _words(child))
        parts.append(child.tail or "")
    return "".join(parts)


def _notes(body: Any) -> Iterator[str]:
    """Footnotes and endnotes with the marks that refer to them."""
    for note in body.iter(_NOTE):
        if words := _words(note).strip():
            yield f"[^{note.get(_NAME('text', 'id'))}]: {words}"
