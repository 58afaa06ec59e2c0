"""Documents from a folder or a file, whatever they were written in.

Every file is a job of its own: one that cannot be read is reported with its reason and stops no other. Nothing is cut
or deduplicated here, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from lorag.documents.parsers.archive import as_transitional, require_sound_archive
from lorag.documents.parsers.compound.old_office import OLD_KINDS, parse_old_office, real_kind
from lorag.documents.parsers.compound.outlook_message import parse_outlook
from lorag.documents.parsers.delimited import parse_separated
from lorag.documents.parsers.html import parse_html
from lorag.documents.parsers.json_rows import parse_rows
from lorag.documents.parsers.mail import parse_mail, parse_web_archive
from lorag.documents.parsers.markup.electronic_book import parse_book
from lorag.documents.parsers.markup.markdown_source import parse_markdown
from lorag.documents.parsers.markup.notebook import parse_notebook
from lorag.documents.parsers.markup.open_document import parse_open_document
from lorag.documents.parsers.markup.restructured_text import parse_restructured
from lorag.documents.parsers.markup.rich_text import parse_rich_text
from lorag.documents.parsers.parsed import NoTextError, Parsed, raising
from lorag.documents.parsers.pdf import parse_pdf
from lorag.documents.parsers.sheets import parse_sheets
from lorag.documents.parsers.slides import parse_slides
from lorag.documents.parsers.text import parse_plain
from lorag.documents.parsers.word import parse_word
from lorag.documents.reader_process import PROCESSES, Found, Read, read_apart
from lorag.errors import DataError, InputError
from lorag.files import files_below
from lorag.interfaces import Progress, no_progress
from lorag.settings import LoadSettings
from lorag.types import Document

_PARSERS: Mapping[str, Callable[[Path, bytes], Parsed]] = MappingProxyType(
    {
        ".md": parse_markdown,
        ".txt": parse_plain,
        ".html": parse_html,
        ".htm": parse_html,
        ".pdf": parse_pdf,
        ".docx": parse_word,
        ".pptx": parse_slides,
        ".xlsx": parse_sheets,
        ".csv": parse_separated,
        ".tsv": parse_separated,
        ".eml": parse_mail,
        ".mht": parse_web_archive,
        ".mhtml": parse_web_archive,
        ".markdown": parse_markdown,
        ".mdx": parse_markdown,
        ".rst": parse_restructured,
        ".xhtml": parse_html,
        ".ipynb": parse_notebook,
        ".epub": parse_book,
        ".odt": parse_open_document,
        ".ods": parse_open_document,
        ".odp": parse_open_document,
        ".rtf": parse_rich_text,
        ".msg": parse_outlook,
        **dict.fromkeys(OLD_KINDS, parse_old_office),
    }
)
_OFFICE = (".docx", ".pptx", ".xlsx")
_ARCHIVES = (*_OFFICE, ".epub", ".odt", ".ods", ".odp")
_ROWS = (".json", ".jsonl")
_SHADOWS = ("~$", "._")
"""How names of files begin that Office and macOS leave beside others and that hold no text."""
_MOST_SAID = 200
"""Characters of what a library says of a damaged file."""
_SLOW = 10
"""How many times as long a file may take that LibreOffice converts, or some of whose pages are pictures."""
SUFFIXES = (*_PARSERS, *_ROWS)
_ACCEPTED = f"{', '.join(_PARSERS)} files, and {' or '.join(_ROWS)} files of rows with doc_id and doc"


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file that could not be read: ``source`` as documents have it, ``reason`` with path, line and what to do.

    ``message`` is the reason without the path.
    """

    source: str
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class FileNote:
    """What is missing from the text of a file, or is in it by a guess, or why the file was skipped.

    ``text`` makes a sentence after a name of the file; ``source`` is as documents have it.
    """

    path: str
    source: str
    text: str

    def __str__(self) -> str:
        """The sentence."""
        return f"{self.path} {self.text}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The documents of a folder, and everything of it that is not in them.

    ``passed_over`` are the files of other kinds, empty ones, and those that programs leave beside a document;
    ``file_notes`` are on files that were read, and on files of a known kind that were skipped.
    """

    documents: tuple[Document, ...]
    refused: tuple[RefusedFile, ...] = ()
    passed_over: tuple[str, ...] = ()
    file_notes: tuple[FileNote, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """The ``file_notes`` as sentences."""
        return tuple(map(str, self.file_notes))

    def require_all(self) -> Loaded:
        """Itself. Raises ``InputError`` with every reason when a file was refused."""
        if self.refused:
            raise InputError("\n".join(file.reason for file in self.refused))
        return self


def load_documents(
    path: Path | str,
    settings: LoadSettings | None = None,
    *,
    read: Read | None = None,
    at_once: int = PROCESSES,
    progress: Progress = no_progress,
) -> Loaded:
    """The documents under ``path``, in the order of their ids; those of a JSON or JSONL file in the order of its rows.

    A folder is searched with all folders in it; hidden files and links to folders are skipped silently. The id of a
    document is its path below the folder, with slashes, or the row's ``doc_id``. Its title is the one in the file, or
    else the name of the file without its suffix; of a row it is ``title``, or empty.

    Args:
        path: A folder, or one file.
        settings: Limits within which a file is read.
        read: Reads one file. None reads each in a process of this machine, with limits on time and memory.
        at_once: Files that are read at the same time.
        progress: Called with the number of files of the folder that were read, and the name of the last one.

    Returns:
        The documents, and what of the folder is not in them, with reasons.

    Raises:
        DataError: ``path`` does not exist; the folder holds no documents, or cannot be read; or the single file cannot
            be read.

    Examples:
        >>> loaded = lorag.load_documents("docs")
        >>> [(document.id, document.title) for document in loaded.documents]
        [('office.md', 'Office'), ('warranty.md', 'Warranty')]
        >>> loaded.refused
        ()
    """
    path, settings, read = Path(path), settings or LoadSettings(), read or read_document_file
    if not path.exists():
        raise DataError(path, f"no such file or folder; expected a folder of {_ACCEPTED}")
    if not path.is_dir():
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(path, f"unknown kind of document {path.suffix!r}; accepted are {_ACCEPTED}")
        documents, notes = read(path, _unicode(path.name), settings)
        if not documents:
            raise DataError(path, notes[0])
        return Loaded(tuple(documents), file_notes=tuple(_note(path, path.name, note) for note in notes))
    files = files_below(path)
    reasons = {file: _odd(file) for file in files if file.suffix.lower() in SUFFIXES}
    known = [file for file, reason in reasons.items() if not reason]
    if not known:
        raise DataError(path, f"no documents in this folder; accepted are {_ACCEPTED}")
    loaded = _read_all(path, known, lambda file: _attempt(read, path, file, settings), at_once, progress)
    kept = {*known} - {path / source for source in loaded.passed_over}
    other = tuple(_below(path, file) for file in files if file not in kept)
    odd = (_note(file, _below(path, file), f"was skipped: {reason}") for file, reason in reasons.items() if reason)
    return replace(loaded, passed_over=other, file_notes=(*loaded.file_notes, *odd))


def _odd(file: Path) -> str:
    """Why a file of a folder is no document though it is named like one; empty where it is."""
    if file.name.startswith(_SHADOWS):
        return "a program left it beside a document"
    return "it is empty" if file.is_file() and file.stat().st_size == 0 else ""


def _read_all(
    folder: Path,
    files: Sequence[Path],
    attempt: Callable[[Path], Found | DataError],
    at_once: int,
    progress: Progress,
) -> Loaded:
    """What can be read of the files; one that repeats the id of another is refused like one that is broken."""
    documents: dict[str, Document] = {}
    refused: list[RefusedFile] = []
    notes: list[FileNote] = []
    passed_over: list[str] = []
    with ThreadPoolExecutor(at_once) as pool:
        for done, (file, read) in enumerate(zip(files, pool.map(attempt, files), strict=True), start=1):
            source = _below(folder, file)
            progress("reading", done, len(files), source)
            found, said = read if isinstance(read, tuple) else ([], ())
            again = next((document.id for document in found if document.id in documents), None)
            if again is not None:
                other = documents[again].source
                read = DataError(file, f"the id {again!r} is already used by {other}; give it another")
            if isinstance(read, DataError):
                message = read.message if read.line is None else f"line {read.line}: {read.message}"
                refused.append(RefusedFile(source, _unicode(str(read)), _unicode(message)))
                continue
            if not found:
                passed_over.append(source)
                said = tuple(f"was skipped: {reason}" for reason in said)
            documents.update({document.id: document for document in found})
            notes += (_note(file, source, text) for text in said)
    return Loaded(tuple(documents.values()), tuple(refused), tuple(passed_over), tuple(notes))


def _attempt(read: Read, folder: Path, file: Path, settings: LoadSettings) -> Found | DataError:
    """What ``read`` gives, or raises; refused where the file changed meanwhile, as half of it may be missing."""
    before = _state(file)
    try:
        found = read(file, _below(folder, file), settings)
    except DataError as error:
        return error
    if _state(file) != before:
        return DataError(file, "changed while it was read: it is still being written; read it again later")
    return found


def _state(file: Path) -> tuple[int, int] | None:
    """The size and the time of the last change; None where there is no file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _below(folder: Path, file: Path) -> str:
    return _unicode(file.relative_to(folder).as_posix())


def read_document_file(path: Path, source: str, settings: LoadSettings) -> Found:
    """The documents of one file, and notes on them, read in another process.

    Raises ``DataError`` for anything that is wrong with it.
    """
    _require_size(path, settings.max_file_bytes)
    suffix = path.suffix.lower()
    longest = settings.max_seconds * _SLOW
    may_be_pictures = suffix == ".pdf" and find_spec("rapidocr") is not None
    seconds = longest if suffix in OLD_KINDS else settings.max_seconds
    return read_apart(path, source, settings, seconds, longest if may_be_pictures else None)


def read_file(path: Path, source: str, settings: LoadSettings) -> Found:
    """As ``read_document_file``, without limits of time and memory. Without documents, the note is the reason."""
    suffix = path.suffix.lower()
    try:
        if suffix in _ROWS:
            return parse_rows(path, source)
        data = path.read_bytes()
        suffix = real_kind(suffix, data)
        if suffix in _ARCHIVES:
            require_sound_archive(path, data, settings)
            data = as_transitional(data) if suffix in _OFFICE else data
        parsed = _PARSERS[suffix](path, data)
    except NoTextError as error:
        return [], (error.message,)
    except (DataError, MemoryError):
        raise
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}; make it readable, or remove it") from error
    except Exception as error:  # a damaged file makes parsers raise anything
        said = " ".join(str(error).split())
        reason = f"{type(error).__name__}: {said[:_MOST_SAID]}"
        raise DataError(path, f"is damaged or not a {suffix} file ({reason}); save it again, or remove it") from error
    if not parsed.text.strip():
        return [], ("holds no text; fill it or remove it from the folder",)
    title = parsed.title.strip() or path.stem
    document = Document(source, _unicode(parsed.text), source, _unicode(title), parsed.places, parsed.meta)
    return [document], parsed.notes


def _note(file: Path, source: str, text: str) -> FileNote:
    return FileNote(_unicode(str(file)), _unicode(source), _unicode(text))


def _unicode(text: str) -> str:
    """``text`` with a question mark for what is no character: half a surrogate pair, a byte of a broken file name."""
    return text.encode(errors="replace").decode()


def _require_size(path: Path, max_bytes: int) -> None:
    if not path.is_file():
        raise DataError(path, "no such file" if not path.exists() else "is not a regular file; remove it")
    size = path.stat().st_size
    if size == 0:
        raise DataError(path, "is empty; fill it or remove it from the folder")
    if size > max_bytes:
        raise DataError(
            path,
            f"holds {size / 1e6:.0f} MB, expected at most {max_bytes / 1e6:.0f} MB; split it, or"
            f" {raising('max_file_bytes')}",
        )
