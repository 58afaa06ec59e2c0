"""The earlier turns of a conversation: as many whole ones as there is room for, and a file that keeps them all.

A history file is one line of training data in the ``messages`` shape, written whole after every answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from lorag.errors import DataError
from lorag.files import dump, read_text, write_whole
from lorag.types import Message

Exchange = tuple[Message, ...]
"""A question and what was said until the next one."""
AROUND_A_TURN = 4
"""Tokens that a chat template puts around a turn, about; so the number of empty turns is bounded too."""
_MOST_CHARACTERS = 16
"""Of a token, on the average of a text; a text with more of them is too long without a count, which takes seconds."""


def exchanges(history: Sequence[Message]) -> list[Exchange]:
    """The history cut before every question, oldest first."""
    starts = sorted({0, *(place for place, message in enumerate(history) if message.role == "user")})
    return [tuple(history[start:end]) for start, end in pairwise([*starts, len(history)]) if start < end]


def fitting_exchanges(history: Sequence[Message], count_tokens: Callable[[str], int], room: int) -> list[Exchange]:
    """The newest exchanges that fit into ``room`` tokens whole; the oldest go first, and are not even counted."""
    kept: list[Exchange] = []
    for exchange in reversed(exchanges(history)):
        if any(is_too_long(message.content, room) for message in exchange):
            break
        room -= sum(count_tokens(message.content) + AROUND_A_TURN for message in exchange)
        if room < 0:
            break
        kept.append(exchange)
    return kept[::-1]


def is_too_long(text: str, room: int) -> bool:
    """Whether a text is surely more than ``room`` tokens, by its length alone."""
    return len(text) > _MOST_CHARACTERS * max(room, 0)


def read_history(path: Path) -> list[Message]:
    """The turns kept in ``path``, none when there is no such file. Raises ``DataError`` for a file of another kind."""
    if not path.exists():
        return []
    try:
        turns = [Message(turn["role"], turn["content"]) for turn in json.loads(read_text(path))["messages"]]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(path, "is not a history of `lorag chat`; choose another file with --history") from error
    if any(turn.role not in ("user", "assistant") or not isinstance(turn.content, str) for turn in turns):
        raise DataError(
            path, "holds turns with roles other than user and assistant; choose another file with --history"
        )
    return turns


def write_history(path: Path, history: Sequence[Message]) -> None:
    """Replaces the contents of ``path`` with all turns."""
    turns = [{"role": message.role, "content": message.content} for message in history]
    write_whole(path, dump({"messages": turns}) + "\n")
