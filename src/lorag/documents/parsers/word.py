"""Word documents (docx): headings, paragraphs, lists and tables in reading order, and the notes at its feet.

Text that was inserted with changes tracked counts, deleted text does not, nor does hidden text, which is noted; struck
text is marked as such; text boxes stand where they are anchored.
Numbers that Word gives to headings and list items are not text and are not read, nor are headers, footers and
comments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import takewhile
from pathlib import Path
from typing import Any

from lorag.documents.grid import Cell, filled
from lorag.documents.markdown_structure import escaped, first_title, table
from lorag.documents.parsers.parsed import Parsed, blocks

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MATH_TEXT = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_PARAGRAPH, _TABLE, _ROW, _CELL, _TEXT = (f"{_W}{name}" for name in ("p", "tbl", "tr", "tc", "t"))
_SIGNS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
SYMBOLS = dict.fromkeys(("F0FE", "F0FD", "F052", "F053", "F054", "F078"), "☒")
SYMBOLS |= dict.fromkeys(("F0A8", "F06F", "F0A3"), "☐")
SYMBOLS |= {"F0FC": "✓", "F0FB": "✗", "F0E0": "→", "F0E8": "→", "F0B7": "•", "F0A7": "▪"}
"""Signs of the fonts of symbols (Wingdings), by their numbers."""
_SYMBOL, _RUN, _BOX = f"{_W}sym", f"{_W}r", f"{_W}checkBox"
_REFERENCES = {f"{_W}footnoteReference": "", f"{_W}endnoteReference": "e"}
_UNREAD = {
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",  # says again what stands beside it
    f"{_W}del",
    f"{_W}moveFrom",
    f"{_W}sectPr",
}
_LIST_STYLES = ("ListBullet", "ListNumber")
_DEEPEST, _MOST_COLUMNS = 6, 1000


def parse_word(path: Path, data: bytes) -> Parsed:
    """The body and then its footnotes and endnotes; the title is its first heading of level 1."""
    import docx

    document = docx.Document(BytesIO(data))
    levels = _heading_levels(document)
    body = document.element.body
    text = blocks([*_body(body, levels), *_notes(document)])
    is_hidden = any(_is_on(run, "vanish") and "".join(_words(run)).strip() for run in body.iter(_RUN))
    notes = ("has hidden text, which was not read",) if is_hidden else ()
    title = first_title(text)
    return Parsed(text, title or document.core_properties.title, notes=notes)


def _body(element: Any, levels: dict[str, int]) -> Iterator[str]:
    """The blocks of a body, list items together as one block."""
    items: list[str] = []
    for child in _blocks(element):
        indent = _list_indent(child)
        if items and indent is None:
            yield "\n".join(items)
            items = []
        words = "".join(_words(child)).strip()
        if child.tag == _TABLE:
            yield table(filled(_rows(child)))
        elif level := levels.get(_style(child), 0):
            yield f"{'#' * min(level, _DEEPEST)} {' '.join(words.split())}" if words else ""
        elif indent is None:
            yield escaped(words)
        elif words:
            items.append(f"{'  ' * indent}- {words}")
    yield "\n".join(items)


def _blocks(element: Any) -> Iterator[Any]:
    """Paragraphs and tables in order, also those inside content controls and inserted by tracked changes."""
    for child in element:
        if child.tag in (_PARAGRAPH, _TABLE):
            yield child
        elif child.tag not in _UNREAD:
            yield from _blocks(child)


def _rows(element: Any) -> Iterator[list[Cell]]:
    """The cells of a table; one that is merged with those below it covers their rows."""
    rows = list(_cells(element))
    for at, row in enumerate(rows):
        yield [
            replace(cell, rows=1 + _merged_below(rows[at + 1 :], column))
            for column, cell, continues in row
            if not continues
        ]


def _merged_below(rows: Sequence[Sequence[tuple[int, Cell, bool]]], column: int) -> int:
    """How many of the rows continue the cell above them in ``column``."""
    is_continued = (any(at == column and continues for at, _, continues in row) for row in rows)
    return sum(1 for _ in takewhile(bool, is_continued))


def _cells(element: Any) -> Iterator[list[tuple[int, Cell, bool]]]:
    """For each row its cells with their columns, and whether each continues the one above it."""
    for row in element.iter(_ROW):
        if next(row.iterancestors(_TABLE)) is element:
            cells: list[tuple[int, Cell, bool]] = []
            column = 0
            for cell in row.iter(_CELL):
                if next(cell.iterancestors(_ROW)) is row:
                    spans = cell.xpath("./w:tcPr/w:gridSpan/@w:val")
                    columns = min(int(spans[0]), _MOST_COLUMNS) if spans else 1
                    merges = cell.xpath("./w:tcPr/w:vMerge")
                    continues = bool(merges) and merges[0].get(f"{_W}val", "continue") == "continue"
                    cells.append((column, Cell("".join(_words(cell)), columns), continues))
                    column += columns
            yield cells


def _run(run: Any) -> Iterator[str]:
    """The words of a run: none where it is hidden, struck ones between their marks."""
    words = "" if _is_on(run, "vanish") else "".join(_words(run))
    yield f"~~{words}~~" if words.strip() and (_is_on(run, "strike") or _is_on(run, "dstrike")) else words


def _is_on(run: Any, name: str) -> bool:
    found = run.xpath(f"./w:rPr/w:{name}")
    return bool(found) and found[0].get(f"{_W}val", "1") not in ("0", "false", "off")


def _words(element: Any) -> Iterator[str]:
    """The text of an element and of all in it, a line for each paragraph."""
    for child in element:
        if child.tag in (_TEXT, _MATH_TEXT):
            yield child.text or ""
        elif child.tag in _SIGNS:
            yield _SIGNS[child.tag]
        elif child.tag == _SYMBOL:
            yield SYMBOLS.get((child.get(f"{_W}char") or "").upper(), "")
        elif child.tag == _BOX:
            yield "☒" if child.xpath("./w:checked[not(@w:val) or @w:val='1' or @w:val='true']") else "☐"
        elif child.tag == _RUN:
            yield from _run(child)
        elif child.tag == _TABLE and next(child.iterancestors(_CELL), None) is not None:
            yield "; ".join(", ".join(" ".join(cell.text.split()) for cell in row) for row in _rows(child)) + "\n"
        elif child.tag in _REFERENCES:
            yield f"[^{_REFERENCES[child.tag]}{child.get(f'{_W}id')}]"
        elif child.tag not in _UNREAD:
            yield from _words(child)
            if child.tag in (_PARAGRAPH, _CELL):
                yield "\n"


def _notes(document: Any) -> Iterator[str]:
    """Footnotes and endnotes with the marks that refer to them."""
    from docx.opc.constants import RELATIONSHIP_TYPE
    from docx.oxml import parse_xml

    marks = {RELATIONSHIP_TYPE.FOOTNOTES: "", RELATIONSHIP_TYPE.ENDNOTES: "e"}
    for relation in document.part.rels.values():
        if relation.reltype in marks:
            for note in parse_xml(relation.target_part.blob):
                words = "".join(_words(note)).strip()
                if words:
                    yield f"[^{marks[relation.reltype]}{note.get(f'{_W}id')}]: {words}"


def _heading_levels(document: Any) -> dict[str, int]:
    """Style ids of headings with their levels from 1: those with an outline level of their own or from their base."""
    levels = {}
    for style in document.styles:
        source: Any = style
        outline: list[str] = []
        while source is not None and not outline:
            outline = source.element.xpath("./w:pPr/w:outlineLvl/@w:val")
            source = getattr(source, "base_style", None)
        if outline and int(outline[0]) < 9:  # 9 is the level of running text
            levels[style.style_id] = int(outline[0]) + 1
        elif style.name == "Title":
            levels[style.style_id] = 1
    return levels


def _style(paragraph: Any) -> str:
    found = paragraph.xpath("./w:pPr/w:pStyle/@w:val")
    return str(found[0]) if found else ""


def _list_indent(element: Any) -> int | None:
    """How deep a list item is, from 0; None for what is no list item."""
    if element.tag != _PARAGRAPH:
        return None
    numbered = element.xpath("./w:pPr/w:numPr/w:numId/@w:val")
    if numbered and numbered[0] != "0":
        level = element.xpath("./w:pPr/w:numPr/w:ilvl/@w:val")
        return int(level[0]) if level else 0
    return 0 if _style(element).startswith(_LIST_STYLES) else None
