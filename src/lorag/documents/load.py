"""Documents from a folder, a file, or a JSONL file.

Markdown and plain text are taken as they are; HTML becomes Markdown, and what counts as its text is trafilatura's
judgement. Nothing is cut, cleaned or deduplicated here.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from lorag.documents.markdown import headings
from lorag.errors import DataError
from lorag.files import read_jsonl, read_text
from lorag.types import Document

_MARKDOWN, _PLAIN, _HTML = (".md",), (".txt",), (".html", ".htm")
_SUFFIXES = (*_MARKDOWN, *_PLAIN, *_HTML)
_ACCEPTED = f"{', '.join(_SUFFIXES)} files, or a .jsonl file with doc and doc_id"


def load_documents(path: Path) -> list[Document]:
    """The documents under ``path``, in the order of their ids for a folder, of their lines for a JSONL file.

    A folder is searched through all its folders; hidden files, links to folders and files of other kinds are passed
    over. The id is the path below the folder, with slashes, or ``doc_id``. The title is the first Markdown heading of
    level 1, the HTML title, or the file's name without suffix; for JSONL it is ``title``, or empty.

    Raises ``DataError`` for a path that is missing or of an unknown kind, a folder without documents, a file that is
    not UTF-8 text, a document without text, and for JSONL, with the line, a broken row or a repeated ``doc_id``.
    """
    if path.is_dir():
        files = _files_below(path)
        if not files:
            raise DataError(path, f"no documents in this folder; accepted are {_ACCEPTED}")
        return [_load_file(file, file.relative_to(path).as_posix()) for file in files]
    if not path.exists():
        raise DataError(path, f"no such file or folder; expected a folder of {_ACCEPTED}")
    if path.suffix.lower() == ".jsonl":
        return _load_jsonl(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise DataError(path, f"unknown kind of document {path.suffix!r}; accepted are {_ACCEPTED}")
    return [_load_file(path, path.name)]


def _files_below(folder: Path) -> list[Path]:
    """Visible files of the accepted kinds, sorted by path. Links to folders are not followed, so loops cannot hang."""

    def refuse(error: OSError) -> None:
        raise DataError(error.filename, f"cannot be read: {error.strerror}; allow it or take it out") from error

    files = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(parent, name) for name in names if not name.startswith(".") and name.lower().endswith(_SUFFIXES)]
    return sorted(files, key=lambda file: file.relative_to(folder).as_posix())


def _load_file(path: Path, document_id: str) -> Document:
    text = read_text(path).replace("\r\n", "\n")
    suffix, title = path.suffix.lower(), ""
    if suffix in _HTML:
        text, title = _read_html(path, text)
    elif suffix in _MARKDOWN:
        title = next((heading.title for heading in headings(text) if heading.level == 1), "")
    if not text.strip():
        raise DataError(path, "holds no text; fill it or take it out of the folder")
    return Document(document_id, text, str(path), title or path.stem)


def _read_html(path: Path, page: str) -> tuple[str, str]:
    """Markdown and title of a page: its ``main`` element where there is exactly one, else its body."""
    from lxml import etree, html  # type: ignore[import-untyped]

    text, title = None, ""
    with suppress(etree.ParserError):  # raised for a page without any element
        tree = html.document_fromstring(page.encode(), parser=html.HTMLParser(encoding="utf-8"))
        title = " ".join((tree.findtext(".//title") or "").split())
        mains = tree.findall(".//main")
        content = mains[0] if len(mains) == 1 else tree.find("body")
        text = None if content is None else _markdown(content)
    if not text:
        raise DataError(path, "no text found in this page; fill it or take it out of the folder")
    return text, title


def _markdown(content: Any) -> str | None:
    """The text of an lxml element as Markdown, without navigation and footers; None where there is none.

    The element is handed over as one article. Left to find the article by itself, trafilatura drops the headings and
    tables of short pages, and every article but the first.
    """
    import trafilatura
    from lxml import html
    from trafilatura.settings import use_config

    for element in content.iter("main", "article"):
        element.tag = "div"
    content.tag = "article"
    page = html.document_fromstring("<html><body></body></html>")
    page.body.append(content)
    config = use_config()
    config.set("DEFAULT", "MIN_EXTRACTED_SIZE", "1")  # short pages take the same way as long ones
    return trafilatura.extract(
        page,
        output_format="markdown",
        include_tables=True,
        include_comments=False,
        favor_recall=True,
        fast=True,
        config=config,
    )


def _load_jsonl(path: Path) -> list[Document]:
    documents: list[Document] = []
    line_of: dict[str, int] = {}
    for line, row in read_jsonl(path):
        document_id, text = (_string(path, line, row, key) for key in ("doc_id", "doc"))
        if document_id in line_of:
            raise DataError(path, f"doc_id {document_id!r} is already used in line {line_of[document_id]}", line)
        line_of[document_id] = line
        title = _string(path, line, row, "title") if row.get("title") else ""
        documents.append(Document(document_id, text.replace("\r\n", "\n"), str(path), title))
    if not documents:
        raise DataError(path, 'no documents; expected lines like {"doc_id": "returns", "doc": "You may return …"}')
    return documents


def _string(path: Path, line: int, row: dict[str, Any], key: str) -> str:
    """A row's value that is text and not blank."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        found = "nothing" if key not in row else "blank text" if isinstance(value, str) else type(value).__name__
        raise DataError(path, f"{key} holds {found}, expected text", line)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(path, f"{key} holds half a surrogate pair at character {error.start}", line) from error
    return value
