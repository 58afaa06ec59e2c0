"""An answer as OpenAI's objects: whole or as a stream, with its sources, which go beyond the protocol."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from lorag.types import Answer


@dataclass(frozen=True, slots=True)
class Completing:
    """One answer of ``model`` on its way: what all its objects have in common."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The answer in one object."""
        message = {"role": "assistant", "content": answer.text, "refusal": None, "sources": _sources(answer)}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
        return {**self._common("chat.completion"), "choices": [choice], "usage": _usage(answer)}

    def chunk(self, delta: dict[str, Any], finish: str | None = None) -> str:
        """The event of one piece."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**self._common("chat.completion.chunk"), "choices": [choice]})

    def last(self, answer: Answer, include_usage: bool) -> str:
        """The events after the last piece: how it ended, its sources, its usage where asked for, and the end."""
        ended = self.chunk({"sources": _sources(answer)}, _finish(answer))
        usage = {**self._common("chat.completion.chunk"), "choices": [], "usage": _usage(answer)}
        return f"{ended}{event(usage) if include_usage else ''}data: [DONE]\n\n"

    def _common(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def event(value: object) -> str:
    """A server-sent event that carries ``value`` as JSON."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _sources(answer: Answer) -> list[dict[str, Any]]:
    return [hit.cited() for hit in answer.sources]


def _finish(answer: Answer) -> str:
    return "length" if answer.truncated else "stop"


def _usage(answer: Answer) -> dict[str, int]:
    spent, said = answer.usage.prompt_tokens, answer.usage.completion_tokens
    return {"prompt_tokens": spent, "completion_tokens": said, "total_tokens": spent + said}
