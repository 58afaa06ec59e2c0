"""The listening side: where the service may be reached, and the loop that runs it."""

from __future__ import annotations

import ipaddress
import signal
import socket
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from lorag.errors import InputError

_SECONDS_TO_FINISH = 8
"""Seconds that unfinished answers have when the server is asked to stop; containers are killed after ten."""


def listen(host: str, port: int, key: str | None) -> socket.socket:
    """A socket that listens on ``host`` and ``port`` (0: any free one).

    Raises ``InputError`` for an address that others can reach while there is no key, and for one that is not to be had.
    """
    if key is not None and (not key.strip() or not key.isascii()):
        raise InputError("the key is blank, or not all ASCII; set LORAG_API_KEY to a long random string")
    if key is None and not _is_loopback(host):
        raise InputError(f"host {host!r} can be reached by others; set LORAG_API_KEY first, or serve 127.0.0.1 alone")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"cannot listen on {host} port {port}: {error}; choose others with --host and --port"
        ) from error


def server(app: FastAPI) -> uvicorn.Server:
    """What runs ``app``: without a log of accesses, and with one of failures."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
    )
    return uvicorn.Server(config)


def run(app: FastAPI, listening: socket.socket) -> None:
    """Serves until interrupted or terminated: it then takes no more requests, and unfinished answers may end."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        server(app).run(sockets=[listening])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
