"""Electronic books (epub): their chapters in reading order, each read like a web page.

Pictures are not read but for their alternative text, nor is the table of contents.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from zipfile import ZipFile

from lorag.documents.parsers.archive import opened, xml_part
from lorag.documents.parsers.html import read_page
from lorag.documents.parsers.parsed import Parsed, counted, in_places
from lorag.errors import DataError

_CONTAINER, _LOCKS = "META-INF/container.xml", "META-INF/encryption.xml"
_PAGES = ("application/xhtml+xml", "text/html")


def parse_book(path: Path, data: bytes) -> Parsed:
    """Every chapter as a place, ``part 3``. Raises ``DataError`` for a book whose chapters are encrypted."""
    with opened(data) as archive:
        (root, *_) = xml_part(archive, _CONTAINER).iterfind(".//{*}rootfile")
        opf = root.get("full-path") or ""
        package = xml_part(archive, opf)
        names = list(_chapters(package, posixpath.dirname(opf)))
        if set(names) & set(_encrypted(archive)):
            raise DataError(path, "is encrypted; save a copy without protection")
        read = [_chapter(path, archive, name) for name in names]
    text, places = in_places((f"part {number}", chapter.text) for number, (chapter, _) in enumerate(read, start=1))
    title = package.findtext(".//{http://purl.org/dc/elements/1.1/}title") or ""
    notes = dict.fromkeys(note for chapter, _ in read for note in chapter.notes)
    counts = sum((counts for _, counts in read), Counter[str]())
    return Parsed(text, " ".join(title.split()), places, (*notes, *counted(counts)))


def _chapters(package: Any, folder: str) -> Iterator[str]:
    """The names of the chapters in reading order."""
    items = {item.get("id"): item for item in package.iterfind(".//{*}manifest/{*}item")}
    for reference in package.iterfind(".//{*}spine/{*}itemref"):
        item = items.get(reference.get("idref"))
        if (
            item is not None
            and item.get("media-type") in _PAGES
            and "nav" not in (item.get("properties") or "").split()
        ):
            yield posixpath.normpath(posixpath.join(folder, unquote(item.get("href") or "")))


def _encrypted(archive: ZipFile) -> Iterator[str]:
    if _LOCKS in archive.namelist():
        for reference in xml_part(archive, _LOCKS).iterfind(".//{*}CipherReference"):
            yield unquote(reference.get("URI") or "")


def _chapter(path: Path, archive: ZipFile, name: str) -> tuple[Parsed, Counter[str]]:
    """A chapter, and the notes that count what was left out of it."""
    if name not in archive.namelist():
        return Parsed("", notes=(f"lacks its part {name}",)), Counter()
    return read_page(path, archive.read(name))
