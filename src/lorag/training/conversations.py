"""Reads training conversations by role, never by position, and says what it made of every row.

Accepted, one JSON object a line: ``messages`` or ``conversations`` holding turns with ``role``/``content`` or
``from``/``value``, or ``question`` with ``answer``. Not here: Alpaca, CSV, folders, hub data sets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lorag.errors import DataError
from lorag.files import read_jsonl
from lorag.types import Conversation, Message, Role

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatbot": "assistant",
    "bot": "assistant",
}


def read_conversations(path: Path | str) -> list[Conversation]:
    """The conversations of a JSONL file, in order.

    Raises ``DataError`` with the line number for a row that is none: an unknown role, an empty turn, no question,
    or a last turn that is not the assistant's.
    """
    path = Path(path)
    conversations = [_conversation(path, number, row) for number, row in read_jsonl(path)]
    if not conversations:
        raise DataError(path, "holds no conversation; expected one JSON object a line")
    return conversations


def _conversation(path: Path, line: int, row: dict[str, Any]) -> Conversation:
    evidence = row.get("doc_ids", [])
    if not isinstance(evidence, list) or not all(isinstance(name, str) for name in evidence):
        raise DataError(path, f"doc_ids must be a list of names, found {evidence!r}", line)
    if "question" in row and "answer" in row:
        turns: Any = [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": row["answer"]}]
    else:
        turns = row.get("messages", row.get("conversations"))
    if not isinstance(turns, list) or not turns:
        raise DataError(path, f"expected messages, conversations, or question and answer; found {sorted(row)}", line)
    messages = tuple(_message(path, line, turn) for turn in turns)
    if messages[-1].role != "assistant" or all(m.role != "user" for m in messages):
        raise DataError(path, "a conversation needs a user's turn and must end with the assistant's", line)
    return Conversation(messages, tuple(evidence))


def _message(path: Path, line: int, turn: object) -> Message:
    if not isinstance(turn, dict):
        raise DataError(path, f"a turn must be an object with role and content, found {turn!r}", line)
    name, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if not isinstance(name, str) or name not in _ROLES:
        raise DataError(path, f"unknown role {name!r}; expected one of {', '.join(_ROLES)}", line)
    if not isinstance(content, str) or not content.strip():
        raise DataError(path, f"the {name}'s turn has no text", line)
    return Message(_ROLES[name], content.strip())
