"""One row of training data to one conversation, or to plain text: whatever its shape, by role and never by position.

The first shape that fits is taken: turns under ``messages``, ``conversations`` or ``conversation``, or a bare list
of turns; else a pair of ``instruction`` (with ``input``) and ``output``, ``question`` and ``answer``, or ``prompt``
and ``completion`` or ``response``. A turn has ``role`` or ``from``, and ``content`` or ``value``. A row with none of
these keys may hold plain ``text``. Nothing is repaired or guessed: a row that is no conversation is refused, and keys
that are not read are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from lorag.errors import InputError, UnknownNameError
from lorag.types import Conversation, Message, Prompt, Role

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatbot": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
_ROLE_KEYS, _CONTENT_KEYS = ("role", "from"), ("content", "value")
_TURN_LISTS = ("messages", "conversations", "conversation")
_PAIRS = (("instruction", "output"), ("question", "answer"), ("prompt", "completion"), ("prompt", "response"))
_SHAPES = f"{', '.join((*_TURN_LISTS, 'text'))}, or {', '.join(f'{asked} with {said}' for asked, said in _PAIRS)}"

Turn = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A conversation or plain text, the shape of its row, and the names of the keys that were not read."""

    conversation: Conversation
    shape: str
    unread: tuple[str, ...]


def parse(row: object) -> Parsed:
    """The conversation or text of one row: a JSON value, or the cells of a table by column.

    Raises ``InputError`` with the reason when it is none: an unknown shape or role, a turn without text, a system
    turn after the first, or turns that no user takes part in or that the assistant does not end.
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
    messages = tuple(_message(turn) for turn in turns)
    _check_order(messages)
    unread = set(fields) - read - {"system", "doc_ids"}
    unread |= {f"{key} of a turn" for turn in turns for key in turn if key not in (*_ROLE_KEYS, *_CONTENT_KEYS)}
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
    for asked, said in _PAIRS:
        if asked in row and said in row and (row[asked], row[said]) != (None, None):
            question, read = _question(row, asked)
            turns = [*_history(row.get("history")), *_side("user", question), *_side("assistant", row[said])]
            return f"{asked}/{said}", turns, {*read, said, "history"}
    if {"role", "content"} <= set(row) or {"from", "value"} <= set(row):
        raise InputError("is a single turn; a row is a whole conversation: put its turns into one list")
    raise InputError(f"expected {_SHAPES}; found {sorted(row)}")


def _turn_list(key: str, value: object) -> tuple[str, list[Turn], set[str]]:
    turns = _turns(value)
    styles = {"/".join(name for name in (*_ROLE_KEYS, *_CONTENT_KEYS) if turn.get(name) is not None) for turn in turns}
    return f"{key} of {' and '.join(sorted(styles))}", turns, {key}


def _turns(value: object) -> list[Turn]:
    if not isinstance(value, list) or not value:
        raise InputError(f"expected a list of turns, found {'an empty one' if value == [] else _kind(value)}")
    for turn in value:
        if not isinstance(turn, dict):
            raise InputError(f"a turn must be an object with role and content, found {_kind(turn)}")
    return value


def _question(row: Turn, asked: str) -> tuple[object, set[str]]:
    """What a pair asks, and its keys: of Alpaca's form the instruction and, below a blank line, its input."""
    if asked != "instruction":
        return row[asked], {asked}
    given = row.get("input") or ""
    if not isinstance(row[asked], str) or not isinstance(given, str):
        raise InputError(f"instruction holds {_kind(row[asked])} and input {_kind(given)}, expected text")
    return f"{row[asked]}\n\n{given}", {asked, "input"}


def _side(role: Role, value: object) -> list[Turn]:
    """One side of a pair: a text, or a list of turns with roles of their own."""
    return _turns(value) if isinstance(value, list) else [{"role": role, "content": value}]


def _history(value: object) -> list[Turn]:
    """The turns of Alpaca's ``history``: pairs of what was asked and answered before."""
    turns: list[Turn] = []
    for pair in value if isinstance(value, list) else [value] if value else []:
        if not isinstance(pair, list) or len(pair) != 2:
            raise InputError("history must be a list of pairs [question, answer]")
        turns += [*_side("user", pair[0]), *_side("assistant", pair[1])]
    return turns


def _message(turn: Turn) -> Message:
    name, content = _first(turn, _ROLE_KEYS), _first(turn, _CONTENT_KEYS)
    if not isinstance(name, str):
        raise InputError(f"a turn needs role and content, or from and value; found {sorted(turn)}")
    role = _ROLES.get(name.strip().lower())
    if role is None:
        raise UnknownNameError("role", name, _ROLES)
    return Message(role, _text(content, f"a turn of the {role}").strip())


def _text(value: object, owner: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{owner} holds {_kind(value)}, expected text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{owner} holds half a surrogate pair; decode its text again") from error
    return value


def _first(turn: Turn, keys: Sequence[str]) -> object:
    return next((turn[key] for key in keys if turn.get(key) is not None), None)


def _check_order(messages: Prompt) -> None:
    roles = [message.role for message in messages]
    if "system" in roles[1:]:
        raise InputError("a system turn comes after the first turn; put all of the instruction into the first")
    for role in ("user", "assistant"):
        if role not in roles:
            raise InputError(f"there is no turn of the {role}; a conversation needs a question and its answer")
    if roles[-1] != "assistant":
        raise InputError("no answer follows the user's last turn; add the assistant's or take that turn out")


def _evidence(row: Turn) -> tuple[str, ...]:
    names = row.get("doc_ids") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("doc_ids must be a list of names of documents")
    return tuple(names)


def _kind(value: object) -> str:
    """How a value of the wrong kind is called in a message."""
    if isinstance(value, str):
        return "text" if value.strip() else "blank text"
    return "nothing" if value is None else type(value).__name__
