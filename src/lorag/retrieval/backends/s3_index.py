"""An index in an object store: the files of a folder's index as objects, and a head that names those of one state.

Whoever writes works in a copy of the folder, sends the files that are new, and swaps the head for one that names them,
on the condition that nobody else has swapped it meanwhile. No other object is overwritten: readers see one state or
the next, and a killed writer leaves objects that no head names. Whoever reads copies a state into a folder of this
machine; a file that two states share is copied once.

A writer deletes the objects that were there before its swap, except those that its own head or the one before names.
They belong to dead writers, or to living ones whose swap will be refused.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath

from lorag.errors import StoreError
from lorag.files import dump, fingerprint, full_disk_errors, locked, sha256_of, storage_errors, write_whole
from lorag.models.catalogue import cache_folder
from lorag.retrieval.backends.folder_index import FolderIndex, only_writer
from lorag.retrieval.backends.lance_store import LanceStore, drop_old_versions
from lorag.retrieval.backends.s3_bucket import Bucket
from lorag.retrieval.backends.sqlite_manifest import SqliteManifest, require_same

_HEAD, _OBJECTS, _FORMAT = "head.json", "objects", 1
_STORE, _MANIFEST = "store", "manifest.sqlite"
_NAMES, _DRAFT, _COPYING = "files.json", "draft", "copy.lock"
"""On this machine: the objects that a copy was made from, what is being written, a lock for whoever adds a copy."""
_KEEP_SECONDS = 3600
"""How long the copy of an older state is kept after its last use: for readers in the middle of a query."""
_AT_ONCE = 8
_ATTEMPTS = 5
"""Times a state is copied because a writer deleted it meanwhile."""

Files = dict[str, tuple[str, int]]
"""The object and the size of every file of an index, by its path in the folder."""


@dataclass(frozen=True, slots=True)
class Head:
    """A published state of an index; ``e_tag`` is the one that the store gave it."""

    id: str
    files: Files
    e_tag: str

    @classmethod
    def read(cls, bucket: Bucket, data: bytes, e_tag: str) -> Head:
        """The head that ``data`` holds. Raises ``StoreError`` for anything else, such as a path out of the folder."""
        try:
            told = json.loads(data)
            files = {path: (str(name), int(size)) for path, (name, size) in told["files"].items()}
            inside = all(path == _MANIFEST or path.startswith(f"{_STORE}/") for path in files) and not any(
                ".." in PurePosixPath(path).parts for path in files
            )
            if told["format"] == _FORMAT and re.fullmatch(r"[0-9a-f]{32}", told["id"]) and inside:
                return cls(told["id"], files, e_tag)
        except (ValueError, TypeError, KeyError, AttributeError):
            pass
        raise StoreError(
            f"{_HEAD} of {bucket} cannot be read; it is damaged or of a newer Lorag: update, or rebuild the index with "
            f"`{rebuild_command(bucket)}`"
        )


class S3Index:
    """An ``Index`` in an object store. Any number of machines may read while one writes.

    ``manifest`` checks whether another state is published; ``store`` is that of the state seen last, so that a search
    reads one state. In the block of ``writing`` both are the copy that is written, for the thread that writes it.
    """

    def __init__(self, bucket: Bucket, made_with: Mapping[str, str], dim: int, exact_up_to: int) -> None:
        """Over the index that ``open`` found or made."""
        self._bucket, self._made_with, self._dim, self._exact_up_to = bucket, made_with, dim, exact_up_to
        self._seen: tuple[Head, FolderIndex] | None = None
        self._lock, self._own = threading.Lock(), threading.local()

    @classmethod
    def open(cls, bucket: Bucket, made_with: Mapping[str, str], dim: int, exact_up_to: int) -> S3Index:
        """The index in ``bucket``, made when missing.

        Raises ``StoreError`` when it was made with something else than ``made_with``, or is damaged or out of reach.
        """
        if bucket.read(_HEAD) is None:
            with _draft(bucket) as work:
                if bucket.read(_HEAD) is None:  # two processes may have found it missing
                    FolderIndex.open(work, made_with, dim, exact_up_to)
                    _publish(bucket, work, None, {})
        index = cls(bucket, made_with, dim, exact_up_to)
        index._current(look=True)
        return index

    @property
    def store(self) -> LanceStore:
        """See ``Index``."""
        return self._current(look=False).store

    @property
    def manifest(self) -> SqliteManifest:
        """See ``Index``."""
        return self._current(look=True).manifest

    @contextmanager
    def writing(self) -> Iterator[None]:
        """See ``Index``. Writers of one machine take turns; of writers on two machines, the later one is refused."""
        with _draft(self._bucket) as work:
            head, copy = newest(self._bucket)
            linked = _linked(copy, work, head.files)
            store = LanceStore(work / _STORE, self._dim, self._exact_up_to, timedelta(milliseconds=1))
            self._own.parts = FolderIndex(work, store, SqliteManifest(work / _MANIFEST))
            try:
                yield
            finally:
                self._own.parts = None
            _publish(self._bucket, work, head, linked)
        self._current(look=True)

    def __str__(self) -> str:
        """The address."""
        return f"the index in {self._bucket}"

    def _current(self, look: bool) -> FolderIndex:
        """What this thread is writing, or the state seen last, or with ``look`` the one that is published now."""
        own: FolderIndex | None = getattr(self._own, "parts", None)
        if own is not None:
            return own
        while True:
            seen = self._seen
            if seen is not None and not look:
                return seen[1]
            head, copy = newest(self._bucket, seen[0] if seen is not None else None)
            if seen is not None and seen[0].id == head.id:
                return seen[1]
            manifest = SqliteManifest(copy / _MANIFEST)  # a rebuild may have been made with another embedder
            require_same(str(self), manifest.made_with(), self._made_with, rebuild_command(self._bucket))
            parts = FolderIndex(copy, LanceStore(copy / _STORE, self._dim, self._exact_up_to), manifest)
            with self._lock:
                if self._seen is seen:  # else another thread has seen a newer state, which must not be seen to go back
                    self._seen = head, parts
                    return parts


def bucket_holds_index(bucket: Bucket) -> bool:
    """Whether there is an index."""
    return bucket.read(_HEAD) is not None


def bucket_made_with(bucket: Bucket) -> dict[str, str]:
    """What the index that is there was made with. Raises ``StoreError`` for a damaged one."""
    return SqliteManifest(newest(bucket)[1] / _MANIFEST).made_with()


@contextmanager
def replaced_bucket(bucket: Bucket) -> Iterator[Path]:
    """A temporary folder that takes the place of the index in ``bucket`` when the block ends well.

    What was there stays until then, and for good when the block fails.
    """
    with _draft(bucket) as work:
        found = bucket.read(_HEAD)
        try:
            before = Head.read(bucket, *found) if found is not None else None
        except StoreError:  # a damaged head is what a rebuild repairs
            before = Head("", {}, found[1]) if found is not None else None
        yield work
        drop_old_versions(work / _STORE)
        _publish(bucket, work, before, {})


def rebuild_command(bucket: Bucket) -> str:
    """The command that rebuilds the index."""
    return f"lorag index DOCS --store {bucket} --rebuild"


def copies_folder() -> Path:
    """Where states of indexes in object stores are copied to; all of it may be deleted while no process uses it."""
    return cache_folder() / "indexes"


def newest(bucket: Bucket, known: Head | None = None) -> tuple[Head, Path]:
    """The published state and the folder with its copy; ``known`` is the one that was seen last.

    Raises ``StoreError`` where there is none, or where it is damaged.
    """
    root, damaged = _folder(bucket), f"the index in {bucket} lacks a file; rebuild it with `{rebuild_command(bucket)}`"
    # Touched before the head is read, the copy is not dropped by a process that has seen a newer one.
    is_there = known is not None and _touched(root / known.id)
    tried: set[str] = set()
    for _ in range(_ATTEMPTS):
        found = bucket.read(_HEAD, known.e_tag if known is not None else None)
        if found is None:
            raise StoreError(f"the index in {bucket} is gone; make it with `lorag index DOCS --store {bucket}`")
        if known is not None and not found[0]:
            head = known
        else:
            head, is_there = Head.read(bucket, *found), False
        try:
            return head, root / head.id if is_there else _copied(bucket, head)
        except FileNotFoundError as error:
            if head.id in tried:
                raise StoreError(damaged) from error
            tried.add(head.id)  # a writer may have dropped it, and published another one
    raise StoreError(f"the index in {bucket} changed {_ATTEMPTS} times while it was copied; try again")


def _folder(bucket: Bucket) -> Path:
    """Where the states of this index are copied to."""
    return copies_folder() / fingerprint([bucket.endpoint, str(bucket)])


def _copied(bucket: Bucket, head: Head) -> Path:
    """The folder with a copy of the state, whole. Raises ``FileNotFoundError`` where an object of it is gone.

    What a killed process or another state has copied is linked. A copy that lost something is made again.
    """
    root = _folder(bucket)
    copy, part = root / head.id, root / f".{head.id}"
    if _touched(copy, head):
        return copy
    with locked(root / _COPYING), full_disk_errors(root):
        if _touched(copy, head):
            return copy
        if copy.is_dir():
            shutil.rmtree(copy)
        have = {
            name: names.parent / path
            for names in root.glob(f"*/{_NAMES}")
            if names.parent.name != _DRAFT
            for path, (name, _) in json.loads(names.read_text()).items()
        }
        part.mkdir(exist_ok=True)
        write_whole(part / _NAMES, dump(head.files))

        def bring(path: str) -> None:
            target, (name, size) = part / path, head.files[path]
            target.parent.mkdir(parents=True, exist_ok=True)
            if _has_size(target, size):
                return
            target.unlink(missing_ok=True)
            if name in have and _has_size(have[name], size):
                os.link(have[name], target)
            else:
                bucket.fetch(name, target, size)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(bring, head.files))
        part.rename(copy)
        _drop_unused(copy)
    return copy


def _drop_unused(copy: Path) -> None:
    """Deletes copies of states that nobody has used for an hour, and what killed processes left; not ``copy``."""
    for other in copy.parent.iterdir():
        unused = other.name.startswith(".") or time.time() - other.stat().st_mtime > _KEEP_SECONDS
        if other.is_dir() and other not in (copy, copy.with_name(_DRAFT)) and unused:
            shutil.rmtree(other, ignore_errors=True)


def _has_size(file: Path, size: int) -> bool:
    return file.is_file() and file.stat().st_size == size


def _touched(copy: Path, whole: Head | None = None) -> bool:
    """Whether there is this copy of a state; if so, it counts as used now.

    With ``whole`` every file of that state must be there in full size: a full or cleared disk may have taken some.
    """
    with suppress(OSError):  # a cache of others may be read only
        os.utime(copy)
    files = whole.files.items() if whole is not None else ()
    return copy.is_dir() and all(_has_size(copy / path, size) for path, (_, size) in files)


@contextmanager
def _draft(bucket: Bucket) -> Iterator[Path]:
    """An empty folder to write in, while no other process of this machine writes to the index.

    Raises ``StoreError`` at once where the bucket cannot be written.
    """
    root = _folder(bucket)
    draft = root / _DRAFT
    with only_writer(root, str(bucket)):
        bucket.require_conditions()
        shutil.rmtree(draft, ignore_errors=True)  # of a killed writer
        with storage_errors(draft):
            draft.mkdir()
        try:
            with full_disk_errors(draft):
                yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _linked(copy: Path, work: Path, files: Files) -> dict[str, int]:
    """Brings the files of a copied state into ``work``; returns the inode of each that is shared with the copy.

    LanceDB writes every file under a name of its own, or renames it into place; SQLite writes into its file.
    """
    with storage_errors(work):
        for path in files:
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            share = shutil.copyfile if path == _MANIFEST else os.link
            share(copy / path, work / path)
    return {path: (work / path).stat().st_ino for path in files if path != _MANIFEST}


def _publish(bucket: Bucket, work: Path, before: Head | None, linked: Mapping[str, int]) -> None:
    """Makes what is in ``work`` the published state, in place of ``before``, and the folder its copy.

    ``linked`` are files that are those of ``before`` as long as they have their inode. Where nothing changed, nothing
    happens. Raises ``StoreError`` where another process published meanwhile.
    """
    state, files, new = secrets.token_hex(16), {}, []
    known = before.files if before is not None else {}
    for file in [work / _MANIFEST, *(file for file in sorted((work / _STORE).rglob("*")) if file.is_file())]:
        path, told = file.relative_to(work).as_posix(), file.stat()
        if linked.get(path) == told.st_ino:
            files[path] = known[path]
            continue
        content = sha256_of(file)
        if path in known and known[path][0].startswith(f"{_OBJECTS}/{content}"):
            files[path] = known[path]
        else:
            files[path] = f"{_OBJECTS}/{content}-{state}", told.st_size
            new.append(path)
    if files == known:
        return
    there = bucket.names(_OBJECTS)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda path: bucket.send(work / path, files[path][0]), new))
    data = dump({"format": _FORMAT, "id": state, "files": files}).encode()
    if bucket.swap(_HEAD, data, before.e_tag if before is not None else None) is None:
        found = bucket.read(_HEAD)  # a request that was repeated may have been refused because its first try arrived
        if found is None or found[0] != data:
            raise StoreError(
                f"another process wrote to {bucket} in the meantime, so this change was not stored; run the same"
                " command again"
            )
    write_whole(work / _NAMES, dump(files))
    copy = work.with_name(state)
    with locked(work.with_name(_COPYING)):
        if not copy.is_dir():  # a reader may have been quicker
            work.rename(copy)
        _drop_unused(copy)
    named = {name for name, _ in (*files.values(), *known.values())}
    try:
        bucket.delete([name for name in there if name not in named])
    except StoreError as error:
        warnings.warn(f"the index is written, but files of older states are left over: {error}", stacklevel=2)
