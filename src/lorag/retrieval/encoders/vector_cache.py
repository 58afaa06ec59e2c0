"""Vectors of passages, kept between runs: the same text is embedded once by a model, whatever it is indexed for.

An SQLite file holds each vector under a hash of model and text, never the text itself. Its size has a limit, which may
be exceeded while documents are indexed: a killed indexing finds all of its vectors again. Questions are not kept: to
embed one takes milliseconds, and what people ask should not stay on a disk unasked.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from lorag.files import fingerprint
from lorag.interfaces import Embedder

T = TypeVar("T")

_OPENING = (
    "PRAGMA page_size = 16384",  # of pages of 4096 bytes a fifth would stay empty
    "PRAGMA synchronous = OFF",  # what a power failure spoils has no fitting seal
    "CREATE TABLE IF NOT EXISTS vectors (key BLOB UNIQUE, vector BLOB, seal BLOB)",
    "CREATE TABLE IF NOT EXISTS unfinished (work TEXT PRIMARY KEY, latest REAL) WITHOUT ROWID",
)
_WAIT_SECONDS = 30.0
"""Transactions take milliseconds; whoever waits longer than this waits for something broken."""
_DROPPED_SHARE = 0.1
"""How much of a full cache is dropped at once, oldest first."""
_UNFINISHED_SECONDS = 7 * 24 * 3600.0
"""How long work that did not end well keeps every vector, from its last call of ``embed``."""


class CachedEmbedder:
    """An ``Embedder`` that asks another one only for passages whose vectors are not in the file yet.

    Any number of processes may share the file, and any threads call. A vector is used only when its seal fits model,
    text and vector, so damage costs work and never gives a wrong one; a file that cannot be used is left out with a
    warning. ``taken`` counts the vectors that came from the file.
    """

    def __init__(self, embedder: Embedder, path: Path, max_bytes: int) -> None:
        """``max_bytes`` is the most that ``path`` may hold, and a little more; the oldest make room. 0 keeps none.

        While work is unfinished (``keeping``), it may hold more.
        """
        self.name, self.dim, self.max_tokens = embedder.name, embedder.dim, embedder.max_tokens
        self.identity = embedder.identity
        self.taken, self._counting = 0, Lock()
        self._work: str | None = None
        self._embedder, self._path, self._max_bytes, self._usable = embedder, path, max_bytes, max_bytes > 0

    def count_tokens(self, text: str) -> int:
        """See ``Embedder``."""
        return self._embedder.count_tokens(text)

    def embed(self, texts: Sequence[str], kind: Literal["query", "passage"]) -> NDArray[np.float32]:
        """See ``Embedder``. Equal passages of one call are embedded once."""
        if kind == "query" or not texts:
            return self._embedder.embed(texts, kind)
        keys = [self._key(text) for text in texts]
        known = self._read(set(keys))
        with self._counting:
            self.taken += sum(key in known for key in keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            new = dict(zip(missing, self._embedder.embed(list(missing.values()), kind), strict=True))
            self._write(new)
            known |= new
        return np.stack([known[key] for key in keys])

    @contextmanager
    def keeping(self, work: str) -> Iterator[None]:
        """Lets no process drop a vector from the first ``embed`` in the block until the block ends well.

        Where it does not, nothing is dropped until a later block of the same ``work`` ends well, or for a week. A block
        within a block is part of the outer one.
        """
        if self._work is not None:
            yield
            return
        self._work = name = fingerprint(work)
        try:
            yield
        finally:
            self._work = None

        def end(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM unfinished WHERE work = ?", (name,))
            while _used_bytes(connection) > self._max_bytes and _drop_oldest(connection):
                pass
            size = self._path.stat().st_size / (1 + _DROPPED_SHARE)
            if _used_bytes(connection) <= self._max_bytes < size:
                connection.execute("VACUUM")

        if self._path.is_file():
            self._in_file(end)

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.identity}\0{text}".encode(errors="surrogatepass")).digest()

    def _read(self, keys: set[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """The vectors of those keys that are in the file and whole."""

        def select(connection: sqlite3.Connection) -> dict[bytes, NDArray[np.float32]]:
            found = {}
            if self._work is not None:
                connection.execute("INSERT OR REPLACE INTO unfinished VALUES (?, ?)", (self._work, time.time()))
            for key in keys:
                row = connection.execute("SELECT vector, seal FROM vectors WHERE key = ?", (key,)).fetchone()
                if row is not None and isinstance(row[0], bytes) and row[1] == _seal(key, row[0]):
                    found[key] = np.frombuffer(row[0], dtype="<f4").astype(np.float32)
            return found

        return self._in_file(select) or {}

    def _write(self, vectors: dict[bytes, NDArray[np.float32]]) -> None:
        rows = [(key, vector.astype("<f4").tobytes()) for key, vector in vectors.items()]

        def insert(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", [(*row, _seal(*row)) for row in rows]
            )
            if _used_bytes(connection) > self._max_bytes:
                _drop_oldest(connection, len(rows))
            connection.execute("COMMIT")

        self._in_file(insert)

    def _in_file(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What ``work`` returns; None, after a warning, from where the file fails on: a cache stops no work."""
        if not self._usable:
            return None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=_WAIT_SECONDS, isolation_level=None)) as connection:
                for statement in _OPENING:
                    connection.execute(statement)
                return work(connection)
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            self._usable = False
            told = f"the cache of vectors {str(self._path)!r} cannot be used ({error})"
            damage = sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB
            if isinstance(error, UnicodeDecodeError) or getattr(error, "sqlite_errorcode", None) in damage:
                self._path.unlink(missing_ok=True)
                told += " and was removed; the next run rebuilds it"
            warnings.warn(f"{told}; passages are embedded without it", stacklevel=2)
            return None


def _seal(key: bytes, vector: bytes) -> bytes:
    """A hash that fits only this vector under this key."""
    return hashlib.blake2b(key + vector, digest_size=8).digest()


def _drop_oldest(connection: sqlite3.Connection, at_least: int = 1) -> bool:
    """Drops some of the oldest vectors while no work is unfinished; returns whether any were dropped."""
    (count,) = connection.execute("SELECT count(*) FROM vectors").fetchone()
    dropped = connection.execute(
        # Row ids grow in the order of writing.
        "DELETE FROM vectors WHERE rowid IN (SELECT rowid FROM vectors ORDER BY rowid LIMIT ?)"
        " AND NOT EXISTS (SELECT 1 FROM unfinished WHERE latest > ?)",
        (max(at_least, int(_DROPPED_SHARE * count)), time.time() - _UNFINISHED_SECONDS),
    )
    return dropped.rowcount > 0


def _used_bytes(connection: sqlite3.Connection) -> int:
    """The size of the file without its free pages, which are filled again."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
