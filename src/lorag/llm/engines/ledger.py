"""What a run asks of models: every answer on the disk as it arrives, never asked for twice, tokens within a budget."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict

from lorag.errors import BudgetError, DataError
from lorag.files import LineLog
from lorag.types import Completion, json_fields


class Ledger:
    """The completions of a run by their requests. Safe to use from several threads."""

    def __init__(self, log: LineLog, max_tokens: int | None = None, earlier: LineLog | None = None) -> None:
        """``max_tokens`` are those of prompts and answers together that may be asked for; None sets no limit.

        ``log`` is the run's own. What is in that of an ``earlier`` run is taken from there, at no tokens. Raises
        ``DataError`` for a log that holds something else.
        """
        self._log, self._max_tokens = log, max_tokens
        self._lock = threading.Lock()
        self._earlier = _completions(earlier) if earlier is not None else {}
        self._known = _completions(log)
        taken = {str(row["request"]) for row in log.rows if row.get("taken")}
        self._spent = sum(_tokens(done) for request, done in self._known.items() if request not in taken)
        self._on_their_way = 0

    def completion(self, request: str, at_most: int, ask: Callable[[], Completion]) -> Completion:
        """The completion of a request, which its fingerprint names: the one that is kept, or that of ``ask``, kept.

        ``at_most`` is about what it may take. Raises ``BudgetError``, before asking, where that is more than is left.
        """
        if (kept := self.kept(request)) is not None:
            return kept
        with self._lock:
            self._require(at_most)
            self._on_their_way += at_most
        try:
            done = ask()
        finally:
            with self._lock:
                self._on_their_way -= at_most
        self.keep({request: done})
        return done

    def kept(self, request: str) -> Completion | None:
        """The completion of a request that was answered in this run, or in the earlier one and is now in both."""
        with self._lock:
            if request not in self._known and request in self._earlier:
                self._known[request] = done = self._earlier[request]
                self._log.append([{"request": request, "completion": _recorded(done), "taken": True}])
            return self._known.get(request)

    def keep(self, answered: Mapping[str, Completion]) -> None:
        """Keeps completions by their requests."""
        with self._lock:
            self._log.append([{"request": name, "completion": _recorded(done)} for name, done in answered.items()])
            self._known.update(answered)
            self._spent += sum(map(_tokens, answered.values()))

    def _require(self, at_most: int) -> None:
        most = self._max_tokens
        if most is not None and self._spent + self._on_their_way + at_most > most:
            raise BudgetError(
                f"{self._spent:,} of {most:,} tokens are spent, and the next question may take {at_most:,} more;"
                " the answers so far are kept: raise --max-cost-tokens to resume"
            )


def _recorded(done: Completion) -> dict[str, object]:
    return asdict(done, dict_factory=json_fields)


def _completions(log: LineLog) -> dict[str, Completion]:
    try:
        return {str(row["request"]): Completion(**row["completion"]) for row in log.rows}
    except (KeyError, TypeError) as error:
        raise DataError(log.path, "holds answers of another version; delete it to ask again") from error


def _tokens(done: Completion) -> int:
    return done.prompt_tokens + done.completion_tokens
