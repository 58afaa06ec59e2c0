"""A Ray cluster to which this process is connected. Ray starts work again where its worker ended."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache
from typing import Any, ParamSpec, TypeVar

from lorag.errors import InputError, LoragError, OperationError, require

P = ParamSpec("P")
R = TypeVar("R")

_EXPECTED = (
    "start one with `ray start --head`, run this on one of its machines and give HOST:PORT of its head, or take local;"
    " where it asks for a token, set RAY_AUTH_MODE=token"
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
        result: R = self.results(_remote(function).remote(*arguments, **named))
        return result

    def results(self, work: Any) -> Any:
        """The result of work on the cluster once it is done, or of each of a list; raises as ``call`` does."""
        import ray

        try:
            return ray.get(work)
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, LoragError) else error from None
        except ray.exceptions.RayError as error:
            told = str(error).strip().splitlines()
            reason = told[-1 if getattr(error, "actor_init_failed", False) else 0]
            raise OperationError(
                f"the Ray cluster did not finish ({reason}); what was recorded is kept: check that its machines have"
                " enough memory, and run the same command again"
            ) from error


@contextmanager
def cluster(address: str) -> Iterator[Cluster]:
    """The cluster at ``address``: ``local`` starts one on all cores here, else HOST:PORT of its head, or ``auto``.

    Raises ``InputError`` where there is none, and ``MissingExtraError``.
    """
    _require_reachable(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = require("ray", "ray", "a Ray cluster")
    with redirect_stdout(sys.stderr):  # where Ray tells of workers that ended
        try:
            ray.init(address, log_to_driver=False, logging_level="ERROR", **_ALONE if address == "local" else {})
        except (ConnectionError, RuntimeError, ValueError) as error:
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


@cache
def _remote(function: Callable[..., R]) -> Any:
    """``function`` as Ray runs it: again on another worker where one ends in it."""
    import ray

    return ray.remote(num_cpus=1, max_retries=3)(function)
