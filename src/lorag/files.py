"""Files written whole, and line files that survive a kill.

A reader never sees half a file: text goes to a temporary name beside the target, is flushed to the disk, and takes
the target's place in one rename. Line files are appended a batch at a time; a torn last line is dropped on opening.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import tomllib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lorag.errors import DataError, InputError, StorageError

DISK_FULL = "the disk is full; free some space and run the same command again: what was finished is kept"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SAID_FULL = re.compile(
    r"No space left on device|disk is full|Disk quota exceeded|File too large"
    r"|inline_container.*(?:unexpected pos|write failed)",
    re.IGNORECASE,
)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns an operating system's refusal to write ``path`` into ``StorageError`` with what to do."""
    try:
        yield
    except OSError as error:
        refused = f"{error.strerror or error}; make it writable or choose another folder"
        raise StorageError(f"cannot write {str(path)!r}: {DISK_FULL if disk_is_full(error) else refused}") from error


def disk_is_full(error: BaseException | None) -> bool:
    """Whether a full disk, a quota or a limit on the size of files is behind ``error``, whichever library raised it.

    PyTorch and SQLite have no number for it, and libraries written in Rust have it in their text.
    """
    while error is not None:
        if getattr(error, "errno", None) in _FULL or _SAID_FULL.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def full_disk_errors(path: Path) -> Iterator[None]:
    """Turns whatever a library raises when the disk of ``path`` is full into ``StorageError`` with what to do."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        if not disk_is_full(error):
            raise
        place = getattr(error, "filename", None) or path
        raise StorageError(f"cannot write {str(place)!r}: {DISK_FULL}") from error


@contextmanager
def locked(path: Path, inside: Path | None = None) -> Iterator[None]:
    """Waits for the lock file ``path``, whose folder is made, and holds it.

    Raises ``StorageError`` where that is not possible; it names the folder, or the one ``inside`` which that lies.
    """
    from filelock import FileLock

    with storage_errors(inside or path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path).acquire()
    with lock:
        yield


def write_whole(path: Path, content: str | bytes) -> None:
    """``path`` holds all of ``content``, or what it held before. Missing folders are made."""
    data = content.encode() if isinstance(content, str) else content
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _beside(path: Path) -> Path:
    """A hidden name in the same folder that nobody else uses."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


@contextmanager
def folder_whole(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``path`` when the block ends well, and vanishes when it does not.

    A folder that was there before is out of the way for the moment between two renames, and then removed.
    """
    with storage_errors(path):
        temporary = _beside(path)
        temporary.mkdir(parents=True)
    try:
        with full_disk_errors(path):
            yield temporary
        with storage_errors(path):
            _share(temporary)
            if path.exists():
                path.replace(old := _beside(path))
                try:
                    temporary.replace(path)
                except OSError:
                    old.replace(path)
                    raise
                shutil.rmtree(old)
            else:
                temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _share(folder: Path) -> None:
    """Lets whoever may read ``folder`` read its files too: some libraries write weights for their user alone."""
    readable = folder.stat().st_mode & 0o444
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink() and (mode := file.stat().st_mode) & readable != readable:
            with suppress(OSError):  # some file systems have no such bits
                file.chmod(mode | readable)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file. Raises ``DataError`` for a missing, binary or wrongly encoded file."""
    if not path.is_file():
        raise DataError(path, "no such file" if not path.exists() else "is a folder, expected a file")
    data = path.read_bytes()
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise DataError(path, "is UTF-16, expected UTF-8; save it as UTF-8")
    if b"\0" in data:
        raise DataError(path, "is binary, expected text; convert it or remove it from the folder")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(path, f"is not UTF-8 at byte {error.start}; re-encode it", line) from error


def toml_lines(values: Mapping[str, object]) -> str:
    """Values by their keys as lines of TOML, which writes texts, numbers and lists as JSON does."""
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False, default=str)}\n" for key, value in values.items())


def read_toml(path: Path) -> dict[str, Any]:
    """The tables and values of a TOML file. Raises as ``read_text`` does, and ``DataError`` for what is no TOML."""
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise DataError(path, f"broken TOML: {error}") from error


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises as ``read_text`` does, and ``DataError`` with the line for what is not JSON."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(path, f"broken JSON at column {error.colno}: {error.msg}", error.lineno) from error


def files_below(folder: Path) -> list[Path]:
    """Visible files, sorted by path. Links to folders are not followed, so loops cannot hang.

    Raises ``DataError`` for a folder that cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise DataError(error.filename, f"cannot be read: {error.strerror}; make it readable, or remove it") from error

    files = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(files, key=lambda file: file.relative_to(folder).as_posix())


def read_jsonl(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a JSONL file with their line numbers (from 1); blank lines are skipped.

    Raises ``DataError`` with the line number for a line that is not a JSON object.
    """
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(path, f"broken JSON at column {error.colno}: {error.msg}", number) from error
        except RecursionError as error:
            raise DataError(path, "JSON nested too deep; expected a plain object", number) from error
        if not isinstance(row, dict):
            raise DataError(path, f"expected a JSON object, found {type(row).__name__}", number)
        rows.append((number, row))
    return rows


def dump(value: object) -> str:
    """Compact JSON with sorted keys, equal for equal values."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def fingerprint(value: object) -> str:
    """The first 16 hex digits of SHA-256 over the JSON of ``value``."""
    return hashlib.sha256(dump(value).encode()).hexdigest()[:16]


def draw(text: str) -> float:
    """A pseudo-random number from 0 up to 1 that is always the same for a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class LineLog:
    """A JSONL file that is only ever appended to, a batch of rows in one flushed write.

    Opening it drops a torn last line, so after a kill it holds whole rows: all of a batch, or its first ones.
    """

    def __init__(self, path: Path) -> None:
        """Opens ``path``, making it and its folder when missing."""
        self.path = path
        if not path.is_file():  # one that is there is only read, as that of an earlier run
            with storage_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            write_whole(path, whole)
        self.rows: list[Mapping[str, Any]] = [row for _, row in read_jsonl(path)]

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds the rows; they are on the disk when this returns."""
        if not rows:
            return
        with storage_errors(self.path), self.path.open("ab") as file:
            size = file.tell()
            try:
                file.write("".join(dump(row) + "\n" for row in rows).encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
        self.rows.extend(rows)


def require_writable(folder: Path) -> None:
    """Raises now rather than after an hour of work: ``InputError`` when ``folder`` cannot be written, ``StorageError``
    when its disk is full.
    """
    try:
        with full_disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"0")
                file.flush()
    except OSError as error:
        raise InputError(f"cannot write to {str(folder)!r}: {error.strerror}; choose another with --out") from error


def require_replaceable(out: Path, record: str) -> None:
    """Raises ``InputError`` where ``out`` is a file, or a folder with files but without ``record``, as we write it."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{str(out)!r} is a file; choose a folder with --out")
    if out.is_dir() and not (out / record).is_file() and any(out.iterdir()):
        raise InputError(f"{str(out)!r} holds other files, which training would replace; choose another with --out")


def jsonl_target(out: Path | str, source: Path | None = None) -> Path:
    """``out``, to write rows to. Raises ``InputError`` where it does not end in ``.jsonl``, or is inside ``source``."""
    target = Path(out)
    if target.suffix.lower() != ".jsonl":
        raise InputError(f"{str(out)!r} does not end in .jsonl, the format that is written; rename it")
    if source is not None and target.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{str(out)!r} is inside the data that is read; choose another place with --out")
    return target
