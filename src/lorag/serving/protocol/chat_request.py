"""A request for a completion of a chat, or of a text, read and checked.

A field that would change the answer and is not supported is refused by its name, for an answer that silently differs
from the one asked for is worse than none, unless its value means "as usual". Fields that are no part of the protocol
have no effect, and are named to the client.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lorag.errors import SettingError
from lorag.llm.turn_text import ROLES, joined_text, merged
from lorag.serving.http_errors import HttpError
from lorag.types import Message, Prompt, Sampling

_OWN = {
    *("model", "messages", "stream", "stream_options", "max_completion_tokens", "n", "response_format"),
    *("logprobs", "top_logprobs"),
}
_NO_EFFECT = {
    *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
    *("prediction", "reasoning_effort", "verbosity"),
}
"""Fields of the protocol that say who asks, how the request is kept, or what only other models can do."""
_AS_USUAL: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "echo": (False,),
    "suffix": ("",),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
    **dict.fromkeys(("grammar", "json_schema", "guided_json", "guided_regex", "guided_choice", "guided_grammar"), ()),
    **{"min_p": (0,), "typical_p": (1,), "mirostat": (0,), "best_of": (1,), "num_beams": (0, 1)},
}
"""Fields of the protocol, and of servers like it, that are not supported, with the values under which the answer is the
same without them."""
_CALLS = ("tool_calls", "function_call", "tool_call_id", "audio")
"""What a turn may not carry besides its text; what else clients send back with the messages that they got is unread."""
_PLAIN_NAME = re.compile(r"[\w.-]{1,40}", re.ASCII)
_MOST_IGNORED = 20
_MOST_ANSWERS = 8
_LONGEST_SCHEMA = 10_000
_MOST_STOPS, _LONGEST_STOP = 16, 200
"""Each step of an answer looks for every stop text, and for every beginning of it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to ``model`` with all that the client sends for it.

    ``instruction`` is the text of its system messages; ``samplings`` has one for each answer that is wanted;
    ``ignored`` are fields that have no effect here.
    """

    model: str
    question: str
    history: tuple[Message, ...]
    instruction: str
    samplings: tuple[Sampling, ...]
    stream: bool
    include_usage: bool
    ignored: tuple[str, ...]


def read_asked(body: bytes, usual: Mapping[str, Sampling]) -> Asked:
    """What ``body`` asks of one of the models in ``usual``, with the default sampling of each.

    Raises ``HttpError`` for whatever is wrong with it, with the name of the field.
    """
    return _asked(json_object(body), usual)


def read_text_asked(body: bytes, usual: Mapping[str, Sampling]) -> Asked:
    """The same of a request for the completion of a text, which is asked as a question is.

    There ``logprobs`` is the number of likeliest tokens, and 0 asks for those of the answer alone.
    """
    given = json_object(body)
    prompt = given.pop("prompt", None)
    (text,) = prompt if isinstance(prompt, list) and len(prompt) == 1 else (prompt,)
    if not isinstance(text, str):
        raise wrong("prompt", prompt, "one string; token ids are not supported")
    for name, instead in (("messages", "ask /v1/chat/completions"), ("top_logprobs", "give the number as logprobs")):
        if name in given:
            raise HttpError(400, f"{name} is not supported here; {instead}", name)
    if (most := _checked(given, "logprobs", *_LIKELIEST)) is not None:
        given |= {"logprobs": True, "top_logprobs": most}
    return _asked(given | {"messages": [{"role": "user", "content": text}]}, usual)


def _asked(given: Mapping[str, Any], usual: Mapping[str, Sampling]) -> Asked:
    _require_as_usual(given)
    model = served_name(given, usual)
    options = _checked(given, "stream_options", lambda value: isinstance(value, dict), "an object") or {}
    instruction, turns = _conversation(given.get("messages"))
    unknown = given.keys() - _OWN - _NO_EFFECT - _SAMPLING.keys() - _AS_USUAL.keys()
    return Asked(
        model=model,
        question=turns[-1].content,
        history=turns[:-1],
        instruction=instruction,
        samplings=_samplings(given, usual[model]),
        stream=bool(_checked(given, "stream", _is_truth, "true or false")),
        include_usage=bool(_checked(options, "include_usage", _is_truth, "true or false")),
        ignored=tuple(sorted(filter(_PLAIN_NAME.fullmatch, unknown))[:_MOST_IGNORED]),
    )


def served_name(given: Mapping[str, Any], names: Collection[str]) -> str:
    """The field ``model``. Raises ``HttpError`` unless it is one of ``names``."""
    name = given.get("model")
    if not isinstance(name, str):
        raise wrong("model", name, _either(names))
    if name not in names:
        raise not_served(name, names)
    return name


def not_served(name: str, names: Collection[str]) -> HttpError:
    """The error for a request that names another model than ``names``, which are served."""
    return HttpError(
        404, f"the model {name[:200]!r} is not served here; expected {_either(names)}", "model", "model_not_found"
    )


def _either(names: Collection[str]) -> str:
    return " or ".join(map(repr, names))


def json_object(body: bytes) -> dict[str, Any]:
    """The fields that have a value. Raises ``HttpError`` for a body that is not a JSON object of Unicode texts."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HttpError(400, f"the body is not valid JSON: {error}") from error
    if not isinstance(given, dict):
        raise HttpError(400, f"the body is a JSON {type(given).__name__}, expected an object")
    for name, value in given.items():
        try:
            json.dumps([name, value], ensure_ascii=False).encode()
        except (UnicodeEncodeError, RecursionError) as error:
            name = name.encode(errors="replace").decode()
            message = (
                f"{name} holds half a surrogate pair, which is not a character, or is nested too deep; leave it out"
            )
            raise HttpError(400, message, name) from error
    return {name: value for name, value in given.items() if value is not None}


def _require_as_usual(given: Mapping[str, Any]) -> None:
    for name in given.keys() & _AS_USUAL.keys():
        if given[name] not in _AS_USUAL[name]:
            usual = " or ".join([*map(json.dumps, _AS_USUAL[name]), "nothing"])
            raise HttpError(400, f"{name} {_shown(given[name])} is not supported; expected {usual}", name)


def _conversation(messages: object) -> tuple[str, Prompt]:
    """The text of all system messages, wherever they stand, and the other turns. Empty ones but the user's are none."""
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", messages, "a list of at least one message")
    said = [_turn(f"messages[{number}]", message) for number, message in enumerate(messages)]
    instruction, turns = merged(turn for turn in said if turn.content or turn.role == "user")
    if not turns or turns[-1].role != "user":
        raise HttpError(400, "the last message is not the user's; end with the question", "messages")
    return instruction, turns


def _turn(where: str, message: object) -> Message:
    if not isinstance(message, dict):
        raise wrong(where, message, "an object with role and content")
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise wrong(f"{where}.role", role, "'system', 'developer', 'user' or 'assistant'; tools are not supported")
    for name in _CALLS:
        if message.get(name):
            raise HttpError(400, f"{where}.{name} is not supported; leave it out", f"{where}.{name}")
    content = message.get("content")
    return Message(ROLES[role], _text(f"{where}.content", "" if content is None and role == "assistant" else content))


def _text(where: str, content: object) -> str:
    """A content that is a text, or a list of parts that are texts."""
    if (text := joined_text(content)) is None:
        raise wrong(where, content, "a string, or a list of parts of type 'text'")
    return text


def _samplings(given: Mapping[str, Any], usual: Sampling) -> tuple[Sampling, ...]:
    """One for each of ``n`` answers, with seeds that follow each other."""
    sampling = _sampling(given, usual)
    count = _checked(
        given, "n", lambda value: _is_whole(value) and 1 <= value <= _MOST_ANSWERS, f"1 to {_MOST_ANSWERS}"
    )
    if count in (None, 1):
        return (sampling,)
    if sampling.temperature == 0:
        raise HttpError(
            400, f"n {count} answers at temperature 0 would all be the same; set a temperature above 0", "n"
        )
    return tuple(replace(sampling, seed=(sampling.seed + number) % 2**63) for number in range(count))


def _sampling(given: Mapping[str, Any], usual: Sampling) -> Sampling:
    chosen = {name: _checked(given, name, *rule) for name, rule in _SAMPLING.items() if name in given}
    most = _checked(given, "max_completion_tokens", *_SAMPLING["max_tokens"])
    if most is not None and chosen.setdefault("max_tokens", most) != most:
        message = f"max_tokens {chosen['max_tokens']!r} and max_completion_tokens {most!r} differ; give one of them"
        raise HttpError(400, message, "max_tokens")
    if (schema := _schema(given.get("response_format"))) is not None:
        chosen["json_schema"] = schema
    likeliest = _checked(given, "top_logprobs", *_LIKELIEST)
    if _checked(given, "logprobs", _is_truth, "true or false"):
        chosen["logprobs"] = likeliest or 0
    elif likeliest:
        raise HttpError(400, f"top_logprobs {likeliest} needs logprobs; set it to true", "top_logprobs")
    if chosen.get("max_tokens") == _NO_LIMIT:
        del chosen["max_tokens"]
    if "stop" in chosen:
        chosen["stop"] = (chosen["stop"],) if isinstance(chosen["stop"], str) else tuple(chosen["stop"])
    if "seed" in chosen:
        chosen["seed"] %= 2**63
    try:
        return replace(usual, **chosen)
    except SettingError as error:
        raise HttpError(400, str(error), error.name) from error


def _schema(form: object) -> str | None:
    """The JSON schema that a ``response_format`` asks an answer to keep; None where any text will do."""
    match form:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return json.dumps({"type": "object"})
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            text = json.dumps(schema)
            if len(text) <= _LONGEST_SCHEMA:
                return text
    kinds = "'text', 'json_object', or 'json_schema' with a json_schema.schema"
    raise wrong("response_format", form, f"the type {kinds} of up to {_LONGEST_SCHEMA:,} characters")


def _checked(given: Mapping[str, Any], name: str, holds: Callable[[Any], bool], expected: str) -> Any:
    value = given.get(name)
    if value is not None and not holds(value):
        raise wrong(name, value, expected)
    return value


def wrong(name: str, value: object, expected: str) -> HttpError:
    """The error for a field with a ``value`` that it cannot have."""
    return HttpError(400, f"{name} {_shown(value)} is not valid; expected {expected}", name)


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) < 80 else f"{shown[:77]}..."


def _is_truth(value: object) -> bool:
    return isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63


def _is_stop(value: object) -> bool:
    texts = value if isinstance(value, list) else [value]
    return len(texts) <= _MOST_STOPS and all(isinstance(text, str) and len(text) <= _LONGEST_STOP for text in texts)


_MOST_LIKELIEST = 20
_LIKELIEST: tuple[Callable[[Any], bool], str] = (
    lambda value: _is_whole(value) and 0 <= value <= _MOST_LIKELIEST,
    f"0 to {_MOST_LIKELIEST}",
)
_NO_LIMIT = -1
"""How some clients say that an answer may be as long as the server lets it be."""
_SAMPLING: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "max_tokens": (_is_whole, "a whole number"),
    "temperature": (_is_number, "a number"),
    "top_p": (_is_number, "a number"),
    "seed": (_is_whole, "a whole number"),
    "stop": (_is_stop, f"a string or a list of up to {_MOST_STOPS} strings, each of up to {_LONGEST_STOP} characters"),
    "top_k": (_is_whole, "a whole number"),
    "repetition_penalty": (_is_number, "a number"),
}
"""What of a ``Sampling`` may be asked for; the last two go beyond the protocol."""
