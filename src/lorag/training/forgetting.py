"""What a model still knows of everything else: its loss on general text, and its choices in simple questions.

The text and the questions come with Lorag and are the same for every training. Cross entropy on ordinary text moves
first when a model forgets, and with little noise; the share of right choices says whether it matters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from statistics import fmean
from typing import TYPE_CHECKING, Any

from lorag.llm.rendering import Rendered

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from lorag.training.methods import Learner

_QUESTIONS_AT_ONCE = 12


@dataclass(frozen=True, slots=True)
class General:
    """One model on general text and questions."""

    losses: tuple[float, ...]
    """Mean cross entropy a token of each passage, in nats."""
    right: tuple[bool, ...]
    """Whether the right choice of each question was the likeliest for its length."""


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

    def __str__(self) -> str:
        """Both measurements in one line."""
        return (
            f"loss on general text {self.loss_before:.2f} to {self.loss_after:.2f} nats a token"
            f" (rise {self.rise_low:+.2f} to {self.rise_high:+.2f}), simple questions right"
            f" {self.right_before} to {self.right_after} of {self.questions}"
        )


def measure(model: Learner, tokenizer: PreTrainedTokenizerBase) -> General:
    """The model as it is now, by the library's own forward."""
    folder = files("lorag.training") / "general"
    passages = (folder / "passages.txt").read_text(encoding="utf-8").strip().split("\n\n")
    questions = [json.loads(line) for line in (folder / "choices.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [fmean(_losses(model, [_continued(tokenizer, "", passage)])[0]) for passage in passages]
    right = []
    for start in range(0, len(questions), _QUESTIONS_AT_ONCE):
        right += _choices(model, tokenizer, questions[start : start + _QUESTIONS_AT_ONCE])
    return General(tuple(losses), tuple(right))


def forgetting(before: General, after: General) -> Forgetting:
    """The difference between two measurements of one model, passage by passage and question by question."""
    import numpy as np
    from scipy.stats import bootstrap

    rises = np.array(after.losses) - np.array(before.losses)
    interval = bootstrap((rises,), np.mean, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    return Forgetting(
        loss_before=float(np.mean(before.losses)),
        loss_after=float(np.mean(after.losses)),
        rise_low=float(interval.low),
        rise_high=float(interval.high),
        questions=len(before.right),
        right_before=sum(before.right),
        right_after=sum(after.right),
    )


def _choices(model: Learner, tokenizer: PreTrainedTokenizerBase, questions: Sequence[dict[str, Any]]) -> list[bool]:
    """Whether the right choice of each question is the likeliest by its loss a character."""
    rows: list[Rendered] = []
    choices: list[str] = []
    for question in questions:
        for choice in (question["right"], *question["wrong"]):
            rows.append(_continued(tokenizer, f"Question: {question['question']}\nAnswer:", f" {choice}"))
            choices.append(choice)
    losses = iter(sum(row) / len(text) for row, text in zip(_losses(model, rows), choices, strict=True))
    return [next(losses) < min(next(losses) for _ in question["wrong"]) for question in questions]


def _losses(model: Learner, rows: Sequence[Rendered]) -> list[list[float]]:
    import torch

    from lorag.training.loss import token_losses

    with torch.inference_mode():
        return token_losses(model.causal, rows, model.before(1))


def _continued(tokenizer: PreTrainedTokenizerBase, prompt: str, text: str) -> Rendered:
    """``text`` after ``prompt`` as plain text, with its own tokens supervised, but for the first of all."""
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"] if prompt else []
    own = tokenizer(text, add_special_tokens=False)["input_ids"]
    known = max(len(before), 1)
    return Rendered((*before, *own), (False,) * known + (True,) * (len(before) + len(own) - known))
