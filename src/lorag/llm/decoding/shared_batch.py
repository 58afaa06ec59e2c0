"""Answers that several threads ask of one model at once, in one batch.

Whichever reader waits for a token while nobody computes has the next step made for all. An answer is decoded further
while its reader is busy with the last piece; where nobody reads, nothing is computed. One thread makes all steps of a
process: torch keeps workers, and the allocator memory, for every thread that computes (docs/log.md).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, wait

from lorag.llm.decoding.batch import Batch, Computing, Row
from lorag.llm.decoding.prefill import PASS_TOKENS
from lorag.llm.decoding.prefix_cache import PrefixCache

_COMPUTING = ThreadPoolExecutor(1, "decoding")


class SharedBatch:
    """The answers of one model that are being generated, and those that wait, first come, first served."""

    def __init__(self, most_tokens: int, kept: PrefixCache | None) -> None:
        """At most ``most_tokens``, rows times the longest, are decoded at once, but for a longer one alone.

        Prompts go on from what is ``kept``.
        """
        self._most_tokens, self._kept = most_tokens, kept
        self._changed = threading.Condition()
        self._waiting: deque[Row] = deque()
        self._left: list[Row] = []
        self._batch: Batch | None = None
        self._busy = self._just_read = False

    def steps(self, model: Computing, row: Row) -> Generator[None]:
        """A pause each time that ``row`` has said more, until it is over; raises what it failed of.

        Closed early, it takes the row out. The ``model`` is always the same.
        """
        seen = 0
        with self._changed:
            self._waiting.append(row)
        try:
            while self._says_more(model, row, seen):
                seen = len(row.said)
                yield
        finally:
            with self._changed:
                self._left.append(row)
                if not self._busy:
                    self._tidy()

    def _says_more(self, model: Computing, row: Row, seen: int) -> bool:
        """Waits until ``row`` has said more than ``seen`` tokens, or is over; takes its turn where nobody does."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._busy or len(row.said) > seen or row.over)
                if row.failure is not None:
                    raise row.failure
                if len(row.said) > seen or row.over:
                    return len(row.said) > seen
                self._busy = True
                reading = self._next_to_read()
                self._batch = batch = self._batch or Batch(model, self._kept)
            working = _COMPUTING.submit(self._turn, batch, reading)
            try:
                working.result()
            finally:
                wait([working])  # where the reader is interrupted, too
                with self._changed:
                    self._tidy()
                    self._busy = False
                    self._changed.notify_all()

    def _turn(self, batch: Batch, reading: list[Row]) -> None:
        """Reads some prompts, or makes a step; what goes wrong is left with the rows that it concerns."""
        rows = reading or list(batch.rows)
        try:
            if reading:
                batch.add(reading)
            else:
                batch.step()
        except BaseException as error:
            for row in rows:
                row.failure, row.over = error, True
            if not isinstance(error, Exception):
                raise

    def _next_to_read(self) -> list[Row]:
        """The rows whose turn it is to be read; none where the others are to make a step first."""
        rows = self._batch.rows if self._batch is not None else []
        reading: list[Row] = []
        while self._waiting and not (rows and self._just_read):
            together = [*rows, *reading, self._waiting[0]]
            too_many = len(together) * max(row.length for row in together) > self._most_tokens
            too_long = sum(len(row.ids) for row in together[len(rows) :]) > PASS_TOKENS
            if (len(together) > 1 and too_many) or (reading and too_long):
                break
            reading.append(self._waiting.popleft())
        self._just_read = bool(reading)
        return reading

    def _tidy(self) -> None:
        """Takes those out whose readers have left."""
        self._waiting = deque(row for row in self._waiting if row not in self._left)
        if self._batch is not None:
            self._batch.leave([row for row in self._batch.rows if row in self._left])
            if not self._batch.rows:
                self._batch = None
        self._left.clear()
