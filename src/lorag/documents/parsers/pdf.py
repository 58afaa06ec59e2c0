"""PDF files: the text of every page in the order in which it reads, and headings where the file's outline has them.

Columns of running text stand one after the other; tables are grids. What is filled into a form stands with the words
beside it below the text of their page. A page that is a picture, or one with a stamp, is read by OCR when
``lorag[ocr]`` is installed; annotations and other pictures are not read, which is noted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from math import ceil, floor, pi
from pathlib import Path
from statistics import median, mode
from typing import Any

from lorag.documents.markdown_structure import escaped, table
from lorag.documents.pages.arrangement import Block, arranged
from lorag.documents.pages.letters import Box, Letter
from lorag.documents.parsers.ocr import reader
from lorag.documents.parsers.parsed import Parsed, counted, in_places
from lorag.documents.reader_process import take_longer
from lorag.errors import DataError, install_line

_OCR_DPI, _OCR_SIDE, _POINTS_PER_INCH = 200, 4000, 72
_HYPHENS = ("\ufffe", "\x02")
"""What PDFium leaves where it joins a word that was divided at the end of a line."""
_HYPHEN = re.compile(f"[{''.join(_HYPHENS)}]\n?")
"""The line ends there where another column or cell follows."""
_HYPHENATED = re.compile(rf"(?<=-)(\w+){_HYPHEN.pattern}")
"""A word with hyphens of its own keeps the one at the end of a line."""
_NUMBER = re.compile(r"^(?:\d+\.)*\d+\.?\s+")
_NO_TITLES = ("untitled", "(anonymous)", "anonymous", "unknown", "document", "none")
"""What programs write where nobody gave a title."""
_LINES, _GAP = 3, 0.8
"""Drawn lines of a table, or lines of text with a gap, at least; and how wide a gap is in heights of a line."""
_THICK, _LONG = 3.0, 5.0
"""Points that a line is thick at most, and long at least."""
_ANGLES = 100
"""Letters that are asked for their angle."""
_MOST_SEGMENTS, _MOST_RULINGS = 2000, 20_000
"""More of them, in one path and on one page, are a drawing."""
_STAMP_LINES, _STAMP_LETTERS, _MOST, _SQUARES = 2, 60, 0.5, 100
"""What a stamp or a page number has at most, the share of a page that a scan covers at least, and the squares in which
it is measured, across and up: scans may be cut into strips, and pictures may lie on each other."""
_SMALL = 12.0
"""Points below which a picture is a line or a dot."""
_DEEPEST, _LISTED = 6, 10
_ANNOTATIONS_NOTE, _PICTURES_NOTE = "annotation{s}, which {were} not read", "has pictures, which were not read"


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
        raise DataError(path, f"is not a PDF that can be opened ({error}); save it again, or remove it") from error
    with pdf:
        title = pdf.get_metadata_value("Title").strip()
        title = "" if title.casefold() in _NO_TITLES else title
        pdf.init_forms()
        outline = _outline(pdf)
        texts, scans, annotations, has_pictures = [], [], 0, False
        for number, page in enumerate(pdf):
            texts.append("\n\n".join(filter(None, (_text(page), _form(pdf, page)))))
            annotations += _count_annotations(page)
            boxes = list(_picture_boxes(page))
            if _is_scan(page, texts[number], boxes):
                scans.append(number)
            else:
                has_pictures |= any(min(_sides(box)) >= _SMALL for box in boxes)
        can_read = find_spec("rapidocr") is not None
        stamped = {number for number in scans if texts[number]}
        if scans and can_read:
            take_longer()
            read = reader()
            for number in scans:
                texts[number] = _with_scanned(texts[number], escaped(read(_picture(pdf[number]))))
    pages = [_with_headings(text, outline.get(number, {})) for number, text in enumerate(texts)]
    text, places = in_places((f"page {number}", page) for number, page in enumerate(pages, start=1))
    said = list(_said_of(scans, stamped, can_read))
    if said and not text:
        raise DataError(path, "; ".join(said))
    notes = (*said, *([_PICTURES_NOTE] if has_pictures else []))
    return Parsed(text, title, places, (*notes, *counted({_ANNOTATIONS_NOTE: annotations})))


def _text(page: Any) -> str:
    """The text of a page, a line for each of its lines, with its tables; words divided between two lines are whole."""
    words = page.get_textpage()
    text = words.get_text_bounded().replace("\r\n", "\n")
    rulings = _rulings(page)
    blocks: list[Block] = []
    if len(rulings) >= _LINES or _has_sides(words):
        turns = _turns(words)
        letters = _letters(words, turns)
        if _bare_signs("".join(letter.sign for letter in letters)) == _bare_signs(text):
            blocks = arranged(letters, [_turned(box, turns) for box in rulings])
    parts = (
        escaped(_whole(block).strip()) if isinstance(block, str) else table([list(map(_whole, row)) for row in block])
        for block in blocks or [text]
    )
    return "\n\n".join(parts)


def _whole(text: str) -> str:
    """``text`` with the words joined that were divided at the end of a line."""
    return _HYPHEN.sub("", _HYPHENATED.sub(r"\1-", text))


def _bare_signs(text: str) -> list[str]:
    """All letters, in an order of their own, without blanks and what stands for hyphens."""
    return sorted(sign for sign in text if not sign.isspace() and sign not in _HYPHENS)


def _has_sides(words: Any) -> bool:
    """Whether several lines of text have gaps, as in columns and tables; letters are read only then."""
    boxes = sorted(words.get_rect(number) for number in range(words.count_rects()))
    high = median([box[3] - box[1] for box in boxes] or [1]) or 1
    ends: dict[int, float] = {}
    gaps = 0
    for left, bottom, right, top in boxes:
        line = round((bottom + top) / 2 / high)
        gaps += left > ends.get(line, left) + _GAP * high
        ends[line] = max(right, ends.get(line, right))
    return gaps >= _LINES


def _turns(words: Any) -> int:
    """By how many times 90 degrees, clockwise, the page has to be turned for its text to stand upright."""
    from pypdfium2 import raw

    numbers = range(0, words.count_chars(), max(1, words.count_chars() // _ANGLES))
    angles = [
        raw.FPDFText_GetCharAngle(words, number) for number in numbers if raw.FPDFText_IsGenerated(words, number) != 1
    ]
    return mode(round(-angle / (pi / 2)) % 4 for angle in angles) if angles else 0


def _letters(words: Any, turns: int) -> list[Letter]:
    """The characters of a page in the order in which they are drawn."""
    from pypdfium2 import raw

    letters, box = [], raw.FS_RECTF()
    for number in range(words.count_chars()):
        raw.FPDFText_GetLooseCharBox(words, number, box)
        sign = chr(raw.FPDFText_GetUnicode(words, number)).replace("\r", "")
        place = _turned((box.left, box.bottom, box.right, box.top), turns)
        is_drawn = bool(sign) and raw.FPDFText_IsGenerated(words, number) != 1
        letters.append(Letter(sign, place, is_drawn))
    return letters


def _turned(box: Box, turns: int) -> Box:
    """A box where it stands after so many turns by 90 degrees, clockwise."""
    for _ in range(turns):
        box = box[1], -box[2], box[3], -box[0]
    return box


def _rulings(page: Any) -> list[Box]:
    """The lines of a page that lie or stand; none where there are so many that they are a drawing."""
    from pypdfium2 import raw

    rulings: list[Box] = []
    for item in page.get_objects([raw.FPDF_PAGEOBJ_PATH]):
        matrix = _matrix(item)
        count = raw.FPDFPath_CountSegments(item)
        if count <= _MOST_SEGMENTS:
            rulings += _thin(list(_outlines(item, count, matrix)), _is_stroked(item))
        if len(rulings) > _MOST_RULINGS:
            return []
    return rulings


def _matrix(item: Any) -> Any:
    """How the places within an object become those on its page."""
    matrix, within = item.get_matrix(), item.container
    while within is not None:
        matrix, within = matrix.multiply(within.get_matrix()), within.container
    return matrix


def _is_stroked(item: Any) -> bool:
    import ctypes

    from pypdfium2 import raw

    fill, stroke = ctypes.c_int(), ctypes.c_int()
    raw.FPDFPath_GetDrawMode(item, fill, stroke)
    return bool(stroke.value)


def _outlines(item: Any, count: int, matrix: Any) -> Iterator[list[tuple[float, float]]]:
    """The corners of each figure of a path; curves end it."""
    import ctypes

    from pypdfium2 import raw

    corners: list[tuple[float, float]] = []
    x, y = ctypes.c_float(), ctypes.c_float()
    for number in range(count):
        segment = raw.FPDFPath_GetPathSegment(item, number)
        kind = raw.FPDFPathSegment_GetType(segment)
        raw.FPDFPathSegment_GetPoint(segment, x, y)
        if kind != raw.FPDF_SEGMENT_LINETO and corners:
            yield corners
            corners = []
        corners.append(matrix.on_point(x.value, y.value))
        if raw.FPDFPathSegment_GetClose(segment):
            corners.append(corners[0])
    if corners:
        yield corners


def _thin(outlines: Iterable[Sequence[tuple[float, float]]], is_stroked: bool) -> Iterator[Box]:
    """The lines of figures: figures that are thin, and the sides of those that are stroked."""
    for corners in outlines:
        whole = _box(corners)
        if _is_line(whole):
            yield whole
        elif is_stroked:
            yield from filter(_is_line, (_box(side) for side in pairwise(corners)))


def _box(corners: Sequence[tuple[float, float]]) -> Box:
    across, up = zip(*corners, strict=True)
    return min(across), min(up), max(across), max(up)


def _is_line(box: Box) -> bool:
    short, long = sorted((box[2] - box[0], box[3] - box[1]))
    return short <= _THICK and long >= _LONG


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


def _picture_boxes(page: Any) -> Iterator[Box]:
    """The part of the page that each of its pictures covers."""
    from pypdfium2 import raw

    left, bottom, right, top = page.get_bbox()
    for item in page.get_objects([raw.FPDF_PAGEOBJ_IMAGE]):
        box = _matrix(item).on_rect(0, 0, 1, 1)
        shown = max(box[0], left), max(box[1], bottom), min(box[2], right), min(box[3], top)
        if min(_sides(shown)) > 0:
            yield shown


def _is_scan(page: Any, text: str, boxes: Sequence[Box]) -> bool:
    """Whether a page has no text and something else, or no more than a stamp and pictures on most of it."""
    if not text:
        return next(page.get_objects(max_depth=1), None) is not None
    lines = [line for line in text.split("\n") if line.strip()]
    is_stamp = len(lines) <= _STAMP_LINES and len("".join(text.split())) <= _STAMP_LETTERS
    return is_stamp and bool(boxes) and _covered(page.get_bbox(), boxes) >= _MOST


def _covered(page: Box, boxes: Iterable[Box]) -> float:
    """The share of a page that boxes in it cover together."""
    import numpy as np

    left, bottom, _, _ = page
    across, up = (_SQUARES / side for side in _sides(page))
    squares = np.zeros((_SQUARES, _SQUARES), dtype=bool)
    for box in boxes:
        columns = slice(floor((box[0] - left) * across), ceil((box[2] - left) * across))
        squares[floor((box[1] - bottom) * up) : ceil((box[3] - bottom) * up), columns] = True
    return float(squares.mean())


def _sides(box: Box) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


def _with_scanned(text: str, scanned: str) -> str:
    """``text`` of a page and, below it, the lines that OCR found besides; each place of ``text`` is found once."""
    known, lines = _signs(text), scanned.split("\n")
    again = set[int]()
    for number in sorted(range(len(lines)), key=lambda at: -len(lines[at])):
        bare = _signs(lines[number])
        if bare and bare in known:
            known = known.replace(bare, "\0", 1)
            again.add(number)
    found = "\n".join(line for number, line in enumerate(lines) if number not in again)
    return "\n\n".join(filter(None, (text, found)))


def _signs(text: str) -> str:
    """The letters and digits alone: OCR reads quotes and dashes as others."""
    return "".join(filter(str.isalnum, text.casefold()))


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


def _said_of(scans: Sequence[int], stamped: Set[int], were_read: bool) -> Iterator[str]:
    """The notes on pages without text, and on those that have no more than a stamp beside their pictures."""
    how = "were read by OCR: Latin, Greek, Chinese and Japanese letters only"
    how = how if were_read else f"were not read; to read them: {install_line('ocr')}"
    whole = [number + 1 for number in scans if number not in stamped]
    kinds = {"that are pictures ({}), which": whole}
    kinds["with little text that are mostly pictures ({}), whose pictures"] = [number + 1 for number in sorted(stamped)]
    for kind, pages in kinds.items():
        more = f" and {len(pages) - _LISTED} more" if len(pages) > _LISTED else ""
        if pages:
            yield f"has pages {kind.format(', '.join(map(str, pages[:_LISTED])) + more)} {how}"
