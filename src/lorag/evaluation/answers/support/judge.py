"""A second opinion on claims: how a model that reads question and passage stands to them, beside the rule.

A claim is more likely to be said after a passage that supports it, so what counts is the likelihood of its tokens as an
answer. A server gives no likelihoods: there, yes or no in words decides. Weights are those of a logistic regression on
documents of half A of ``benchmarks/faithfulness.py``, read by two models, which count alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lorag.files import fingerprint
from lorag.types import Message, Prompt

_ROUNDING = 1e-3
"""How far above 0 rounding lifts the logarithm of a probability."""
_RULE, _MEAN, _LEAST, _BIAS = 0.88, 0.22, 0.12, 1.81
"""Weights of the rule's score, of the mean and of the least likelihood of a token in nats, and what is added."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A claim that a judge is asked about."""

    question: str
    passage: str
    before: str
    """The claims of the same answer that stand before it; empty where it is the first."""
    claim: str

    @property
    def key(self) -> str:
        """What names it in a log."""
        return fingerprint([self.question, self.passage, self.before, self.claim])

    @property
    def answer_prompt(self) -> Prompt:
        """What the claim is an answer to."""
        answered = f"Question: {self.question}\nAnswer in a few words."
        asked = answered if self.question else "State a finding of the passage."
        return (Message("user", f"Passage:\n{self.passage}\n\n{asked}"),)

    @property
    def support_prompt(self) -> Prompt:
        """What is answered by yes or no."""
        stated = f"Question: {self.question}\nAnswer: {self.claim}" if self.question else f"Claim: {self.claim}"
        asked = f"Does the passage support this {'answer' if self.question else 'claim'}? Reply yes or no."
        return (Message("user", f"Passage:\n{self.passage}\n\n{stated}\n\n{asked}"),)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a judge stands to a claim."""

    likelihoods: tuple[float, ...] = ()
    """The logarithm of the probability of each token of the claim; empty where only words are known."""
    says_yes: bool | None = None
    """What it answers to whether the passage supports the claim; None where it was not asked that."""


Readings = Mapping[Asked, Reading]
"""What a judge said; of a claim that is missing, the rule's verdict stands."""


def pairs_to_score(asked: Asked) -> list[tuple[Prompt, str]]:
    """The prompts and answers whose likelihoods make a ``Reading``."""
    said = [f"{asked.before} {asked.claim}", asked.before] if asked.before else [asked.claim]
    return [(asked.answer_prompt, text) for text in said]


def reading_of(scored: Sequence[Sequence[float]]) -> Reading | None:
    """The reading in the likelihoods of ``pairs_to_score``; None where they are no judgement."""
    whole, *before = scored
    own = tuple(whole[len(before[0]) if before else 0 :])
    usable = own and all(-math.inf < each <= _ROUNDING for each in own)
    return Reading(own) if usable else None


def score_with(rule: float, reading: Reading) -> float:
    """The score of a claim from that of the rule and a judge's reading, above 0 where it is supported."""
    if reading.says_yes is not None:
        return 1.0 if reading.says_yes else -1.0
    return _RULE * rule + _MEAN * fmean(reading.likelihoods) + _LEAST * min(reading.likelihoods) + _BIAS
