"""Answers take turns: a few at once, a few more wait, and each has its time.

An answer is made by a thread, a piece at a time. A thread cannot be stopped from outside: when the time is up, or the
client has gone, the thread comes to the end of its piece, and only then is its place free again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from lorag.chat.bot import Reply
from lorag.serving.http_errors import HttpError
from lorag.settings import ServeSettings

T = TypeVar("T")


class Turns:
    """The places of one server."""

    def __init__(self, settings: ServeSettings) -> None:
        """``settings`` say how many answers are made at once, how many wait, and how long each may take."""
        self.settings = settings
        self.pool = ThreadPoolExecutor(settings.max_answers, "answer")
        self._places = asyncio.Semaphore(settings.max_answers)
        self._asked = 0

    async def take(self) -> Turn:
        """A place, once it is free. Raises ``HttpError`` when too many wait already, or when the time is up before."""
        if self._asked >= self.settings.max_answers + self.settings.max_waiting:
            raise HttpError(
                429,
                f"too many requests: {self._asked} are being answered or waiting; ask again later",
                code="queue_full",
            )
        self._asked += 1
        ends = asyncio.get_running_loop().time() + self.settings.max_seconds
        try:
            async with asyncio.timeout_at(ends):
                await self._places.acquire()
        except BaseException as error:
            self._asked -= 1
            if isinstance(error, TimeoutError):
                raise self.too_late() from error
            raise
        return Turn(self, ends)

    def gauges(self) -> dict[str, int]:
        """How many answers are being made, and how many requests wait, for ``prometheus``."""
        waiting = max(0, self._asked - self.settings.max_answers)
        return {
            "lorag_answers_running": self._asked - waiting,
            "lorag_requests_waiting": waiting,
            "lorag_requests_waiting_limit": self.settings.max_waiting,
        }

    def give_back(self) -> None:
        """Frees a place."""
        self._asked -= 1
        self._places.release()

    def too_late(self) -> HttpError:
        """What a client is told whose time is up."""
        seconds = f"{self.settings.max_seconds:g} seconds"
        return HttpError(504, f"no complete answer within {seconds}; ask again, or lower max_tokens", code="timeout")


class Turn:
    """One place, until ``end``."""

    def __init__(self, turns: Turns, ends: float) -> None:
        """``ends`` is a time of the running loop."""
        self._turns, self._ends = turns, ends
        self._loop = asyncio.get_running_loop()
        self._working: asyncio.Future[Any] | None = None
        self._close: Callable[[], None] = lambda: None
        self.said: dict[Reply, list[str]] = {}
        """The pieces so far of every reply that was begun."""

    async def do(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, done by a thread. Raises ``HttpError`` when the time is up; the thread works on."""
        working = self._loop.run_in_executor(self._turns.pool, work)
        self._working = working
        done, _ = await asyncio.wait({working}, timeout=self._ends - self._loop.time())
        if not done:
            raise self._turns.too_late()
        return working.result()

    async def pieces(self, reply: Reply) -> AsyncGenerator[str]:
        """The pieces of ``reply`` as they come."""
        pieces = iter(reply)
        self._close = pieces.close
        said = self.said.setdefault(reply, [])
        while (piece := await self.do(lambda: next(pieces, None))) is not None:
            said.append(piece)
            yield piece

    def end(self) -> None:
        """Frees the engine and the place, at once or when the thread is at the end of its piece."""
        if self._working is None or self._working.done():
            self._free(self._working)
        else:
            self._working.add_done_callback(self._free)

    def _free(self, worked: asyncio.Future[Any] | None) -> None:
        if worked is not None and not worked.cancelled():
            worked.exception()  # of an answer that nobody waits for
        try:
            self._close()
        finally:
            self._turns.give_back()
