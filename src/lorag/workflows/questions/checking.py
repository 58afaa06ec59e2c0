"""Check test questions before a comparison is built on them: what leaks, repeats, contradicts or proves too little."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from lorag.documents.load import load_documents
from lorag.evaluation.answers.metrics import NewContentRecall, contains
from lorag.evaluation.answers.scoring import clusters
from lorag.evaluation.examples import check_evidence, not_to_be_taught, read_examples
from lorag.evaluation.statistics import FEWEST_CLUSTERS, detectable_difference, effective_documents
from lorag.files import read_jsonl
from lorag.training.data.conversations import read_outcomes
from lorag.training.data.inspection import TestQuestions, placed
from lorag.types import Example
from lorag.workflows.questions.apart import asked_sections, lies_in
from lorag.workflows.questions.value_variants import has_number
from lorag.workflows.synthesize import plain_words

Ids = tuple[str, ...]
"""Questions by their ids."""


@dataclass(frozen=True, slots=True)
class QuestionReport:
    """What is wrong with test questions, by their ids, and what they can show."""

    questions: int
    unanswerable: int
    leaks: Ids | None
    """Asked, or nearly, by a training conversation, or about a section that one is made from; None without training
    data."""
    repeated: Ids
    """Ask what an earlier question asks, with an answer in common."""
    ambiguous: Ids
    """Ask what another question asks and answer otherwise, or have references with different figures."""
    unsupported: Ids
    """Have references of which none stands in their documents, or answers without any document."""
    one_sided: Ids
    """Were made of two documents of which one alone holds all of the evidence."""
    given_away: Ids
    """Hold a reference themselves, and are no choice between two things."""
    single: Ids
    """Have one reference; a right answer in other words may be counted as wrong."""
    documents: int
    effective_documents: float
    detectable: float | None
    """The smallest difference between two arms that these questions show with a power of 0.8; None where none does."""

    @property
    def too_few_documents(self) -> bool:
        """Whether a verdict will hold for these documents only."""
        return self.effective_documents < FEWEST_CLUSTERS

    @property
    def sound(self) -> bool:
        """Whether nothing would make a verdict wrong; single references and few documents only weaken it."""
        return not (self.leaks or self.repeated or self.ambiguous or self.unsupported or self.one_sided)


def check_questions(questions: Path | str, documents: Path | str, *, train: Path | str | None = None) -> QuestionReport:
    """What is wrong with the questions of a ``qa.jsonl`` about these documents, and what they can show.

    Raises ``DataError`` for files that cannot be read, and for a question about a document that does not exist.
    """
    examples = read_examples(Path(questions))
    read = load_documents(documents).require_all().documents
    check_evidence(examples, [document.id for document in read], Path(questions))
    groups = clusters(examples)
    repeated, ambiguous = _repeated(examples)
    texts = {document.id: document.text for document in read}
    return QuestionReport(
        questions=len(examples),
        unanswerable=sum(not example.answers for example in examples),
        leaks=_leaks(examples, Path(train)) if train is not None else None,
        repeated=repeated,
        ambiguous=_ordered(examples, {*ambiguous, *_contradicting(examples)}),
        unsupported=_unsupported(examples, texts),
        one_sided=tuple(e.id for e in examples if _needs_two(e) and _holding(e, texts) > 0),
        given_away=tuple(
            e.id
            for e in examples
            if not (_is_yes_no(e) or _needs_two(e))
            and any(contains(asked, e.answers) for asked in not_to_be_taught([e]))
        ),
        single=tuple(e.id for e in examples if len(e.answers) == 1 and not _is_yes_no(e)),
        documents=len({name for example in examples for name in example.evidence}),
        effective_documents=effective_documents(groups),
        detectable=detectable_difference(groups),
    )


def _leaks(examples: Sequence[Example], train: Path) -> Ids:
    """The questions that training data asks or nearly asks, holds, or answers from the same section."""
    conversations = [conversation for _, conversation in placed(read_outcomes(train))]
    taught = TestQuestions([c.question for c in conversations if not c.is_text], plain_words)
    texts = [f" {plain_words(c.opening)} " for c in conversations if c.is_text]
    spans = _spans(train)
    return tuple(
        example.id
        for example in examples
        if any(map(taught.nearly_asks, not_to_be_taught([example])))
        or any(f" {plain_words(asked)} " in text for text in texts for asked in not_to_be_taught([example]))
        or any(lies_in(*span, asked_sections([example])) for span in spans)
    )


def _spans(train: Path) -> list[tuple[str, int, int]]:
    """What the rows of a file were made from, where they name it: document, first and last character."""
    rows = [row for _, row in read_jsonl(train)] if train.suffix == ".jsonl" and train.is_file() else []
    return [(row["doc_ids"][0], *row["span"]) for row in rows if row.get("doc_ids") and row.get("span")]


def _repeated(examples: Sequence[Example]) -> tuple[Ids, Ids]:
    """Later questions in the words of an earlier one: with an answer in common, and without one.

    Other wordings of made questions count as questions.
    """
    first: dict[str, Example] = {}
    repeated: dict[str, None] = {}
    ambiguous: dict[str, None] = {}
    for example in examples:
        for asked in not_to_be_taught([example]):
            earlier = first.setdefault(plain_words(asked), example)
            if earlier is not example:
                common = _plain(earlier) & _plain(example) or not (earlier.answers or example.answers)
                (repeated if common else ambiguous)[example.id] = None
    return tuple(repeated), tuple(ambiguous)


def _plain(example: Example) -> set[str]:
    return {plain_words(answer) for answer in example.answers}


def _contradicting(examples: Sequence[Example]) -> list[str]:
    """Questions with two references whose figures are different ones."""
    is_right = NewContentRecall.fit(examples).is_right
    return [
        example.id
        for example in examples
        if any(
            not (is_right(one, example.question, [other]) or is_right(other, example.question, [one]))
            for one, other in combinations(filter(has_number, example.answers), 2)
        )
    ]


def _unsupported(examples: Sequence[Example], texts: Mapping[str, str]) -> Ids:
    holds = NewContentRecall.fit(examples).holds

    def is_supported(example: Example) -> bool:
        if _needs_two(example):
            return _stands(example, texts)
        return _is_yes_no(example) or any(
            holds(texts.get(name, ""), example.question, example.answers) for name in example.evidence
        )

    return tuple(e.id for e in examples if e.answers and not (e.evidence and is_supported(e)))


def _needs_two(example: Example) -> bool:
    """Whether it is a made question of two documents, with where its evidence stands."""
    return example.meta.get("kind") == "two-document" and "spans" in example.meta


def _stands(example: Example, texts: Mapping[str, str]) -> bool:
    """Whether each of the evidence documents has its part of the evidence."""
    parts = zip(example.evidence, _parts(example), strict=False)
    return all(part in texts.get(name, "") for name, part in parts)


def _holding(example: Example, texts: Mapping[str, str]) -> int:
    """How many of the evidence documents hold all of the evidence."""
    return sum(all(contains(texts.get(name, ""), [part]) for part in _parts(example)) for name in example.evidence)


def _parts(example: Example) -> list[str]:
    return list(json.loads(example.meta.get("evidence", "[]")))


def _is_yes_no(example: Example) -> bool:
    return any(plain_words(answer) in ("yes", "no") for answer in example.answers)


def _ordered(examples: Sequence[Example], ids: Iterable[str]) -> Ids:
    chosen = set(ids)
    return tuple(example.id for example in examples if example.id in chosen)
