"""Where some passages have the words and figures of a claim, and how near to what was asked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest

from lorag.evaluation.answers.matching.agreement import pieces
from lorag.evaluation.answers.matching.claims import negative
from lorag.evaluation.answers.matching.quantities import Quantity
from lorag.evaluation.answers.matching.reading import Word, read
from lorag.evaluation.answers.matching.values import same_value
from lorag.evaluation.answers.matching.words import FUNCTION_WORDS
from lorag.types import Chunk

_NEAR = 8
"""Words over which nearness falls to 1/e."""
_FIGURE = 3
"""How many words a figure is worth."""
_APART = 1000
"""Words between one passage and the next."""

Term = Word | Quantity


def terms(text: str) -> list[Term]:
    """The content words and the figures of a text, in order."""
    reading = read(text)
    words = [word for word in reading.words if word.fold not in FUNCTION_WORDS or word.acronym]
    found: list[Term] = [*reading.quantities, *(piece for word in words for piece in pieces(word))]
    return sorted(found, key=lambda term: term.start)


def is_in(term: Term, text: str) -> bool:
    """Whether a text has a term: a word with any ending, a figure by its value."""
    reading = read(text)
    if isinstance(term, Word):
        return bool(reading.find(term.fold))
    return any(_is_one(term, other) for other in reading.quantities)


@dataclass(frozen=True, slots=True)
class Placement:
    """How a claim stands in passages; shares are from 0 to 1."""

    held: float
    """The share of its terms that stand anywhere, figures counting more."""
    whole: bool
    """Whether one sentence has all of its terms."""
    near: float
    """How near the terms of the question stand to the claim's, rare ones counting more; 0 where none stand anywhere."""
    behind: float
    """By how much the sentence with most of the question has more of it than the one where the claim stands."""
    outdone: bool
    """Whether ``expected`` has all that the sentence where the claim stands has of the question, and more."""
    negated: bool
    """Whether of the claim and the sentence where it stands exactly one is negative."""
    figures_held: bool
    """Whether each of its figures stands anywhere, by value."""
    sentence: int
    """The sentence where it stands, by its number; where none of it does, ``expected``."""
    expected: int
    """The sentence with most of the question."""
    covered: float
    """The share of the question's terms in ``expected``, rare ones counting more."""


_Hits = Mapping[str, Sequence[tuple[int, int]]]
"""Where each term stands: its sentences, counted over all passages, and its places, in words from the beginning."""


class Passages:
    """The passages of one question, read once.

    A heading counts as part of every sentence below it, and the header of a table as part of each of its rows.
    """

    def __init__(self, passages: Sequence[Chunk]) -> None:
        """At least one passage."""
        self._headings = [passage.heading for passage in passages]
        self._readings = [read(_with_headers(passage.text, passage.table_header)) for passage in passages]
        self._passages = passages
        self._sentences: list[tuple[int, str]] = []
        self._terms: list[tuple[Term, int, int]] = []
        for number, reading in enumerate(self._readings):
            first, begin = len(self._sentences), len(self._terms) + _APART * number
            ends = [0, *reading.sentences, len(reading.text)]
            self._sentences += [(number, reading.text[a:b].strip()) for a, b in pairwise(ends)]
            sequence: list[Term] = [*reading.words, *reading.quantities]
            sequence.sort(key=lambda term: term.start)
            self._terms += [(t, first + reading.sentence(t.start), begin + at) for at, t in enumerate(sequence)]

    def place(self, claim: str, asked: Sequence[Term], said: Sequence[Term]) -> Placement:
        """How ``claim`` stands here: ``said`` are its terms to look for, ``asked`` those of the question."""
        hits = {key_of(term): self._hits(term) for term in said}
        around = {key_of(term): self._hits(term) for term in asked if key_of(term) not in hits}
        headed = {key_of(term): self._headed(term) for term in asked}
        having = {key: headed[key] | {sentence for sentence, _ in found} for key, found in around.items()}
        weights = {key: math.log(1 + len(self._sentences) / len(found)) for key, found in having.items() if found}
        covered = _shares(having, weights, len(self._sentences))
        worth = {key_of(term): _FIGURE if isinstance(term, Quantity) else 1 for term in said}
        standing = [{sentence for sentence, _ in found} for found in hits.values()]
        most = max(range(len(covered)), key=covered.__getitem__)
        at, near = _centre(hits, around, weights)
        sentence = most if at is None else at
        return Placement(
            held=sum(worth[key] for key, found in hits.items() if found) / sum(worth.values()),
            whole=bool(set.intersection(*standing)),
            near=near,
            behind=covered[most] - covered[sentence],
            outdone=at is not None and _fewer([each for each in having.values() if each], at, most),
            negated=negative(claim) != negative(self._sentences[sentence][1]),
            figures_held=all(hits[key_of(term)] for term in said if isinstance(term, Quantity)),
            sentence=sentence,
            expected=most,
            covered=covered[most],
        )

    def sentence(self, number: int) -> tuple[str, str]:
        """The id of its passage and the text of a sentence."""
        passage, text = self._sentences[number]
        return self._passages[passage].id, text

    def shown(self, *sentences: int) -> str:
        """The passages of these sentences as a reader is shown them, with their headings and headers of tables."""
        numbers = sorted({self._sentences[sentence][0] for sentence in sentences})
        passages = [self._passages[number] for number in numbers]
        parts = [(each.heading, each.table_header, each.text.strip()) for each in passages]
        return "\n\n".join("\n".join(filter(None, part)) for part in parts)

    def _hits(self, term: Term) -> list[tuple[int, int]]:
        if isinstance(term, Quantity):
            return [(n, at) for each, n, at in self._terms if isinstance(each, Quantity) and _is_one(term, each)]
        words = [{id(reading.words[n]) for n in reading.find(term.fold)} for reading in self._readings]
        found = set().union(*words)
        return [(n, at) for each, n, at in self._terms if id(each) in found]

    def _headed(self, term: Term) -> set[int]:
        """The sentences under headings that have a term."""
        under = {number for number, heading in enumerate(self._headings) if heading and is_in(term, heading)}
        return {n for n, (number, _) in enumerate(self._sentences) if number in under}


def _with_headers(text: str, header: str) -> str:
    """``text`` with rows of tables in Markdown as "column value, column value"; ``header`` is that of its first row."""
    columns, lines = _cells(header), []
    for line in text.splitlines():
        cells = _cells(line)
        if not cells:
            columns = []
            lines.append(line)
        elif not columns:
            columns = cells
            lines.append(", ".join(cells))
        elif any(cell.strip("-: ") for cell in cells):
            lines.append(", ".join(f"{column} {cell}" for column, cell in zip_longest(columns, cells, fillvalue="")))
    return "\n".join(lines)


def _cells(line: str) -> list[str]:
    """The cells of a table's row; empty for any other line."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")] if line.lstrip().startswith("|") else []


def key_of(term: Term) -> str:
    """What makes two terms of one text the same."""
    return term.fold if isinstance(term, Word) else term.text


def _is_one(wanted: Quantity, found: Quantity) -> bool:
    """Whether two figures are one value; a bound counts where both have one."""
    if not (wanted.bound and found.bound):
        wanted, found = replace(wanted, bound=""), replace(found, bound="")
    return same_value(wanted, found) or any(same_value(wanted, end) for end in found.parts)


def _shares(having: Mapping[str, set[int]], weights: Mapping[str, float], sentences: int) -> list[float]:
    """For each sentence, the share by weight of the terms that it has."""
    total = math.fsum(weights.values()) or 1.0
    return [math.fsum(w for key, w in weights.items() if n in having[key]) / total for n in range(sentences)]


def _fewer(having: Sequence[set[int]], one: int, other: int) -> bool:
    """Whether a sentence has some of the terms that another has, and none that it lacks."""
    return any(other in each and one not in each for each in having) and all(other in e for e in having if one in e)


def _centre(hits: _Hits, around: _Hits, weights: Mapping[str, float]) -> tuple[int | None, float]:
    """The sentence of the place with most of a claim and of the question around it, and how near the question is.

    None and 0 where no term of the claim stands anywhere.
    """
    near_said = {key: 1 / len(hits) for key in hits}
    present = {key: weight for key, weight in weights.items() if around[key]}
    total = math.fsum(present.values()) or 1.0
    near_asked = {key: weight / total for key, weight in present.items()}
    best: tuple[float, int, int | None, float] = (0.0, 0, None, 0.0)
    for sentence, at in sorted({hit for found in hits.values() for hit in found}):
        asked = _nearness(at, around, near_asked)
        best = max(best, (_nearness(at, hits, near_said) + asked, -at, sentence, asked), key=lambda one: one[:2])
    return best[2], best[3]


def _nearness(at: int, places: _Hits, weights: Mapping[str, float]) -> float:
    return math.fsum(
        weight * math.exp(-min(abs(at - place) for _, place in places[key]) / _NEAR)
        for key, weight in weights.items()
        if places[key]
    )
