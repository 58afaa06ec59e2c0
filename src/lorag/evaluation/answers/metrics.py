"""Scores of answers against references: mechanical, without a model, and the same for every arm.

``Correct`` decides verdicts and compares by value (``matching``); the others are the field's usual figures over words
normalised as SQuAD does (``matching.words``), and see neither negation ("not 30 days") nor enumeration.

Every score is the maximum over the references. A metric that does not apply gives None, never 0: text metrics on
questions without references, retrieval metrics on questions without evidence. An answer with ``error`` scores 0
wherever the metric applies.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lorag.evaluation.answers.matching.agreement import LENIENT, NORMAL, PASSAGE, STRICT, Grade, agrees, holds
from lorag.evaluation.answers.matching.refusals import declines
from lorag.evaluation.answers.matching.words import content_words, normalise, tokens
from lorag.evaluation.answers.style import Style, read_style
from lorag.types import Answer, Example, Score

__all__ = [
    "LENIENT",
    "NORMAL",
    "STRICT",
    "TEXT_METRICS",
    "Correct",
    "NewContentRecall",
    "Refused",
    "Style",
    "StyleShare",
    "contains",
    "content_words",
    "exact_match",
    "normalise",
    "read_style",
    "token_f1",
]


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 when the normalised answer equals a normalised reference, else 0."""
    return float(any(tokens(answer) == tokens(reference) for reference in references))


def contains(answer: str, references: Sequence[str]) -> float:
    """1 when a normalised reference stands in the normalised answer between token bounds, else 0.

    So "no" is not found in "know", nor "4" in "14". A reference of articles alone ("A") is compared with articles
    kept; one of punctuation alone is never found.
    """
    return float(any(_holds(answer, reference) for reference in references))


def _holds(answer: str, reference: str) -> bool:
    articles = not tokens(reference)
    needle, hay = tokens(reference, articles), tokens(answer, articles)
    return bool(needle) and f" {' '.join(needle)} " in f" {' '.join(hay)} "


def token_f1(answer: str, references: Sequence[str]) -> float:
    """Harmonic mean of token precision and recall, tokens counted with repetition; 1 when both are empty."""
    return max((_f1(tokens(answer), tokens(reference)) for reference in references), default=0.0)


def _f1(answer: Sequence[str], reference: Sequence[str]) -> float:
    if not answer or not reference:
        return float(answer == reference)
    common = sum((Counter(answer) & Counter(reference)).values())
    return 2 * common / (len(answer) + len(reference))


def _score(
    name: str, value: Callable[[str, Example], float], examples: Sequence[Example], answers: Sequence[Answer]
) -> list[Score]:
    """``value`` where there are references to compare with; 0 for an error, None without references."""
    return [
        Score(name, None if not example.answers else 0.0 if answer.error is not None else value(answer.text, example))
        for example, answer in zip(examples, answers, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _TextMetric:
    """A figure over the words of an answer and of its references."""

    name: str
    value: Callable[[str, Sequence[str]], float]

    def score(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Score]:
        """From 0 to 1 for each answer; None without references."""
        return _score(self.name, lambda text, example: self.value(text, example.answers), examples, answers)


TEXT_METRICS = tuple(_TextMetric(value.__name__, value) for value in (exact_match, contains, token_f1))


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
        """Weights from the references of ``examples``, those after an update included: one scale in both phases."""
        frequencies: Counter[str] = Counter()
        questions = 0
        for example in examples:
            references = (*example.answers, *(example.answers_after or ()))
            questions += bool(references)
            frequencies.update({word for reference in references for word in content_words(reference)})
        return cls(dict(frequencies), questions)

    def value(self, text: str, question: str, reference: str) -> float:
        """The share for one reference, from 0 to 1."""
        new = content_words(reference) - set(tokens(question))
        if not new:
            words = tokens(reference)
            return sum((Counter(words) & Counter(tokens(text))).values()) / len(words) if words else 0.0
        found = new & set(tokens(text))
        return math.fsum(map(self._weight, sorted(found))) / math.fsum(map(self._weight, sorted(new)))

    def _weight(self, word: str) -> float:
        return math.log(1 + max(self.questions, 1) / max(self.frequencies.get(word, 0), 1))

    def score(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Score]:
        """A share for each answer; None without references."""

        def best(text: str, example: Example) -> float:
            return max(self.value(text, example.question, reference) for reference in example.answers)

        return _score(self.name, best, examples, answers)

    def is_right(self, text: str, question: str, references: Sequence[str], grade: Grade = NORMAL) -> bool:
        """Whether an answer gives a reference, by value and by ``grade`` (``matching.agreement``)."""
        return agrees(text, question, references, self._weight, grade)

    def holds(self, text: str, question: str, references: Sequence[str]) -> bool:
        """Whether a passage has what one of the references needs, whatever else it has."""
        return any(holds(text, question, reference, self._weight, PASSAGE) for reference in references)


@dataclass(frozen=True, slots=True)
class Correct:
    """The headline: 1 for a right answer, and for a refusal exactly where the documents do not answer.

    Applies to every question. With references: right by ``NewContentRecall.is_right``, whether or not the answer also
    declines something. Without, or with references that are refusals themselves: refused. An error is 0 in both cases
    and is never left out. Under ``STRICT`` and ``LENIENT`` it is called ``correct_strict`` and ``correct_lenient``;
    what is right under a stricter grade is right under a more lenient one.
    """

    recall: NewContentRecall
    grade: Grade = NORMAL

    @property
    def name(self) -> str:
        """``correct``, with the grade where it is not the normal one."""
        return "correct" if self.grade == NORMAL else f"correct_{self.grade.name}"

    def score(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Score]:
        """0 or 1 for each answer, never None."""
        return [
            Score(self.name, float(self._correct(example, answer)))
            for example, answer in zip(examples, answers, strict=True)
        ]

    def _correct(self, example: Example, answer: Answer) -> bool:
        if answer.error is not None:
            return False
        facts = [reference for reference in example.answers if not declines(reference)]
        if len(facts) < max(len(example.answers), 1) and _declined(answer):
            return True
        return bool(facts) and self.recall.is_right(answer.text, example.question, facts, self.grade)


def _declined(answer: Answer) -> bool:
    """Whether it was recorded as a refusal, or the patterns of today take it for one."""
    return answer.refused or declines(answer.text)


@dataclass(frozen=True, slots=True)
class Refused:
    """Whether the assistant declined; an error is not a refusal."""

    name = "refused"

    def score(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Score]:
        """0 or 1 for each answer, never None."""
        return [
            Score(self.name, float(answer.error is None and _declined(answer)))
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
