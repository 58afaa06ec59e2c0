"""A Ray cluster that reads files and embeds passages for an index, which this process alone writes.

Ray starts a task again where its worker ended. Vectors come into this machine's cache as they arrive, so a killed
process embeds nothing again that had come back.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from lorag import build
from lorag.documents.load import read_document_file
from lorag.documents.reader_process import Found
from lorag.errors import DataError, InputError, LoragError, ModelError, OperationError, require
from lorag.interfaces import Embedder
from lorag.settings import CacheSettings, LoadSettings

P = ParamSpec("P")
R = TypeVar("R")

_EXPECTED = (
    "start one with `ray start --head` and give its HOST:PORT, or take local; where it asks for a token, set"
    " RAY_AUTH_MODE=token"
)
_CONNECT_SECONDS = 10.0
_ALONE: dict[str, Any] = {"include_dashboard": False}
_AHEAD = 2
"""Calls in flight for each core, so that none waits for this process."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Ray cluster to which this process is connected; any thread may call."""

    cores: int

    @property
    def at_once(self) -> int:
        """How many threads keep every core busy with calls."""
        return _AHEAD * self.cores

    def call(self, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """What ``function`` returns on a core of the cluster; it raises what that raises, if that is ours.

        Raises ``OperationError`` where its worker ends time and again, or the cluster goes away.
        """
        import ray

        try:
            result: R = ray.get(_remote(function).remote(*arguments, **named))
            return result
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, LoragError) else error from None
        except ray.exceptions.RayError as error:
            told = str(error).strip().splitlines()[0]
            raise OperationError(
                f"the Ray cluster did not finish ({told}); what came back is kept: check that its machines have"
                " enough memory, and run the same command again"
            ) from error

    def read(self, path: Path, source: str, settings: LoadSettings) -> Found:
        """See ``read_document_file``. The machine that reads must see the file under the same path."""
        found = self.call(_read, path.absolute(), source, settings)
        if isinstance(found, _Problem):
            raise DataError(path, found.message, found.line)
        return found


@contextmanager
def cluster(address: str) -> Iterator[Cluster]:
    """The cluster at ``address``: ``local`` starts one on all cores here, else HOST:PORT of its head, or ``auto``.

    Raises ``InputError`` where there is none, and ``MissingExtraError``.
    """
    _require_reachable(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = require("ray", "ray", "indexing on Ray")
    with redirect_stdout(sys.stderr):  # where Ray tells of workers that ended
        try:
            ray.init(address, log_to_driver=False, logging_level="ERROR", **_ALONE if address == "local" else {})
        except (ConnectionError, ValueError) as error:
            raise InputError(f"no Ray cluster at {address} ({error}); {_EXPECTED}") from error
        try:
            yield Cluster(max(1, int(ray.cluster_resources().get("CPU", 1))))
        finally:
            ray.shutdown()


def _require_reachable(address: str) -> None:
    """Raises ``InputError`` where nobody listens; Ray itself would wait for minutes."""
    if address in ("local", "auto"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise InputError(f"{address!r} is not the address of a Ray cluster; expected local, auto or HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"no Ray cluster at {address} ({error}); {_EXPECTED}") from error


class ClusterEmbedder:
    """An ``Embedder`` whose passages are embedded on a cluster, with the same weights as here."""

    def __init__(self, here: Embedder, on: Cluster) -> None:
        """``here`` embeds questions and counts tokens."""
        self.name, self.identity, self.dim, self.max_tokens = here.name, here.identity, here.dim, here.max_tokens
        self._here, self._cluster = here, on

    def count_tokens(self, text: str) -> int:
        """See ``Embedder``."""
        return self._here.count_tokens(text)

    def embed(self, texts: Sequence[str], kind: Literal["query", "passage"]) -> NDArray[np.float32]:
        """See ``Embedder``. Raises ``ModelError`` where a machine of the cluster has other weights under the name."""
        if kind == "query":
            return self._here.embed(texts, kind)
        folder = Path(self.name).expanduser()
        name = str(folder.absolute()) if folder.is_dir() else self.name
        return self._cluster.call(_embed, name, self.identity, list(texts))


@dataclass(frozen=True, slots=True)
class _Problem:
    """What a ``DataError`` says, which Ray could not bring here itself."""

    message: str
    line: int | None


@cache
def _remote(function: Callable[..., R]) -> Any:
    """``function`` as Ray runs it: again on another worker where one ends in it."""
    import ray

    return ray.remote(num_cpus=1, max_retries=3)(function)


def _read(path: Path, source: str, settings: LoadSettings) -> Found | _Problem:
    try:
        return read_document_file(path, source, settings)
    except DataError as error:
        return _Problem(error.message, error.line)


def _embed(name: str, identity: str, texts: Sequence[str]) -> NDArray[np.float32]:
    embedder = _embedder(name)
    if embedder.identity != identity:
        raise ModelError(
            f"the embedder {name} has other weights on {socket.gethostname()} than where the command runs; fetch it"
            " there again"
        )
    return embedder.embed(texts, "passage")


@cache
def _embedder(name: str) -> Embedder:
    """The embedder of a worker, loaded once."""
    return build.embedder(name, cache=CacheSettings(max_bytes=0))
