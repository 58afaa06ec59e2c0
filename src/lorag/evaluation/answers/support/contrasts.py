"""How often the check of claims errs on a run's own documents: right answers against plausible wrong ones.

A plausible wrong answer stands in the same passages as the right one: it answers another question about them, or it is
another figure of the same kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lorag.evaluation.answers.matching.quantities import Quantity
from lorag.evaluation.answers.matching.reading import read
from lorag.evaluation.answers.matching.words import tokens
from lorag.evaluation.answers.metrics import NewContentRecall
from lorag.evaluation.answers.support.judge import Asked, Readings
from lorag.evaluation.answers.support.standing import support, to_judge
from lorag.evaluation.statistics import wilson
from lorag.files import draw
from lorag.types import Chunk, Example

MOST_PAIRS = 40
"""Pairs from which the errors are counted: what a judge reads of them costs as much as answers do."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """The right answer to a question and a wrong one, both of which stand in its passages."""

    question: str
    passages: tuple[Chunk, ...]
    right: str
    wrong: str

    def to_judge(self) -> list[Asked]:
        """What a judge can be asked about both."""
        return [asked for text in (self.right, self.wrong) for asked in to_judge(text, self.question, self.passages)]

    def passes(self, text: str, readings: Readings | None) -> bool:
        """Whether the check takes an answer as supported."""
        claims = support(text, self.question, self.passages, readings=readings)
        return all(claim.standing == "supported" for claim in claims)


def contrasts(examples: Sequence[Example], gold: Mapping[str, Sequence[Chunk]]) -> list[Contrast]:
    """At most one pair for each question, always the same; ``gold`` are passages by question that hold a reference."""
    recall = NewContentRecall.fit(examples)
    made = []
    for example in sorted(examples, key=lambda each: draw(f"contrast {each.id}")):
        passages = tuple(gold.get(example.id, ()))
        if example.answers and any(recall.holds(p.text, example.question, example.answers[:1]) for p in passages):
            right = example.answers[0]
            others = [*_other_answers(example, examples), *_other_figures(right, passages)]
            wrong = [
                other
                for other in others
                if not {*tokens(other)} & {*tokens(f"{example.question} {' '.join(example.answers)}")}
                and not recall.is_right(other, example.question, example.answers)
                and any(recall.holds(passage.text, example.question, [other]) for passage in passages)
            ]
            if wrong:
                made.append(Contrast(example.question, passages, right, wrong[0]))
    return made[:MOST_PAIRS]


def _other_answers(example: Example, examples: Sequence[Example]) -> Iterator[str]:
    """References of other questions about the same documents, of the kind of this one's."""
    kind = _kind(example.answers[0])
    for other in examples:
        if other.id != example.id and other.answers and {*other.evidence} & {*example.evidence}:
            yield from (answer for answer in other.answers[:1] if _kind(answer) == kind)


def _other_figures(right: str, passages: Sequence[Chunk]) -> Iterator[str]:
    """Figures in the passages that count what the one in ``right`` counts."""
    wanted = read(right).quantities
    found = [figure for passage in passages for figure in read(passage.text).quantities]
    yield from (f.text for f in found if f.digits and wanted and _counts(f) == _counts(wanted[0]))


def _counts(figure: Quantity) -> tuple[str, str]:
    return figure.kind, figure.dimension


def _kind(answer: str) -> str:
    return "figure" if read(answer).quantities else "name" if answer[:1].isupper() else "other"


def errors(pairs: Sequence[Contrast], readings: Readings | None) -> str:
    """In words, how many right answers the check takes as not supported, and how many wrong ones as supported."""
    missed = sum(not pair.passes(pair.right, readings) for pair in pairs)
    passed = sum(pair.passes(pair.wrong, readings) for pair in pairs)
    return f"{_share(missed, len(pairs))} of right answers are doubted, {_share(passed, len(pairs))} of wrong ones pass"


def _share(count: int, among: int) -> str:
    interval = wilson(count / among, among, 0.95)
    return f"{100 * count / among:.0f} % ({100 * interval.low:.0f} to {100 * interval.high:.0f})"
