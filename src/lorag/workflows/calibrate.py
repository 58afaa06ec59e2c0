"""Calibrate: on an index and the user's own questions, the cosine under which a question is about something else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lorag.errors import InputError
from lorag.evaluation.answers.scoring import clusters
from lorag.evaluation.examples import check_evidence, read_examples
from lorag.evaluation.search import relevance_threshold
from lorag.evaluation.search.relevance_threshold import Gate, Nearest, off_topic_questions
from lorag.evaluation.statistics import FEWEST_CLUSTERS
from lorag.files import read_text
from lorag.retrieval.knowledge import Knowledge
from lorag.retrieval.ranking import SearchResults
from lorag.settings import GATE_KEEP
from lorag.types import Example


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The gate, and how many questions of either kind it was found with."""

    gate: Gate
    questions: int
    off_topic: int


def calibrate(
    knowledge: Knowledge, questions: Path | str, off_topic: Path | str | None = None, keep: float = GATE_KEEP
) -> Calibrated:
    """The gate for this index that lets a share ``keep`` of the questions in.

    ``questions`` is a qa.jsonl, of which those with answers are taken. ``off_topic`` holds questions about other
    subjects, one per line; without it, a bundled list of everyday questions is taken. Raises ``InputError`` for fewer
    than 8 questions of either kind, and for an index without passages.
    """
    if not 0 < keep <= 1:
        raise InputError(f"keep {keep!r} is not a share of questions, expected more than 0 and at most 1")
    path = Path(questions)
    examples = [example for example in read_examples(path) if example.answers]
    check_evidence(examples, knowledge.documents(), path)
    others = off_topic_questions() if off_topic is None else _lines(Path(off_topic))
    for name, count in ((path, len(examples)), (off_topic, len(others))):
        if count < FEWEST_CLUSTERS:
            raise InputError(f"{str(name)!r} holds {count} questions to calibrate with, expected {FEWEST_CLUSTERS}")
    if not knowledge.count():
        raise InputError(f"{knowledge.name} is empty; fill it with `lorag index FOLDER`")
    documents = clusters(examples)
    own = [
        Nearest(sides.dense[0].score, _elsewhere(sides, example), document)
        for sides, example, document in zip(
            knowledge.candidates([example.question for example in examples]), examples, documents, strict=True
        )
    ]
    away = [Nearest(sides.dense[0].score) for sides in knowledge.candidates(others)]
    return Calibrated(relevance_threshold.calibrate(own, away, keep), len(own), len(away))


def _elsewhere(sides: SearchResults, example: Example) -> float | None:
    """The best cosine outside of the question's documents; the least of all candidates where these are all there is."""
    if not example.evidence:
        return None
    outside = [hit.score for hit in sides.dense if hit.chunk.document_id not in example.evidence]
    return max(outside, default=sides.dense[-1].score)


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]
