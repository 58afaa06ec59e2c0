"""A PostgreSQL database: rows to read, a transaction to write in, errors that say what to do.

The password of a URL appears in no name and no message.
"""

from __future__ import annotations

import re
import struct
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lorag.errors import InputError, OperationError, StorageError, StoreError, require

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.adapt import Dumper

Rows = list[tuple[Any, ...]]

SCHEMA = "lorag"
"""The schema that holds an index; a database holds one."""
_DEFAULTS: dict[str, Any] = {"connect_timeout": 10}
"""What a URL may say otherwise: the seconds that a server may take to answer at all."""
_UNLIMITED = ("idle_in_transaction_session_timeout", "statement_timeout")
"""Limits of a server that a long ``sync`` would break: it embeds in its transaction, and may build an index."""


def is_url(place: str) -> bool:
    """Whether ``place`` is the URL of a PostgreSQL database."""
    return place.startswith(("postgresql://", "postgres://"))


class Database:
    """A schema of a database. Reads go through one connection, a transaction has its own; any thread may call.

    What a thread reads inside its own transaction it reads in that transaction. Methods raise ``StoreError`` when the
    server cannot be reached, refuses, or goes away.
    """

    def __init__(self, url: str, schema: str = SCHEMA) -> None:
        """Connects at the first use. Raises ``InputError`` for a URL that is none, ``MissingExtraError``."""
        psycopg = require("psycopg", "postgres", "an index in PostgreSQL")
        self.schema = schema
        try:
            self._parts = psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.Error:  # its message repeats the URL, and with it the password
            self._parts = {}
        # A sign in a password that is written as it is may have become part of another name.
        host, port, name = (str(self._parts.get(key, "")) for key in ("host", "port", "dbname"))
        if not self._parts or "@" in host + name or not re.fullmatch(r"[\d,]*", port):
            raise InputError(
                "the database URL cannot be read; expected postgresql://USER@HOST:PORT/DATABASE, where @ or / in a user"
                " or password is written %40 or %2F"
            )
        self._reading: Connection[Any] | None = None
        self._lock = threading.Lock()
        self._own = threading.local()

    def __str__(self) -> str:
        """The URL without its password."""
        user, host, port, name = (str(self._parts.get(key) or "") for key in ("user", "host", "port", "dbname"))
        server, socket = ("", f"?host={host}") if host.startswith("/") else (f"{host}{port and ':'}{port}", "")
        return f"postgresql://{user}{user and '@'}{server}/{name}{socket}"

    def rows(self, statement: str, *parameters: object, local: Mapping[str, str] = MappingProxyType({})) -> Rows:
        """The rows of a statement that only reads, with ``local`` settings of the server.

        It is asked again, on a new connection, where the old one was lost between two calls.
        """
        import psycopg

        def select(connection: Connection[Any]) -> Rows:
            with connection.transaction():
                for name, value in local.items():
                    connection.execute("SELECT set_config(%s, %s, true)", (name, value))
                return connection.execute(statement.encode(), parameters).fetchall()

        with self._errors():
            if self._transaction is not None:
                return select(self._transaction)
            with self._lock:
                used = self._reading
                if used is not None and not used.closed:
                    try:
                        return select(used)
                    except psycopg.OperationalError:
                        if not used.closed:
                            raise
                self._reading = connection = self._connect()
                weakref.finalize(self, connection.close)
                return select(connection)

    def run(self, *statements: str, parameters: Sequence[object] = ()) -> None:
        """Runs statements that write, in this thread's transaction or one of their own."""
        with self.transaction() as connection:
            for statement in statements:
                connection.execute(statement.encode(), parameters)

    def run_each(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Runs one statement with each of ``rows`` as its parameters, without waiting in between."""
        with self.transaction() as connection, connection.cursor() as cursor:
            cursor.executemany(statement.encode(), rows)

    @contextmanager
    def transaction(self) -> Iterator[Connection[Any]]:
        """A transaction, committed when the block ends well; inside one of the same thread, that one."""
        if self._transaction is not None:
            yield self._transaction
            return
        with self._errors(), self._connect() as connection, connection.transaction():
            for name in _UNLIMITED:
                connection.execute("SELECT set_config(%s, '0', true)", (name,))
            self._own.transaction = connection
            try:
                yield connection
            finally:
                self._own.transaction = None

    def take_turn(self, seconds: float) -> None:
        """Has the schema to itself for writing until the transaction ends.

        Raises ``StoreError`` when another one keeps it for longer than ``seconds``.
        """
        from psycopg.errors import LockNotAvailable

        with self.transaction() as connection:
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (f"{seconds}s",))
            try:
                connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"lorag/{self.schema}",))
            except LockNotAvailable as error:
                raise StoreError(
                    f"another process has been writing to {self} for {seconds:.0f} seconds; let it finish"
                ) from error
            connection.execute("SELECT set_config('lock_timeout', '0', true)")

    def beside(self, schema: str) -> Database:
        """Another schema of the same database; in a transaction of this one, it is in the same."""
        other = copy(self)
        other.schema = schema
        return other

    @property
    def _transaction(self) -> Connection[Any] | None:
        """The connection of this thread's transaction, when it is in one."""
        connection: Connection[Any] | None = getattr(self._own, "transaction", None)
        return connection

    def _connect(self) -> Connection[Any]:
        import psycopg

        try:
            # Prepared statements would tie a session to one server behind a pooler.
            connection = psycopg.connect(**_DEFAULTS | self._parts, autocommit=True, prepare_threshold=None)
        except psycopg.OperationalError as error:
            raise StoreError(
                f"{self} cannot be reached ({self._told(error)}); check that the server runs and that host, user and "
                "password are right (PGPASSWORD or a .pgpass file keep a password out of the command line)"
            ) from error
        connection.adapters.register_dumper(np.ndarray, _array_dumper())
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns what the library raises into what to do."""
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> OperationError:
        from psycopg import OperationalError, errors

        told = self._told(error)
        if isinstance(error, errors.DiskFull):
            return StorageError(f"the disk of {self} is full ({told}); nothing of this change is kept: free some space")
        if isinstance(error, errors.InsufficientPrivilege):
            return StoreError(f"{self} refuses ({told}); give the user CREATE on the database")
        if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName):
            return StoreError(f"the index in {self} is gone ({told}); make it with `{rebuild_command(self)}`")
        if isinstance(error, OperationalError):
            return StoreError(
                f"the connection to {self} was lost ({told}); nothing of this change is kept: check that the server"
                " runs, and run the same command again"
            )
        return StoreError(f"the index in {self} cannot be used ({told}); rebuild it with `{rebuild_command(self)}`")

    def _told(self, error: Exception) -> str:
        """The first line of what the server said, without the password."""
        told, password = (str(error).strip() or type(error).__name__).splitlines()[0], self._parts.get("password")
        return told.replace(str(password), "***") if password else told


def rebuild_command(database: Database) -> str:
    """The command that rebuilds the index, without the password."""
    return f"lorag index DOCS --store {database} --rebuild"


def _array_dumper() -> type[Dumper]:
    """How a row of float32 is sent as ``real[]``, in the server's binary form: number by number would take longer."""
    from psycopg.abc import Buffer
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    real, real_array = 700, 1021  # the numbers of these types in every server

    class ArrayDumper(Dumper):
        format, oid = Format.BINARY, real_array

        def dump(self, obj: NDArray[np.float32]) -> Buffer:
            head = struct.pack(">5i", 1, 0, real, len(obj), 1)  # dimensions, nulls, type, length, first index
            numbers = np.empty(len(obj), dtype=[("bytes", ">i4"), ("value", ">f4")])
            numbers["bytes"], numbers["value"] = 4, obj
            return head + numbers.tobytes()

    return ArrayDumper
