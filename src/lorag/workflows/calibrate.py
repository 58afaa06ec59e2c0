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
    """The relevance threshold for an index, and the number of questions that it was chosen on."""

    gate: Gate
    """The threshold, as a cosine, and how well it separates the questions."""
    questions: int
    """Number of your own questions."""
    off_topic: int
    """Number of questions about other topics."""


def calibrate(
    knowledge: Knowledge, questions: Path | str, off_topic: Path | str | None = None, keep: float = GATE_KEEP
) -> Calibrated:
    """The cosine below which a question is about something else, for this index and its embedder.

    Args:
        knowledge: The index, with passages in it.
        questions: A ``qa.jsonl``, of which the questions with answers are taken.
        off_topic: A file of questions about other subjects, one per line. None takes a bundled list of everyday
            questions.
        keep: The share of your own questions that the threshold lets in, above 0 and at most 1.

    Returns:
        The threshold, and what it does to questions that it was not chosen on.

    Raises:
        InputError: There are fewer than 8 questions of either kind, or the index is empty.

    Examples:
        >>> indexed = lorag.index("docs", "index")
        >>> found = lorag.calibrate(lorag.knowledge("index"), "qa.jsonl")
        >>> found.questions, 0 < found.gate.cosine < 1
        (8, True)
        >>> settings = lorag.RetrievalSettings(gate_cosine=found.gate.cosine)
        >>> lorag.search("How do I bake bread?", "index", retrieval=settings)
        []
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
