"""An answer as OpenAI's objects: whole or as a stream, with its sources, which go beyond the protocol."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, ClassVar

from lorag.types import Answer


@dataclass(frozen=True, slots=True)
class Completing:
    """The answers of ``model`` to one request: what all their objects have in common."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    whole_kind: ClassVar[str] = "chat.completion"
    part_kind: ClassVar[str] = "chat.completion.chunk"

    def whole(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """The answers in one object, each a choice."""
        choices = [self._choice(number, answer) for number, answer in enumerate(answers)]
        return {**self._common(self.whole_kind), "choices": choices, "usage": _usage(answers)}

    def chunk(
        self, number: int, delta: dict[str, Any], finish: str | None = None, logprobs: dict[str, Any] | None = None
    ) -> str:
        """The event of one piece of the choice of that ``number``."""
        choice = {"index": number, **self._delta(delta), "logprobs": logprobs, "finish_reason": finish}
        return event({**self._common(self.part_kind), "choices": [choice]})

    def ended(self, number: int, answer: Answer) -> str:
        """The event after the last piece of a choice: how it ended, its sources, and all its log probabilities."""
        return self.chunk(number, {"sources": _sources(answer)}, _finish(answer), self._logprobs(answer))

    def last(self, answers: Sequence[Answer], include_usage: bool) -> str:
        """The events after all choices: their usage where asked for, and the end."""
        usage = {**self._common(self.part_kind), "choices": [], "usage": _usage(answers)}
        return f"{event(usage) if include_usage else ''}data: [DONE]\n\n"

    def _common(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _choice(self, number: int, answer: Answer) -> dict[str, Any]:
        said = {"message": _message(answer), "logprobs": self._logprobs(answer)}
        return {"index": number, **said, "finish_reason": _finish(answer)}

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"delta": delta}

    def _logprobs(self, answer: Answer) -> dict[str, Any] | None:
        if not answer.logprobs:
            return None
        content = [
            {**_token(said.text, said.logprob), "top_logprobs": [_token(*each) for each in said.likeliest]}
            for said in answer.logprobs
        ]
        return {"content": content, "refusal": None}


class TextCompleting(Completing):
    """The same as objects of the older protocol, in which a choice is a text."""

    whole_kind = part_kind = "text_completion"

    def _choice(self, number: int, answer: Answer) -> dict[str, Any]:
        said = {"text": answer.text, "sources": _sources(answer), "logprobs": self._logprobs(answer)}
        return {"index": number, **said, "finish_reason": _finish(answer)}

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"text": delta.get("content", "")} | {name: delta[name] for name in delta.keys() & {"sources"}}

    def _logprobs(self, answer: Answer) -> dict[str, Any] | None:
        if not (told := answer.logprobs):
            return None
        return {
            "tokens": [said.text for said in told],
            "token_logprobs": [said.logprob for said in told],
            "top_logprobs": [dict(said.likeliest) for said in told],
            "text_offset": list(accumulate((len(said.text) for said in told[:-1]), initial=0)),
        }


def event(value: object) -> str:
    """A server-sent event that carries ``value`` as JSON."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _token(text: str, logprob: float) -> dict[str, Any]:
    """A token as the protocol has it; of a part of a character the bytes are not known."""
    return {"token": text, "logprob": logprob, "bytes": None if "\ufffd" in text else list(text.encode())}


def _sources(answer: Answer) -> list[dict[str, Any]]:
    return [hit.cited() for hit in answer.sources]


def _finish(answer: Answer) -> str:
    return "length" if answer.truncated else "stop"


def _message(answer: Answer) -> dict[str, Any]:
    return {"role": "assistant", "content": answer.text, "refusal": None, "sources": _sources(answer)}


def _usage(answers: Sequence[Answer]) -> dict[str, int]:
    """The tokens of the prompt, which all answers share, and those of all answers."""
    spent, said = answers[0].usage.prompt_tokens, sum(answer.usage.completion_tokens for answer in answers)
    return {"prompt_tokens": spent, "completion_tokens": said, "total_tokens": spent + said}
