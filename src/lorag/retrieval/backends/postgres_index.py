"""An index in a PostgreSQL database: chunks, vectors and manifest in one schema, changed in one transaction.

So there are no leftovers: a killed ``sync`` leaves exactly what was there before. What it had embedded is in the cache
of vectors. Writers take turns by an advisory lock of the transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lorag.errors import StoreError
from lorag.retrieval.backends.postgres_database import Database, rebuild_command
from lorag.retrieval.backends.postgres_store import PostgresStore, digest, loaded, storable
from lorag.retrieval.backends.sqlite_manifest import require_same
from lorag.retrieval.filters import condition
from lorag.types import Entry, Where

_WAIT_SECONDS = 60.0
"""How long a second writer waits for the first."""
_PGVECTOR = (0, 8)
"""The first version that continues the search where deleted rows leave too few."""


@dataclass(frozen=True, slots=True)
class PostgresIndex:
    """An ``Index`` in a database. Any number of processes may read while one writes."""

    database: Database
    store: PostgresStore
    manifest: PostgresManifest

    @classmethod
    def open(cls, database: Database, made_with: Mapping[str, str], dim: int, exact_up_to: int) -> PostgresIndex:
        """The index in ``database``, made when missing.

        Raises ``StoreError`` when it was made with something else than ``made_with``, when the server has no pgvector,
        or cannot be reached.
        """
        manifest, store = PostgresManifest(database), PostgresStore(database, dim, exact_up_to)
        if not database_holds_index(database):
            with _only_writer(database):
                if not database_holds_index(database):  # two processes may have found it missing
                    _make_vectors_known(database)
                    store.create()
                    manifest.create(made_with)
        require_same(f"the index in {database}", manifest.made_with(), made_with, rebuild_command(database))
        return cls(database, store, manifest)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """See ``Index``. All that is written in the block is one transaction."""
        with _only_writer(self.database):
            yield

    def __str__(self) -> str:
        """The database, without its password."""
        return f"the index in {self.database}"


class PostgresManifest:
    """A ``Manifest`` in a database."""

    def __init__(self, database: Database) -> None:
        """Over the tables that ``create`` makes."""
        self._database, self._schema = database, database.schema

    def create(self, made_with: Mapping[str, str]) -> None:
        """Makes the tables, empty."""
        s = self._schema
        with self._database.transaction():
            self._database.run(
                f"CREATE TABLE {s}.documents (key uuid PRIMARY KEY, id text NOT NULL, version text NOT NULL,"
                " source text NOT NULL, chunks integer NOT NULL)",
                f"CREATE TABLE {s}.attributes (document uuid REFERENCES {s}.documents ON DELETE CASCADE,"
                " name text NOT NULL, value text NOT NULL)",
                f"CREATE INDEX ON {s}.attributes (document)",
                f"CREATE INDEX ON {s}.attributes USING hash (name)",
                f"CREATE TABLE {s}.made_with (key text PRIMARY KEY, value text NOT NULL)",
                f"CREATE TABLE {s}.state (generation bigint NOT NULL)",
                # An index that replaces another one begins at another generation.
                f"INSERT INTO {s}.state SELECT 1000000 * extract(epoch FROM clock_timestamp())",
            )
            self._database.run_each(f"INSERT INTO {s}.made_with VALUES (%s, %s)", list(made_with.items()))

    def made_with(self) -> dict[str, str]:
        """See ``Manifest``."""
        return dict(self._database.rows(f"SELECT key, value FROM {self._schema}.made_with"))

    def generation(self) -> int:
        """See ``Manifest``."""
        return int(self._database.rows(f"SELECT generation FROM {self._schema}.state")[0][0])

    def entries(self) -> dict[str, Entry]:
        """See ``Manifest``."""
        rows = self._database.rows(
            "SELECT id, version, source, chunks, array_agg(name), array_agg(value)"
            f" FROM {self._schema}.documents JOIN {self._schema}.attributes ON document = key GROUP BY key"
        )
        entries = [
            Entry(
                loaded(document_id),
                version,
                loaded(source),
                chunks,
                tuple(sorted(zip(map(loaded, names), map(loaded, values), strict=True))),
            )
            for document_id, version, source, chunks, names, values in rows
        ]
        return {entry.id: entry for entry in sorted(entries, key=lambda entry: entry.id)}

    def current(self, document_versions: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """See ``Manifest``."""
        asked = {digest(*pair): pair for pair in document_versions}
        found = self._database.rows(f"SELECT key FROM {self._schema}.documents WHERE key = ANY(%s)", list(asked))
        return {asked[key] for (key,) in found}

    def chosen(self, where: Where) -> set[tuple[str, str]]:
        """See ``Manifest``."""
        s = self._schema
        wanted, parameters = condition(where, f"SELECT document FROM {s}.attributes", "value LIKE %s", _as_like)
        rows = self._database.rows(f"SELECT id, version FROM {s}.documents WHERE key IN ({wanted})", *parameters)
        return {(loaded(document_id), version) for document_id, version in rows}

    def count_chunks(self) -> int:
        """See ``Manifest``."""
        return int(self._database.rows(f"SELECT coalesce(sum(chunks), 0) FROM {self._schema}.documents")[0][0])

    def commit(self, entries: Sequence[Entry], removed: Iterable[str]) -> None:
        """See ``Manifest``."""
        s, out = self._schema, [storable(document_id) for document_id in (*removed, *(entry.id for entry in entries))]
        keys = [digest(entry.id, entry.version) for entry in entries]
        rows = [
            (key, storable(entry.id), entry.version, storable(entry.source), entry.chunks)
            for key, entry in zip(keys, entries, strict=True)
        ]
        attributes = [
            (key, *map(storable, attribute))
            for key, entry in zip(keys, entries, strict=True)
            for attribute in entry.attributes
        ]
        with self._database.transaction():
            self._database.run(f"DELETE FROM {s}.documents WHERE id = ANY(%s)", parameters=[out])
            self._database.run_each(f"INSERT INTO {s}.documents VALUES (%s, %s, %s, %s, %s)", rows)
            self._database.run_each(f"INSERT INTO {s}.attributes VALUES (%s, %s, %s)", attributes)
            self._database.run(f"UPDATE {s}.state SET generation = generation + 1")


def _as_like(pattern: str) -> str:
    """``pattern`` for the server's LIKE, as its texts are stored."""
    signs = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_", "*": "%", "?": "_"})
    return storable(pattern.translate(signs))


def database_holds_index(database: Database) -> bool:
    """Whether there is an index."""
    return bool(database.rows("SELECT to_regclass(%s) IS NOT NULL", f"{database.schema}.made_with")[0][0])


@contextmanager
def replaced_database(database: Database) -> Iterator[Database]:
    """A schema beside the index in ``database`` that takes its place when the block ends well.

    All of it is one transaction: a killed one leaves nothing. It keeps other writers out, and readers only at its end.
    """
    fresh = database.beside(f"{database.schema}_new")
    with _only_writer(database):
        yield fresh
        database.run(
            f"DROP SCHEMA IF EXISTS {database.schema} CASCADE",
            f"ALTER SCHEMA {fresh.schema} RENAME TO {database.schema}",
        )


@contextmanager
def _only_writer(database: Database) -> Iterator[None]:
    """A transaction that has the index to itself for writing."""
    with database.transaction():
        database.take_turn(_WAIT_SECONDS)
        yield


def _make_vectors_known(database: Database) -> None:
    """Makes pgvector part of the database. Raises ``StoreError`` with what to install when the server has none."""
    query = "SELECT coalesce(installed_version, default_version) FROM pg_available_extensions WHERE name = 'vector'"
    rows = database.rows(query)
    if not rows:
        raise StoreError(
            f"the server of {database} has no pgvector; install it there (on Debian and Ubuntu the package "
            "postgresql-VERSION-pgvector)"
        )
    (version,) = rows[0]
    if tuple(map(int, version.split(".")[:2])) < _PGVECTOR:
        raise StoreError(
            f"{database} has pgvector {version}, expected 0.8 or newer; install it on the server and run "
            "ALTER EXTENSION vector UPDATE"
        )
    database.run("CREATE EXTENSION IF NOT EXISTS vector")
