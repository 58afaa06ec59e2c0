"""What a run asks of servers: every answer on the disk as it arrives, never asked for twice, tokens within a budget."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict

from lorag.errors import BudgetError, DataError
from lorag.files import LineLog
from lorag.types import Completion


class Ledger:
    """The completions of a run by their requests. Safe to use from several threads."""

    def __init__(self, log: LineLog, max_tokens: int | None = None) -> None:
        """``max_tokens`` are those of prompts and answers together that may be in ``log``; None sets no limit.

        Raises ``DataError`` for a log that holds something else.
        """
        self._log, self._max_tokens = log, max_tokens
        self._lock = threading.Lock()
        try:
            self._known = {str(row["request"]): Completion(**row["completion"]) for row in log.rows}
        except (KeyError, TypeError) as error:
            raise DataError(log.path, "holds no answers of this version; take it out to ask again") from error
        self._spent = sum(map(_tokens, self._known.values()))
        self._on_their_way = 0

    def completion(self, request: str, at_most: int, ask: Callable[[], Completion]) -> Completion:
        """The completion of a request, which its fingerprint names: the one that is kept, or that of ``ask``, kept.

        ``at_most`` is about what it may take. Raises ``BudgetError``, before asking, where that is more than is left.
        """
        with self._lock:
            if request in self._known:
                return self._known[request]
            self._require(at_most)
            self._on_their_way += at_most
        try:
            done = ask()
        finally:
            with self._lock:
                self._on_their_way -= at_most
        with self._lock:
            self._log.append([{"request": request, "completion": asdict(done)}])
            self._known[request] = done
            self._spent += _tokens(done)
        return done

    def _require(self, at_most: int) -> None:
        most = self._max_tokens
        if most is not None and self._spent + self._on_their_way + at_most > most:
            raise BudgetError(
                f"{self._spent:,} of {most:,} tokens are spent, and the next question may take {at_most:,} more; what"
                " was answered is kept: give more with --max-cost-tokens to resume"
            )


def _tokens(done: Completion) -> int:
    return done.prompt_tokens + done.completion_tokens
