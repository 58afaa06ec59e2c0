"""PDF files: the text of every page in the order in which it reads, and headings where the file's outline has them.

Tables come out as lines of words. A page that is a picture is read by OCR when ``lorag[ocr]`` is installed; notes in
the margin and the fields of forms are not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lorag.documents.markdown_structure import escaped
from lorag.documents.parsers.ocr import reader
from lorag.documents.parsers.parsed import Parsed, in_places
from lorag.errors import DataError, install_line

_OCR_DPI, _OCR_SIDE, _POINTS_PER_INCH = 200, 4000, 72
_HYPHENS = ("\ufffe", "\x02")
"""What PDFium leaves where it joins a word that was divided at the end of a line."""
_NUMBER = re.compile(r"^(?:\d+\.)*\d+\.?\s+")
_DEEPEST, _LISTED = 6, 10


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
        outline = _outline(pdf)
        texts = [_text(page) for page in pdf]
        pictures = [number for number, page in enumerate(pdf) if not texts[number] and _holds_something(page)]
        can_read = find_spec("rapidocr") is not None
        if pictures and can_read:
            read = reader()
            for number in pictures:
                texts[number] = escaped(read(_picture(pdf[number])))
    pages = [_with_headings(text, outline.get(number, {})) for number, text in enumerate(texts)]
    text, places = in_places((f"page {number}", page) for number, page in enumerate(pages, start=1))
    note = _said_of([number + 1 for number in pictures], can_read)
    if note and not text:
        raise DataError(path, note)
    return Parsed(text, title, places, (note,) if note else ())


def _text(page: Any) -> str:
    """The text of a page, a line for each of its lines; words that were divided between two of them are whole."""
    text = page.get_textpage().get_text_bounded().replace("\r\n", "\n")
    for hyphen in _HYPHENS:
        text = text.replace(hyphen, "")
    return escaped(text).strip()


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
