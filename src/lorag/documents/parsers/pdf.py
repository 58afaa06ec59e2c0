"""PDF files: the text of every page in the order in which it reads, and headings where the file's outline has them.

Tables come out as lines of words, columns of running text one after the other. What is filled into a form stands with
the words beside it below the text of their page. A page that is a picture is read by OCR when ``lorag[ocr]`` is
installed; annotations are not read, which is noted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from lorag.documents.markdown_structure import escaped
from lorag.documents.parsers.ocr import reader
from lorag.documents.parsers.parsed import Parsed, counted, in_places
from lorag.documents.reader_process import take_longer
from lorag.errors import DataError, install_line

_OCR_DPI, _OCR_SIDE, _POINTS_PER_INCH = 200, 4000, 72
_HYPHENS = ("\ufffe", "\x02")
"""What PDFium leaves where it joins a word that was divided at the end of a line."""
_HYPHENATED = re.compile(f"(?<=-)(\\w+)[{''.join(_HYPHENS)}]")
"""A word with hyphens of its own keeps the one at the end of a line."""
_NUMBER = re.compile(r"^(?:\d+\.)*\d+\.?\s+")
_NO_TITLES = ("untitled", "(anonymous)", "anonymous", "unknown", "document", "none")
"""What programs write where nobody gave a title."""
_COLUMN_LINES, _COLUMN_LETTERS = 3, 16
"""Lines that a column has at least, and letters that most of them have; less are cells of a table."""
_COLUMN_WIDTH = 5
"""How many times as wide as high so many letters are at least."""
_DEEPEST, _LISTED = 6, 10
_ANNOTATIONS_NOTE = "annotation{s}, which {were} not read"

Box = tuple[float, float, float, float]
"""Left, bottom, right and top, in points."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a form, and what is filled in."""

    box: Box
    is_tick: bool
    name: str
    value: str


def parse_pdf(path: Path, data: bytes) -> Parsed:
    """All pages. Raises ``DataError`` for a file that needs a password, or in which no page has text."""
    import pypdfium2  # type: ignore[import-untyped]
    from pypdfium2.raw import FPDF_ERR_PASSWORD  # type: ignore[import-untyped]

    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code == FPDF_ERR_PASSWORD:
            raise DataError(path, "is encrypted with a password; save a copy without it") from error
        raise DataError(path, f"is no PDF that can be opened ({error}); save it again, or take it out") from error
    with pdf:
        title = pdf.get_metadata_value("Title").strip()
        title = "" if title.casefold() in _NO_TITLES else title
        pdf.init_forms()
        outline = _outline(pdf)
        texts, pictures, annotations = [], [], 0
        for number, page in enumerate(pdf):
            texts.append("\n\n".join(filter(None, (_text(page), _form(pdf, page)))))
            annotations += _count_annotations(page)
            if not texts[number] and _holds_something(page):
                pictures.append(number)
        can_read = find_spec("rapidocr") is not None
        if pictures and can_read:
            take_longer()
            read = reader()
            for number in pictures:
                texts[number] = escaped(read(_picture(pdf[number])))
    pages = [_with_headings(text, outline.get(number, {})) for number, text in enumerate(texts)]
    text, places = in_places((f"page {number}", page) for number, page in enumerate(pages, start=1))
    note = _said_of([number + 1 for number in pictures], can_read)
    if note and not text:
        raise DataError(path, note)
    return Parsed(text, title, places, (*([note] if note else []), *counted({_ANNOTATIONS_NOTE: annotations})))


def _text(page: Any) -> str:
    """The text of a page, a line for each of its lines; words that were divided between two of them are whole."""
    words = page.get_textpage()
    text = (_in_columns(words) or words.get_text_bounded()).replace("\r\n", "\n")
    text = _HYPHENATED.sub(r"\1-", text)
    for hyphen in _HYPHENS:
        text = text.replace(hyphen, "")
    return escaped(text).strip()


def _in_columns(words: Any) -> str:
    """The text of a page column by column, what is above and below them in its place; empty where there are none."""
    boxes = [words.get_rect(number) for number in range(words.count_rects())]
    if len(boxes) < 2 * _COLUMN_LINES:
        return ""
    left, right = min(box[0] for box in boxes), max(box[2] for box in boxes)
    line = cache(lambda box: words.get_text_bounded(*box).strip())
    for middle in (left + (right - left) * share / 100 for share in range(35, 66)):
        sides = [[b for b in boxes if b[2] <= middle], [b for b in boxes if b[0] >= middle]]
        across = [box for box in boxes if box[0] < middle < box[2]]
        top, bottom = _common(sides)
        if any(bottom < (box[1] + box[3]) / 2 < top for box in across) or not all(map(_are_long, sides)):
            continue
        if not all(_is_text([line(box) for box in side]) for side in sides):
            continue
        between = {"bottom": bottom - 1, "top": top + 1}
        areas: list[dict[str, float]] = [{"bottom": top + 1}, {"right": middle, **between}, {"left": middle, **between}]
        parts = [words.get_text_bounded(**area) for area in (*areas, {"top": bottom - 1})]
        return "\n\n".join(part.strip() for part in parts if part.strip())
    return ""


def _common(sides: Sequence[Sequence[Any]]) -> tuple[float, float]:
    """From where down to where there are columns: over all lines that stand on one side of the middle."""
    boxes = [box for side in sides for box in side]
    return max((box[3] for box in boxes), default=0), min((box[1] for box in boxes), default=0)


def _are_long(boxes: Sequence[Any]) -> bool:
    """Whether most of the lines are long enough for running text, by their boxes: reading them takes its time."""
    return len(boxes) >= _COLUMN_LINES and median(b[2] - b[0] - _COLUMN_WIDTH * (b[3] - b[1]) for b in boxes) >= 0


def _is_text(lines: Sequence[str]) -> bool:
    """Whether lines are running text: several, most of them long, and many that begin within a sentence."""
    if len(lines) < _COLUMN_LINES or median(map(len, lines)) < _COLUMN_LETTERS:
        return False
    return 3 * sum(line[:1].isalpha() and not line[0].isupper() for line in lines) >= len(lines)


def _form(pdf: Any, page: Any) -> str:
    """The fields of a page's form that are filled, each with the words beside it, or else with its name."""
    fields = list(_fields(pdf, page)) if pdf.formenv is not None else []
    boxes = [field.box for field in fields]
    words = page.get_textpage() if fields else None
    lines = []
    for field in fields:
        label = _label(words, field.box, [box for box in boxes if box != field.box], field.is_tick) or field.name
        lines.append(f"{label}: {field.value}" if label else field.value)
    return escaped("\n".join(lines))


def _fields(pdf: Any, page: Any) -> Iterator[_Field]:
    """The fields of a page that have a value, and all that are ticked or not."""
    from pypdfium2 import raw

    for number in range(raw.FPDFPage_GetAnnotCount(page)):
        note = raw.FPDFPage_GetAnnot(page, number)
        kind = raw.FPDFAnnot_GetFormFieldType(pdf.formenv, note)
        is_tick = kind in (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON)
        if is_tick:
            value = "☒" if raw.FPDFAnnot_IsChecked(pdf.formenv, note) else "☐"
        else:
            value = _field(raw.FPDFAnnot_GetFormFieldValue, pdf.formenv, note)
        name = _field(raw.FPDFAnnot_GetFormFieldAlternateName, pdf.formenv, note) or _field(
            raw.FPDFAnnot_GetFormFieldName, pdf.formenv, note
        )
        box = raw.FS_RECTF()
        raw.FPDFAnnot_GetRect(note, box)
        if kind > 0 and value and kind != raw.FPDF_FORMFIELD_PUSHBUTTON:
            yield _Field((box.left, box.bottom, box.right, box.top), is_tick, name, value)
        raw.FPDFPage_CloseAnnot(note)


def _count_annotations(page: Any) -> int:
    """How many annotations of a page hold words that stand in no field of a form."""
    from pypdfium2 import raw

    def contents(_: None, note: Any, *buffer: Any) -> int:
        return int(raw.FPDFAnnot_GetStringValue(note, b"Contents", *buffer))

    found = 0
    for number in range(raw.FPDFPage_GetAnnotCount(page)):
        note = raw.FPDFPage_GetAnnot(page, number)
        kind = raw.FPDFAnnot_GetSubtype(note)
        found += kind not in (raw.FPDF_ANNOT_WIDGET, raw.FPDF_ANNOT_LINK) and bool(_field(contents, None, note))
        raw.FPDFPage_CloseAnnot(note)
    return found


def _label(words: Any, box: Box, others: Sequence[Box], is_tick: bool) -> str:
    """What a page says beside a field: on its left, or on its right first where it is a box to tick."""
    left, bottom, right, top = box
    beside = [other for other in others if other[1] < top and other[3] > bottom]
    before = max((other[2] for other in beside if other[2] <= left), default=None)
    after = min((other[0] for other in beside if other[0] >= right), default=None)
    sides = [{"left": before, "right": left}, {"left": right, "right": after}]
    for side in sides[::-1] if is_tick else sides[:1]:
        said = words.get_text_bounded(bottom=bottom, top=top, **side).strip()
        if label := said.split("\n")[-1 if side == sides[0] else 0].strip().rstrip(":._… "):
            return str(label)
    return ""


def _field(get: Callable[..., int], form: Any, note: Any) -> str:
    """A text of a form's field, which the library writes as UTF-16."""
    import ctypes

    from pypdfium2 import raw

    size = get(form, note, None, 0)
    buffer = ctypes.create_string_buffer(size)
    get(form, note, ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return buffer.raw.decode("utf-16-le", errors="replace").rstrip("\0").strip()


def _holds_something(page: Any) -> bool:
    return next(page.get_objects(max_depth=1), None) is not None


def _picture(page: Any) -> Any:
    """The page as an array of shape ``(height, width, 3)``."""
    scale = min(_OCR_DPI / _POINTS_PER_INCH, _OCR_SIDE / max(page.get_size()))
    return page.render(scale=scale).to_numpy()


def _outline(pdf: Any) -> dict[int, dict[str, int]]:
    """For each page, by its index, the titles that the outline has there, with their levels from 1."""
    titles: dict[int, dict[str, int]] = {}
    for entry in pdf.get_toc():
        target = entry.get_dest()
        if target is not None and (index := target.get_index()) is not None:
            titles.setdefault(index, {}).setdefault(_bare(entry.get_title()), min(entry.level + 1, _DEEPEST))
    return titles


def _with_headings(text: str, titles: Mapping[str, int]) -> str:
    """``text`` with the first line that says the same as a title made a heading."""
    left = dict(titles)
    lines = []
    for line in text.split("\n"):
        level = left.pop(_bare(line), None) if left else None
        lines.append(f"\n{'#' * level} {line.strip()}\n" if level else line)
    return "\n".join(lines)


def _bare(title: str) -> str:
    """A title without its number, in small letters."""
    return _NUMBER.sub("", " ".join(title.split())).casefold()


def _said_of(pictures: Sequence[int], were_read: bool) -> str:
    """The note on the pages that are pictures; empty when there are none."""
    if not pictures:
        return ""
    shown = ", ".join(map(str, pictures[:_LISTED]))
    more = f" and {len(pictures) - _LISTED} more" if len(pictures) > _LISTED else ""
    said = (
        "were read by OCR: Latin, Greek, Chinese and Japanese letters only"
        if were_read
        else f"were not read; to read them: {install_line('ocr')}"
    )
    return f"has pages that are pictures ({shown}{more}), which {said}"
