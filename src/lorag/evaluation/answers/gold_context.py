"""The ceiling of retrieval: what a model answers when the right passages are handed to it."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.errors import InputError
from lorag.evaluation.answers.metrics import NewContentRecall, content_words
from lorag.interfaces import Retriever
from lorag.types import Chunk, Example, Hit


class EvidenceRetriever:
    """A ``Retriever`` that knows each question's evidence documents and returns their passages.

    Best first: passages that hold a reference (as ``NewContentRecall.holds`` sees it), then by the share of the
    question's content words in heading and text, then in the order of ``chunks``. The score is that share, plus 1
    where a reference is held. A question without evidence, such as one that the documents do not answer, gets what
    ``search`` finds: without sources, refusing it would be no achievement.
    """

    def __init__(self, chunks: Sequence[Chunk], examples: Sequence[Example], search: Retriever | None = None) -> None:
        """Over ``chunks``, for the questions of ``examples``; without ``search``, some get no passages."""
        self._search = search
        self._recall = NewContentRecall.fit(examples)
        self._known: dict[str, list[Example]] = {}
        for example in examples:
            self._known.setdefault(example.question, []).append(example)
        self._chunks: dict[str, list[Chunk]] = {}
        for chunk in chunks:
            self._chunks.setdefault(chunk.document_id, []).append(chunk)

    def retrieve(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """At most ``k`` passages for each query, best first. Raises ``InputError`` for a question it does not know."""
        found = {query: self._passages(query)[:k] for query in queries}
        if self._search is not None:
            missing = [query for query in found if not any(example.evidence for example in self._known[query])]
            found |= zip(missing, self._search.retrieve(missing, k), strict=True)
        return [found[query] for query in queries]

    def _passages(self, query: str) -> list[Hit]:
        if query not in self._known:
            raise InputError(
                f"no evidence is known for the question {query!r}; the ceiling answers only the questions it was "
                "made with, word for word"
            )
        references = [reference for example in self._known[query] for reference in example.answers]
        documents = dict.fromkeys(name for example in self._known[query] for name in example.evidence)
        words = content_words(query)
        hits = []
        for chunk in (chunk for name in documents for chunk in self._chunks.get(name, ())):
            share = len(words & content_words(f"{chunk.heading} {chunk.text}")) / len(words) if words else 0.0
            held = self._recall.holds(chunk.text, query, references)
            hits.append(Hit(chunk, share + held, "evidence"))
        return sorted(hits, key=lambda hit: -hit.score)
