"""What two searches found for a question becomes the passages handed on: fused, left out, and chosen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from lorag.documents.chunking import searched_text
from lorag.interfaces import Embedder, Reranker
from lorag.settings import Fusion, RetrievalSettings
from lorag.types import Hit

_RANK_OFFSET = 60
"""The constant of reciprocal rank fusion, as its authors chose it: how slowly a rank loses its worth."""


@dataclass(frozen=True, slots=True)
class SearchResults:
    """What the two searches found for one question, each side best first and each chunk once in it."""

    dense: list[Hit]
    lexical: list[Hit]


class Ranker:
    """From what two searches found to the passages handed on: fused, left out, and chosen as the settings say."""

    def __init__(self, settings: RetrievalSettings, embedder: Embedder, reranker: Reranker | None = None) -> None:
        """``embedder`` is the one that the passages are indexed with, ``reranker`` the one that the settings name."""
        if (reranker and reranker.name) != settings.reranker:
            raise ValueError(f"the settings name the reranker {settings.reranker!r}, but {reranker!r} is given")
        self._settings, self._embedder, self._reranker = settings, embedder, reranker

    @property
    def needs_vectors(self) -> bool:
        """Whether dense search has to be asked: for its passages, or for cosines."""
        return self._settings.dense_weight > 0 or self._settings.leaves_out

    def rank(self, query: str, sides: SearchResults, k: int, vector: NDArray[np.float32] | None = None) -> list[Hit]:
        """The ``k`` best of what was found for ``query``; ``vector``, of shape ``(dim,)``, is for ``min_cosine``."""
        settings = self._settings
        nearest = sides.dense[0].score if sides.dense else -math.inf
        if settings.gate_cosine is not None and nearest < settings.gate_cosine:
            return []
        hits = fuse(sides, settings.dense_weight, settings.fusion)
        choosing = self._reranker is not None or settings.mmr_lambda is not None
        choice = max(k, settings.depth) if choosing else k
        if settings.min_cosine is not None:
            if vector is None:
                raise ValueError("min_cosine needs the vector of the question")
            hits = list(islice(self._near(hits, sides.dense, vector, settings.min_cosine), choice))
        hits = hits[:choice]
        if self._reranker is not None:
            hits = rerank(query, hits, self._reranker, settings.rerank_weight)
        if settings.mmr_lambda is not None:
            hits = diverse(hits, self._vectors(hits), settings.mmr_lambda, k)
        return hits[:k]

    def _near(
        self, hits: Sequence[Hit], dense: Sequence[Hit], vector: NDArray[np.float32], min_cosine: float
    ) -> Iterator[Hit]:
        """Those of the hits whose passages have at least this cosine with ``vector``.

        A passage that dense search did not return is no nearer than the last that it did; only where that one is near
        enough, the passage has to be looked at.
        """
        cosines = {hit.chunk.id: hit.score for hit in dense}
        open_end = bool(dense) and dense[-1].score >= min_cosine
        for hit in hits:
            cosine = cosines.get(hit.chunk.id)
            if cosine is None and open_end:
                cosine = float(self._vectors([hit])[0] @ vector)
            if cosine is not None and cosine >= min_cosine:
                yield hit

    def _vectors(self, hits: Sequence[Hit]) -> NDArray[np.float32]:
        """The vectors of the hits' passages, shape ``(len(hits), dim)``."""
        return self._embedder.embed([searched_text(hit.chunk) for hit in hits], "passage")


def fuse(sides: SearchResults, dense_weight: float, fusion: Fusion = "convex") -> list[Hit]:
    """All chunks of both sides by ``dense_weight * dense + (1 - dense_weight) * lexical``, best first.

    ``convex``: each side is first scaled to 0 to 1, its lowest score to 0, its highest to 1 (all to 1
    where they are equal, so also a single hit). ``rrf``: a side's score is ``1 / (60 + rank)``, from rank 1 on. A
    chunk that one side did not find has 0 there. Equal sums are ordered by chunk id, so the result does not depend
    on the order of the inputs. Hits are marked ``hybrid``.

    With all weight on one side its hits come back as they are, in its own scores (cosines, or BM25).

    Convex combination with min-max normalisation: Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid
    Retrieval", ACM TOIS 2023, arXiv:2210.11934. Ranks: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion
    Outperforms Condorcet and Individual Rank Learning Methods", SIGIR 2009.
    """
    if dense_weight in (0, 1):
        return best_first(sides.dense if dense_weight else sides.lexical)
    shares = _min_max if fusion == "convex" else _reciprocal_ranks
    chunks = {hit.chunk.id: hit.chunk for hit in (*sides.dense, *sides.lexical)}
    scores = _combined(shares(sides.dense), shares(sides.lexical), dense_weight)
    return best_first([Hit(chunk, scores[chunk_id], "hybrid") for chunk_id, chunk in chunks.items()])


def best_first(hits: Iterable[Hit]) -> list[Hit]:
    """Sorted by score; equal scores by chunk id, so that the order is always the same."""
    return sorted(hits, key=lambda hit: (-hit.score, hit.chunk.id))


def rerank(query: str, hits: Sequence[Hit], reranker: Reranker, weight: float = 1.0) -> list[Hit]:
    """All of the hits, best first by ``weight * reranker's score + (1 - weight) * own``, and marked ``reranked``.

    Both are first scaled to 0 to 1 over ``hits``. With all weight on the reranker its scores are kept.
    """
    scores = reranker.score(query, [searched_text(hit.chunk) for hit in hits])
    read = [Hit(hit.chunk, score, "reranked") for hit, score in zip(hits, scores, strict=True)]
    if weight < 1:
        sums = _combined(_min_max(read), _min_max(hits), weight)
        read = [Hit(hit.chunk, sums[hit.chunk.id], "reranked") for hit in hits]
    return best_first(read)


def diverse(hits: Sequence[Hit], vectors: NDArray[np.float32], relevance: float, k: int) -> list[Hit]:
    """``k`` of the hits, each chosen for ``relevance * score - (1 - relevance) * nearness``, in the order of choice.

    ``score`` is the hit's own, scaled to 0 to 1 over ``hits``; ``nearness`` is the cosine with the nearest
    hit chosen before it. ``vectors`` are the hits' unit vectors, shape ``(len(hits), dim)``. Of equals the first
    comes first. Scores stay as they were, and so do not fall from hit to hit.

    Maximal marginal relevance: Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering
    Documents and Producing Summaries", SIGIR 1998.
    """
    shares = _min_max(hits)
    gains = relevance * np.array([shares[hit.chunk.id] for hit in hits])
    nearness = np.zeros(len(hits))
    chosen: list[int] = []
    left = list(range(len(hits)))
    while left and len(chosen) < k:
        best = max(left, key=lambda row: gains[row] - (1 - relevance) * nearness[row])
        chosen.append(best)
        left.remove(best)
        cosines = vectors @ vectors[best]
        nearness = np.maximum(nearness, cosines) if len(chosen) > 1 else cosines
    return [hits[row] for row in chosen]


def _combined(first: Mapping[str, float], second: Mapping[str, float], weight: float) -> dict[str, float]:
    """``weight * first + (1 - weight) * second`` for every chunk of either; one that a side lacks is 0 there."""
    return {key: weight * first.get(key, 0.0) + (1 - weight) * second.get(key, 0.0) for key in {**first, **second}}


def _min_max(hits: Sequence[Hit]) -> dict[str, float]:
    """Chunk ids with their scores stretched onto the range 0 to 1."""
    if not hits:
        return {}
    low, high = min(hit.score for hit in hits), max(hit.score for hit in hits)
    return {hit.chunk.id: (hit.score - low) / (high - low) if high > low else 1.0 for hit in hits}


def _reciprocal_ranks(hits: Sequence[Hit]) -> dict[str, float]:
    """Chunk ids with the reciprocal of their rank by score, lowered by the offset."""
    return {hit.chunk.id: 1 / (_RANK_OFFSET + rank) for rank, hit in enumerate(best_first(hits), start=1)}
