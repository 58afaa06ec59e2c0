"""Conversations to batches: like lengths together, padded on the left, under a budget of tokens a step.

Two things are not computed twice. What all rows of a batch begin with (the instruction) is its ``prefix``, to be run
once and shared; attention is causal, so that loss and gradient are the same. And padding on the left puts every
answer at the right edge, so that only the last ``answer_tokens`` positions need logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorag.errors import InputError
from lorag.llm.rendering import Rendered, render
from lorag.types import Conversation

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label of a position without loss, as PyTorch's cross entropy expects it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of one step: ``ids``, ``mask`` and ``labels`` of shape ``(rows, length)``, behind a shared ``prefix``.

    ``prefix`` has shape ``(prefix length,)`` and is empty when the rows share nothing; ``answer_tokens`` >= 1.
    """

    prefix: torch.Tensor
    ids: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    answer_tokens: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Rendered conversations and how many were left out because they are longer than the limit."""

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


def rows(tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Conversation], max_tokens: int) -> Rows:
    """Every conversation rendered; those over ``max_tokens`` are left out whole, never cut, and counted.

    Raises ``InputError`` when none is left.
    """
    rendered = [render(tokenizer, conversation.messages, reply=False) for conversation in conversations]
    kept = tuple(row for row in rendered if len(row.ids) <= max_tokens)
    if rendered and not kept:
        raise InputError(f"every conversation is longer than max_tokens={max_tokens}; raise it or shorten them")
    return Rows(kept, len(rendered) - len(kept))


def batches(kept: Sequence[Rendered], batch_tokens: int) -> list[Batch]:
    """The rows in batches of like length with at most ``batch_tokens`` padded tokens (one row at least)."""
    groups: list[list[Rendered]] = []
    for row in sorted(kept, key=lambda row: (len(row.ids), row.ids)):
        if groups and (len(groups[-1]) + 1) * len(row.ids) <= batch_tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [_collate(group) for group in groups]


def _collate(group: Sequence[Rendered]) -> Batch:
    import torch

    shared = _shared_tokens(group)
    length = max(len(row.ids) for row in group) - shared
    ids = torch.zeros(len(group), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, IGNORED)
    for i, row in enumerate(group):
        own, supervised = torch.tensor(row.ids[shared:]), torch.tensor(row.supervised[shared:])
        start = length - len(own)
        ids[i, start:] = own
        mask[i, start:] = 1
        labels[i, start:] = torch.where(supervised, own, IGNORED)
    first = int((labels != IGNORED).any(0).nonzero()[0])
    return Batch(torch.tensor(group[0].ids[:shared], dtype=torch.long), ids, mask, labels, length - first)


def _shared_tokens(group: Sequence[Rendered]) -> int:
    """Length of what all rows begin with, short of the token before the first supervised one; 0 for a single row."""
    if len(group) == 1:
        return 0
    limit = min(row.supervised.index(True) for row in group) - 1
    shared = 0
    while shared < limit and len({row.ids[shared] for row in group}) == 1:
        shared += 1
    return shared
