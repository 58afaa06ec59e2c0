"""Conversations held out to measure what was learned: other wordings of what is taught, or else other documents.

A fact is learned when a question in other words finds it. So where the data asks one thing in several wordings, one
wording of some is held out. Where it does not, whole documents are, and the loss on them shows style, not facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lorag.files import draw
from lorag.settings import FinetuneSettings
from lorag.types import Conversation

_TELLING_WORDS = 4
"""Equal answers shorter than this are taken for chance where no documents are named."""
Kind = Literal["wordings", "documents", "none"]


@dataclass(frozen=True, slots=True)
class Split:
    """Conversations to learn and conversations held out, together all of them; ``kind`` says what holds them apart."""

    learned: tuple[Conversation, ...]
    held_out: tuple[Conversation, ...]
    kind: Kind


def split(conversations: Sequence[Conversation], settings: FinetuneSettings) -> Split:
    """About ``held_out_share`` of the conversations held out, chosen by hashes of their texts and the seed."""
    if settings.held_out_share == 0:
        return Split(tuple(conversations), (), "none")
    wordings = _other_wordings(conversations, settings)
    if wordings:
        return _parted(conversations, wordings, "wordings")
    documents = {i for i, c in enumerate(conversations) if _draw(c.origin, settings) < settings.held_out_share}
    if len(documents) == len(conversations):
        return Split(tuple(conversations), (), "none")
    return _parted(conversations, documents, "documents" if documents else "none")


def _other_wordings(conversations: Sequence[Conversation], settings: FinetuneSettings) -> set[int]:
    """Places of conversations that teach what another one teaches, to another question; at most one of each fact."""
    groups: dict[str, dict[str, int]] = {}
    for i, conversation in enumerate(conversations):
        groups.setdefault(taught(conversation), {})[conversation.question] = i
    several = {fact: wordings for fact, wordings in groups.items() if fact and len(wordings) > 1}
    if not several:
        return set()
    share = settings.held_out_share * len(conversations) / len(several)
    return {
        wordings[min(wordings, key=lambda question: _draw(question, settings))]
        for fact, wordings in several.items()
        if _draw(fact, settings) < share
    }


def taught(conversation: Conversation) -> str:
    """The answer and the documents it is from; the empty string where a short answer alone says too little.

    It is empty for plain text, which answers nothing.
    """
    if conversation.is_text:
        return ""
    answer = conversation.messages[-1].content
    if not conversation.evidence and len(answer.split()) < _TELLING_WORDS:
        return ""
    return "\n".join((*conversation.evidence, answer))


def _parted(conversations: Sequence[Conversation], held: set[int], kind: Kind) -> Split:
    learned = tuple(c for i, c in enumerate(conversations) if i not in held)
    return Split(learned, tuple(c for i, c in enumerate(conversations) if i in held), kind)


def _draw(text: str, settings: FinetuneSettings) -> float:
    """A number from 0 up to 1, another one for each seed."""
    return draw(f"{settings.seed}:{text}")
