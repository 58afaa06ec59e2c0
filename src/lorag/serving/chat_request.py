"""A request for a chat completion, read and checked.

What is not understood is refused by its name, for an answer that silently differs from the one asked for is worse than
none. Accepted without effect is what changes no answer: who asks, how the request is kept, and the values of other
fields that mean "as usual".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lorag.errors import InputError
from lorag.serving.http_errors import HttpError
from lorag.types import Message, Sampling

_NO_EFFECT = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
_AS_USUAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "modalities": (["text"],),
}
"""Fields of the protocol that are not supported, with the values under which the answer is the same without them."""
_OF_A_TURN = {"name", "refusal", "annotations", "sources"}
"""What a turn may carry besides its text: clients send back the messages that they got."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with all that the client sends for it; ``instruction`` is the text of its system message."""

    question: str
    history: tuple[Message, ...]
    instruction: str
    sampling: Sampling
    stream: bool
    include_usage: bool


def read_asked(body: bytes, model: str, usual: Sampling) -> Asked:
    """What ``body`` asks of ``model``; what it does not say of the sampling is as in ``usual``.

    Raises ``HttpError`` for whatever is wrong with it, with the name of the field.
    """
    given = _object(body)
    _require_known(given)
    if not isinstance(given.get("model"), str):
        raise _wrong("model", given.get("model"), f"a text; the model served is {model!r}")
    if given["model"] != model:
        message = f"the model {given['model']!r} is not served here; expected {model!r}"
        raise HttpError(404, message, "model", "model_not_found")
    options = _checked(given, "stream_options", lambda value: isinstance(value, dict), "an object") or {}
    for name in options.keys() - {"include_usage", "include_obfuscation"}:
        raise HttpError(400, f"stream_options.{name} is not supported; leave it out", "stream_options")
    instruction, turns = _conversation(given.get("messages"))
    return Asked(
        question=turns[-1].content,
        history=tuple(turns[:-1]),
        instruction=instruction,
        sampling=_sampling(given, usual),
        stream=bool(_checked(given, "stream", lambda value: isinstance(value, bool), "true or false")),
        include_usage=options.get("include_usage") is True,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HttpError(400, f"the body is no JSON: {error}") from error
    if not isinstance(given, dict):
        raise HttpError(400, f"the body is a JSON {type(given).__name__}, expected an object")
    return {name: value for name, value in given.items() if value is not None}


def _require_known(given: Mapping[str, Any]) -> None:
    own = {"model", "messages", "stream", "stream_options", "max_completion_tokens", *_SAMPLING}
    for name in given.keys() - own - _NO_EFFECT:
        if name not in _AS_USUAL:
            raise HttpError(400, f"the field {name!r} is not supported; leave it out", name)
        if given[name] not in _AS_USUAL[name]:
            usual = " or ".join(json.dumps(value) for value in _AS_USUAL[name])
            raise HttpError(400, f"{name} {given[name]!r} is not supported; expected {usual}, or nothing", name)


def _conversation(messages: object) -> tuple[str, list[Message]]:
    """The system message's text, empty without one, and the turns after it."""
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", messages, "a list of at least one message")
    turns = [_turn(f"messages[{number}]", message) for number, message in enumerate(messages)]
    instruction = turns.pop(0).content if turns[0].role == "system" else ""
    for number, turn in enumerate(turns, start=len(messages) - len(turns)):
        if turn.role == "system":
            raise _wrong(f"messages[{number}].role", turn.role, "'user' or 'assistant' after the first message")
    if not turns or turns[-1].role != "user":
        raise HttpError(400, "the last message is not the user's; end with the question", "messages")
    return instruction, turns


def _turn(where: str, message: object) -> Message:
    if not isinstance(message, dict):
        raise _wrong(where, message, "an object with role and content")
    role = message.get("role")
    if role not in ("system", "user", "assistant"):
        raise _wrong(f"{where}.role", role, "'system', 'user' or 'assistant'")
    for name in message.keys() - {"role", "content"} - _OF_A_TURN:
        if message[name]:
            raise HttpError(400, f"{where}.{name} is not supported; leave it out", f"{where}.{name}")
    return Message(role, _text(f"{where}.content", message.get("content")))


def _text(where: str, content: object) -> str:
    """A content that is a text, or a list of parts that are texts."""
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = []
    for part in parts:
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
        if not isinstance(text, str):
            raise _wrong(where, content, "a text, or a list of parts of the type 'text'")
        texts.append(text)
    joined = "".join(texts)
    if any("\ud800" <= character <= "\udfff" for character in joined):
        raise HttpError(400, f"{where} holds half a surrogate pair, which is no character; leave it out", where)
    return joined


def _sampling(given: Mapping[str, Any], usual: Sampling) -> Sampling:
    chosen = {name: _checked(given, name, *rule) for name, rule in _SAMPLING.items() if name in given}
    if isinstance(chosen.get("stop"), str):
        chosen["stop"] = [chosen["stop"]]
    if "stop" in chosen:
        chosen["stop"] = tuple(chosen["stop"])
    most = _checked(given, "max_completion_tokens", *_SAMPLING["max_tokens"])
    if most is not None and chosen.setdefault("max_tokens", most) != most:
        message = f"max_tokens {chosen['max_tokens']!r} and max_completion_tokens {most!r} differ; give one of them"
        raise HttpError(400, message, "max_tokens")
    try:
        return replace(usual, **chosen)
    except InputError as error:
        raise HttpError(400, str(error), str(error).split()[0]) from error


def _checked(given: Mapping[str, Any], name: str, holds: Callable[[Any], bool], expected: str) -> Any:
    value = given.get(name)
    if value is not None and not holds(value):
        raise _wrong(name, value, expected)
    return value


def _wrong(name: str, value: object, expected: str) -> HttpError:
    shown = repr(value)
    return HttpError(
        400, f"{name} {shown if len(shown) < 80 else shown[:77] + '...'} is not valid; expected {expected}", name
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63


def _is_stop(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(text, str) for text in value))


_SAMPLING: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "max_tokens": (_is_whole, "a whole number"),
    "temperature": (_is_number, "a number"),
    "top_p": (_is_number, "a number"),
    "seed": (_is_whole, "a whole number"),
    "stop": (_is_stop, "a text or a list of texts"),
    "top_k": (_is_whole, "a whole number"),
    "repetition_penalty": (_is_number, "a number"),
}
"""What of a ``Sampling`` may be asked for; the last two go beyond the protocol."""
