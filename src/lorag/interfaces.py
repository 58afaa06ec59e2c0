"""The seams of Lorag on one page. Every method takes and returns sequences in the same order, synchronously.

Implementations live in ``retrieval``, ``llm``, ``chat`` and ``evaluation``; ``build`` picks among them; nothing else
needs to know which one it holds.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lorag.types import Answer, Chunk, Completion, Entry, Example, Hit, LinearProbe, Prompt, Sampling, Score, Where

Among = AbstractSet[tuple[str, str]] | None
"""The ``(document_id, version)`` pairs whose chunks are searched; None for all."""


class Embedder(Protocol):
    """Texts in, unit vectors out. Of a passage of more than ``max_tokens`` the end may not be seen.

    ``identity`` names what decides the vectors of passages (weights, tokenizer, pooling): where it is the same, so are
    they. ``name`` is for people.
    """

    name: str
    identity: str
    dim: int
    max_tokens: int

    def embed(self, texts: Sequence[str], kind: Literal["query", "passage"]) -> NDArray[np.float32]:
        """An array of shape ``(len(texts), dim)``, rows of length 1, in order; ``(0, dim)`` for no texts."""
        ...

    def count_tokens(self, text: str) -> int:
        """The number of tokens of ``text``, special tokens left out, however long it is; sizes chunks."""
        ...


class Store(Protocol):
    """Chunks and their vectors on disk: many processes may read while one writes.

    Where a search is given ``among``, only chunks of these ``(document_id, version)`` pairs are searched, all of them:
    it returns what a search of everything would, cut down to these, with the same scores.
    """

    def add(self, chunks: Sequence[Chunk], vectors: NDArray[np.float32], texts: Sequence[str]) -> None:
        """Stores the chunks in one commit; ``texts`` are what is searched lexically. Adding twice is adding once.

        A chunk may come several times, with another text and vector each time: it is found by every one of them.
        """
        ...

    def remove(self, document_versions: Sequence[tuple[str, str]]) -> None:
        """Removes every chunk of these ``(document_id, version)`` pairs in one commit."""
        ...

    def search_dense(self, vectors: NDArray[np.float32], k: int, among: Among = None) -> list[list[Hit]]:
        """The ``k`` nearest texts for each row of ``(n, dim)``, scored by cosine, as hits on their chunks.

        There are fewer only where the store holds fewer. A large store may miss some of the nearest, but not ``among``
        given documents.
        """
        ...

    def search_lexical(self, queries: Sequence[str], k: int, among: Among = None) -> list[list[Hit]]:
        """Up to ``k`` texts for each query, scored by BM25, as hits on their chunks."""
        ...

    def chunks(self) -> list[Chunk]:
        """Every chunk, by document id, version and place in the document."""
        ...

    def optimize(self) -> float | None:
        """Does the upkeep that keeps searches quick, where any is due.

        Returns the recall@10 of an approximate index that was made for it, measured against exact search.
        """
        ...

    def versions(self) -> set[tuple[str, str]]:
        """Every ``(document_id, version)`` that has chunks here."""
        ...

    def count(self) -> int:
        """The number of texts."""
        ...


class Manifest(Protocol):
    """Which documents an index holds, in which version: what is not here is never shown, whatever the store holds."""

    def made_with(self) -> dict[str, str]:
        """What the index was made with: embedder, chunk size and the like."""
        ...

    def generation(self) -> int:
        """A number that grows with every ``commit``: while it stands still, so does the manifest."""
        ...

    def entries(self) -> dict[str, Entry]:
        """Every document by its id, in the order of the ids."""
        ...

    def current(self, document_versions: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of the ``(document_id, version)`` pairs that are in the manifest."""
        ...

    def chosen(self, where: Where) -> set[tuple[str, str]]:
        """The ``(document_id, version)`` pairs of the documents that ``where`` means."""
        ...

    def count_chunks(self) -> int:
        """The number of chunks of all documents."""
        ...

    def commit(self, entries: Sequence[Entry], removed: Iterable[str]) -> None:
        """Puts the entries in, over older ones of the same ids, and takes the removed ids out: all or nothing."""
        ...


class Index(Protocol):
    """A place that holds a store and its manifest: a folder, a database, or a bucket. ``str`` names it in messages.

    Ask for both at every use: they are other objects once another state is published.
    """

    @property
    def store(self) -> Store:
        """The chunks, current and leftover."""
        ...

    @property
    def manifest(self) -> Manifest:
        """What of them is current."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Keeps every other writer out while the block runs; raises ``StoreError`` when one does not let go.

        A process killed in the block leaves what was there before it, or what is there after it, for readers.
        """
        ...


class Retriever(Protocol):
    """Questions in, passages out, best first."""

    def retrieve(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """At most ``k`` hits for each query, best first; an empty list where nothing fits."""
        ...


class Reranker(Protocol):
    """Reads a question and a passage together."""

    name: str

    def score(self, query: str, passages: Sequence[str]) -> list[float]:
        """How well each passage fits, in order, higher is better; each whatever the others are."""
        ...


class LanguageModel(Protocol):
    """A chat model: messages in, text out. ``name`` identifies weights and adapter."""

    name: str

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion for each prompt, in order."""
        ...

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str, None, Completion]:
        """Pieces of one completion, and at the end, as what ``yield from`` gives, the completion itself.

        Joined, the pieces equal its text, and at temperature 0 that of ``generate``. Closed early, a stream leaves
        nothing held; what goes wrong on the way is raised to the reader.
        """
        ...

    def count_tokens(self, text: str) -> int:
        """The number of tokens of a plain text, without template or special tokens."""
        ...

    def room(self, prompt: Prompt, sampling: Sampling) -> int | None:
        """The tokens that the context has left beside ``prompt`` and its longest answer, below 0 where they do not fit.

        None where the context is not known.
        """
        ...


@runtime_checkable
class Likelihoods(Protocol):
    """A language model that tells how likely it finds given answers."""

    def likelihoods(self, answered: Sequence[tuple[Prompt, str]]) -> list[list[float]]:
        """For each answer to a prompt, the logarithm of the probability of each of its tokens, its end left out."""
        ...


@runtime_checkable
class HiddenStates(LanguageModel, Protocol):
    """A language model whose layers can be read, and that can be kept from answering by what one of them shows."""

    @property
    def layers(self) -> int:
        """How many layers it has."""
        ...

    def states(self, prompts: Sequence[Prompt], layer: int) -> NDArray[np.float32]:
        """What ``layer`` gives after each prompt, ``(prompts, width)``; layer 0 are the token embeddings."""
        ...

    def probing(self, probe: LinearProbe | None) -> LanguageModel:
        """The same model, answering no prompt that ``probe`` refuses; without a probe where it is None."""
        ...


@runtime_checkable
class Responder(Protocol):
    """Whatever answers questions: a ``ChatBot``, or any function of yours wrapped in five lines."""

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """One answer for each question, in order; a failed one carries ``error``."""
        ...


class Metric(Protocol):
    """A way to score answers against references."""

    @property
    def name(self) -> str:
        """What its scores are called."""
        ...

    def score(self, examples: Sequence[Example], answers: Sequence[Answer]) -> list[Score]:
        """One score for each pair, in order; its value is None where the metric does not apply."""
        ...


class LossNote(str):
    """A note of ``Progress``: the loss of a training step."""

    loss: float

    def __new__(cls, loss: float) -> LossNote:
        """The note as it is shown."""
        note = super().__new__(cls, f"loss {loss:.2f}")
        note.loss = loss
        return note

    def __reduce__(self) -> tuple[type[LossNote], tuple[float]]:
        """How it reaches another process: by its loss."""
        return LossNote, (self.loss,)


class Progress(Protocol):
    """Where long work says how far it is; surfaces draw it, libraries only call it."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """``done`` of ``total`` units of ``stage`` are finished; ``note`` is what is worth saying of it now."""
        ...


def no_progress(stage: str, done: int, total: int, note: str = "") -> None:
    """A ``Progress`` that draws nothing."""
