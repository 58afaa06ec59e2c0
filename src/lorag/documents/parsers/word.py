"""Word documents (docx): headings, paragraphs, lists and tables in reading order, and the notes at its feet.

Text that was inserted with changes tracked counts, deleted text does not, nor does hidden text, which is noted; struck
text is marked as such; text boxes and documents in another format stand where they are. Headings and items have the
numbers that Word shows.
Headers, footers, comments, charts, diagrams and embedded objects are not read, nor are pictures but for their
alternative text; each is noted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import copy
from dataclasses import replace
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

from lorag.documents.grid import Cell, Placed, filled, merged
from lorag.documents.list_numbers import Level, ListNumbers
from lorag.documents.markdown_structure import escaped, first_title, table
from lorag.documents.office_text import FORMULA, formula
from lorag.documents.parsers.html import parse_html
from lorag.documents.parsers.mail import parse_web_archive
from lorag.documents.parsers.markup.rich_text import parse_rich_text
from lorag.documents.parsers.parsed import Parsed, blocks, counted
from lorag.documents.parsers.text import parse_plain
from lorag.documents.superscripts import Shift, in_line, lowered, on_line, raised
from lorag.documents.symbol_fonts import readable, sign
from lorag.errors import DataError

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_PARAGRAPH, _TABLE, _ROW, _CELL, _TEXT = (f"{_W}{name}" for name in ("p", "tbl", "tr", "tc", "t"))
_SIGNS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_SYMBOL, _RUN, _BOX, _CHUNK = (f"{_W}{name}" for name in ("sym", "r", "checkBox", "altChunk"))
_OF_RUNS = [f"{_W}{name}" for name in ("vanish", "strike", "dstrike", "vertAlign")]
"""What a style says of its runs that changes what is read."""
_SHIFTED: dict[str, Shift] = {"superscript": raised, "subscript": lowered}
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
_CHUNKS: dict[str, Callable[[Path, bytes], Parsed]] = {
    **dict.fromkeys((".htm", ".html", ".xhtml"), parse_html),
    **dict.fromkeys((".mht", ".mhtml"), parse_web_archive),
    **{".rtf": parse_rich_text, ".txt": parse_plain},
}
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_CHUNK_NOTE = "document{s} of another format in it, which {were} not read"
_LIST_STYLES = ("ListBullet", "ListNumber")
_PICTURE = "{http://schemas.openxmlformats.org/drawingml/2006/picture}pic"
_SHAPE = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}docPr"
_DEEPEST, _DEEPEST_ITEM, _MOST_COLUMNS = 6, 8, 1000


def parse_word(path: Path, data: bytes) -> Parsed:
    """The body and then its footnotes and endnotes; the title is its first heading of level 1."""
    import docx

    document = docx.Document(BytesIO(data))
    body, looks = document.element.body, dict(_looks(document))
    _dress(body, looks)
    chunks = dict(_chunks(path, document))
    texts = {name: chunk.text for name, chunk in chunks.items() if chunk is not None}
    parts = [*_body(body, _heading_levels(document), _Lists(document), texts), *_notes(document, looks)]
    text = blocks([*parts, *texts.values()])
    said = dict.fromkeys(note for chunk in chunks.values() if chunk is not None for note in chunk.notes)
    missing = counted({_CHUNK_NOTE: sum(chunk is None for chunk in chunks.values())})
    title = first_title(text) or document.core_properties.title
    return Parsed(text, title, notes=(*_unread(document), *said, *missing))


def _lineage(style: Any) -> Iterator[Any]:
    """A style and those that it is based on."""
    seen = set[str]()
    while style is not None and style.style_id not in seen:
        seen.add(style.style_id)
        yield style
        style = getattr(style, "base_style", None)


def _looks(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """For the styles that hide, strike or shift their runs what they say of them, by its tag."""
    for style in document.styles:
        found: dict[str, Any] = {}
        for source in _lineage(style):
            found = {each.tag: each for each in source.element.iterfind(f"{_W}rPr/*") if each.tag in _OF_RUNS} | found
        if found:
            yield style.style_id, found


def _dress(element: Any, looks: dict[str, dict[str, Any]]) -> None:
    """Gives the runs in an element what their own style says of them, and then that of their paragraph."""
    for run in element.iter(_RUN) if looks else ():
        paragraph = next(run.iterancestors(_PARAGRAPH), None)
        styles = [*_values(run, "rPr", "rStyle"), "" if paragraph is None else _style(paragraph)]
        for look in (looks[style] for style in styles if style in looks):
            own = run.get_or_add_rPr()
            own.extend(copy(each) for tag, each in look.items() if own.find(tag) is None)


def _chunks(path: Path, document: Any) -> Iterator[tuple[str, Parsed | None]]:
    """The documents of other formats that stand in this one, by their relations; None for one that cannot be read."""
    for name, relation in document.part.rels.items():
        if relation.reltype.endswith("/aFChunk") and not relation.is_external:
            part = relation.target_part
            read = _CHUNKS.get(Path(part.partname).suffix.lower())
            parsed = None
            with suppress(DataError):
                parsed = read(path, part.blob) if read else None
            yield name, parsed


def _unread(document: Any) -> Iterator[str]:
    """Notes on what is in a document and not in its text."""
    from docx.opc.constants import RELATIONSHIP_TYPE
    from docx.oxml import parse_xml

    body, relations = document.element.body, document.part.rels.values()
    if any(_is_on(run, "vanish") and "".join(_words(run)).strip() for run in body.iter(_RUN)):
        yield "has hidden text, which was not read"
    if next(body.iter(_PICTURE), None) is not None:
        yield "has pictures, of which only the alternative text was read"
    comments = (each.target_part.blob for each in relations if each.reltype == RELATIONSHIP_TYPE.COMMENTS)
    if any("".join(_words(parse_xml(part))).strip() for part in comments):
        yield "has comments, which were not read"
    counts = Counter[str]()
    for relation in relations:
        kind = relation.reltype.rpartition("/")[2]
        is_blank = kind in _AROUND and not "".join(_words(parse_xml(relation.target_part.blob))).strip()
        if kind in _LEFT_OUT and not is_blank:
            counts[_LEFT_OUT[kind]] += 1
    yield from counted(counts)


def _body(element: Any, levels: dict[str, int], lists: _Lists, chunks: dict[str, str]) -> Iterator[str]:
    """The blocks of a body, list items together as one block; of ``chunks``, those that stand in it are taken out."""
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
        elif child.tag == _CHUNK:
            yield chunks.pop(child.get(_RELATION), "")
        elif level:
            number = place[1] if place is not None else ""
            yield f"{'#' * min(level, _DEEPEST)} {' '.join([*number.split(), *words.split()])}" if words else ""
        elif place is None:
            yield escaped(words)
        else:
            items.append(f"{'  ' * place[0]}{place[1] or '-'} {words}")
    yield "\n".join(items)


def _blocks(element: Any) -> Iterator[Any]:
    """Paragraphs, tables and chunks in order, also those inside content controls and inserted by tracked changes."""
    for child in element:
        if child.tag in (_PARAGRAPH, _TABLE, _CHUNK):
            yield child
        elif child.tag not in _UNREAD:
            yield from _blocks(child)


def _rows(element: Any) -> Iterator[list[Cell]]:
    """The cells of a table; one that is merged with those below it covers their rows."""
    return merged(list(_cells(element)))


def _cells(element: Any) -> Iterator[list[Placed]]:
    """For each row its cells with their columns, and whether each continues the one above it."""
    for row in element.iter(_ROW):
        if next(row.iterancestors(_TABLE)) is element:
            cells: list[Placed] = []
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
    """The text of an element and of all in it, a line for each paragraph; runs above or below the line are one."""
    runs = groupby(element, _shift)
    yield in_line((shift, "".join(words for child in children for words in _word(child))) for shift, children in runs)


def _shift(element: Any) -> Shift:
    """What the words of a run become by its place; what is no run stands on the line."""
    if element.tag != _RUN or any(child.tag in _REFERENCES for child in element):
        return on_line
    found = _values(element, "rPr", "vertAlign")
    return _SHIFTED.get(found[0], on_line) if found else on_line


def _word(element: Any) -> Iterator[str]:
    """The text of an element."""
    tag = element.tag
    if tag == _TEXT:
        yield element.text or ""
    elif tag in _SIGNS:
        yield _SIGNS[tag]
    elif tag == _SYMBOL:
        code = element.get(f"{_W}char") or ""
        yield sign(element.get(f"{_W}font") or "", int(code, 16) if code else 0)
    elif tag == _SHAPE:
        yield f" {description} " if (description := element.get("descr") or "") else ""
    elif tag == _BOX:
        yield "☒" if element.xpath("./w:checked[not(@w:val) or @w:val='1' or @w:val='true']") else "☐"
    elif tag == _RUN:
        yield from _run(element)
    elif tag == _TABLE and next(element.iterancestors(_CELL), None) is not None:
        yield "; ".join(", ".join(" ".join(cell.text.split()) for cell in row) for row in _rows(element)) + "\n"
    elif tag in _REFERENCES:
        yield f"[^{_REFERENCES[tag]}{element.get(f'{_W}id')}]"
    elif tag == FORMULA:
        yield formula(element)
    elif tag not in _UNREAD:
        yield from _words(element)
        yield "\n" if tag in (_PARAGRAPH, _CELL) else ""


def _notes(document: Any, looks: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Footnotes and endnotes with the marks that refer to them."""
    from docx.opc.constants import RELATIONSHIP_TYPE
    from docx.oxml import parse_xml

    marks = {RELATIONSHIP_TYPE.FOOTNOTES: "", RELATIONSHIP_TYPE.ENDNOTES: "e"}
    for relation in document.part.rels.values():
        if relation.reltype in marks:
            notes = parse_xml(relation.target_part.blob)
            _dress(notes, looks)
            for note in notes:
                words = "".join(_words(note)).strip()
                if words:
                    yield f"[^{marks[relation.reltype]}{note.get(f'{_W}id')}]: {words}"


def _heading_levels(document: Any) -> dict[str, int]:
    """Style ids of headings with their levels from 1: those with an outline level of their own or from their base."""
    levels = {}
    for style in document.styles:
        outlines = (_values(each.element, "pPr", "outlineLvl") for each in _lineage(style))
        outline = next(filter(None, outlines), [])
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
        sources = ((each.element, _values(each.element, "pPr", "numPr", "numId")) for each in _lineage(style))
        element, found = next((pair for pair in sources if pair[1]), (None, []))
        if found:
            deep = _values(element, "pPr", "numPr", "ilvl")
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
