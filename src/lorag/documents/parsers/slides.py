"""Presentations (pptx): a section for each slide, with its tables and its speaker's notes.

Shapes come in the order in which a screen reader reads them; of a shape with a form for older programs the newer one is
read. The values of a chart are a table, of a picture there is its alternative text; diagrams, charts of newer kinds,
embedded objects and comments are not read, which is noted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import Any

from lorag.documents.cell_format import shown
from lorag.documents.grid import Cell, filled
from lorag.documents.markdown_structure import escaped, table
from lorag.documents.office_text import drawn_line
from lorag.documents.parsers.parsed import Parsed, blocks, counted, in_places

_COMMENTS_NOTE = "comment{s}, which {were} not read"
_FRAMES = {
    "/diagram": "diagram{s}, which {were} not read",
    "/chartex": "chart{s}, which {were} not read",
    "/ole": "embedded object{s}, which {were} not read",
}
"""Notes on what stands in a frame, by how its kind ends."""
_COMPATIBLE = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"


def parse_slides(path: Path, data: bytes) -> Parsed:
    """Every slide under its title as a heading; the title of the whole is that of the first slide with one."""
    import pptx

    slides = list(pptx.Presentation(BytesIO(data)).slides)
    for slide in slides:
        _take_newer(slide.shapes._spTree)
    titles = [_title(slide) for slide in slides]
    parts = (
        (f"slide {number}", blocks([f"## {title}" if title else "", *_shapes(slide), _notes(slide)]))
        for number, (slide, title) in enumerate(zip(slides, titles, strict=True), start=1)
    )
    text, places = in_places(parts)
    has_pictures = any(hasattr(shape, "image") for slide in slides for shape in _single(slide.shapes))
    notes = ("has pictures, of which only the alternative text was read",) if has_pictures else ()
    return Parsed(text, next(filter(None, titles), ""), places, (*notes, *counted(_unread(slides))))


def _take_newer(shapes: Any) -> None:
    """Leaves, of what has a form for programs of today and one for older ones, the first."""
    for both in list(shapes.iter(f"{_COMPATIBLE}AlternateContent")):
        newer = both.find(f"{_COMPATIBLE}Choice")
        around = both.getparent()
        around[around.index(both) : around.index(both) + 1] = [] if newer is None else list(newer)


def _unread(slides: Iterable[Any]) -> Counter[str]:
    """The notes that count what was left out of slides."""
    from pptx.oxml import parse_xml

    counts = Counter[str]()
    for slide in slides:
        for relation in slide.part.rels.values():
            if relation.reltype.endswith("/comments"):
                counts[_COMMENTS_NOTE] += sum(1 for _ in parse_xml(relation.target_part.blob).iter("{*}cm"))
        for frame in slide._element.iter("{*}graphicData"):
            kind = frame.get("uri", "")
            counts.update(note for end, note in _FRAMES.items() if kind.endswith(end))
    return counts


def _title(slide: Any) -> str:
    shape = slide.shapes.title
    return "" if shape is None else " ".join(_text(shape.text_frame).split())


def _shapes(slide: Any) -> Iterator[str]:
    """The text of every shape but the title."""
    title = slide.shapes.title
    for shape in _single(slide.shapes):
        if title is not None and shape.shape_id == title.shape_id:
            continue
        if shape.has_text_frame:
            yield _frame(shape.text_frame)
        elif getattr(shape, "has_table", False):
            yield table(filled(map(_cells, shape.table.rows)))
        elif getattr(shape, "has_chart", False):
            yield from _chart(shape.chart)
        elif description := _described(shape):
            yield escaped(description)


def _described(shape: Any) -> str:
    """The alternative text of a picture."""
    return " ".join(str(shape._element.xpath("string(.//p:cNvPr/@descr)")).split())


def _chart(chart: Any) -> Iterator[str]:
    """The title of a chart, and a table of its values for each of its plots."""
    if chart.has_title and chart.chart_title.has_text_frame:
        yield escaped(" ".join(chart.chart_title.text_frame.text.split()))
    for plot in chart.plots:
        series = list(plot.series)
        values = zip_longest(plot.categories, *(each.values for each in series), fillvalue="")
        rows = ([str(category), *(shown(value, "") for value in given)] for category, *given in values)
        yield table([["", *(each.name for each in series)], *rows])


def _cells(row: Any) -> list[Cell]:
    shown = (cell for cell in row.cells if not cell.is_spanned)
    return [Cell(_text(cell.text_frame), cell.span_width, cell.span_height) for cell in shown]


def _single(shapes: Iterable[Any]) -> Iterator[Any]:
    """The shapes, those of groups one by one."""
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _single(shape.shapes)
        else:
            yield shape


def _text(frame: Any) -> str:
    return "\n".join(drawn_line(each._p) for each in frame.paragraphs)


def _frame(frame: Any) -> str:
    """A text frame: one paragraph as it is, several as a list."""
    lines = [(each.level, drawn_line(each._p).replace("\v", " ").strip()) for each in frame.paragraphs]
    lines = [(level, line) for level, line in lines if line]
    if len(lines) == 1:
        return escaped(lines[0][1])
    return "\n".join(f"{'  ' * level}- {line}" for level, line in lines)


def _notes(slide: Any) -> str:
    frame = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    words = _text(frame).replace("\v", "\n").strip() if frame is not None else ""
    return f"Notes: {words}" if words else ""
