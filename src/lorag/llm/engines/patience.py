"""Requests to a server that is busy, or loses a connection, are repeated: a number of times, or for a time."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from lorag.settings import RemoteSettings

Answer = TypeVar("Answer")
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0
"""Seconds before a repetition, where the server states none: they double from the first to the longest."""
_LONGEST_STATED_WAIT = 120.0
"""Seconds of ``Retry-After`` that are waited where only the number of attempts is limited."""
_BUSY = (429, 503)
_SILENT_SECONDS = 10.0
"""After so long without an answer, the log has a line."""
_LOG = logging.getLogger("lorag.patience")


class Patience:
    """Repeats requests to one server. Safe to use from several threads."""

    def __init__(self, settings: RemoteSettings) -> None:
        """With ``settings.outage_seconds``, a busy server is given up after that time without any answer."""
        self._settings = settings
        self._answered: float | None = None
        """When the server last answered any of the requests, on ``time.monotonic``."""
        self._is_told = False
        """Whether the log has the outage that lasts."""

    def ask(self, request: Callable[[], Answer]) -> Answer:
        """What ``request`` returns. Raises its last ``openai.APIError`` where it is not repeated any more."""
        import openai

        began, attempts, counted = time.monotonic(), 0, 0
        while True:
            try:
                answer = request()
            except openai.APIError as error:
                wait, outage_seconds = _wait(error, attempts), self._settings.outage_seconds
                attempts += 1
                if outage_seconds is not None and self._is_outage(error):
                    silent = time.monotonic() - max(began, self._answered or began)
                    is_repeated = silent + wait <= outage_seconds
                    if is_repeated and silent + wait > _SILENT_SECONDS and not self._is_told:
                        self._is_told = True
                        _LOG.warning("the server is busy or lost; waiting up to %.0f seconds for it", outage_seconds)
                else:
                    counted += 1
                    is_repeated = counted <= self._settings.retries and wait <= _LONGEST_STATED_WAIT
                if not is_repeated or not _may_pass(error):
                    raise
            else:
                self._answered, self._is_told = time.monotonic(), False
                return answer
            time.sleep(wait)

    def _is_outage(self, error: Any) -> bool:
        """Whether the server is busy, or lost a connection; one that never answered may have another address."""
        import openai

        if isinstance(error, openai.APIConnectionError):
            return self._answered is not None and not isinstance(error, openai.APITimeoutError)
        return getattr(error, "status_code", None) in _BUSY


def _may_pass(error: Any) -> bool:
    """Whether another attempt may succeed."""
    import openai

    if isinstance(error, openai.APIConnectionError):
        return True
    if not isinstance(error, openai.APIStatusError) or error.code == "insufficient_quota":
        return False
    stated = error.response.headers.get("x-should-retry")
    return stated == "true" or (
        stated != "false" and (error.status_code in (408, 409, 429) or error.status_code >= 500)
    )


def _wait(error: Any, attempts: int) -> float:
    """Seconds until the next attempt: those that the server states, or longer with every attempt, up to a limit."""
    stated = _stated_wait(getattr(getattr(error, "response", None), "headers", {}))
    if stated > 0:
        return stated
    return float(min(_FIRST_WAIT * 2 ** min(attempts, 10), _LONGEST_WAIT) * random.uniform(0.75, 1.0))


def _stated_wait(headers: Any) -> float:
    """Seconds by ``Retry-After``, or by ``retry-after-ms`` of OpenAI; 0 where there is none, or nothing readable."""
    value = str(headers.get("retry-after", ""))
    try:
        return float(headers["retry-after-ms"]) / 1000 if "retry-after-ms" in headers else float(value)
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return (until - datetime.now(UTC)).total_seconds() if until.tzinfo else 0.0
