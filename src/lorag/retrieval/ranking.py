"""Two rankings of the same question become one."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.types import Hit


def fuse(dense: Sequence[Hit], lexical: Sequence[Hit], dense_weight: float, k: int) -> list[Hit]:
    """The ``k`` best chunks of both sides by ``dense_weight * dense + (1 - dense_weight) * lexical``, best first.

    Each side is first brought to the range 0 to 1: its lowest score to 0, its highest to 1 (all to 1 where they are
    equal, so also a single hit). A chunk that one side did not find has 0 there. Equal sums are ordered by chunk id,
    so the result does not depend on the order of the inputs. Hits are marked ``hybrid``.

    Convex combination with min-max normalisation: Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid
    Retrieval", ACM TOIS 2023, arXiv:2210.11934.
    """
    chunks = {hit.chunk.id: hit.chunk for hit in (*dense, *lexical)}
    scores = dict.fromkeys(chunks, 0.0)
    for hits, weight in ((dense, dense_weight), (lexical, 1 - dense_weight)):
        for chunk_id, score in _min_max(hits).items():
            scores[chunk_id] += weight * score
    best = sorted(scores, key=lambda chunk_id: (-scores[chunk_id], chunk_id))[:k]
    return [Hit(chunks[chunk_id], scores[chunk_id], "hybrid") for chunk_id in best]


def _min_max(hits: Sequence[Hit]) -> dict[str, float]:
    """Chunk ids with their scores stretched onto the range 0 to 1."""
    if not hits:
        return {}
    low, high = min(hit.score for hit in hits), max(hit.score for hit in hits)
    return {hit.chunk.id: (hit.score - low) / (high - low) if high > low else 1.0 for hit in hits}
