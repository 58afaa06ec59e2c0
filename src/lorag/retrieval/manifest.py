"""Which documents an index holds, in which version: an SQLite file that changes in one transaction.

The manifest decides what is current. A chunk in the store whose document and version are not here is a leftover, or
on its way in, and is never shown.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lorag.errors import StoreError

_TABLES = (
    "CREATE TABLE documents (id TEXT PRIMARY KEY, version TEXT, title TEXT, source TEXT, chunks INTEGER) WITHOUT ROWID",
    "CREATE TABLE made_with (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID",
    "CREATE TABLE state (generation INTEGER)",
    "INSERT INTO state VALUES (0)",
)
_WAIT_SECONDS = 30.0
"""Transactions take milliseconds; whoever waits longer than this waits for something broken."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A document of the index; ``chunks`` is how many it was cut into."""

    id: str
    version: str
    title: str
    source: str
    chunks: int


class Manifest:
    """Opens an SQLite connection for each call, so it may be used from any thread; raises ``StoreError``."""

    def __init__(self, path: Path) -> None:
        """``path`` is a file that ``create`` made."""
        self.path = path

    @classmethod
    def create(cls, path: Path, made_with: Mapping[str, str]) -> Manifest:
        """An empty manifest at ``path``, which appears only when it is complete."""
        unfinished = path.with_name(path.name + ".new")
        unfinished.unlink(missing_ok=True)
        with cls(unfinished)._transaction() as connection:
            for statement in _TABLES:
                connection.execute(statement)
            connection.executemany("INSERT INTO made_with VALUES (?, ?)", made_with.items())
        unfinished.replace(path)
        return cls(path)

    def made_with(self) -> dict[str, str]:
        """What the index was made with, as it was given to ``create``."""
        with self._transaction() as connection:
            return dict(connection.execute("SELECT key, value FROM made_with"))

    def generation(self) -> int:
        """A number that grows with every ``commit``: while it stands still, so does the manifest."""
        with self._transaction() as connection:
            return int(connection.execute("SELECT generation FROM state").fetchone()[0])

    def entries(self) -> dict[str, Entry]:
        """Every document by its id, in the order of the ids."""
        with self._transaction() as connection:
            rows = connection.execute("SELECT id, version, title, source, chunks FROM documents ORDER BY id")
            return {row[0]: Entry(*row) for row in rows}

    def current(self, document_versions: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of the ``(document_id, version)`` pairs that are in the manifest."""
        with self._transaction() as connection:
            find = "SELECT 1 FROM documents WHERE id = ? AND version = ?"
            return {pair for pair in document_versions if connection.execute(find, pair).fetchone()}

    def count_chunks(self) -> int:
        """The number of chunks of all documents."""
        with self._transaction() as connection:
            return int(connection.execute("SELECT coalesce(sum(chunks), 0) FROM documents").fetchone()[0])

    def commit(self, entries: Sequence[Entry], removed: Iterable[str]) -> None:
        """Puts the entries in, over older ones of the same ids, and takes the removed ids out: all or nothing."""
        rows = [(entry.id, entry.version, entry.title, entry.source, entry.chunks) for entry in entries]
        with self._transaction("IMMEDIATE") as connection:
            connection.executemany("DELETE FROM documents WHERE id = ?", [(document_id,) for document_id in removed])
            connection.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?)", rows)
            connection.execute("UPDATE state SET generation = generation + 1")

    @contextmanager
    def _transaction(self, kind: str = "DEFERRED") -> Iterator[sqlite3.Connection]:
        """One transaction, committed when the block ends well. Reading in it sees one state throughout."""
        try:
            with closing(sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None)) as connection:
                connection.execute(f"BEGIN {kind}")
                yield connection
                connection.execute("COMMIT")  # left out by an error: closing rolls back
        except sqlite3.Error as error:
            raise StoreError(
                f"the manifest {str(self.path)!r} cannot be used ({error}); check the disk, or rebuild the index with "
                "`lorag index DOCS --rebuild`"
            ) from error
