"""How many of the exact hits an approximate index of a store finds, measured in the same way for every store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lorag.types import Hit

RECALL_DEPTH = 10
"""Recall is the share of the ten nearest that are found."""
SAMPLE = 50
"""Questions on which recall is measured. Their five hundred neighbours tell 0.97 from 0.99."""
_COSINE = 0.8
"""How near a made question is to its passage: about as near as a real one is to the passage that answers it."""


def sample_rows(rows: int) -> list[int]:
    """The numbers of a few rows out of ``rows``, always the same ones, in order."""
    return sorted(np.random.default_rng(0).choice(rows, min(rows, SAMPLE), replace=False).tolist())


def like_questions(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each vector turned at random until its cosine with itself is that of a question with its passage.

    A stored vector itself would be too easy a question: the index was made from it.
    """
    noise = np.random.default_rng(0).normal(size=vectors.shape).astype(np.float32)
    noise -= (noise * vectors).sum(axis=1, keepdims=True) * vectors
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(_COSINE * vectors + np.sqrt(1 - _COSINE**2) * noise, dtype=np.float32)


def recall(found: Sequence[Sequence[Hit]], exact: Sequence[Sequence[Hit]]) -> float:
    """The mean share of each question's ``exact`` hits that are among those ``found``.

    What was found counts by its score, not by its name: of passages equally near, any will do.
    """
    shares = []
    for hits, nearest in zip(found, exact, strict=True):
        lowest = nearest[-1].score - 1e-6
        shares.append(sum(hit.score >= lowest for hit in hits) / len(nearest))
    return float(np.mean(shares))
