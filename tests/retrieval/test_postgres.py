"""PostgreSQL beyond what every index promises: BM25 by the book, what goes wrong with a server, no password told."""

import math
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from lorag.errors import InputError, OperationError, StorageError, StoreError
from lorag.retrieval.backends import postgres_store
from lorag.retrieval.backends.hits import like_questions
from lorag.retrieval.backends.lance_store import LanceStore
from lorag.retrieval.backends.postgres_database import Database
from lorag.retrieval.backends.postgres_index import PostgresIndex
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.encoders.vector_cache import CachedEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import ChunkSettings, RetrievalSettings
from lorag.types import Chunk, Document

psycopg = pytest.importorskip("psycopg", reason="PostgreSQL's client is not installed: pip install 'lorag[postgres]'")

DIM = 64
DOCUMENTS = [Document(f"d{i}", f"water {i}", "") for i in range(30)]


@pytest.fixture
def index(database_url):
    return PostgresIndex.open(Database(database_url), {"made": "here"}, DIM, 10**9)


def opened(url, embedder=None):
    return Knowledge.open(url, embedder or HashEmbedder(DIM), ChunkSettings(16), RetrievalSettings())


def add(store, texts, version="0" * 16):
    chunks = [Chunk(f"d{i:03}", version, 0, len(text), text) for i, text in enumerate(texts)]
    store.add(chunks, HashEmbedder(DIM).embed(texts, "passage"), texts)


# Nonsense words, so that no stemmer and no list of stop words has a say in what a word is.
VOCABULARY = [a + b for a in ("bodo", "fuku", "gimo", "hoko", "jabu", "kozu") for b in ("mo", "ko", "bu", "zu", "fo")]


def nonsense(count, seed=0):
    rng = random.Random(seed)
    return [" ".join(rng.choices(VOCABULARY, range(1, 31), k=rng.randint(3, 90))) for _ in range(count)]


def bm25(texts, query, k1=1.2, b=0.75):
    """The scores of all texts by the formula, written down a second time: text by text, from counted words."""
    bags = [Counter(text.split()) for text in texts]
    mean = sum(bag.total() for bag in bags) / len(bags)
    scores = [0.0] * len(texts)
    for word in set(query.split()):
        having = sum(word in bag for bag in bags)
        rarity = math.log(1 + (len(bags) - having + 0.5) / (having + 0.5))
        for row, bag in enumerate(bags):
            scores[row] += rarity * bag[word] * (k1 + 1) / (bag[word] + k1 * (1 - b + b * bag.total() / mean))
    return scores


def found(store, query, k=1000):
    return {int(hit.chunk.document_id[1:]): hit.score for hit in store.search_lexical([query], k)[0]}


def test_lexical_scores_are_those_of_bm25(index):
    texts = [*nonsense(200), " ".join(["bodomo"] * 100 + ["kozuko"] * 150), "fukumo"]
    add(index.store, texts)
    for query in ("bodomo", "kozuzu fukumo", "bodomo bodomo gimozu", " ".join(VOCABULARY)):
        expected = {row: score for row, score in enumerate(bm25(texts, query)) if score > 0}
        assert found(index.store, query) == pytest.approx(expected, rel=1e-6)
        best = sorted(expected.values(), reverse=True)[:7]
        assert list(found(index.store, query, 7).values()) == pytest.approx(best, rel=1e-6)


def test_scores_follow_what_is_added_changed_and_removed(index):
    old, new = nonsense(60), nonsense(40, seed=1)
    for _ in range(2):
        add(index.store, old)
        add(index.store, new, "1" * 16)
    index.store.remove([(f"d{i:03}", "0" * 16) for i in range(40)] + [("d000", "1" * 16)])
    expected = {row + 1: score for row, score in enumerate(bm25([*new[1:], *old[40:]], "kozufo bodomo")) if score > 0}
    assert found(index.store, "kozufo bodomo") == pytest.approx(expected, rel=1e-6)


def test_scores_are_those_of_the_other_store(index, tmp_path):
    texts, other = nonsense(100), LanceStore(tmp_path, DIM, 10**9)
    for store in (index.store, other):
        add(store, texts)
    other.optimize()
    for query in ("bodomo", "kozuzu fukumo hokobu"):
        assert found(index.store, query) == pytest.approx(found(other, query), rel=1e-4)


def test_words_of_other_languages_are_found(index):
    add(
        index.store,
        ["Прибор измеряет уровень воды.", "潮位計は 水位を 測定します", "Straße und Café", "3e5 2020-05-03 a_b"],
    )
    for query, expected in (("уровень", 0), ("水位を", 1), ("STRASSE straße", 2), ("cafe", 2), ("05", 3), ("b", 3)):
        assert list(found(index.store, query)) == [expected]


@pytest.mark.parametrize("text", ["a zero\0character", "\1", "\0\1\2\1\1\0", "\\0 \\1"])
def test_characters_that_the_server_refuses_come_back(index, text):
    add(index.store, [text])
    assert [chunk.text for chunk in index.store.chunks()] == [text]


def test_vectors_longer_than_pgvector_can_index_are_searched_exactly(database_url):
    store = PostgresIndex.open(Database(database_url), {}, 2100, 10).store
    chunks = [Chunk(f"d{i}", "0" * 16, 0, 1, "x") for i in range(20)]
    vectors = HashEmbedder(2100).embed([f"number{i}" for i in range(20)], "passage")
    store.add(chunks, vectors, ["x"] * 20)
    assert store.optimize() is None
    (hits,) = store.search_dense(vectors[7:8], 1)
    assert hits[0].chunk.document_id == "d7"
    assert hits[0].score == pytest.approx(1)


def test_all_of_a_sync_is_one_transaction(database_url):
    reader = Database(database_url)

    class Looking(HashEmbedder):
        def embed(self, texts, kind):
            seen.append(reader.rows("SELECT count(*) FROM lorag.chunks")[0][0])
            return super().embed(texts, kind)

    seen: list[int] = []
    knowledge = opened(database_url, Looking(DIM))
    knowledge.sync([Document(f"d{i}", f"water {i}", "") for i in range(1200)])
    assert len(seen) > 10
    assert set(seen) == {0}
    assert reader.rows("SELECT count(*) FROM lorag.chunks") == [(1200,)]


class Interrupting(HashEmbedder):
    """Lets something happen to the server while it embeds."""

    def __init__(self, happening):
        super().__init__(DIM)
        self.happening, self.passages = happening, 0

    def embed(self, texts, kind):
        if kind == "passage":
            self.passages += len(texts)
            if self.happening:
                self.happening.pop()()
        return super().embed(texts, kind)


def end_all_sessions(server):
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        connection.execute(f"{others} AND pid <> pg_backend_pid()".encode())


def restart(server):
    server.stop()
    server.start()


@pytest.mark.parametrize("happening", [end_all_sessions, restart])
def test_a_server_that_goes_away_in_mid_sync_is_said_and_the_old_state_stays(
    postgres, database_url, tmp_path, happening
):
    opened(database_url).sync(DOCUMENTS[:3])
    model = Interrupting([])
    knowledge = opened(database_url, CachedEmbedder(model, tmp_path / "vectors.sqlite", 1))
    assert len(knowledge.retrieve(["water"], 9)[0]) == 3
    model.happening.append(lambda: happening(postgres))
    with pytest.raises(
        StoreError,
        match=r"the connection to .+ was lost \(.+\); nothing of this change is kept: check that the server runs",
    ):
        knowledge.sync(DOCUMENTS)
    assert knowledge.documents() == ["d0", "d1", "d2"]
    assert len(knowledge.retrieve(["water"], 9)[0]) == 3
    embedded = model.passages
    assert knowledge.sync(DOCUMENTS).added == 27
    assert model.passages == embedded, "what was embedded before is in the cache"


def test_a_server_that_was_restarted_between_two_searches_is_searched_again(postgres, database_url):
    knowledge = opened(database_url)
    knowledge.sync(DOCUMENTS)
    restart(postgres)
    assert len(knowledge.retrieve(["water"], 9)[0]) == 9


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        (
            "postgresql://me:hush@localhost:1/x",
            StoreError,
            r"postgresql://me@localhost:1/x cannot be reached .*PGPASSWORD",
        ),
        ("postgresql://me:hush@no.such.host.invalid/x", StoreError, "cannot be reached"),
        ("postgresql://me:pass@hush@host/x", InputError, "the database URL cannot be read"),
        ("postgresql://me:pass/hush@host/x", InputError, "the database URL cannot be read"),
        (
            "postgresql://me:hush@host:port/x",
            InputError,
            "the database URL cannot be read; expected postgresql://USER@HOST",
        ),
        ("postgresql://me:hush@host/x?hush=hush", InputError, "the database URL cannot be read"),
        ("postgresql://me@localhost:1/x?password=hush", StoreError, "postgresql://me@localhost:1/x cannot be reached"),
    ],
)
def test_what_is_wrong_with_a_url_is_said_without_its_password(url, kind, said):
    with pytest.raises((InputError, OperationError), match=said) as caught:
        opened(url)
    assert isinstance(caught.value, kind)
    assert "hush" not in str(caught.value)
    shown = subprocess.run(
        [sys.executable, "-m", "lorag", "search", "x", "--store", url], capture_output=True, text=True, check=False
    )
    assert shown.returncode in (1, 2)
    assert "hush" not in shown.stdout + shown.stderr


def with_option(url, options):
    return f"{url}&options={options}"


def test_a_server_without_pgvector_is_told_what_to_install(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE pg_available_extensions (name text, default_version text, installed_version text)"
        )
        shadowed = with_option(database_url, "-csearch_path%3Dpublic,pg_catalog")
        with pytest.raises(StoreError, match=r"has no pgvector; install it there .*postgresql-VERSION-pgvector"):
            opened(shadowed)
        connection.execute("INSERT INTO public.pg_available_extensions VALUES ('vector', '0.7.4', NULL)")
        with pytest.raises(StoreError, match=r"has pgvector 0\.7\.4, expected 0\.8 or newer"):
            opened(shadowed)
    assert opened(database_url).documents() == []


def test_a_user_who_may_not_create_is_told_so(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'hush'")
        try:
            with pytest.raises(StoreError, match=r"refuses .*; give the user CREATE on the database"):
                opened(database_url.replace("postgres:", "reader:hush"))
        finally:
            connection.execute("DROP ROLE reader")


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [("53100", StorageError, "is full .* free some space"), ("XX001", StoreError, "cannot be used .*rebuild it with")],
)
def test_what_the_server_says_of_its_disk_is_told(database_url, code, kind, said):
    with pytest.raises(kind, match=said):
        Database(database_url).run(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$")


def test_an_index_that_was_dropped_is_missed(database_url):
    knowledge = opened(database_url)
    Database(database_url).run("DROP SCHEMA lorag CASCADE")
    with pytest.raises(StoreError, match=r"is gone .*; make it with `lorag index DOCS --store postgresql://"):
        knowledge.retrieve(["x"], 1)


def test_the_searches_that_look_at_all_rows_find_the_same_as_numpy(index):
    texts = nonsense(300)
    add(index.store, texts)
    queries = HashEmbedder(DIM).embed(nonsense(5, seed=2), "query")
    expected = np.sort(queries @ HashEmbedder(DIM).embed(texts, "passage").T)[:, ::-1][:, :10]
    scores = [[hit.score for hit in hits] for hits in index.store.search_dense(queries, 10)]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_the_recall_that_is_told_is_measured_against_exact_search(database_url, monkeypatch):
    drawn = np.random.default_rng(0)
    vectors = drawn.normal(size=(40, 1, DIM)) + 0.7 * drawn.normal(size=(40, 50, DIM))
    vectors = (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)).reshape(-1, DIM).astype(np.float32)
    chunks = [Chunk(str(number), "0" * 16, 0, 4, "text") for number in range(len(vectors))]
    store = PostgresIndex.open(Database(database_url), {"made": "here"}, DIM, 1000).store
    store.add(chunks, vectors, ["text"] * len(chunks))
    questions = like_questions(vectors[:200])
    nearest = (questions @ vectors.T).argsort(axis=1)[:, :-11:-1]

    def found():
        every = zip(store.search_dense(questions, 10), nearest.tolist(), strict=True)
        return sum(len({int(hit.chunk.document_id) for hit in hits} & {*row}) for hits, row in every) / nearest.size

    with monkeypatch.context() as patch:
        patch.setattr(postgres_store, "_CANDIDATES", "1")
        told = store.optimize()
        assert found() < 0.97
    assert told is not None
    assert told < 0.97
    assert found() > 0.97
