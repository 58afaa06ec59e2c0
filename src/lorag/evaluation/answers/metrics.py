"""Scores of answers against references: mechanical, without a model, and the same for every arm.

Text is normalised as SQuAD does (lower case; punctuation and the articles a, an, the dropped; white space squeezed;
rajpurkar/SQuAD-explorer, ``evaluate-v2.0.py``) with two departures that only make it stricter or fairer: a period
between two digits stays, so that 3.5 is not 35; and punctuation is Unicode's, so that typographic quotes go too.

Every score is the maximum over the references. A metric that does not apply gives None, never 0: text metrics on
questions without references, retrieval metrics on questions without evidence. An answer with ``error`` scores 0
wherever the metric applies. Not seen by any of these: negation ("not 30 days") and enumeration ("30 or 60 days").
"""

from __future__ import annotations

import math
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lorag.evaluation.answers.style import Style, read_style
from lorag.types import Answer, Example, Score

__all__ = [
    "Contains",
    "Correct",
    "ExactMatch",
    "NewContentRecall",
    "Refused",
    "Style",
    "StyleShare",
    "TokenF1",
    "contains",
    "content_words",
    "exact_match",
    "normalise",
    "read_style",
    "token_f1",
]

LONG_REFERENCE = 8
"""Tokens after normalisation from which a reference counts as a sentence, whose exact wording nobody repeats."""
ENOUGH_RECALL = 0.5
"""Share of a long reference's new content that makes an answer right."""

_ARTICLES = frozenset({"a", "an", "the"})
_FUNCTION_WORDS = """
about also am and are as at be because been being but by can could did do does doing each for from had has
have having he her hers him his how i if in into is it its itself just may me might much must my of on or
other our ours own per shall she should so some such than that their theirs them then there these they this
those through to too us very was we were what when where which while who whom whose why will with would you
your yours
"""
_STOP_WORDS = _ARTICLES | frozenset(_FUNCTION_WORDS.split())
"""English function words. Negations ("no", "not") and bounds ("over", "before", "all") are content of an answer."""


def normalise(text: str) -> str:
    """``text`` in lower case without punctuation and articles, words separated by one space."""
    return " ".join(_tokens(text))


def _tokens(text: str, keep_articles: bool = False) -> list[str]:
    kept = []
    lower = text.lower()
    for position, character in enumerate(lower):
        decimal = (
            character == "."
            and lower[position - 1 : position].isdigit()
            and lower[position + 1 : position + 2].isdigit()
        )
        if decimal or not (character in string.punctuation or unicodedata.category(character).startswith("P")):
            kept.append(character)
    words = "".join(kept).split()
    return words if keep_articles else [word for word in words if word not in _ARTICLES]


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 when the normalised answer equals a normalised reference, else 0."""
    return float(any(_tokens(answer) == _tokens(reference) for reference in references))


def contains(answer: str, references: Sequence[str]) -> float:
    """1 when a normalised reference stands in the normalised answer between token bounds, else 0.

    So "no" is not found in "know", nor "4" in "14". A reference of articles alone ("A") is compared with articles
    kept; one of punctuation alone is never found.
    """
    return float(any(_holds(answer, reference) for reference in references))


def _holds(answer: str, reference: str) -> bool:
    articles = not _tokens(reference)
    needle, hay = _tokens(reference, articles), _tokens(answer, articles)
    return bool(needle) and f" {' '.join(needle)} " in f" {' '.join(hay)} "


def token_f1(answer: str, references: Sequence[str]) -> float:
    """Harmonic mean of token precision and recall, tokens counted with repetition; 1 when both are empty."""
    return max((_f1(_tokens(answer), _tokens(reference)) for reference in references), default=0.0)


def _f1(answer: Sequence[str], reference: Sequence[str]) -> float:
    if not answer or not reference:
        return float(answer == reference)
    common = sum((Counter(answer) & Counter(reference)).values())
    return 2 * common / (len(answer) + len(reference))


def content_words(text: str) -> set[str]:
    """The distinct normalised words of ``text`` that are not English function words."""
    return set(_tokens(text)) - _STOP_WORDS


def _score(
    name: str, value: Callable[[str, Example], float], examples: Sequence[Example], answers: Sequence[Answer]
) -> list[Score]:
    """``value`` where there are references to compare with; 0 for an error, None without references."""
    return [
        Score(name, None if not example.answers else 0.0 if answer.error is not None else value(answer.text, example))
        for example, answer in zip(examples, answers, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class ExactMatch:
    """``exact_match`` on questions with references."""

    name = "exact_match"

    def score(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Score]:
        """0 or 1 for each answer; None without references."""
        return _score(self.name, lambda text, example: exact_match(text, example.answers), examples, answers)


@dataclass(frozen=True, slots=True)
class Contains:
    """``contains`` on questions with references."""

    name = "contains"

    def score(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Score]:
        """0 or 1 for each answer; None without references."""
        return _score(self.name, lambda text, example: contains(text, example.answers), examples, answers)


@dataclass(frozen=True, slots=True)
class TokenF1:
    """``token_f1`` on questions with references."""

    name = "token_f1"

    def score(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Score]:
        """A share for each answer; None without references."""
        return _score(self.name, lambda text, example: token_f1(text, example.answers), examples, answers)


@dataclass(frozen=True, slots=True)
class NewContentRecall:
    """How much of what a reference adds to the question the answer holds, rare words counting more.

    Over the distinct words of the reference that are neither function words nor in the question: the sum of the
    weights of those in the answer, divided by the sum of all. The weight of a word is ``ln(1 + n / questions with
    it in a reference)``, with ``n`` the questions that have references. When the reference adds no word, the plain
    recall of its tokens, counted with repetition.
    """

    frequencies: Mapping[str, int]
    """For each word, the questions with it in a reference, before or after the update."""
    questions: int
    """The questions that have references."""

    name = "new_content_recall"

    @classmethod
    def fit(cls, examples: Sequence[Example]) -> NewContentRecall:
        """Weights from the references of ``examples``, those after an update included: one scale at both moments."""
        frequencies: Counter[str] = Counter()
        questions = 0
        for example in examples:
            references = (*example.answers, *(example.answers_after or ()))
            questions += bool(references)
            frequencies.update({word for reference in references for word in content_words(reference)})
        return cls(dict(frequencies), questions)

    def value(self, text: str, question: str, reference: str) -> float:
        """The share for one reference, from 0 to 1."""
        new = content_words(reference) - set(_tokens(question))
        if not new:
            tokens = _tokens(reference)
            return sum((Counter(tokens) & Counter(_tokens(text))).values()) / len(tokens) if tokens else 0.0
        found = new & set(_tokens(text))
        return math.fsum(map(self._weight, sorted(found))) / math.fsum(map(self._weight, sorted(new)))

    def _weight(self, word: str) -> float:
        return math.log(1 + max(self.questions, 1) / max(self.frequencies.get(word, 0), 1))

    def score(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Score]:
        """A share for each answer; None without references."""

        def best(text: str, example: Example) -> float:
            return max(self.value(text, example.question, reference) for reference in example.answers)

        return _score(self.name, best, examples, answers)

    def is_right(self, text: str, question: str, references: Sequence[str]) -> bool:
        """Whether ``text`` contains a reference or, of a long one, at least half of the new content."""
        return contains(text, references) == 1.0 or any(
            len(_tokens(reference)) >= LONG_REFERENCE and self.value(text, question, reference) >= ENOUGH_RECALL
            for reference in references
        )


@dataclass(frozen=True, slots=True)
class Correct:
    """The headline: 1 for a right answer, and for a refusal exactly where the documents do not answer.

    Applies to every question. With references: right by ``NewContentRecall.is_right`` and not refused. Without:
    refused. An error is 0 in both cases and is never left out.
    """

    recall: NewContentRecall

    name = "correct"

    def score(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Score]:
        """0 or 1 for each answer, never None."""
        return [
            Score(self.name, float(self._correct(example, answer)))
            for example, answer in zip(examples, answers, strict=True)
        ]

    def _correct(self, example: Example, answer: Answer) -> bool:
        if answer.error is not None:
            return False
        if not example.answers:
            return answer.refused
        return not answer.refused and self.recall.is_right(answer.text, example.question, example.answers)


@dataclass(frozen=True, slots=True)
class Refused:
    """Whether the assistant declined; an error is not a refusal."""

    name = "refused"

    def score(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Score]:
        """0 or 1 for each answer, never None."""
        return [
            Score(self.name, float(answer.refused and answer.error is None))
            for _, answer in zip(examples, answers, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class StyleShare:
    """The share of declared style checks that an answer passes; None on refusals, errors and without a style."""

    style: Style | None

    name = "style"

    def score(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Score]:
        """A share for each answer that was given."""
        scores = []
        for _, answer in zip(examples, answers, strict=True):
            applies = self.style is not None and not answer.refused and answer.error is None
            scores.append(Score(self.name, self.style.share(answer.text) if self.style and applies else None))
        return scores
