"""Keys and the documents that each opens: a client never gets a passage that its key may not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorag.errors import DataError, InputError
from lorag.files import read_toml
from lorag.interfaces import Retriever
from lorag.retrieval.filters import read_where
from lorag.retrieval.knowledge import Knowledge
from lorag.serving.http_errors import HttpError
from lorag.types import Hit, Where

_SHORTEST = 16
"""Characters of a key."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a key opens: the documents that ``where`` means, or all of them, and their uploads, where it is None."""

    name: str
    where: Where | None = None


THIS_MACHINE = Access("this machine")
"""What is open to whoever asks from this machine, where no key is needed."""


def read_keys(path: Path) -> dict[str, Access]:
    """What each key of a TOML file opens. Raises ``DataError`` with the table's name; no message holds a key.

    Each table is a client: ``key`` and either ``where``, as ``Knowledge.retrieve`` takes it, or ``everything = true``.
    """
    accesses: dict[str, Access] = {}
    for name, table in read_toml(path).items():
        if not isinstance(table, dict) or table.keys() - {"key", "where", "everything"}:
            raise DataError(path, f"{name}: expected a table with key, and where or everything")
        key = table.get("key")
        if not isinstance(key, str) or len(key) < _SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
            raise DataError(path, f"{name}: the key is missing or weak; expected {_SHORTEST} ASCII characters or more")
        if key in accesses:
            raise DataError(path, f"{name}: the key is also that of {accesses[key].name}; give each client its own")
        if ("where" in table) == (table.get("everything") is True):
            raise DataError(path, f'{name}: expected either where = {{ KEY = "VALUE" }}, or everything = true')
        try:
            accesses[key] = Access(name, _where(table["where"]) if "where" in table else None)
        except InputError as error:
            raise DataError(path, f"{name}: {error}") from error
    if not accesses:
        raise DataError(path, "holds no key, so nobody could ask; add one")
    return accesses


def _where(given: object) -> Where:
    """A filter that leaves something out; ``InputError`` for any other."""
    if not isinstance(given, dict) or not given:
        raise InputError("where is empty; everything = true opens all documents")
    texts = [text for values in given.values() for text in (values if isinstance(values, list) else [values])]
    if not all(isinstance(text, str) for text in texts):
        raise InputError("where holds a value that is not a string or a list of strings; put it in quotes")
    return read_where(given)


class Permitted:
    """A ``Retriever`` over the documents of one key; where there are none, the key is refused.

    That an index holds other documents, and what these are like, is in no message.
    """

    def __init__(self, knowledge: Knowledge, access: Access) -> None:
        """Raises ``InputError``, for whoever starts the server, where ``access`` means no document now."""
        try:
            self._selection = knowledge.only(access.where or {})
        except InputError as error:
            raise InputError(f"the key of {access.name}: {error}") from error

    def retrieve(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """See ``Knowledge.retrieve``. Raises ``HttpError``, status 403, where the key opens no document."""
        try:
            return self._selection.retrieve(queries, k)
        except InputError as error:
            raise HttpError(403, "this key opens no documents") from error


def permitted(retriever: Retriever | None, accesses: Mapping[str, Access]) -> dict[str, Permitted]:
    """The retriever of each client that sees only some documents, by its name.

    Raises ``InputError`` where no whole index is searched, in which they could be chosen.
    """
    limited = [access for access in accesses.values() if access.where is not None]
    if not limited:
        return {}
    if not isinstance(retriever, Knowledge):
        raise InputError("keys with a filter need the whole index to choose from; leave out --where and --no-sources")
    return {access.name: Permitted(retriever, access) for access in limited}
