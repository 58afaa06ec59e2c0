"""What a model's tokenizer and template make of conversations: lengths, refusals, and one as the model sees it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from lorag.errors import ModelError
from lorag.interfaces import Progress, no_progress
from lorag.llm.rendering import Rendered, render
from lorag.training.data.inspection import Finding, Placed, by_reason

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of several texts; median and 95th percentile are lengths that occur (nearest rank)."""

    min: int
    median: int
    p95: int
    max: int

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Lengths:
        """The summary of at least one length."""
        ordered = sorted(lengths)
        median, p95 = (ordered[math.ceil(percent * len(ordered) / 100) - 1] for percent in (50, 95))
        return cls(ordered[0], median, p95, ordered[-1])


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a rendered conversation, and whether it is what the model learns to say."""

    text: str
    supervised: bool


@dataclass(frozen=True, slots=True)
class TokenReport:
    """Conversations in a model's tokens, as they are trained."""

    model: str
    max_tokens: int
    conversations: Lengths | None
    """Whole conversations; None when the template renders none of them."""
    answers: Lengths | None
    """What carries loss of each: the assistant's texts and their end tokens."""
    too_long: Finding
    """Conversations longer than ``max_tokens``: training leaves them out whole."""
    cut: Finding
    """Plain texts longer than that: training takes them in windows."""
    refused: tuple[Finding, ...]
    """What the model's template does not render, by reason."""
    example: tuple[Segment, ...]
    """The first conversation that is not too long; empty when there is none."""
    text: tuple[Segment, ...]
    """The first plain text that is not too long; empty when there is none."""


def token_report(
    model: str,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Placed],
    max_tokens: int,
    progress: Progress = no_progress,
) -> TokenReport:
    """The report on conversations in the form in which they are served."""
    rows: list[tuple[str, Rendered]] = []
    refused: list[tuple[str, str]] = []
    for number, (place, conversation) in enumerate(conversations, start=1):
        try:
            rows.append((place, render(tokenizer, conversation.messages, reply=False)))
        except ModelError as error:
            refused.append((place, str(error)))
        progress("counting tokens", number, len(conversations))
    spoken, texts = ([(place, row) for place, row in rows if row.is_text == text] for text in (False, True))
    return TokenReport(
        model=model,
        max_tokens=max_tokens,
        conversations=Lengths.of([len(row.ids) for _, row in rows]) if rows else None,
        answers=Lengths.of([sum(row.supervised) for _, row in rows]) if rows else None,
        too_long=Finding.at([place for place, row in spoken if len(row.ids) > max_tokens]),
        cut=Finding.at([place for place, row in texts if len(row.ids) > max_tokens]),
        refused=by_reason(refused),
        example=_first(tokenizer, spoken, max_tokens),
        text=_first(tokenizer, texts, max_tokens),
    )


def _first(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[tuple[str, Rendered]], max_tokens: int
) -> tuple[Segment, ...]:
    """The first row that is not too long, in its stretches; empty when there is none."""
    row = next((row for _, row in rows if len(row.ids) <= max_tokens), None)
    if row is None:
        return ()
    stretches = groupby(zip(row.ids, row.supervised, strict=True), key=lambda token: token[1])
    return tuple(Segment(str(tokenizer.decode([i for i, _ in tokens])), on) for on, tokens in stretches)
