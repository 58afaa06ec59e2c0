"""Knowledge: documents that are kept in step with their sources and searched by meaning and by words.

Writing has an order: the new chunks, then the manifest, then the old chunks out. Where store and manifest cannot commit
together, a process killed in between leaves chunks that the manifest does not name; they are never shown, and the next
``sync`` uses them or drops them.

A removed or vanished document leaves the index at the next ``sync``. One whose file could not be read does not, and a
``sync`` that would remove a large share of the documents is refused: half a folder looks like half of it deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lorag.documents.chunking import passages
from lorag.errors import InputError, StoreError
from lorag.files import fingerprint
from lorag.interfaces import Among, Embedder, Index, Manifest, Progress, Reranker, Store, no_progress
from lorag.retrieval.backends.location import IndexLocation, made_with, open_index
from lorag.retrieval.encoders.vector_cache import CachedEmbedder
from lorag.retrieval.filters import read_where, refuse
from lorag.retrieval.portions import in_groups, in_parts, mapped
from lorag.retrieval.ranking import Ranker, SearchResults
from lorag.retrieval.second_search import asks_for_two, search_twice
from lorag.settings import ChunkSettings, RetrievalSettings, SyncSettings
from lorag.types import Chunk, Document, Entry, Hit, Where

T = TypeVar("T")

_FORMAT = "4"
"""Raised when an index of an older Lorag can no longer be read."""
_CUT, _PIECES = "chunk tokens", re.compile(r"(\d+)(?: in pieces of (\d+))?")
"""What an index names the sizes of its chunks by, and how they are written."""
_EMBED_CHUNKS = 64
"""Chunks embedded between two calls of ``progress``: a second or two."""
_COMMIT_CHUNKS = 512
"""Chunks written in one commit, rounded up to whole documents: what a kill can cost."""
_QUERIES_AT_ONCE = 32
"""Questions searched against one state of the index."""
_LISTED = 10_000
"""Largest number of documents passed to a store as a filter; reading so many names takes half a second. With more, the
results of a search of everything are filtered."""
_ATTEMPTS = 5
"""Times a search is repeated because the index changed under it."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a ``sync`` changed, in documents; ``chunks`` is the number of chunks in the index afterwards.

    ``kept`` are the ids of documents left unchanged because their file could not be read. ``recall`` is the share of
    the ten nearest passages that dense search finds, measured when an approximate index was built or rebuilt.
    """

    added: int
    updated: int
    removed: int
    unchanged: int
    chunks: int
    kept: tuple[str, ...] = ()
    recall: float | None = None


class Knowledge:
    """A ``Retriever`` over the documents of one index. Many processes may read while one writes.

    ``lorag.knowledge`` opens one by the names of its embedder and reranker.

    Examples:
        >>> knowledge = lorag.knowledge("index")
        >>> report = knowledge.sync(lorag.load_documents("docs").documents)
        >>> report.added, report.chunks
        (2, 2)
        >>> ((best, *rest),) = knowledge.retrieve(["Where is the office?"], k=5)
        >>> best.chunk.document_id
        'office.md'
    """

    def __init__(
        self,
        index: Index,
        embedder: Embedder,
        chunks: ChunkSettings,
        retrieval: RetrievalSettings,
        reranker: Reranker | None = None,
    ) -> None:
        """Combines parts without checking that they match; ``open`` checks that.

        Args:
            index: Stores chunks, vectors and manifest.
            embedder: The embedder that the index was made with.
            chunks: How documents are split.
            retrieval: How passages are found.
            reranker: Reranks the best passages; None keeps their order.
        """
        self.name = str(index)
        self._index, self.embedder = index, embedder
        self._chunk_settings, self._settings = chunks, retrieval
        self._ranker = Ranker(retrieval, embedder, reranker)
        self._may_search_twice = retrieval.second_search and retrieval.min_cosine is None

    @classmethod
    def open(
        cls,
        place: IndexLocation,
        embedder: Embedder,
        chunks: ChunkSettings,
        retrieval: RetrievalSettings,
        reranker: Reranker | None = None,
    ) -> Knowledge:
        """The index in a folder, database or bucket; a missing one is created.

        Args:
            place: A folder, or the URL of a database or bucket.
            embedder: The embedder that the index was made with.
            chunks: How documents are split.
            retrieval: How passages are found.
            reranker: Reranks the best passages; None keeps their order.

        Returns:
            The index, open for reading and writing.

        Raises:
            StoreError: The index was made with another embedder or chunk size, or it is damaged.
        """
        wanted = {
            "format": _FORMAT,
            "embedder": embedder.name,
            "dim": str(embedder.dim),
            "weights": embedder.identity,
            _CUT: _told(chunks),
        }
        index = open_index(place, wanted, embedder.dim, retrieval.exact_up_to)
        return cls(index, embedder, chunks, retrieval, reranker)

    @property
    def _store(self) -> Store:
        return self._index.store

    @property
    def _manifest(self) -> Manifest:
        return self._index.manifest

    def sync(
        self,
        documents: Sequence[Document],
        progress: Progress = no_progress,
        *,
        unread: Collection[str] = (),
        add_only: bool = False,
        settings: SyncSettings | None = None,
        at_once: int = 1,
    ) -> SyncReport:
        """Updates the index to contain exactly these documents; only new texts are embedded.

        Readers see all of the change or nothing of it.

        Args:
            documents: All documents, each with its own id.
            progress: Called with the number of chunks that were embedded.
            unread: Sources that could not be read. Their documents stay in the index unchanged.
            add_only: Keeps documents that are not given.
            settings: How many documents may be removed at once.
            at_once: Number of threads that call the embedder.

        Returns:
            Numbers of changed documents.

        Raises:
            InputError: Two documents have one id, or more would be removed than ``settings`` allow.
            StoreError: Another process is writing.
        """
        by_id = {document.id: document for document in documents}
        if len(by_id) < len(documents):
            twice = next(document.id for document in documents if by_id[document.id] is not document)
            raise InputError(f"two documents have the id {twice!r}; ids must be unique: rename one")
        with self._keeping_vectors(), self._index.writing():
            before = self._manifest.entries()
            missing = before.keys() - by_id.keys()
            kept = {document_id for document_id in missing if add_only or before[document_id].source in unread}
            removed = missing - kept
            _require_few(len(removed), len(before), settings or SyncSettings())
            stored = self._drop_leftovers({(document.id, document.version) for document in documents}, before)
            changed = [document for document in documents if _differs(document, before.get(document.id))]
            entries = self._add(changed, stored, progress, at_once)
            recall = None
            if entries or removed:
                self._manifest.commit(entries, removed)
                self._store.remove(sorted(_versions(before) - _versions(self._manifest.entries())))
                recall = self._store.optimize()
            updated = sum(entry.id in before and entry.version != before[entry.id].version for entry in entries)
            added = len(by_id.keys() - before.keys())
            unchanged, chunks = len(by_id) - added - updated, self._manifest.count_chunks()
            return SyncReport(added, updated, len(removed), unchanged, chunks, tuple(sorted(kept)), recall)

    def remove(self, document_ids: Collection[str]) -> int:
        """Removes these documents from the index in one commit.

        Args:
            document_ids: Ids of documents; one that the index does not hold is ignored.

        Returns:
            The number of documents that were removed.

        Raises:
            StoreError: Another process is writing.
        """
        with self._index.writing():
            before = self._manifest.entries()
            removed = {document_id: before[document_id] for document_id in document_ids if document_id in before}
            if removed:
                self._manifest.commit([], removed)
                self._store.remove(sorted(_versions(removed)))
                self._store.optimize()
            return len(removed)

    def retrieve(
        self, queries: Sequence[str], k: int, where: Mapping[str, str | Sequence[str]] | None = None
    ) -> list[list[Hit]]:
        """The passages that fit each query best. Only those of current documents come back, also while another
        process writes.

        For a question with a relative clause, places 4 and 5 are for a second search
        (``RetrievalSettings.second_search``).

        Args:
            queries: Questions, or other texts.
            k: Maximum number of passages for each of them.
            where: Restricts the search to documents that have, for each key, a value like its pattern, or like one of
                its patterns: ``{"type": "pdf", "id": ["manuals/*", "faq.md"]}``. Keys are those of
                ``Document.attributes``; ``*`` stands for any text and ``?`` for any character.

        Returns:
            At most ``k`` hits for each query, in its order, the best first; an empty list where nothing fits.

        Raises:
            InputError: There is no such document, or ``k`` is below 1.
        """
        if k < 1:
            raise InputError(f"k {k!r} is below 1; ask for at least one passage")
        meant = read_where(where or {})
        hits: list[list[Hit]] = []
        ranked = partial(self._ranked, where=meant)
        for texts in in_parts(_as_text(queries), _QUERIES_AT_ONCE):
            if self._may_search_twice and any(map(asks_for_two, texts)):
                hits += self._undisturbed(partial(search_twice, texts, k, ranked))
            else:
                hits += ranked(texts, k)
        return hits

    def only(self, where: Mapping[str, str | Sequence[str]]) -> Selection:
        """A ``Retriever`` over some of the documents; which ones is looked up at every search.

        Args:
            where: As in ``retrieve``.

        Returns:
            What finds passages of these documents.

        Raises:
            InputError: There is no such document.
        """
        self._chosen(read_where(where))
        return Selection(self, where)

    def candidates(self, queries: Sequence[str]) -> list[SearchResults]:
        """What dense and lexical search find for each query, before anything is fused or left out.

        Args:
            queries: Any number of texts.

        Returns:
            Both lists of hits for each query, in its order.
        """
        found: list[SearchResults] = []
        for texts in in_parts(_as_text(queries), _QUERIES_AT_ONCE):
            found += self._search(texts, self.embedder.embed(texts, "query"), True, self._settings.candidates, {})
        return found

    def chunks(self) -> list[Chunk]:
        """Every current chunk, by document id and then by place in the document."""

        def read() -> list[Chunk]:
            chunks = self._store.chunks()
            current = self._manifest.current({_key(chunk) for chunk in chunks})
            return [chunk for chunk in chunks if _key(chunk) in current]

        return self._undisturbed(read)

    def documents(self) -> list[str]:
        """The ids of all documents, sorted."""
        return list(self._manifest.entries())

    def entries(self) -> list[Entry]:
        """The records of all documents, sorted by id."""
        return list(self._manifest.entries().values())

    def state(self) -> str:
        """A fingerprint of all documents, the same after a rebuild."""
        return fingerprint([[entry.id, entry.version] for entry in self._manifest.entries().values()])

    def holds(self, documents: Sequence[Document]) -> bool:
        """Whether the index holds exactly these documents, in these versions.

        Args:
            documents: All documents.

        Returns:
            True where ``sync`` would change nothing.
        """
        return {document.id: document.version for document in documents} == {
            entry.id: entry.version for entry in self._manifest.entries().values()
        }

    def count(self) -> int:
        """The number of current chunks."""
        return self._manifest.count_chunks()

    def _ranked(self, queries: Sequence[str], k: int, where: Where) -> list[list[Hit]]:
        """The ``k`` best hits of one search for each query, for few enough to search in one state of the index."""
        vectors = self.embedder.embed(queries, "query") if self._ranker.needs_vectors else None
        depth = max(self._settings.candidates, k)
        found = self._search(queries, vectors, self._settings.dense_weight < 1, depth, where)
        return [
            self._ranker.rank(query, sides, k, None if vectors is None else vectors[row])
            for row, (query, sides) in enumerate(zip(queries, found, strict=True))
        ]

    def _search(
        self, queries: Sequence[str], vectors: NDArray[np.float32] | None, lexical: bool, depth: int, where: Where
    ) -> list[SearchResults]:
        """Both sides for few enough queries to search in one state of the index; a side not asked for is empty."""
        nothing: list[list[Hit]] = [[] for _ in queries]

        def search() -> list[SearchResults]:
            chosen = self._chosen(where) if where else None
            among = chosen if chosen is not None and len(chosen) <= _LISTED else None
            near = worded = nothing
            if vectors is not None:
                near = self._current(lambda n: self._store.search_dense(vectors, n, among), depth, chosen)
            if lexical:
                worded = self._current(lambda n: self._store.search_lexical(queries, n, among), depth, chosen)
            return [SearchResults(*sides) for sides in zip(near, worded, strict=True)]

        return self._undisturbed(search)

    def _chosen(self, where: Where) -> set[tuple[str, str]]:
        """The document versions that ``where`` means, which are current. Raises ``InputError`` when there is none."""
        return self._manifest.chosen(where) or refuse(where, self._manifest)

    def _current(self, search: Callable[[int], list[list[Hit]]], depth: int, chosen: Among) -> list[list[Hit]]:
        """The ``depth`` best current hits of each query, each on another chunk, searching as deep as that takes.

        Only hits on ``chosen`` document versions count, where these are given.
        """
        reach = depth
        while True:
            found = search(reach)
            keys = {_key(hit.chunk) for hits in found for hit in hits}
            current = self._manifest.current(keys) if chosen is None else chosen
            kept = [_once([hit for hit in hits if _key(hit.chunk) in current]) for hits in found]
            if all(len(hits) < reach or len(rest) >= depth for hits, rest in zip(found, kept, strict=True)):
                return [rest[:depth] for rest in kept]
            reach *= 2

    def _undisturbed(self, read: Callable[[], T]) -> T:
        """What ``read`` returns from one state of the index, read again when a commit fell into it.

        The chunks of a state are complete before its commit and are not touched before the next one. So if the
        generation is the same before and after, everything that was current was there to be found.
        """
        for _ in range(_ATTEMPTS):
            generation = self._manifest.generation()
            result = read()
            if self._manifest.generation() == generation:
                return result
        raise StoreError(f"{self._index} changed {_ATTEMPTS} times during a search; try again")

    def _keeping_vectors(self) -> AbstractContextManager[None]:
        """Keeps what is embedded in the block until it is committed, so that a killed ``sync`` embeds nothing twice."""
        return self.embedder.keeping(self.name) if isinstance(self.embedder, CachedEmbedder) else nullcontext()

    def _add(
        self, documents: Sequence[Document], stored: set[tuple[str, str]], progress: Progress, at_once: int
    ) -> list[Entry]:
        """Stores the chunks that are not ``stored`` yet and returns the documents' entries for the manifest."""
        settings, embedder = self._chunk_settings, self.embedder
        cut = [passages(document, settings, embedder.count_tokens, embedder.max_tokens) for document in documents]
        found_by = [[(chunk, text) for chunk, texts in found for text in texts] for found in cut]
        new = [rows for rows in found_by if rows and _key(rows[0][0]) not in stored]
        done, total = 0, sum(map(len, new))
        groups = [list(zip(*rows, strict=True)) for rows in in_groups(new, _COMMIT_CHUNKS)]
        pieces = [list(in_parts(texts, _EMBED_CHUNKS)) for _, texts in groups]
        with mapped(lambda texts: embedder.embed(texts, "passage"), chain(*pieces), at_once) as embedded:
            for (chunks, texts), parts in zip(groups, pieces, strict=True):
                vectors = []
                for part in islice(embedded, len(parts)):
                    vectors.append(part)
                    progress("embedding", done := done + len(part), total)
                self._store.add(chunks, np.concatenate(vectors), texts)
        return [
            Entry(document.id, document.version, document.source, len(chunks), document.attributes)
            for document, chunks in zip(documents, cut, strict=True)
        ]

    def _drop_leftovers(self, wanted: set[tuple[str, str]], entries: dict[str, Entry]) -> set[tuple[str, str]]:
        """Removes chunks that are neither wanted nor in the manifest; returns the document versions that stay.

        What a killed ``sync`` had stored for documents that are still wanted is kept: a commit of the store holds
        whole documents, so a version is stored whole or not at all.
        """
        stored = self._store.versions()
        leftovers = stored - wanted - _versions(entries)
        self._store.remove(sorted(leftovers))
        return stored - leftovers


@dataclass(frozen=True, slots=True)
class Selection:
    """A ``Retriever`` over some documents of ``knowledge``; which ones is looked up at every search."""

    knowledge: Knowledge
    where: Mapping[str, str | Sequence[str]]

    def retrieve(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """See ``Knowledge.retrieve``."""
        return self.knowledge.retrieve(queries, k, self.where)


def _differs(document: Document, entry: Entry | None) -> bool:
    """Whether the manifest says something else of ``document``; new attributes alone cost no embedding."""
    return entry is None or (document.version, document.attributes) != (entry.version, entry.attributes)


def _require_few(removed: int, documents: int, settings: SyncSettings) -> None:
    """Raises ``InputError`` when that many removals look like half a folder rather than like deleted files."""
    if documents >= settings.guarded_from and removed > settings.max_removed_share * documents:
        raise InputError(
            f"{removed} of {documents} documents of the index are not among those given; if they are really gone, "
            "allow it with `lorag index DOCS --allow-removals` (SyncSettings.max_removed_share)"
        )


def _once(hits: Sequence[Hit]) -> list[Hit]:
    """The best hit on each chunk; ``hits`` are best first."""
    best: dict[str, Hit] = {}
    for hit in hits:
        best.setdefault(hit.chunk.id, hit)
    return list(best.values())


def _versions(entries: dict[str, Entry]) -> set[tuple[str, str]]:
    return {(entry.id, entry.version) for entry in entries.values()}


def chunks_of(place: IndexLocation) -> ChunkSettings | None:
    """How the documents of the index at ``place`` were cut; None where there is none, or where it does not tell."""
    found = _PIECES.fullmatch(made_with(place).get(_CUT, ""))
    return ChunkSettings(int(found[1]), int(found[2]) if found[2] else None) if found else None


def _told(chunks: ChunkSettings) -> str:
    return f"{chunks.max_tokens}{f' in pieces of {chunks.search_tokens}' if chunks.search_tokens is not None else ''}"


def _key(chunk: Chunk) -> tuple[str, str]:
    return chunk.document_id, chunk.document_version


def _as_text(queries: Sequence[str]) -> list[str]:
    """``queries`` as a tokenizer takes them: without halves of surrogate pairs, from a terminal's broken encoding."""
    return [query.encode(errors="replace").decode() for query in queries]
