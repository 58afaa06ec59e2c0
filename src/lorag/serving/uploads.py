"""Uploads: one document into the folder and the index, or out of both.

The folder is the one that the index was made of: so a later `lorag index FOLDER` finds the same files. A file is
written under a hidden name and read as a document; the index changes in one commit, and the folder follows. So a change
that the index refuses can be repeated. A lock file keeps folder and index in step for all servers of the folder.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from lorag.documents.load import SUFFIXES, load_documents
from lorag.errors import DataError, InputError
from lorag.files import locked, storage_errors, write_whole
from lorag.retrieval.knowledge import Knowledge
from lorag.serving.http_errors import HttpError

_ROWS = (".json", ".jsonl")
"""Files of many documents: one upload is one document."""
_ACCEPTED = [suffix for suffix in SUFFIXES if suffix not in _ROWS]
_PLAIN = re.compile(r"\w[\w .,()+=@-]*")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
"""Names that are devices on Windows, whatever their suffix."""
_MAX_NAME_BYTES = 200
_LOCK = ".lorag.lock"


def plain_name(name: str, accepted: Sequence[str] = _ACCEPTED) -> str:
    """``name`` itself. Raises ``HttpError`` unless it is a plain file name with one of the ``accepted`` suffixes.

    By default these are those of files that are read as one document.
    """
    plain = _PLAIN.fullmatch(name) and ".." not in name and not _RESERVED.fullmatch(name)
    if not plain or len(name.encode()) > _MAX_NAME_BYTES:
        expected = f"letters, digits, spaces and .,()+=@-_ beginning with a letter, at most {_MAX_NAME_BYTES} bytes"
        raise HttpError(400, f"{name[:80]!r} is not a plain file name; expected {expected}", "name")
    if PurePath(name).suffix.lower() not in accepted:
        raise HttpError(400, f"{name!r} has a type that is not accepted; expected {', '.join(accepted)}", "name")
    return name


@dataclass(frozen=True, slots=True)
class Uploads:
    """A folder of documents and the index over them."""

    folder: Path
    knowledge: Knowledge

    def __post_init__(self) -> None:
        """Refuses a folder that is none."""
        if not self.folder.is_dir():
            raise InputError(f"{str(self.folder)!r} is not a folder; give the one that the index is made from")

    def put(self, name: str, content: bytes) -> dict[str, Any]:
        """Stores a document, over an older one of the name, and says what became of it.

        Raises ``HttpError`` for a name that is not plain or that a folder has, and for a content that cannot be read;
        ``StoreError`` where the index cannot be changed. Nothing is kept then.
        """
        target = self.folder / plain_name(name)
        with storage_errors(self.folder), tempfile.TemporaryDirectory(prefix=".upload-", dir=self.folder) as hidden:
            part = Path(hidden, name)
            write_whole(part, content)
            try:
                loaded = load_documents(part)
            except DataError as error:
                raise HttpError(422, str(DataError(name, error.message, error.line))) from error
            with locked(self.folder / _LOCK):
                if target.is_dir():
                    raise HttpError(409, f"{name!r} is a folder among the documents; rename one of them", "name")
                report = self.knowledge.sync(loaded.documents, add_only=True)
                part.replace(target)
        (document,) = loaded.documents
        became = "added" if report.added else "updated" if report.updated else "unchanged"
        notes = [f"{name} {note.text}" for note in loaded.file_notes]
        return {"id": name, "object": "document", "version": document.version, "result": became, "notes": notes}

    def delete(self, name: str) -> dict[str, Any]:
        """Removes a document from the index and its file from the folder.

        Raises ``HttpError`` where neither has it, and ``StoreError`` where the index cannot be changed; the file stays.
        """
        target = self.folder / plain_name(name)
        with storage_errors(target), locked(self.folder / _LOCK):
            if not self.knowledge.remove([name]) and not target.is_file():
                raise HttpError(404, f"there is no document {name!r}", "name")
            target.unlink(missing_ok=True)
        return {"id": name, "object": "document", "deleted": True}
