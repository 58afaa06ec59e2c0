"""Which documents an index holds, in which version: an SQLite file that changes in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from lorag.errors import StoreError
from lorag.files import full_disk_errors
from lorag.retrieval.filters import condition
from lorag.types import Entry, Where

_TABLES = (
    "CREATE TABLE documents (id TEXT PRIMARY KEY, version TEXT, source TEXT, chunks INTEGER) WITHOUT ROWID",
    "CREATE TABLE attributes (document TEXT, name TEXT, value TEXT, PRIMARY KEY (document, name, value)) WITHOUT ROWID",
    "CREATE INDEX attributes_by_value ON attributes (name, value)",
    "CREATE TABLE made_with (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID",
    "CREATE TABLE state (generation INTEGER)",
    # An index that replaces another one begins at another generation.
    "INSERT INTO state VALUES (abs(random() >> 1))",
)
_WAIT_SECONDS = 30.0
"""Transactions take milliseconds; whoever waits longer than this waits for something broken."""


class SqliteManifest:
    """A ``Manifest`` in a file. Every call opens it, so it may be used from any thread; raises ``StoreError``."""

    def __init__(self, path: Path) -> None:
        """``path`` is a file that ``create`` made."""
        self.path = path

    @classmethod
    def create(cls, path: Path, made_with: Mapping[str, str]) -> SqliteManifest:
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
        """See ``Manifest``: what was given to ``create``."""
        with self._transaction() as connection:
            return dict(connection.execute("SELECT key, value FROM made_with"))

    def generation(self) -> int:
        """See ``Manifest``."""
        with self._transaction() as connection:
            return int(connection.execute("SELECT generation FROM state").fetchone()[0])

    def entries(self) -> dict[str, Entry]:
        """See ``Manifest``."""
        with self._transaction() as connection:
            attributes: dict[str, list[tuple[str, str]]] = {}
            for document_id, *attribute in connection.execute("SELECT document, name, value FROM attributes"):
                attributes.setdefault(document_id, []).append((attribute[0], attribute[1]))
            rows = connection.execute("SELECT id, version, source, chunks FROM documents ORDER BY id")
            return {
                document_id: Entry(document_id, version, source, chunks, tuple(sorted(attributes[document_id])))
                for document_id, version, source, chunks in rows
            }

    def current(self, document_versions: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """See ``Manifest``."""
        with self._transaction() as connection:
            find = "SELECT 1 FROM documents WHERE id = ? AND version = ?"
            return {pair for pair in document_versions if connection.execute(find, pair).fetchone()}

    def chosen(self, where: Where) -> set[tuple[str, str]]:
        """See ``Manifest``."""
        wanted, parameters = condition(where, "SELECT document FROM attributes", "value GLOB ?", _as_glob)
        with self._transaction() as connection:
            return set(connection.execute(f"SELECT id, version FROM documents WHERE id IN ({wanted})", parameters))

    def count_chunks(self) -> int:
        """See ``Manifest``."""
        with self._transaction() as connection:
            return int(connection.execute("SELECT coalesce(sum(chunks), 0) FROM documents").fetchone()[0])

    def commit(self, entries: Sequence[Entry], removed: Iterable[str]) -> None:
        """See ``Manifest``."""
        out = [(document_id,) for document_id in (*removed, *(entry.id for entry in entries))]
        rows = [(entry.id, entry.version, entry.source, entry.chunks) for entry in entries]
        attributes = [(entry.id, *attribute) for entry in entries for attribute in entry.attributes]
        with self._transaction("IMMEDIATE") as connection:
            connection.executemany("DELETE FROM documents WHERE id = ?", out)
            connection.executemany("DELETE FROM attributes WHERE document = ?", out)
            connection.executemany("INSERT INTO documents VALUES (?, ?, ?, ?)", rows)
            connection.executemany("INSERT INTO attributes VALUES (?, ?, ?)", attributes)
            connection.execute("UPDATE state SET generation = generation + 1")

    @contextmanager
    def _transaction(self, kind: str = "DEFERRED") -> Iterator[sqlite3.Connection]:
        """One transaction, committed when the block ends well. Reading in it sees one state throughout."""
        try:
            with (
                full_disk_errors(self.path),
                closing(sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None)) as connection,
            ):
                connection.execute(f"BEGIN {kind}")
                yield connection
                connection.execute("COMMIT")  # left out by an error: closing rolls back
        except sqlite3.Error as error:
            raise StoreError(f"the manifest {str(self.path)!r} cannot be used ({error}); {_advice(error)}") from error


def _advice(error: sqlite3.Error) -> str:
    """What to do about ``error``; SQLite has one code for a quota, a failing disk and a network drive that is gone."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR:  # the low byte is the kind of error
        return (
            "the disk cannot be read or written: check its quota, its connection and its health, then run the same"
            " command again; what was finished is kept"
        )
    return "check the disk, or rebuild the index with `lorag index DOCS --rebuild`"


def _as_glob(pattern: str) -> str:
    """``pattern`` for SQLite's GLOB, in which brackets have a meaning too."""
    return pattern.replace("[", "[[]")


def require_same(what: str, found: Mapping[str, str], wanted: Mapping[str, str], rebuild: str) -> None:
    """Raises ``StoreError`` with every difference between what an index was made with and what is ``wanted``.

    ``what`` names the index, ``rebuild`` is the command that rebuilds it: with the embedder where that differs.
    """
    differences = [
        f"{key} {found.get(key, 'unknown')} instead of {wanted.get(key, 'unknown')}"
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    ]
    if differences:
        if found.get("weights") != wanted.get("weights"):
            rebuild = rebuild.replace(" --rebuild", f" --embedder {wanted.get('embedder')} --rebuild")
        raise StoreError(
            f"{what} was made with {', '.join(differences)}; choose the same again, or rebuild it with `{rebuild}`"
        )
