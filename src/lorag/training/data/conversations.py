"""Training conversations, read from whatever they were written in and written in one canonical form.

There is one reading, which says of every row what it became: a conversation, or the reason why it is none. Training
takes all rows or none; ``check`` shows what was refused, ``convert`` leaves it out with a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lorag.errors import DataError, InputError
from lorag.files import dump, write_whole
from lorag.training.data.row_shapes import parse
from lorag.training.data.row_sources import DataRow, read_rows
from lorag.types import Conversation

_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one row became: a ``conversation``, or None and the ``reason``; ``line`` is where the row begins."""

    source: Path
    line: int
    conversation: Conversation | None
    reason: str = ""
    shape: str = ""
    """The shape the row was read as, such as ``messages of from/content``."""
    unread: tuple[str, ...] = ()
    """Keys of the row that mean nothing to Lorag."""

    @property
    def place(self) -> str:
        """``file:line``."""
        return f"{self.source}:{self.line}"


def read_outcomes(path: Path | str) -> list[Outcome]:
    """What every row of a file, a folder or a hub's data set became, in order.

    Raises ``DataError`` for a file that cannot be read as a whole, ``FetchError`` when the hub cannot be reached.
    """
    return [_outcome(row) for row in read_rows(Path(path))]


def _outcome(row: DataRow) -> Outcome:
    if row.problem:
        return Outcome(row.source, row.line, None, row.problem)
    try:
        parsed = parse(row.value)
    except InputError as error:
        return Outcome(row.source, row.line, None, str(error))
    return Outcome(row.source, row.line, parsed.conversation, shape=parsed.shape, unread=parsed.unread)


def read_conversations(path: Path | str) -> list[Conversation]:
    """The conversations of a file, a folder or a hub's data set, in order; every row must be one.

    Args:
        path: A JSONL file, a folder of such files, or the name of a hub's data set.

    Returns:
        One conversation for each row.

    Raises:
        DataError: With the line of the first row that is not a conversation, and the number of such rows. Also for a
            file that cannot be read as a whole.
        FetchError: The hub cannot be reached.

    Examples:
        >>> conversations = lorag.read_conversations("chat.jsonl")
        >>> conversations[0].question
        'In which city is the Korrin office?'
    """
    return require_conversations(path, read_outcomes(path))


def require_conversations(path: Path | str, outcomes: Sequence[Outcome]) -> list[Conversation]:
    """The conversations of all outcomes. Raises ``DataError`` with the first row that is none, read from ``path``."""
    refused = [outcome for outcome in outcomes if outcome.conversation is None]
    if refused:
        message = (
            f"{refused[0].reason} ({len(refused)} of {len(outcomes)} rows cannot be read: `lorag data check {path}`"
            f" shows them all, `lorag data convert {path} --out FILE.jsonl` writes the others)"
        )
        raise DataError(refused[0].source, message, refused[0].line)
    return [outcome.conversation for outcome in outcomes if outcome.conversation is not None]


def without_thoughts(conversations: Sequence[Conversation]) -> list[Conversation]:
    """The conversations without what an assistant said in ``<think>`` before its answers.

    Raises ``InputError`` where nothing else was said.
    """
    return [_without_thoughts(conversation) for conversation in conversations]


def _without_thoughts(conversation: Conversation) -> Conversation:
    said = tuple(
        replace(message, content=_THOUGHT.sub("", message.content).strip()) if message.role == "assistant" else message
        for message in conversation.messages
    )
    if not all(message.content for message in said):
        raise InputError(f"the answer to {conversation.opening!r} is only a thought; train thoughts, or add an answer")
    return replace(conversation, messages=said)


def write_conversations(path: Path, conversations: Iterable[Conversation]) -> None:
    """Writes the file whole in the canonical form: ``messages`` of ``role`` and ``content``, and ``doc_ids``;
    an answer that is not learned has ``weight`` 0.

    Of plain text: ``text`` and ``doc_ids``.
    """
    write_whole(path, "".join(dump(canonical_row(conversation)) + "\n" for conversation in conversations))


def canonical_row(conversation: Conversation) -> dict[str, object]:
    """The conversation as a row in the canonical form."""
    if conversation.is_text:
        return {"text": conversation.messages[0].content, "doc_ids": list(conversation.evidence)}
    turns = [
        {"role": m.role, "content": m.content, **({} if m.learned else {"weight": 0})} for m in conversation.messages
    ]
    return {"messages": turns, "doc_ids": list(conversation.evidence)}
