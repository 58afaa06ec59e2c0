"""An application of Lorag that really listens, in a thread of the test's own process, and a wait for what it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from lorag.serving.server import listen, server


@contextmanager
def listening(app: FastAPI, key: str | None = None) -> Iterator[int]:
    """The port on which ``app`` answers until the context ends."""
    opened = listen("127.0.0.1", 0, key)
    running = server(app)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    try:
        yield opened.getsockname()[1]
    finally:
        running.should_exit = True
        thread.join(10)
        opened.close()


def wait_for(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Returns as soon as ``holds`` is true; raises ``AssertionError`` where it never is."""
    for _ in range(round(100 * seconds)):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")
