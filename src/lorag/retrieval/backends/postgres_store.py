"""Chunks in PostgreSQL: cosine search by pgvector, BM25 computed from the server's own index of words.

Words are stemmed and stop words left out by the server's English configuration. How often a word of the question is in
a text, and in how many texts it is, follow from that index at every search, so no count can be out of date.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorag.interfaces import Among
from lorag.retrieval.backends.hits import RECALL_DEPTH, SAMPLE, like_questions, recall
from lorag.retrieval.backends.postgres_database import Database
from lorag.retrieval.ranking import best_first
from lorag.retrieval.search_words import asked_words, indexed_words
from lorag.types import Chunk, Hit, Via

_CHUNK_COLUMNS = "document_id, document_version, start, stop, text, heading, table_header, place"
_INDEXED_DIMENSIONS = 2000
"""The longest vectors that pgvector makes an index for; longer ones are searched exactly, however many."""
_CANDIDATES = "1000"
"""How many candidates pgvector keeps in a search, its most: with 100, clusters of 500 vectors hid one hit in seven, and
the search took a third as long (docs/log.md)."""
_BUILD_CANDIDATES = 200
"""How many candidates pgvector keeps for each vector that it adds to the index: with its default of 64, a tenth of the
nearest of a million passages were not found (docs/log.md)."""
_K1, _B = 1.2, 0.75
"""The usual parameters of BM25, and LanceDB's."""
_QUERY_WORDS = 500
"""Different words of a question that are looked up."""
_RANKS = list(accumulate(1 / n**2 for n in range(1, 257)))
"""``ts_rank`` of a word that is n times in a text is, with equal weights, the sum of 1/i² for i up to n, divided by the
sum of all (pi²/6). So a rank tells how often the word is there; PostgreSQL keeps at most 256 places of a word."""
_STEPS = [(rank - 0.5 / n**2) * 6 / np.pi**2 for n, rank in enumerate(_RANKS, start=1)]
"""Half way between two ranks."""
_LEXICAL = f"""
    WITH asked AS MATERIALIZED (
        SELECT number, quote_literal(word)::tsquery AS query
        FROM unnest((tsvector_to_array(to_tsvector('english', %s)))[:{_QUERY_WORDS}])
            WITH ORDINALITY AS _ (word, number)
    ), found AS MATERIALIZED (
        SELECT chunk, texts.number, asked.number AS word, length::float8,
            width_bucket(ts_rank(ARRAY[1, 1, 1, 1]::real[], words, query), %b::float8[])::float8 AS frequency
        FROM asked JOIN {{schema}}.texts ON words @@ query
    ), rarity AS (
        SELECT word, ln(1 + (totals.texts - count(*) + 0.5::float8) / (count(*) + 0.5::float8)) AS idf
        FROM found, {{schema}}.totals GROUP BY word, totals.texts
    ), best AS (
        SELECT chunk, sum(idf * frequency * ({_K1} + 1)::float8 / (frequency + {_K1}::float8
            * (1 - {_B}::float8 + {_B}::float8 * found.length * totals.texts / totals.length))) AS score
        FROM found JOIN rarity USING (word), {{schema}}.totals {{among}} GROUP BY chunk, number
        ORDER BY score DESC, chunk LIMIT %s
    )
    SELECT {_CHUNK_COLUMNS}, score FROM best JOIN {{schema}}.chunks ON key = chunk
"""
"""BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009) with the inverse
document frequency ln(1 + (N - n + 0.5) / (n + 0.5)), which is never negative, as in Lucene."""
_WORD, _ACCENTED = re.compile(r"[^\W_]+"), re.compile("([A-Za-z])[\u0300-\u036f]+")


class PostgresStore:
    """A ``Store`` in a schema of a database. Any number of processes may read, and any number write.

    As in a ``LanceStore``, words are found by their stems, and scripts without spaces by pairs of letters. Every method
    raises ``StoreError`` when the server refuses or goes away.
    """

    def __init__(self, database: Database, dim: int, exact_up_to: int) -> None:
        """Over the tables that ``create`` makes, for vectors of length ``dim``.

        Above ``exact_up_to`` texts ``optimize`` makes an approximate index.
        """
        self._database, self._schema, self.dim, self.exact_up_to = database, database.schema, dim, exact_up_to

    def create(self) -> None:
        """Makes the schema and the tables, empty."""
        s = self._schema
        self._database.run(
            f"CREATE SCHEMA {s}",
            f"CREATE TABLE {s}.chunks (key uuid PRIMARY KEY, document uuid NOT NULL, document_id text NOT NULL,"
            " document_version text NOT NULL, start integer NOT NULL, stop integer NOT NULL, text text NOT NULL,"
            " heading text NOT NULL, table_header text NOT NULL, place text NOT NULL)",
            f"CREATE INDEX ON {s}.chunks (document)",
            f"CREATE TABLE {s}.texts (chunk uuid REFERENCES {s}.chunks ON DELETE CASCADE, number integer,"
            f" words tsvector NOT NULL, length integer NOT NULL, vector vector({self.dim}) NOT NULL,"
            " PRIMARY KEY (chunk, number))",
            f"CREATE INDEX ON {s}.texts USING gin (words)",
            f"CREATE TABLE {s}.totals (texts bigint NOT NULL, length bigint NOT NULL)",
            f"INSERT INTO {s}.totals VALUES (0, 0)",
        )

    def add(self, chunks: Sequence[Chunk], vectors: NDArray[np.float32], texts: Sequence[str]) -> None:
        """See ``Store``. The texts of a chunk take the place of all that it has already."""
        if vectors.shape != (len(chunks), self.dim) or len(texts) != len(chunks):
            raise ValueError(f"{len(chunks)} chunks, {len(texts)} texts and vectors {vectors.shape} do not match")
        if not chunks:
            return
        s, keys = self._schema, [digest(chunk.id) for chunk in chunks]
        rows = {(key, text): vector for key, text, vector in zip(keys, texts, vectors, strict=True)}
        with self._database.transaction():
            self._take_out("key", keys)
            self._database.run_each(
                f"INSERT INTO {s}.chunks VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [(key, *_row(chunk)) for key, chunk in dict(zip(keys, chunks, strict=True)).items()],
            )
            self._database.run_each(
                f"INSERT INTO {s}.texts SELECT %s, %s, words, (SELECT coalesce(sum(cardinality(positions)), 0)"
                " FROM unnest(words)), %b::vector FROM to_tsvector('english', %s) AS words",
                [
                    (key, number, vector, _words(indexed_words(text)))
                    for number, ((key, text), vector) in enumerate(rows.items())
                ],
            )
            self._count("+", "key", keys)

    def remove(self, document_versions: Sequence[tuple[str, str]]) -> None:
        """See ``Store``."""
        if document_versions:
            with self._database.transaction():
                self._take_out("document", [digest(*pair) for pair in document_versions])

    def search_dense(self, vectors: NDArray[np.float32], k: int, among: Among = None) -> list[list[Hit]]:
        """See ``Store``. Above ``exact_up_to`` texts one of the nearest may be missed."""
        if among is not None:
            return self._nearest(vectors, k, exact=True, among=among)
        if not self._has_index():
            return self._nearest(vectors, k, exact=True)
        hits = self._nearest(vectors, k)
        # An approximate search ends somewhere: whoever asks for more gets it from all rows.
        return self._nearest(vectors, k, exact=True) if any(len(found) < k for found in hits) else hits

    def search_lexical(self, queries: Sequence[str], k: int, among: Among = None) -> list[list[Hit]]:
        """See ``Store``. A chunk is found when it shares a word with the query; no sign in a query is an operator.

        Stop words count for nothing: a query of nothing else finds nothing. Of a query longer than a passage the first
        500 different words count.
        """
        condition, keys = self._any_of(among)
        statement = _LEXICAL.format(schema=self._schema, among=condition)
        asked = [_words(asked_words(query)) for query in queries]
        found = [self._database.rows(statement, words, _STEPS, *keys, k) for words in asked]
        return [best_first(_hit(row, "lexical") for row in rows) for rows in found]

    def chunks(self) -> list[Chunk]:
        """See ``Store``."""
        rows = self._database.rows(f"SELECT {_CHUNK_COLUMNS} FROM {self._schema}.chunks")
        return sorted(map(_chunk, rows), key=lambda each: (each.document_id, each.document_version, each.start))

    def versions(self) -> set[tuple[str, str]]:
        """See ``Store``. Reads two columns of the whole table."""
        pairs = f"SELECT DISTINCT document_id, document_version FROM {self._schema}.chunks"
        return {(loaded(document_id), version) for document_id, version in self._database.rows(pairs)}

    def count(self) -> int:
        """See ``Store``."""
        return int(self._database.rows(f"SELECT texts FROM {self._schema}.totals")[0][0])

    def optimize(self) -> float | None:
        """See ``Store``. Vacuum is left to the server, which does it by itself."""
        s, has = self._schema, self._has_index()
        due = self.exact_up_to < self.count() and self.dim <= _INDEXED_DIMENSIONS
        with self._database.transaction():
            self._database.run(f"ANALYZE {s}.texts")  # whoever searches first needs to know that it is not empty
            if has and not due:
                self._database.run(f"DROP INDEX {s}.nearest")
            if has or not due:
                return None
            self._database.run(
                f"CREATE INDEX nearest ON {s}.texts USING hnsw (vector vector_cosine_ops)"
                f" WITH (ef_construction = {_BUILD_CANDIDATES})"
            )
            # The keys are hashes, so the first ones are a sample.
            stored = self._database.rows(f"SELECT vector::real[] FROM {s}.texts ORDER BY chunk LIMIT {SAMPLE}")
            questions = like_questions(np.array([row[0] for row in stored], dtype=np.float32))
            found = self._nearest(questions, RECALL_DEPTH)
            return recall(found, self._nearest(questions, RECALL_DEPTH, exact=True))

    def _nearest(
        self, vectors: NDArray[np.float32], k: int, *, exact: bool = False, among: Among = None
    ) -> list[list[Hit]]:
        """The ``k`` nearest, by the index unless ``exact``."""
        condition, keys = self._any_of(among)
        statement = (
            f"SELECT {_CHUNK_COLUMNS}, 1 - distance FROM (SELECT chunk, vector <=> %b::vector AS distance"
            f" FROM {self._schema}.texts {condition} ORDER BY distance LIMIT %s) AS _"
            f" JOIN {self._schema}.chunks ON key = chunk"
        )
        # Both are set, as what is set stays until the end of a transaction.
        local = {"enable_seqscan": "on", "enable_indexscan": "off"}
        if not exact:
            local = {"enable_seqscan": "off", "enable_indexscan": "on"}
            local |= {"hnsw.iterative_scan": "strict_order", "hnsw.ef_search": _CANDIDATES}
        found = [self._database.rows(statement, vector, *keys, k, local=local) for vector in vectors]
        return [best_first(_hit(row, "dense") for row in rows) for rows in found]

    def _any_of(self, among: Among) -> tuple[str, list[list[uuid.UUID]]]:
        """The condition that ``chunk`` is of one of these documents, and its parameter; else nothing."""
        if among is None:
            return "", []
        of_these = f"SELECT key FROM {self._schema}.chunks WHERE document = ANY(%s)"
        return f"WHERE chunk IN ({of_these})", [[digest(*pair) for pair in among]]

    def _has_index(self) -> bool:
        return bool(self._database.rows("SELECT to_regclass(%s) IS NOT NULL", f"{self._schema}.nearest")[0][0])

    def _take_out(self, column: str, keys: Sequence[uuid.UUID]) -> None:
        """Removes the chunks with one of ``keys`` in ``column``, and their texts."""
        self._count("-", column, keys)
        self._database.run(f"DELETE FROM {self._schema}.chunks WHERE {column} = ANY(%s)", parameters=[list(keys)])

    def _count(self, sign: str, column: str, keys: Sequence[uuid.UUID]) -> None:
        """Keeps the totals in step with the texts of those chunks, which come or go."""
        s = self._schema
        self._database.run(
            f"UPDATE {s}.totals SET texts = texts {sign} moved, length = totals.length {sign} moved_length"
            f" FROM (SELECT count(*) AS moved, coalesce(sum(length), 0) AS moved_length FROM {s}.texts"
            f" JOIN {s}.chunks ON chunk = key WHERE {column} = ANY(%s)) AS _",
            parameters=[list(keys)],
        )


def digest(*parts: str) -> uuid.UUID:
    """A key that is equal exactly when the parts are, and short, however long they are."""
    whole = "\0".join(parts).encode(errors="surrogatepass")
    return uuid.UUID(bytes=blake2b(whole, digest_size=16).digest())


def storable(text: str) -> str:
    """``text`` without the zero character, which the server refuses; ``loaded`` brings it back."""
    return text.replace("\1", "\1\1").replace("\0", "\1\2")


def loaded(text: str) -> str:
    """What ``storable`` was given."""
    return re.sub("\1([\1\2])", lambda match: "\1" if match[1] == "\1" else "\0", text)


def _words(text: str) -> str:
    """The words of ``text``, Latin letters without accents; the server's own parser would keep signs and join words."""
    bare = _ACCENTED.sub(r"\1", unicodedata.normalize("NFKD", text))
    return " ".join(_WORD.findall(unicodedata.normalize("NFC", bare)))


def _row(chunk: Chunk) -> tuple[object, ...]:
    texts = map(storable, (chunk.text, chunk.heading, chunk.table_header, chunk.place))
    version = digest(chunk.document_id, chunk.document_version)
    return version, storable(chunk.document_id), chunk.document_version, chunk.start, chunk.end, *texts


def _chunk(row: Sequence[Any]) -> Chunk:
    document_id, version, start, end, *texts = row
    return Chunk(loaded(document_id), version, start, end, *map(loaded, texts))


def _hit(row: Sequence[Any], via: Via) -> Hit:
    return Hit(_chunk(row[:-1]), float(row[-1]), via)
