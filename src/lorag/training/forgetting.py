"""What a model still knows of everything else: its loss on general text, and its choices in simple questions.

The text and the questions come with Lorag and are the same for every training; control questions of the user's own
stand beside them. Cross entropy on ordinary text moves first when a model forgets, and with little noise; the share of
right choices says whether it matters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from lorag.evaluation.statistics import bootstrap, paired_difference
from lorag.interfaces import Progress, no_progress
from lorag.llm.rendering import Rendered
from lorag.training.control_questions import MultipleChoice

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

_CHARACTERS_AT_ONCE = 4000
"""Of questions and choices in one pass, some thousand tokens: a file may hold whole passages."""


@dataclass(frozen=True, slots=True)
class General:
    """One model on general text and questions."""

    losses: tuple[float, ...]
    """Mean cross entropy a token of each passage, in nats."""
    right: tuple[bool, ...]
    """Whether the right choice of each question was the likeliest for its length."""
    control: tuple[bool, ...] = ()
    """The same of each control question."""


@dataclass(frozen=True, slots=True)
class ControlChange:
    """What a training changed in the answers to control questions."""

    questions: int
    right_before: int
    right_after: int
    low: float
    """Lower end of the 95 % interval of the change of the share of right choices, paired by question."""
    high: float
    """Upper end of that interval."""

    def __str__(self) -> str:
        """Both counts and the interval, in percentage points."""
        return (
            f"control questions right {self.right_before} to {self.right_after} of {self.questions}"
            f" (change {100 * self.low:+.1f} to {100 * self.high:+.1f} points)"
        )


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What a training changed beyond what it taught; all fields are of the same passages and questions."""

    loss_before: float
    loss_after: float
    rise_low: float
    """Lower end of the 95 % interval of the mean rise of the loss a token, over passages, in nats."""
    rise_high: float
    """Upper end of that interval."""
    questions: int
    right_before: int
    right_after: int
    control: ControlChange | None = None
    """The change in control questions; None where none were given."""

    def __str__(self) -> str:
        """Both measurements in one line."""
        control = f", {self.control}" if self.control else ""
        return (
            f"loss on general text {self.loss_before:.2f} to {self.loss_after:.2f} nats per token"
            f" (rise {self.rise_low:+.2f} to {self.rise_high:+.2f}), simple questions right"
            f" {self.right_before} to {self.right_after} of {self.questions}{control}"
        )


def measure(
    causal: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    control: Sequence[MultipleChoice] = (),
    progress: Progress = no_progress,
    moment: str = "before",
    virtual: Callable[[], DynamicCache | None] = lambda: None,
) -> General:
    """The model as it is now, by the library's own forward; ``moment`` names the stage of the progress.

    ``virtual`` makes the virtual tokens, if any.
    """
    folder = files("lorag.training") / "general"
    rows = map(json.loads, (folder / "choices.jsonl").read_text(encoding="utf-8").splitlines())
    questions = [MultipleChoice(row["question"], (row["right"], *row["wrong"]), 0) for row in rows]
    return General(
        losses=general_losses(causal, tokenizer, virtual),
        right=tuple(_right(causal, tokenizer, virtual, questions)),
        control=tuple(_right(causal, tokenizer, virtual, control, progress, f"control questions {moment}")),
    )


def general_losses(
    causal: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, before: Callable[[], DynamicCache | None]
) -> tuple[float, ...]:
    """Mean cross entropy per token of each general passage, in nats; ``before`` makes the virtual tokens, if any."""
    import torch

    from lorag.training.kernels.loss import token_losses

    text = (files("lorag.training") / "general" / "passages.txt").read_text(encoding="utf-8")
    with torch.no_grad():
        return tuple(
            fmean(token_losses(causal, [_continued(tokenizer, "", passage)], before())[0])
            for passage in text.strip().split("\n\n")
        )


def forgetting(before: General, after: General) -> Forgetting:
    """The difference between two measurements of one model, passage by passage and question by question."""
    rises = np.array(after.losses) - np.array(before.losses)
    interval = bootstrap(rises[:, None], lambda sums: sums[:, 0] / len(rises))
    return Forgetting(
        loss_before=fmean(before.losses),
        loss_after=fmean(after.losses),
        rise_low=interval.low,
        rise_high=interval.high,
        questions=len(before.right),
        right_before=sum(before.right),
        right_after=sum(after.right),
        control=_control_change(before.control, after.control) if before.control else None,
    )


def _control_change(before: Sequence[bool], after: Sequence[bool]) -> ControlChange:
    interval = paired_difference(after, before, range(len(before))).interval
    return ControlChange(len(before), sum(before), sum(after), interval.low, interval.high)


def _right(
    causal: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    virtual: Callable[[], DynamicCache | None],
    questions: Sequence[MultipleChoice],
    progress: Progress = no_progress,
    stage: str = "",
) -> list[bool]:
    """Whether the right choice of each question is the likeliest by its loss a character."""
    longest = max((len(q.question) + sum(map(len, q.choices)) for q in questions), default=1)
    at_once = max(1, _CHARACTERS_AT_ONCE // longest)
    right: list[bool] = []
    for start in range(0, len(questions), at_once):
        asked = [(q, choice) for q in questions[start : start + at_once] for choice in q.choices]
        rows = [_continued(tokenizer, f"Question: {q.question}\nAnswer:", f" {choice}") for q, choice in asked]
        found = _losses(causal, rows, virtual())
        losses = iter(sum(row) / len(choice) for row, (_, choice) in zip(found, asked, strict=True))
        for question in questions[start : start + at_once]:
            own = [next(losses) for _ in question.choices]
            right.append(all(own[question.right] < loss for i, loss in enumerate(own) if i != question.right))
        progress(stage, len(right), len(questions))
    return right


def _losses(causal: PreTrainedModel, rows: Sequence[Rendered], before: DynamicCache | None) -> list[list[float]]:
    import torch

    from lorag.training.kernels.loss import token_losses

    with torch.no_grad():
        return token_losses(causal, rows, before)


def _continued(tokenizer: PreTrainedTokenizerBase, prompt: str, text: str) -> Rendered:
    """``text`` after ``prompt`` as plain text, with its own tokens supervised, but for the first of all."""
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"] if prompt else []
    own = tokenizer(text, add_special_tokens=False)["input_ids"]
    known = max(len(before), 1)
    return Rendered((*before, *own), (False,) * known + (True,) * (len(before) + len(own) - known))
