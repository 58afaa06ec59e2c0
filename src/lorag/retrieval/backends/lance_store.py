"""Chunks in a LanceDB table on disk: cosine search, BM25, and commits that other processes see at once.

Dense search is exact while the table is small. A large one gets an approximate index (IVF_SQ), which is asked for twice
the hits wanted; they are then ranked by their exact cosines.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorag.errors import StoreError
from lorag.files import full_disk_errors
from lorag.interfaces import Among
from lorag.retrieval.backends.hits import RECALL_DEPTH, like_questions, recall, sample_rows
from lorag.retrieval.ranking import best_first
from lorag.retrieval.search_words import asked_words, indexed_words
from lorag.types import Chunk, Hit, Via

_TABLE = "chunks"
_PLACE_IN_SOURCE = re.compile(r",?\s*\S+\.rs:\d+(?::\d+)?")
"""Where in the library's source an error was raised, on the machine that built it."""
_CHUNK_COLUMNS = ("document_id", "document_version", "start", "end", "text", "heading", "table_header", "place")
_UNINDEXED_ROWS, _UNINDEXED_SHARE = 64, 0.01
"""Rows outside the BM25 index are read for every query, about 0.1 ms for a passage of 250 words: so many cost 6 ms.
In a search among some documents, such rows are scored as if the others that are not in the index did not exist."""
_FRAGMENTS = 16
"""Every commit is a file of its own, opened for every query."""
_KEEP_VERSIONS = timedelta(hours=1)
"""Files of older states are kept for readers in the middle of a query."""
_VECTORS = "vectors_of_"
"""Names an approximate index, together with the rows it was made for."""
_GROWTH = 2
"""An index was made for so many rows; from this many times as many, it is rebuilt."""
_PROBES = 20
"""Partitions of the index that are searched. There are as many as the square root of the rows."""
_REFINE = 2
"""How many times the hits wanted are looked at with their exact cosines."""


def _lancedb() -> Any:
    """The library without its client of a remote service, which is never used here and takes half of its import.

    LanceDB takes data types out of that package; what the package itself imports, all calls of the service, is loaded
    when somebody asks for a name of it.
    """
    spec = find_spec("lance_namespace_urllib3_client")
    if spec and spec.loader and spec.name not in sys.modules:
        package, loader = module_from_spec(spec), spec.loader

        def load(name: str) -> Any:
            del package.__dict__["__getattr__"]
            loader.exec_module(package)
            return getattr(package, name)

        package.__dict__["__getattr__"] = load
        sys.modules[spec.name] = package
    import lancedb

    return lancedb


class LanceStore:
    """A ``Store`` in a folder. Any number of processes may read; the caller sees to it that one writes at a time.

    Two writers of the same chunks would leave them twice, without an error. Words are found by their stems (see
    ``search_words``); Chinese, Japanese, Thai and other scripts without spaces are found by pairs of letters. Exact
    search reads every vector, about 30 ms for 20,000 of 384 dimensions. Every method raises ``StoreError`` when the
    table is damaged or the disk refuses.
    """

    def __init__(self, folder: Path, dim: int, exact_up_to: int, keep_versions: timedelta = _KEEP_VERSIONS) -> None:
        """Opens the table in ``folder``, or makes it, for vectors of length ``dim``.

        Above ``exact_up_to`` texts ``optimize`` makes an approximate index; it drops states older than
        ``keep_versions``. Raises ``StoreError`` when the folder cannot be read or holds vectors of another length.
        """
        lancedb = _lancedb()
        self.folder, self.dim, self.exact_up_to, self._keep_versions = folder, dim, exact_up_to, keep_versions
        with self._errors():
            # Without the interval a reader would stay at the commit that it opened.
            database = lancedb.connect(folder, read_consistency_interval=timedelta(0))
            existing = _TABLE in database.list_tables().tables
            self._table: Any = (
                database.open_table(_TABLE) if existing else database.create_table(_TABLE, schema=_schema(dim))
            )
            found = self._table.schema.field("vector").type.list_size
            if not self._table.list_indices():  # also what is left of a store whose making was killed
                self._make_lexical_index()
        if found != dim:
            raise StoreError(f"{str(folder)!r} holds vectors of length {found}, expected {dim}; choose another folder")

    def add(self, chunks: Sequence[Chunk], vectors: NDArray[np.float32], texts: Sequence[str]) -> None:
        """See ``Store``. The n-th text of a chunk replaces its n-th stored text."""
        import pyarrow as pa  # type: ignore[import-untyped]

        if vectors.shape != (len(chunks), self.dim) or len(texts) != len(chunks):
            raise ValueError(f"{len(chunks)} chunks, {len(texts)} texts and vectors {vectors.shape} do not match")
        # A key twice in one merge would be stored twice, so equal texts of a chunk count once.
        rows = list(
            {(chunk.id, text): row for row, (chunk, text) in enumerate(zip(chunks, texts, strict=True))}.values()
        )
        if not rows:
            return
        kept = [chunks[row] for row in rows]
        flat = np.ascontiguousarray(vectors[rows], dtype=np.float32).reshape(-1)
        columns = {
            "id": _numbered([chunk.id for chunk in kept]),
            **{name: [getattr(chunk, name) for chunk in kept] for name in _CHUNK_COLUMNS},
            "search_text": [indexed_words(texts[row]) for row in rows],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat), self.dim),
        }
        with self._errors():
            merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(pa.table(columns, schema=_schema(self.dim)))

    def remove(self, document_versions: Sequence[tuple[str, str]]) -> None:
        """See ``Store``."""
        if not document_versions:
            return
        with self._errors():
            self._table.delete(_any_of(document_versions))

    def search_dense(self, vectors: NDArray[np.float32], k: int, among: Among = None) -> list[list[Hit]]:
        """See ``Store``. Hits come with their exact cosines; above ``exact_up_to`` texts one may be missed."""
        if among is not None:
            return self._nearest(vectors, k, exact=True, among=among)
        hits = self._nearest(vectors, k)
        # A few partitions need not hold k rows: whoever asks for many gets them from all.
        if any(len(found) < k for found in hits) and self._vector_indexes():
            return self._nearest(vectors, k, exact=True)
        return hits

    def _nearest(
        self, vectors: NDArray[np.float32], k: int, *, exact: bool = False, among: Among = None
    ) -> list[list[Hit]]:
        """The ``k`` nearest, by the index where there is one; all rows are searched in one pass over the table."""
        hits: list[list[Hit]] = [[] for _ in vectors]
        if not hits or among == set():
            return hits
        columns = [*_CHUNK_COLUMNS, "_distance"]
        with self._errors():
            query = self._table.search(vectors, vector_column_name="vector").distance_type("cosine")
            query = query.bypass_vector_index() if exact else query.nprobes(_PROBES).refine_factor(_REFINE)
            query = query if among is None else query.where(_any_of(among), prefilter=True)
            rows = query.select(columns).limit(k).to_list()
        for row in rows:  # "query_index" is there only for several queries
            hits[row.get("query_index", 0)].append(_hit(row, 1 - row["_distance"], "dense"))
        return [best_first(found) for found in hits]

    def search_lexical(self, queries: Sequence[str], k: int, among: Among = None) -> list[list[Hit]]:
        """See ``Store``. A chunk is found when it shares a word with the query; no sign in a query is an operator.

        Stop words count for nothing: a query of nothing else finds nothing.
        """
        return [[] if among == set() else self._search_words(query, k, among) for query in queries]

    def _search_words(self, query: str, k: int, among: Among) -> list[Hit]:
        from lancedb.query import MatchQuery

        with self._errors():
            match = MatchQuery(asked_words(query), "search_text")  # type: ignore[call-arg]  # the others have defaults
            search = self._table.search(match, query_type="fts")
            search = search if among is None else search.where(_any_of(among), prefilter=True)
            rows = search.select([*_CHUNK_COLUMNS, "_score"]).limit(k).to_list()
        return best_first([_hit(row, row["_score"], "lexical") for row in rows])

    def versions(self) -> set[tuple[str, str]]:
        """See ``Store``. Reads two columns of the whole table."""
        with self._errors():
            columns = self._table.search().select(["document_id", "document_version"]).to_arrow().to_pydict()
        return set(zip(columns["document_id"], columns["document_version"], strict=True))

    def chunks(self) -> list[Chunk]:
        """Every chunk, by document and then by place in it."""
        with self._errors():
            rows = self._table.search().select(list(_CHUNK_COLUMNS)).to_arrow().to_pylist()
        return sorted(set(map(_chunk, rows)), key=lambda each: (each.document_id, each.document_version, each.start))

    def count(self) -> int:
        """See ``Store``."""
        with self._errors():
            return int(self._table.count_rows())

    def optimize(self) -> float | None:
        """See ``Store``. Brings the indexes up to date and merges small files, once enough of either has piled up.

        What is found by words stays the same and is found faster. BM25 scores may move a little: until their file is
        merged, removed chunks still count in how rare a word is.
        """
        with self._errors():
            fragments = self._table.stats()["fragment_stats"]["num_small_fragments"]
            indexes = [self._table.index_stats(index.name) for index in self._table.list_indices()]
            unindexed = sum(index.num_unindexed_rows for index in indexes)
            many = min(_UNINDEXED_ROWS, _UNINDEXED_SHARE * self.count())
            if fragments >= _FRAGMENTS or unindexed > many:
                self._table.optimize(cleanup_older_than=self._keep_versions)
            return self._make_vector_index()

    def _make_vector_index(self) -> float | None:
        """Makes the approximate index where one is due, and drops one that is not; returns its recall when made."""
        from lancedb.index import IvfSq

        rows, old = self.count(), self._vector_indexes()
        due = rows > self.exact_up_to
        make = due and all(rows >= _GROWTH * int(name.removeprefix(_VECTORS)) for name in old)
        if make:
            self._table.create_index("vector", config=IvfSq(distance_type="cosine"), name=f"{_VECTORS}{rows}")
        if make or not due:
            for name in old:
                self._table.drop_index(name)
        if not make:
            return None
        places = sample_rows(rows)
        stored = self._table.take_offsets(places).select(["vector"]).to_arrow()["vector"].to_pylist()
        questions = like_questions(np.array(stored, dtype=np.float32))
        found = self._nearest(questions, RECALL_DEPTH)
        return recall(found, self._nearest(questions, RECALL_DEPTH, exact=True))

    def _vector_indexes(self) -> list[str]:
        """The names of the approximate indexes: none or one, and for a moment two."""
        with self._errors():
            return [index.name for index in self._table.list_indices() if index.name.startswith(_VECTORS)]

    def _make_lexical_index(self) -> None:
        """BM25 over stems. Rows that are added later are found at once, if slowly, until ``optimize``."""
        from lancedb.index import FTS

        self._table.create_index("search_text", config=FTS(language="English", stem=True, ascii_folding=True))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """LanceDB speaks of trouble with the files through these three built-in errors."""
        try:
            with full_disk_errors(self.folder):
                yield
        except (OSError, RuntimeError, ValueError) as error:
            told = _PLACE_IN_SOURCE.sub("", str(error))
            raise StoreError(
                f"the index in {str(self.folder)!r} cannot be used ({told}); check the disk, or rebuild it with "
                "`lorag index DOCS --rebuild`"
            ) from error


def drop_old_versions(folder: Path) -> None:
    """Merges the files of a table that nobody else has open, and drops those of older states."""
    _lancedb().connect(folder).open_table(_TABLE).optimize(cleanup_older_than=timedelta(milliseconds=1))


def _schema(dim: int) -> Any:
    """The columns of the table. The primary key is not enforced by LanceDB, but used when rows are merged."""
    import pyarrow as pa

    key = {"lance-schema:unenforced-primary-key": "true"}
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False, metadata=key),
            ("document_id", pa.string()),
            ("document_version", pa.string()),
            ("start", pa.int64()),
            ("end", pa.int64()),
            ("text", pa.string()),
            ("heading", pa.string()),
            ("table_header", pa.string()),
            ("place", pa.string()),
            ("search_text", pa.string()),
            ("vector", pa.list_(pa.float32(), dim)),
        ]
    )


def _numbered(ids: Sequence[str]) -> list[str]:
    """``ids`` with how often each has come before."""
    seen: Counter[str] = Counter()
    keys = []
    for chunk_id in ids:
        keys.append(f"{chunk_id}#{seen[chunk_id]}")
        seen[chunk_id] += 1
    return keys


def _any_of(document_versions: Iterable[tuple[str, str]]) -> str:
    """The condition that a row belongs to one of these; there is at least one."""
    # A version is hex digits, so the first colon ends it, whatever the id holds.
    keys = ", ".join(_literal(f"{version}:{document_id}") for document_id, version in document_versions)
    return f"concat(document_version, ':', document_id) IN ({keys})"


def _literal(text: str) -> str:
    """``text`` as an SQL string; in this dialect nothing but the quote has a meaning."""
    quoted = text.replace("'", "''")
    return f"'{quoted}'"


def _chunk(row: dict[str, Any]) -> Chunk:
    return Chunk(**{name: row[name] for name in _CHUNK_COLUMNS})


def _hit(row: dict[str, Any], score: float, via: Via) -> Hit:
    return Hit(_chunk(row), float(score), via)
