"""Whether passages support what an answer states, claim by claim, without a model, or with one beside the rule.

A claim is supported where the passages have its words and figures near what was asked: an answer to another question
stands in the passage too, but near other words. Weights are those of a logistic regression on answers to questions of
SQuAD, right ones, ones to another question of the passage and ones of another article; where a claim has words enough
of its own, on claims of SciFact (``benchmarks/faithfulness.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lorag.evaluation.answers.matching.quantities import Quantity
from lorag.evaluation.answers.support.assertions import assertions
from lorag.evaluation.answers.support.judge import Asked, Readings, score_with
from lorag.evaluation.answers.support.placing import Passages, Placement, Term, is_in, terms
from lorag.types import Chunk

Standing = Literal["supported", "contradicted", "not there"]

_OWN_TERMS = 4
"""New words from which a claim may stand on its own, away from what was asked."""
_FEW = 3
"""Words without a figure, added to what is granted, below which nothing further is claimed."""
_SURE = 1.0
"""The least score of a claim that adds nothing to what is granted, or that stands in one sentence with all of its
words behind the answer itself; its negative is the highest of a claim with a figure that stands nowhere."""
_DENIED = 1.1
"""What it costs a claim that the sentence where it stands is negative and the claim is not, or the other way round."""
_OUTDONE = 2.0
"""What it costs that another sentence, with more of the question, has another figure or name."""
_TIMES = {"time", "months"}
"""Dimensions of one kind whose units have no fixed ratio."""
_COVERED = 0.5
"""Share of the question's words from which a sentence is about what was asked."""


@dataclass(frozen=True, slots=True)
class Support:
    """One claim of an answer, and how the passages stand to it."""

    claim: str
    standing: Standing
    passage: str
    """The id of the chunk that decided; empty where there was none."""
    sentence: str
    """What stands there: where the claim does, or, of one that is contradicted, what the passage says instead."""
    score: float
    """Above 0 where it is supported."""


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A claim by the rule, and what a judge would be asked about it."""

    support: Support
    asked: Asked | None
    """None where nothing is open: it adds nothing to what is granted, or there is no passage."""


def support(
    text: str,
    question: str,
    passages: Sequence[Chunk],
    granted: Sequence[str] = (),
    *,
    elsewhere: Sequence[Chunk] = (),
    further: bool = False,
    readings: Readings | None = None,
) -> tuple[Support, ...]:
    """The claims of an answer to ``question``; empty where it states nothing.

    ``granted`` are texts that are known to be right and to stand in the passages, such as a reference that the answer
    gives: only what a claim adds to them is looked for. A claim that ``passages`` do not support is supported where one
    sentence of another passage ``elsewhere`` has all of its words and figures. ``further`` says that ``text`` stands
    behind other sentences. ``readings`` are a judge's, of claims that it was asked about.
    """
    found = _weighed(text, question, passages, granted, elsewhere, further)
    return tuple(each.support if readings is None else _with_judge(each, readings) for each in found)


def to_judge(
    text: str,
    question: str,
    passages: Sequence[Chunk],
    granted: Sequence[str] = (),
    *,
    elsewhere: Sequence[Chunk] = (),
) -> list[Asked]:
    """What a judge can be asked about the claims of an answer; see ``support``."""
    return [each.asked for each in _weighed(text, question, passages, granted, elsewhere) if each.asked is not None]


def _with_judge(weighed: _Weighed, readings: Readings) -> Support:
    found, reading = weighed.support, readings.get(weighed.asked) if weighed.asked is not None else None
    if reading is None:
        return found
    value = score_with(found.score, reading)
    against: Standing = "contradicted" if found.standing == "contradicted" else "not there"
    return replace(found, score=value, standing="supported" if value > 0 else against)


def _weighed(
    text: str,
    question: str,
    passages: Sequence[Chunk],
    granted: Sequence[str],
    elsewhere: Sequence[Chunk],
    further: bool = False,
) -> list[_Weighed]:
    claims = [claim for claim in assertions(text) if terms(claim)]
    if not passages:
        return [_Weighed(Support(claim, "not there", "", "", -_SURE), None) for claim in claims]
    laid = Passages(passages)
    found = [
        _weigh(claim, " ".join(claims[:place]), question, laid, granted, further or place > 0)
        for place, claim in enumerate(claims)
    ]
    known = {passage.id for passage in passages}
    others = [passage for passage in elsewhere if passage.id not in known]
    if not others or all(each.support.score > 0 for each in found):
        return found
    laid = Passages(others)
    return [_or_elsewhere(each, laid) for each in found]


def _or_elsewhere(weighed: _Weighed, others: Passages) -> _Weighed:
    """A claim as it was weighed, or supported where it is not and one sentence of other passages has all of it."""
    claim = weighed.support.claim
    there = others.place(claim, (), terms(claim))
    if weighed.support.score > 0 or there.negated or not there.whole:
        return weighed
    return _Weighed(Support(claim, "supported", *others.sentence(there.sentence), _SURE), None)


def _weigh(
    claim: str, before: str, question: str, passages: Passages, granted: Sequence[str], further: bool
) -> _Weighed:
    every, asked = terms(claim), terms(question)
    own = [term for term in every if not is_in(term, question)]
    added = [term for term in own if not any(is_in(term, known) for known in granted)]
    said = added or every
    found = passages.place(claim, asked, said)
    otherwise = not further and _says_otherwise(found, said, question, passages)
    denied = found.negated and len(every) >= _OWN_TERMS
    value = _score(found, alone=not asked or (further and len(said) >= _OWN_TERMS))
    value -= _DENIED * denied + _OUTDONE * (found.outdone and otherwise)
    anywhere = passages.place(claim, (), every)
    adds_nothing = bool(granted) and len(added) < _FEW and not any(isinstance(term, Quantity) for term in added)
    settled = adds_nothing and (not own or passages.place(claim, (), own).figures_held)
    if settled or (further and anywhere.whole):
        value = max(value, _SURE)
    judged = None if settled else Asked(question, passages.shown(found.sentence, found.expected), before, claim)
    if value > 0:
        return _Weighed(Support(claim, "supported", *passages.sentence(found.sentence), value), judged)
    if otherwise or (denied and value + _DENIED > 0):
        return _Weighed(Support(claim, "contradicted", *passages.sentence(found.expected), value), judged)
    return _Weighed(Support(claim, "not there", *passages.sentence(found.sentence), value), judged)


def _score(found: Placement, alone: bool) -> float:
    """The logarithm of the odds that a claim is supported; ``alone``: wherever it stands, the question aside."""
    answering = 4.75 * found.held + 4.7 * found.near * found.held - 3.9 * found.behind - 5.5
    best = max(answering, 4.1 * found.held - 2.6) if alone else answering
    return best if found.figures_held else min(best, -_SURE)


def _says_otherwise(found: Placement, said: Sequence[Term], question: str, passages: Passages) -> bool:
    """Whether a sentence about what was asked has another figure or name where the claim has its own."""
    _, sentence = passages.sentence(found.expected)
    there = [term for term in terms(sentence) if not is_in(term, question) and term not in said]
    return found.covered >= _COVERED and any(_alike(one, other) for one in said for other in there)


def _alike(one: Term, other: Term) -> bool:
    """Whether two terms are of one kind: figures of one dimension, or names inside a sentence."""
    if isinstance(one, Quantity) and isinstance(other, Quantity):
        dimensions = {one.dimension, other.dimension}
        return one.kind == other.kind and (len(dimensions) == 1 or dimensions == _TIMES)
    if isinstance(one, Quantity) or isinstance(other, Quantity):
        return False
    return one.capital and other.capital and other.start > 0
