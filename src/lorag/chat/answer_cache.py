"""Answers that are given again to a question that means the same, until the index or the model changes.

Two questions count as the same when their vectors are close and they hold the same names and numbers: "How long does
an R4 run?" is close to the question about the R9, and is another. Answers are kept for the life of the process.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lorag.interfaces import Embedder
from lorag.types import Answer, Usage

_MOST = 1000
"""Answers kept; the oldest make room."""
_NAMED = re.compile(r"(?<=\s)\w*[A-Z0-9]\w*")
"""Names and numbers after the first word, which is written large anyway."""


@dataclass(frozen=True, slots=True)
class _Entry:
    vector: NDArray[np.float32]
    names: frozenset[str]
    answer: Answer


class AnswerCache:
    """Finds the answer to a question asked before in other words, or keeps a new one."""

    def __init__(self, embedder: Embedder, similarity: float, index_state: Callable[[], str]) -> None:
        """``similarity`` is the least cosine of two questions that mean the same; ``index_state`` tells a change."""
        self._embedder, self._similarity, self._index_state = embedder, similarity, index_state
        self._entries: deque[_Entry] = deque(maxlen=_MOST)
        self._valid_for = ""

    def state(self, model: str) -> str:
        """What an answer by ``model`` depends on now; to be read before the question is searched for."""
        return f"{model}\n{self._index_state()}"

    def find(self, question: str, state: str) -> Answer | None:
        """The kept answer to the nearest question that means the same, marked as ``cached``; else None.

        Everything kept in another state is dropped.
        """
        if state != self._valid_for:
            self._entries.clear()
            self._valid_for = state
        entry = self._entry(question, Answer(""))
        same = [kept for kept in self._entries if kept.names == entry.names]
        nearest = max(same, key=lambda kept: float(kept.vector @ entry.vector), default=None)
        if nearest is None or float(nearest.vector @ entry.vector) < self._similarity:
            return None
        return replace(nearest.answer, usage=Usage(), cached=True)

    def keep(self, question: str, state: str, answer: Answer) -> None:
        """Keeps a whole answer that was made in ``state``, unless another state has come since."""
        if answer.error is None and not answer.truncated and state == self._valid_for:
            self._entries.append(self._entry(question, answer))

    def _entry(self, question: str, answer: Answer) -> _Entry:
        (vector,) = self._embedder.embed([question], "query")
        return _Entry(vector, frozenset(_NAMED.findall(question)), answer)
