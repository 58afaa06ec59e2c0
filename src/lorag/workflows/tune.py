"""Tune: chunk size, fusion, reranking and the prompt are tried on the user's own documents and questions.

The passages of each chunk size are embedded once; what dense and lexical search found is then fused with every weight,
which is arithmetic. Reranking is tried last, on top of what was chosen, because it is the one that costs at every
question. With a language model, the prompt is chosen after that, over what was found to search best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from lorag import build
from lorag.chat.prompts import fitting_sources
from lorag.documents.load import load_documents
from lorag.errors import InputError
from lorag.evaluation.answers.scoring import clusters
from lorag.evaluation.examples import check_evidence, read_examples
from lorag.evaluation.search.best_settings import FEWEST_QUESTIONS, Choice, Way, choose, significant
from lorag.evaluation.search.ranking_scores import answering, documents_of, ranking_scores
from lorag.evaluation.statistics import Difference, Estimate, mean_interval, paired_difference
from lorag.files import dump, fingerprint, write_whole
from lorag.interfaces import Embedder, Progress, Reranker, no_progress
from lorag.models import catalogue
from lorag.retrieval.knowledge import Knowledge
from lorag.retrieval.ranking import Ranker, SearchResults
from lorag.settings import (
    DEFAULT_EMBEDDER,
    DEFAULT_RERANKER,
    ChatSettings,
    ChunkSettings,
    RetrievalSettings,
    SyncSettings,
)
from lorag.types import Document, Example, Hit
from lorag.workflows.comparing.prompt_tuning import TunedPrompt, tune_prompt

SIZES = (128, 256, 400)
WEIGHTS = (0.0, 0.3, 0.5, 0.7, 1.0)
IN_CONTEXT = "answer in context"
"""Whether a passage that holds an answer word for word is among those that fit into a prompt."""
OF_DOCUMENTS = "nDCG@10"
"""Of the documents, each at its best passage."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One way, or the chosen one with reranking, over all questions: for looking at, not for choosing by."""

    way: Way
    reranked: bool
    scores: dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class Tuned:
    """The settings of search that were tried, and the chosen ones."""

    measure: str
    """Name of the measure that decides."""
    tried: tuple[Tried, ...]
    """Scores of every combination of chunk size and weight, then of the chosen one with reranking."""
    choice: Choice
    """The chosen chunk size and weight."""
    rerank_gain: Difference | None
    """Gain of reranking over the choice; None if it was not tried."""
    questions: int
    """Number of questions that were scored."""
    unfit: tuple[str, ...]
    """Ids of the other questions: without answers, or without documents that contain them."""
    prompt: TunedPrompt | None = None
    """The chosen prompt; None without a model."""
    tried_reranker: str | None = None
    """Name of the reranker that was tried, or None."""

    @property
    def chunks(self) -> ChunkSettings:
        """The chosen chunk settings."""
        return ChunkSettings(max_tokens=self.choice.way.max_tokens)

    @property
    def reranker(self) -> str | None:
        """The reranker if its gain is significant, otherwise None."""
        return self.tried_reranker if self.rerank_gain is not None and significant(self.rerank_gain) else None


def tune(
    documents: Path | str,
    questions: Path | str,
    out: Path | str,
    *,
    rerank: bool = True,
    reranker: str = DEFAULT_RERANKER,
    embedder: str = DEFAULT_EMBEDDER,
    context_tokens: int = ChatSettings().context_tokens,
    model: str | None = None,
    progress: Progress = no_progress,
) -> Tuned:
    """Which chunk size, weight of dense search and reranking find more on your questions, and whether the gain is
    significant.

    Half of the questions choose, the other half measures. What counts is whether a passage with an answer is in the
    context, where at least half of the questions have an answer that stands word for word in one of their documents;
    else ``nDCG@10``.

    Args:
        documents: A folder, or one file.
        questions: A ``qa.jsonl`` with at least 16 questions that have answers and documents.
        out: Where the indexes are kept, so that a second call embeds nothing again, and ``result.json``.
        rerank: Whether reranking is tried.
        reranker: The name of the cross-encoder for it.
        embedder: The name of the embedder.
        context_tokens: The room for passages, in tokens of the embedder.
        model: The name of a model whose prompt is chosen as well, on all questions. None chooses no prompt.
        progress: Called as the work proceeds, with a stage and how much of it is done.

    Returns:
        What was tried and what was chosen.

    Raises:
        InputError: There are fewer than 16 such questions, or a document cannot be read.

    Examples:
        >>> tuned = lorag.tune("docs", "qa.jsonl", "tuning")
        >>> indexed = lorag.index("docs", "index", rebuild=True, chunks=tuned.chunks)
    """
    loaded = load_documents(documents).require_all().documents
    path, out = Path(questions), Path(out)
    everything = read_examples(path)
    check_evidence(everything, (document.id for document in loaded), path)
    examples = [example for example in everything if example.answers and example.evidence]
    if len(examples) < FEWEST_QUESTIONS:
        raise InputError(
            f"{str(path)!r} holds {len(examples)} questions with answers and doc_ids, expected at least"
            f" {FEWEST_QUESTIONS}: one half to choose on, the other to measure"
        )
    name = build.model_name(model, progress) if model is not None else None
    embedder = catalogue.available_embedder(embedder, {}, progress)
    by = build.embedder(embedder, progress)
    sweep = _Sweep(examples, by, context_tokens)
    for number, size in enumerate(SIZES):
        sweep.search(loaded, size, _index(out, embedder, size), progress)
        progress("indexing in chunks of several sizes", number + 1, len(SIZES))
    tuned = _decide(sweep, reranker if rerank else None, tuple(e.id for e in everything if e not in examples), progress)
    if name is not None:
        retrieval = RetrievalSettings(dense_weight=tuned.choice.way.dense_weight, reranker=tuned.reranker)
        place = _index(out, embedder, tuned.chunks.max_tokens)
        knowledge = build.knowledge(place, by, tuned.chunks, retrieval, progress)
        engine = build.language_model(name, progress=progress)
        tuned = replace(tuned, prompt=tune_prompt(engine, knowledge, retrieval, everything, out, progress))
    write_whole(out / "result.json", dump(asdict(tuned)))
    return tuned


def _index(out: Path, embedder: str, size: int) -> Path:
    """Where the index of one size of chunks lies."""
    return out / f"{fingerprint(embedder)}-{size}"


def _decide(sweep: _Sweep, reranker: str | None, unfit: tuple[str, ...], progress: Progress) -> Tuned:
    """Scores every way, chooses one, and tries reranking on it."""
    ways = [Way(size, weight) for size in SIZES for weight in WEIGHTS]
    columns = {way: sweep.scores(way) for way in ways}
    measure = IN_CONTEXT if sweep.verbatim >= 0.5 else OF_DOCUMENTS
    documents = clusters(sweep.examples)
    choice = choose({way: scores[measure] for way, scores in columns.items()}, documents)
    tried = [_tried(way, False, columns[way], sweep) for way in ways]
    gain = None
    if reranker is not None:
        reread = sweep.scores(choice.way, build.reranker(reranker, progress), progress)
        gain = paired_difference(reread[measure], columns[choice.way][measure], documents)
        tried.append(_tried(choice.way, True, reread, sweep))
    return Tuned(measure, tuple(tried), choice, gain, len(sweep.examples), unfit, tried_reranker=reranker)


def _tried(way: Way, reranked: bool, scores: dict[str, list[float]], sweep: _Sweep) -> Tried:
    documents = clusters(sweep.examples)
    return Tried(way, reranked, {measure: mean_interval(column, documents) for measure, column in scores.items()})


class _Sweep:
    """The questions, and what each of several indexes found for them."""

    def __init__(self, examples: Sequence[Example], embedder: Embedder, context_tokens: int) -> None:
        self.examples = examples
        self._embedder, self._room = embedder, context_tokens
        self._count = cache(embedder.count_tokens)
        self._sides: dict[int, list[SearchResults]] = {}
        self._answering: dict[int, list[frozenset[str]]] = {}

    @property
    def verbatim(self) -> float:
        """The share of questions with an answer that some passage holds, of whichever size."""
        held = [any(found[row] for found in self._answering.values()) for row in range(len(self.examples))]
        return sum(held) / len(held)

    def search(self, documents: Sequence[Document], size: int, folder: Path, progress: Progress) -> None:
        """Indexes the documents in chunks of ``size`` and searches for every question."""
        knowledge = Knowledge.open(folder, self._embedder, ChunkSettings(size), RetrievalSettings())
        knowledge.sync(documents, progress, settings=SyncSettings(max_removed_share=1))
        self._sides[size] = knowledge.candidates([example.question for example in self.examples])
        self._answering[size] = answering(knowledge.chunks(), self.examples)

    def scores(
        self, way: Way, reranker: Reranker | None = None, progress: Progress = no_progress
    ) -> dict[str, list[float]]:
        """Both measures for each question under one way."""
        name = None if reranker is None else reranker.name
        settings = RetrievalSettings(dense_weight=way.dense_weight, reranker=name)
        ranker = Ranker(settings, self._embedder, reranker)
        depth = 2 * settings.candidates if reranker is None else settings.depth
        found = []
        for number, (example, sides) in enumerate(zip(self.examples, self._sides[way.max_tokens], strict=True)):
            found.append(ranker.rank(example.question, sides, depth))
            progress("reranking", number + 1, len(self.examples))
        relevant = [example.evidence for example in self.examples]
        ranked = ranking_scores(relevant, [documents_of(hits) for hits in found], [OF_DOCUMENTS])
        held = zip(found, self._answering[way.max_tokens], strict=True)
        return {
            IN_CONTEXT: [float(self._in_context(hits, answers)) for hits, answers in held],
            OF_DOCUMENTS: [scores[OF_DOCUMENTS] or 0.0 for scores in ranked],
        }

    def _in_context(self, hits: Sequence[Hit], answers: frozenset[str]) -> bool:
        return any(hit.chunk.id in answers for hit in fitting_sources(hits, self._count, self._room))
