"""Presentations (pptx): a section for each slide, with its tables and its speaker's notes.

Shapes come in the order in which a screen reader reads them. Text in charts, diagrams and pictures is not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from lorag.documents.grid import Cell, filled
from lorag.documents.markdown_structure import escaped, table
from lorag.documents.parsers.parsed import Parsed, blocks, in_places


def parse_slides(path: Path, data: bytes) -> Parsed:
    """Every slide under its title as a heading; the title of the whole is that of the first slide with one."""
    import pptx

    slides = list(pptx.Presentation(BytesIO(data)).slides)
    titles = [_title(slide) for slide in slides]
    parts = (
        (f"slide {number}", blocks([f"## {title}" if title else "", *_shapes(slide), _notes(slide)]))
        for number, (slide, title) in enumerate(zip(slides, titles, strict=True), start=1)
    )
    text, places = in_places(parts)
    return Parsed(text, next(filter(None, titles), ""), places)


def _title(slide: Any) -> str:
    shape = slide.shapes.title
    return "" if shape is None else " ".join(shape.text_frame.text.split())


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


def _cells(row: Any) -> list[Cell]:
    shown = (cell for cell in row.cells if not cell.is_spanned)
    return [Cell(cell.text_frame.text, cell.span_width, cell.span_height) for cell in shown]


def _single(shapes: Iterable[Any]) -> Iterator[Any]:
    """The shapes, those of groups one by one."""
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _single(shape.shapes)
        else:
            yield shape


def _frame(frame: Any) -> str:
    """A text frame: one paragraph as it is, several as a list."""
    lines = [(each.level, each.text.replace("\v", " ").strip()) for each in frame.paragraphs]
    lines = [(level, line) for level, line in lines if line]
    if len(lines) == 1:
        return escaped(lines[0][1])
    return "\n".join(f"{'  ' * level}- {line}" for level, line in lines)


def _notes(slide: Any) -> str:
    frame = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    words = frame.text.replace("\v", "\n").strip() if frame is not None else ""
    return f"Notes: {words}" if words else ""
