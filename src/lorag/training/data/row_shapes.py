"""One row of training data to one conversation, or to plain text: whatever its shape, by role and never by position.

The first shape that fits is taken: turns under ``messages``, ``conversations`` or ``conversation``, or a bare list
of turns; else a pair of ``instruction`` (with ``input``) and ``output``, ``question`` and ``answer``, or ``prompt``
and ``completion`` or ``response``; else plain ``text``; else turns under ``chat`` or ``dialogue``, or a pair of
``input`` and ``output`` or ``query`` and ``response``. A list of turns may be JSON text, and may hold pairs instead. A
turn has ``role`` or ``from``, and ``content`` or ``value``; an answer of ``weight`` 0 is read and not learned, one that
is a number is its text. Tools become text: their
descriptions stand below the system's text, a call is what the assistant says, and what a tool returns is a turn of the
user, in the marks that open models share. Nothing is repaired or guessed: a row that is no conversation is refused, and
keys that are not read are named.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

from lorag.errors import InputError, UnknownNameError
from lorag.llm.turn_text import ROLES, joined_text, merged
from lorag.types import Conversation, Message, Prompt, Role

_ROLES: dict[str, Role] = {
    **ROLES,
    "human": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatbot": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "function_call": "assistant",
    "tool": "user",
    "function": "user",
    "ipython": "user",
    "observation": "user",
}
_TOOL_ROLES = ("tool", "function", "ipython", "observation")
_WEIGHTS = ("weight", "train")
"""Keys by which an answer is learned or only read."""
_CALLS = ("tool_calls", "function_call")
_ROLE_KEYS, _CONTENT_KEYS = ("role", "from"), ("content", "value")
_TURN_LISTS = ("messages", "conversations", "conversation")
_PAIRS = (("instruction", "output"), ("question", "answer"), ("prompt", "completion"), ("prompt", "response"))
_RARE_TURN_LISTS, _RARE_PAIRS = ("chat", "dialogue"), (("input", "output"), ("query", "response"))
"""What is read only where none of the above is: other data sets use these names for something else."""
_LISTS = (*_TURN_LISTS, *_RARE_TURN_LISTS, "text")
_SHAPES = f"{', '.join(_LISTS)}, or {', '.join(f'{asked} with {said}' for asked, said in (*_PAIRS, *_RARE_PAIRS))}"

Turn = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A conversation or plain text, the shape of its row, and the names of the keys that were not read."""

    conversation: Conversation
    shape: str
    unread: tuple[str, ...]


def parse(row: object) -> Parsed:
    """The conversation or text of one row: a JSON value, or the cells of a table by column.

    Raises ``InputError`` with the reason when it is none: an unknown shape or role, a turn without text, or turns that
    no user takes part in or that the assistant does not end.
    """
    if isinstance(row, list):
        fields: Turn = {}
        shape, turns, read = _turn_list("list", row)
    elif isinstance(row, dict) and _is_text(row):
        text = Message("text", _text(row["text"], "a row of plain text"))
        return Parsed(Conversation((text,), _evidence(row)), "text", tuple(sorted(set(row) - {"text", "doc_ids"})))
    elif isinstance(row, dict):
        fields = row
        shape, turns, read = _shape(row)
    else:
        raise InputError(f"expected an object or a list of turns, found {_kind(row)}")
    if fields.get("system"):
        turns = [{"role": "system", "content": fields["system"]}, *turns]
    turns = [turn for turn in turns if not _is_blank_system(turn)]
    tools = _decoded(fields.get("tools"))
    if tools:
        turns = [*turns, {"role": "system", "content": _described(tools)}]
    if tools or any(_uses_tools(turn) for turn in turns):
        shape = f"{shape} with tools"
    messages = _in_order(_one_turn_for_all_tools(turns))
    unread = set(fields) - read - {"system", "doc_ids", "tools"}
    known = {*_ROLE_KEYS, *_CONTENT_KEYS, *_CALLS, "tool_call_id", "name"}
    for turn in turns:
        weights = _WEIGHTS if _ROLES[_speaker(turn)] == "assistant" else ()
        unread |= {f"{key} of a turn" for key in turn.keys() - known - {*weights}}
    return Parsed(Conversation(messages, _evidence(fields)), shape, tuple(sorted(unread)))


def _is_text(row: Turn) -> bool:
    """Whether a row holds plain text and nothing of a conversation. A null key counts as missing."""
    spoken = (*_TURN_LISTS, *_ROLE_KEYS, *chain.from_iterable(_PAIRS))
    return row.get("text") is not None and all(row.get(key) is None for key in spoken)


def _shape(row: Turn) -> tuple[str, list[Turn], set[str]]:
    """The name of a row's shape, its turns, and the keys they were read from. A null key counts as missing."""
    for key in _TURN_LISTS:
        if row.get(key) is not None:
            return _turn_list(key, row[key])
    if (pair := _pair(row, _PAIRS)) is not None:
        return pair
    for key in _RARE_TURN_LISTS:
        if isinstance(_decoded(row.get(key)), list):
            return _turn_list(key, row[key])
    if (pair := _pair(row, _RARE_PAIRS)) is not None:
        return pair
    if {"role", "content"} <= set(row) or {"from", "value"} <= set(row):
        raise InputError("is a single turn; a row is a whole conversation: put its turns into one list")
    raise InputError(f"expected {_SHAPES}; found {sorted(row)}")


def _pair(row: Turn, pairs: Sequence[tuple[str, str]]) -> tuple[str, list[Turn], set[str]] | None:
    """A row as the first of these pairs that it has, as ``_shape`` returns it."""
    for asked, said in pairs:
        if asked in row and said in row and (row[asked], row[said]) != (None, None):
            question, read = _question(row, asked)
            turns = [*_history(row.get("history")), *_side("user", question), *_side("assistant", row[said])]
            return f"{asked}/{said}", turns, {*read, said, "history"}
    return None


def _turn_list(key: str, value: object) -> tuple[str, list[Turn], set[str]]:
    value = _decoded(value)
    if isinstance(value, list) and value and all(map(_is_pair, value)):
        names = [name.strip() for name, _ in value]
        known = [name.lower() in _ROLES for name in names]
        if all(known):
            return f"{key} of [role, content]", [{"role": name, "content": said} for name, said in value], {key}
        if any(known) or (len(names) > 1 and not any(" " in name for name in names)):
            said = "[role, content] with known roles, or [question, answer]"
            raise InputError(f"{key} holds pairs that begin with {', '.join(dict.fromkeys(names))}; expected {said}")
        return f"{key} of [question, answer]", _history(value), {key}
    turns = _turns(value)
    styles = {"/".join(name for name in (*_ROLE_KEYS, *_CONTENT_KEYS) if turn.get(name) is not None) for turn in turns}
    return f"{key} of {' and '.join(sorted(styles))}", turns, {key}


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _turns(value: object) -> list[Turn]:
    if not isinstance(value, list) or not value:
        raise InputError(f"expected a list of turns, found {'an empty one' if value == [] else _kind(value)}")
    for turn in value:
        if not isinstance(turn, dict):
            raise InputError(f"a turn must be an object with role and content, found {_kind(turn)}")
    return [_with_role(turn) for turn in value]


def _with_role(turn: Turn) -> Turn:
    """A turn of LangChain, which has its role under ``type`` and its content maybe under ``data``, as all others."""
    if "type" not in turn or _first(turn, _ROLE_KEYS) is not None:
        return turn
    data = turn.get("data")
    said = data if isinstance(data, dict) else turn
    return {"role": turn["type"], **{key: value for key, value in said.items() if key != "type"}}


def _question(row: Turn, asked: str) -> tuple[object, set[str]]:
    """What a pair asks, and its keys: of Alpaca's form the instruction and, below a blank line, its input."""
    if asked != "instruction":
        return row[asked], {asked}
    given = row.get("input") or ""
    if not isinstance(row[asked], str) or not isinstance(given, str):
        raise InputError(f"instruction holds {_kind(row[asked])} and input {_kind(given)}, expected text")
    return f"{row[asked]}\n\n{given}", {asked, "input"}


def _side(role: Role, value: object) -> list[Turn]:
    """One side of a pair: a text, a list of turns with roles of their own, or an answer that is a number."""
    if role == "assistant" and (type(value) is int or (type(value) is float and math.isfinite(value))):
        value = _line(value)
    return _turns(value) if isinstance(value, list) else [{"role": role, "content": value}]


def _history(value: object) -> list[Turn]:
    """The turns of Alpaca's ``history``: pairs of what was asked and answered before."""
    turns: list[Turn] = []
    for pair in value if isinstance(value, list) else [value] if value else []:
        if not isinstance(pair, list) or len(pair) != 2:
            raise InputError("history must be a list of pairs [question, answer]")
        turns += [*_side("user", pair[0]), *_side("assistant", pair[1])]
    return turns


def _speaker(turn: Turn) -> str:
    return str(_first(turn, _ROLE_KEYS)).strip().lower()


def _is_blank_system(turn: Turn) -> bool:
    content = _first(turn, _CONTENT_KEYS)
    is_blank = content is None or (isinstance(content, str) and not content.strip())
    return is_blank and _ROLES.get(_speaker(turn)) == "system"


def _uses_tools(turn: Turn) -> bool:
    return _speaker(turn) in (*_TOOL_ROLES, "function_call") or any(turn.get(key) for key in _CALLS)


def _decoded(value: object) -> object:
    """A value as it is, or, of JSON text, what it holds."""
    with suppress(ValueError, RecursionError):
        return json.loads(value) if isinstance(value, str) else value
    return value


def _described(tools: object) -> str:
    """The descriptions of tools as a text of the system's."""
    described = tools if isinstance(tools, str) else "\n".join(_line(tool) for tool in _listed(tools))
    return f"Tools that may be called:\n<tools>\n{described}\n</tools>"


def _calls(turn: Turn) -> str:
    """What an assistant calls, as text: a mark around each call's name and arguments."""
    found = _listed(turn.get("tool_calls") or ([turn["function_call"]] if turn.get("function_call") else []))
    calls = [call.get("function", call) if isinstance(call, dict) else call for call in found]
    lines = []
    for call in calls:
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            raise InputError(f"a call of a tool needs a name, found {_line(call)}")
        arguments = call.get("arguments", call.get("args", {}))
        said = arguments if isinstance(arguments, str) else _line(arguments)
        lines.append(f'<tool_call>\n{{"name": {_line(call["name"])}, "arguments": {said}}}\n</tool_call>')
    return "\n".join(lines)


def _listed(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"tools and their calls must be lists, found {_kind(value)}")
    return value


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _one_turn_for_all_tools(turns: list[Turn]) -> Prompt:
    """The turns as messages; what several tools return to one call is one turn, as templates render it."""
    messages: list[Message] = []
    for turn, before in zip(turns, [{}, *turns], strict=False):
        message = _message(turn)
        if all(_speaker(each) in _TOOL_ROLES for each in (turn, before)):
            message = Message("user", f"{messages.pop().content}\n{message.content}")
        messages.append(message)
    return tuple(messages)


def _message(turn: Turn) -> Message:
    name, content = _first(turn, _ROLE_KEYS), _joined(_first(turn, _CONTENT_KEYS))
    if not isinstance(name, str):
        raise InputError(f"a turn needs role and content, or from and value; found {sorted(turn)}")
    speaker = _speaker(turn)
    role = _ROLES.get(speaker)
    if role is None:
        raise UnknownNameError("role", name, _ROLES)
    if speaker == "function_call":
        content = f"<tool_call>\n{_text(content, 'a call of a tool').strip()}\n</tool_call>"
    elif speaker in _TOOL_ROLES:
        content = f"<tool_response>\n{_text(content, 'a turn of a tool').strip()}\n</tool_response>"
    elif role == "assistant" and (calls := _calls(turn)):
        content = calls if content in (None, "") else f"{content}\n{calls}"
    return Message(role, _text(content, f"a turn of the {role}").strip(), role != "assistant" or _is_learned(turn))


def _is_learned(turn: Turn) -> bool:
    for key in _WEIGHTS:
        if turn.get(key) not in (None, 0, 1):
            raise InputError(f"{key} of a turn is {_line(turn[key])}, expected 0 (only read) or 1 (learned)")
    return all(turn.get(key) in (None, 1) for key in _WEIGHTS)


def _text(value: object, owner: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{owner} holds {_kind(value)}, expected text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{owner} holds half a surrogate pair; decode its text again") from error
    return value


def _joined(content: object) -> object:
    """Content that is a list of nothing but text parts, as its text; everything else as it is."""
    text = joined_text(content)
    return content if text is None else text


def _first(turn: Turn, keys: Sequence[str]) -> object:
    return next((turn[key] for key in keys if turn.get(key) is not None), None)


def _in_order(said: Prompt) -> Prompt:
    """The turns as a conversation with the server has them. Raises ``InputError`` where it lacks a side."""
    spoken = [message for message in said if message.role != "system"]
    if any(a.role == b.role and a.learned != b.learned for a, b in pairwise(spoken)):
        raise InputError("consecutive answers have different weights; give them the same weight, or merge them")
    instruction, turns = merged(said)
    roles = [message.role for message in turns]
    for role in ("user", "assistant"):
        if role not in roles:
            raise InputError(f"there is no turn of the {role}; a conversation needs a question and its answer")
    if not any(message.learned for message in turns if message.role == "assistant"):
        raise InputError("every answer has weight 0; give one of them weight 1, or leave the row out")
    if roles[-1] != "assistant":
        raise InputError("no answer follows the user's last turn; add the assistant's or remove that turn")
    return (Message("system", instruction), *turns) if instruction else turns


def _evidence(row: Turn) -> tuple[str, ...]:
    names = row.get("doc_ids") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("doc_ids must be a list of document ids")
    return tuple(names)


def _kind(value: object) -> str:
    """How a value of the wrong kind is called in a message."""
    if isinstance(value, str):
        return "text" if value.strip() else "blank text"
    return "nothing" if value is None else type(value).__name__
