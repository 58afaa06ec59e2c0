"""Everything an index holds, for every question: a ``Retriever`` for models whose context has room for all of it."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.types import Chunk, Hit

ALL_TOKENS = 2**31
"""Room for sources that leaves none out."""


class WholeIndex:
    """The passages of all documents, in their order, whatever is asked: prompts then begin alike."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        """``chunks`` in the order in which they are to stand."""
        self._hits = [Hit(chunk, 1.0, "whole") for chunk in chunks]

    def retrieve(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """All passages for each query; ``k`` has no say."""
        return [self._hits for _ in queries]
