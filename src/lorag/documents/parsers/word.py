"""Word documents (docx): headings, paragraphs, lists and tables in reading order, and the notes at its feet.

Text that was inserted with changes tracked counts, deleted text does not, nor does hidden text, which is noted; struck
text is marked as such; text boxes stand where they are anchored. Headings and items have the numbers that Word shows.
Headers, footers, comments, charts, diagrams and embedded objects are not read, nor are pictures but for their
alternative text; each is noted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import takewhile
from pathlib import Path
from typing import Any

from lorag.documents.grid import Cell, filled
from lorag.documents.list_numbers import Level, ListNumbers
from lorag.documents.markdown_structure import escaped, first_title, table
from lorag.documents.parsers.parsed import Parsed, blocks, counted
from lorag.documents.symbol_fonts import readable, sign

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MATH_TEXT = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_PARAGRAPH, _TABLE, _ROW, _CELL, _TEXT = (f"{_W}{name}" for name in ("p", "tbl", "tr", "tc", "t"))
_SIGNS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_SYMBOL, _RUN, _BOX = f"{_W}sym", f"{_W}r", f"{_W}checkBox"
_REFERENCES = {f"{_W}footnoteReference": "", f"{_W}endnoteReference": "e"}
_UNREAD = {
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",  # says again what stands beside it
    f"{_W}del",
    f"{_W}moveFrom",
    f"{_W}sectPr",
}
_AROUND = ("header", "footer")
_LEFT_OUT = {
    "header": "header{s}, which {were} not read",
    "footer": "footer{s}, which {were} not read",
    "chart": "chart{s}, which {were} not read",
    "diagramData": "diagram{s}, which {were} not read",
    **dict.fromkeys(("oleObject", "package"), "embedded object{s}, which {were} not read"),
}
"""Notes on what belongs to a document, by how its kind of relation ends."""
_LIST_STYLES = ("ListBullet", "ListNumber")
_PICTURE = "{http://schemas.openxmlformats.org/drawingml/2006/picture}pic"
_SHAPE = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}docPr"
_DEEPEST, _DEEPEST_ITEM, _MOST_COLUMNS = 6, 8, 1000


def parse_word(path: Path, data: bytes) -> Parsed:
    """The body and then its footnotes and endnotes; the title is its first heading of level 1."""
    import docx

    document = docx.Document(BytesIO(data))
    levels = _heading_levels(document)
    body = document.element.body
    text = blocks([*_body(body, levels, _Lists(document)), *_notes(document)])
    title = first_title(text)
    return Parsed(text, title or document.core_properties.title, notes=tuple(_unread(document)))


def _unread(document: Any) -> Iterator[str]:
    """Notes on what is in a document and not in its text."""
    from docx.opc.constants import RELATIONSHIP_TYPE
    from docx.oxml import parse_xml

    body, relations = document.element.body, document.part.rels.values()
    if any(_is_on(run, "vanish") and "".join(_words(run)).strip() for run in body.iter(_RUN)):
        yield "has hidden text, which was not read"
    if next(body.iter(_PICTURE), None) is not None:
        yield "has pictures, of which only the alternative text was read"
    if any(relation.reltype == RELATIONSHIP_TYPE.COMMENTS for relation in relations):
        yield "has comments, which were not read"
    counts = Counter[str]()
    for relation in relations:
        kind = relation.reltype.rpartition("/")[2]
        is_blank = kind in _AROUND and not "".join(_words(parse_xml(relation.target_part.blob))).strip()
        if kind in _LEFT_OUT and not is_blank:
            counts[_LEFT_OUT[kind]] += 1
    yield from counted(counts)


def _body(element: Any, levels: dict[str, int], lists: _Lists) -> Iterator[str]:
    """The blocks of a body, list items together as one block."""
    items: list[str] = []
    for child in _blocks(element):
        words = "".join(_words(child)).strip()
        level = _level(child, levels) if child.tag == _PARAGRAPH else 0
        place = lists.place(child) if words and child.tag == _PARAGRAPH else None
        if items and (place is None or level):
            yield "\n".join(items)
            items = []
        if child.tag == _TABLE:
            yield table(filled(_rows(child)))
        elif level:
            number = place[1] if place is not None else ""
            yield f"{'#' * min(level, _DEEPEST)} {' '.join([*number.split(), *words.split()])}" if words else ""
        elif place is None:
            yield escaped(words)
        else:
            items.append(f"{'  ' * place[0]}{place[1] or '-'} {words}")
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
    if not words.isascii():
        fonts = run.xpath("./w:rPr/w:rFonts/@w:ascii")
        words = readable(words, fonts[0] if fonts else "")
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
            code = child.get(f"{_W}char") or ""
            yield sign(child.get(f"{_W}font") or "", int(code, 16) if code else 0)
        elif child.tag == _SHAPE:
            yield f" {description} " if (description := child.get("descr") or "") else ""
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


def _level(paragraph: Any, levels: dict[str, int]) -> int:
    """The level of a heading by its own outline level or its style; 0 for running text."""
    own = _values(paragraph, "pPr", "outlineLvl")
    return (int(own[0]) + 1) % 10 if own else levels.get(_style(paragraph), 0)


class _Lists:
    """The places of paragraphs in the lists of a document, and their numbers, which are asked for in reading order."""

    def __init__(self, document: Any) -> None:
        self._lists = dict(_lists(document))
        self._of_styles = dict(_list_styles(document))
        self._numbers = ListNumbers()

    def place(self, paragraph: Any) -> tuple[int, str] | None:
        """How deep in a list a paragraph stands, from 0, and its number, empty for a bullet; None where in no list."""
        own = _values(paragraph, "pPr", "numPr", "numId")
        style = _style(paragraph)
        number, depth = (own[0], 0) if own else self._of_styles.get(style, ("0", 0))
        if number == "0":
            return (0, "") if not own and style.startswith(_LIST_STYLES) else None
        deep = _values(paragraph, "pPr", "numPr", "ilvl")
        depth = min(int(deep[0]), _DEEPEST_ITEM) if deep else depth
        name, levels = self._lists.get(number, ("", {}))
        return depth, self._numbers.following(name, levels, depth) if depth in levels else ""


def _list_styles(document: Any) -> Iterator[tuple[str, tuple[str, int]]]:
    """For the styles of paragraphs in lists the number of the list and how deep they stand in it."""
    for style in document.styles:
        source: Any = style
        found: list[str] = []
        while source is not None and not found:
            found = _values(source.element, "pPr", "numPr", "numId")
            deep = _values(source.element, "pPr", "numPr", "ilvl")
            source = getattr(source, "base_style", None)
        if found:
            yield style.style_id, (found[0], int(deep[0]) if deep else 0)


def _lists(document: Any) -> Iterator[tuple[str, tuple[str, dict[int, Level]]]]:
    """For each list, by its number, what it is counted with and its levels."""
    from docx.opc.constants import RELATIONSHIP_TYPE

    for relation in document.part.rels.values():
        if relation.reltype == RELATIONSHIP_TYPE.NUMBERING:
            root = relation.target_part.element
            shared = {each.get(f"{_W}abstractNumId"): each for each in root.iterchildren(f"{_W}abstractNum")}
            for each in root.iterchildren(f"{_W}num"):
                number, name = each.get(f"{_W}numId"), _values(each, "abstractNumId")[0]
                levels = dict(_levels(shared[name])) if name in shared else {}
                for change in each.iterchildren(f"{_W}lvlOverride"):
                    levels |= dict(_levels(change))
                    depth, start = int(change.get(f"{_W}ilvl")), _values(change, "startOverride")
                    if start and depth in levels:
                        name, levels[depth] = f"list {number}", replace(levels[depth], start=int(start[0]))
                yield number, (name, levels)


def _levels(element: Any) -> Iterator[tuple[int, Level]]:
    for level in element.iterchildren(f"{_W}lvl"):
        kind, pattern, start = (_values(level, tag) for tag in ("numFmt", "lvlText", "start"))
        known = Level((kind or ["decimal"])[0], (pattern or [""])[0], int(start[0]) if start else 1)
        yield int(level.get(f"{_W}ilvl")), known


def _values(element: Any, *path: str) -> list[str]:
    """What the elements at a path say, also in parts whose elements the library does not know."""
    found = element.iterfind("/".join(f"{_W}{tag}" for tag in path))
    return [value for each in found if (value := each.get(f"{_W}val")) is not None]
