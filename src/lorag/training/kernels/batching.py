"""Rows to batches: rendered by the model's template, like lengths together, under a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from lorag.errors import InputError
from lorag.llm.rendering import Rendered, render
from lorag.types import Conversation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class RenderedRows:
    """Rendered rows and how many conversations were left out because they are longer than the limit."""

    kept: tuple[Rendered, ...]
    too_long: int

    @property
    def tokens(self) -> int:
        """Tokens of all kept rows, without padding."""
        return sum(len(row.ids) for row in self.kept)

    @property
    def supervised_tokens(self) -> int:
        """Tokens of all kept rows that carry loss."""
        return sum(sum(row.supervised) for row in self.kept)


def rows(tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Conversation], max_tokens: int) -> RenderedRows:
    """Everything rendered; conversations over ``max_tokens`` are left out whole, never cut, and counted.

    Plain text is cut into windows. Raises ``InputError`` when nothing is left.
    """
    rendered = [render(tokenizer, conversation.messages, reply=False) for conversation in conversations]
    whole = [row for row in rendered if row.is_text or len(row.ids) <= max_tokens]
    kept = tuple(chain.from_iterable(_windows(row, max_tokens) if row.is_text else (row,) for row in whole))
    if rendered and not kept:
        raise InputError(
            f"every conversation is longer than max_tokens={max_tokens}, and no text has two tokens; raise it or"
            " shorten them"
        )
    return RenderedRows(kept, len(rendered) - len(whole))


def _windows(text: Rendered, max_tokens: int) -> list[Rendered]:
    """Plain text in consecutive rows of at most ``max_tokens`` tokens, at least 2; none for a text of one token.

    Each begins with the last token of the one before, so that every token but the first is learned once.
    """
    starts = range(0, len(text.ids) - 1, max_tokens - 1)
    return [Rendered(text.ids[i : i + max_tokens], text.supervised[: len(text.ids) - i][:max_tokens]) for i in starts]


def batches(kept: Sequence[Rendered], batch_tokens: int, batch_rows: int | None = None) -> list[tuple[Rendered, ...]]:
    """The rows in batches of like length, each of at most ``batch_tokens`` distinct tokens (one row at least).

    ``batch_rows`` bounds the rows of a batch besides.
    Distinct means that what all conversations begin with counts once a batch.
    """
    shared = _shared_tokens([row for row in kept if not row.is_text])
    groups: list[list[Rendered]] = []
    room = 0
    for row in sorted(kept, key=lambda row: (len(row.ids), row.ids)):
        own = len(row.ids) - (0 if row.is_text else shared)
        if not groups or own > room or len(groups[-1]) == batch_rows:
            groups.append([])
            room = batch_tokens - shared
        groups[-1].append(row)
        room -= own
    return [tuple(group) for group in groups]


def _shared_tokens(kept: Sequence[Rendered]) -> int:
    """Length of what all rows begin with: what the first and the last of them in sorted order begin with."""
    if not kept:
        return 0
    first, last = min(row.ids for row in kept), max(row.ids for row in kept)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
