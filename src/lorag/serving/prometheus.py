"""What the server has done so far, as Prometheus reads it: requests, tokens, seconds and their parts, and the queue.

Of questions and answers nothing is kept but their lengths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lorag.types import Answer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[tuple[str, str], ...]
_HELP = {
    "lorag_requests_total": ("counter", "Requests by route and status."),
    "lorag_answers_total": ("counter", "Answers by model and how they ended."),
    "lorag_tokens_total": ("counter", "Tokens of prompts and of answers."),
    "lorag_seconds_total": ("counter", "Seconds of answers: waiting, search, until the first token, and after it."),
    "lorag_answers_running": ("gauge", "Answers that are being made."),
    "lorag_requests_waiting": ("gauge", "Requests that wait for their turn."),
    "lorag_requests_waiting_limit": ("gauge", "Requests that may wait; further ones get status 429."),
}


@dataclass(frozen=True, slots=True)
class Measures:
    """Counts that only grow; changed by the server's loop alone."""

    counts: defaultdict[tuple[str, Labels], float] = field(default_factory=lambda: defaultdict(float))

    def request(self, route: str, status: int) -> None:
        """Counts a request."""
        self._add("lorag_requests_total", 1, route=route, status=str(status))

    def waited(self, model: str, seconds: float) -> None:
        """Counts the time until it was a request's turn."""
        self._add("lorag_seconds_total", seconds, model=model, part="wait")

    def answer(self, model: str, answer: Answer) -> None:
        """Counts a whole answer."""
        usage = answer.usage
        ended = "refused" if answer.refused else "length" if answer.truncated else "stop"
        self._add("lorag_answers_total", 1, model=model, ended=ended)
        self.tokens(model, "prompt", usage.prompt_tokens)
        self.tokens(model, "completion", usage.completion_tokens)
        for part, seconds in (
            ("search", usage.retrieve_seconds),
            ("prefill", usage.prefill_seconds),
            ("decode", usage.decode_seconds),
        ):
            self._add("lorag_seconds_total", seconds, model=model, part=part)

    def unfinished(self, model: str, tokens: int) -> None:
        """Counts an answer that ended early, after so many ``tokens``; those of its prompt are not known."""
        self._add("lorag_answers_total", 1, model=model, ended="unfinished")
        self.tokens(model, "completion", tokens)

    def tokens(self, model: str, kind: Literal["prompt", "completion"], count: int) -> None:
        """Counts tokens that were read or written."""
        self._add("lorag_tokens_total", count, model=model, kind=kind)

    def text(self, gauges: Mapping[str, int]) -> str:
        """All of it in Prometheus' text format, with what the ``gauges`` show now."""
        lines: dict[str, list[str]] = {}
        for (name, labels), value in sorted([*self.counts.items(), *(((name, ()), n) for name, n in gauges.items())]):
            shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
            lines.setdefault(name, []).append(f"{name}{{{shown}}} {value}" if labels else f"{name} {value}")
        return "".join(
            f"# HELP {name} {_HELP[name][1]}\n# TYPE {name} {_HELP[name][0]}\n" + "\n".join(each) + "\n"
            for name, each in lines.items()
        )

    def _add(self, name: str, value: float, **labels: str) -> None:
        self.counts[name, tuple(labels.items())] += value


class Counted:
    """Counts the requests to ``app`` by the routes that it has and the statuses that it answers with."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        """``measures`` is where they are counted."""
        self._app, self._measures = app, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything on; a request whose handler breaks off is one with status 500."""
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            if scope["type"] == "http":
                route = scope.get("route")
                self._measures.request(getattr(route, "path", "other"), status)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
