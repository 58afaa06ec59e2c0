"""The earlier turns of a conversation: as many whole ones as there is room for, and a file that keeps them all.

A history file is one line of training data in the ``messages`` shape, written whole after every answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from lorag.errors import DataError
from lorag.files import dump, read_text, write_whole
from lorag.types import Message

Exchange = tuple[Message, ...]
"""A question and what was said until the next one."""


def exchanges(history: Sequence[Message]) -> list[Exchange]:
    """The history cut before every question, oldest first."""
    found: list[Exchange] = []
    for message in history:
        if message.role == "user" or not found:
            found.append(())
        found[-1] = (*found[-1], message)
    return found


def fitting_exchanges(history: Sequence[Message], count_tokens: Callable[[str], int], room: int) -> list[Exchange]:
    """The newest exchanges that fit into ``room`` tokens whole; the oldest go first."""
    kept: list[Exchange] = []
    for exchange in reversed(exchanges(history)):
        room -= sum(count_tokens(message.content) for message in exchange)
        if room < 0:
            break
        kept.insert(0, exchange)
    return kept


def read_history(path: Path) -> list[Message]:
    """The turns kept in ``path``, none when there is no such file. Raises ``DataError`` for a file of another kind."""
    if not path.exists():
        return []
    try:
        turns = [Message(turn["role"], turn["content"]) for turn in json.loads(read_text(path))["messages"]]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(path, "is no history of `lorag chat`; choose another file with --history") from error
    if any(turn.role not in ("user", "assistant") or not isinstance(turn.content, str) for turn in turns):
        raise DataError(path, "holds turns that are neither the user's nor the assistant's; choose another file")
    return turns


def write_history(path: Path, history: Sequence[Message]) -> None:
    """Puts all turns in the place of what ``path`` held."""
    turns = [{"role": message.role, "content": message.content} for message in history]
    write_whole(path, dump({"messages": turns}) + "\n")
