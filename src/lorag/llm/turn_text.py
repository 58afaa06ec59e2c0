"""Who speaks in a turn of a conversation and what, and the turns of all speakers in the order that templates take.

Rows to train on and requests to the server are read by these functions, so that one conversation is one prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby

from lorag.types import Message, Prompt, Role

ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""The roles of OpenAI's protocol. ``developer`` is its later name of the system."""
_TEXT_PARTS = ("text", "refusal")


def joined_text(content: object) -> str | None:
    """The text of a content: itself, or its parts that are texts, each on lines of its own, as vLLM joins them.

    None where it is something else: no text, an empty list, or a list with other parts, such as images.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        return None
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get(kind) if isinstance(kind, str) and kind in _TEXT_PARTS else None
        if not isinstance(text, str):
            return None
        texts.append(text)
    return "\n".join(texts)


def merged(turns: Iterable[Message]) -> tuple[str, Prompt]:
    """The text of all system turns, wherever they stand, and the other turns, neighbours of one role as one.

    Many chat templates take a system's turn only at the beginning, and others only by turns.
    """
    turns = list(turns)
    instruction = "\n\n".join(turn.content.strip() for turn in turns if turn.role == "system" and turn.content.strip())
    return instruction, neighbours_joined(turn for turn in turns if turn.role != "system")


def neighbours_joined(turns: Iterable[Message]) -> Prompt:
    """The turns, neighbours of one role as one with a blank line between their texts; learned where all of them are."""
    joined: list[Message] = []
    for role, said in groupby(turns, key=lambda turn: turn.role):
        first, *others = said
        text = "\n\n".join(turn.content.strip() for turn in (first, *others))
        joined.append(Message(role, text, all(turn.learned for turn in (first, *others))) if others else first)
    return tuple(joined)
