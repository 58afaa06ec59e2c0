"""What every store promises, asked of each of them."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorag.errors import StoreError
from lorag.retrieval.backends.lance_store import LanceStore
from lorag.retrieval.backends.postgres_database import Database
from lorag.retrieval.backends.postgres_index import PostgresIndex
from lorag.retrieval.backends.postgres_store import PostgresStore
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.types import Chunk

DIM = 64
ALL = 10**9


@pytest.fixture(params=["lance", "postgres"])
def open_store(request, tmp_path):
    """Opens the same store, anew at every call."""
    if request.param == "lance":
        return lambda exact_up_to=ALL: LanceStore(tmp_path / "store", DIM, exact_up_to)
    url = request.getfixturevalue("database_url")
    PostgresIndex.open(Database(url), {}, DIM, ALL)
    return lambda exact_up_to=ALL: PostgresStore(Database(url), DIM, exact_up_to)


@pytest.fixture
def store(open_store):
    return open_store()


def chunk(document_id, text, version="0" * 16, start=0, heading="", table_header="", place=""):
    return Chunk(document_id, version, start, start + len(text), text, heading, table_header, place)


def add(store, *chunks, texts=None):
    texts = [chunk.text for chunk in chunks] if texts is None else texts
    store.add(chunks, HashEmbedder(DIM).embed(texts, "passage"), texts)


def dense(store, query, k=10):
    return store.search_dense(HashEmbedder(DIM).embed([query], "query"), k)[0]


def lexical(store, query, k=10):
    return store.search_lexical([query], k)[0]


def found(hits):
    return [hit.chunk.document_id for hit in hits]


GAUGE = chunk("gauge", "The gauge reads the level of the water.", heading="Guide > Gauge")
PLANS = chunk("plans", "The harbour plan costs twelve euros.", start=7, table_header="| plan |", place="page 3")
ALARMS = chunk("alarms", "An alarm rings when the water rises. Water everywhere.")


def test_a_new_store_is_empty(store):
    assert store.count() == 0
    assert store.versions() == set()
    assert store.chunks() == []
    assert dense(store, "water") == []
    assert lexical(store, "water") == []
    store.remove([("nothing", "0" * 16)])
    store.remove([])
    store.add([], np.empty((0, DIM), dtype=np.float32), [])
    store.optimize()
    assert store.count() == 0


def test_what_is_added_comes_back_whole(store):
    add(store, GAUGE, PLANS)
    for hits, via in ((dense(store, "the level of the water", 1), "dense"), (lexical(store, "level"), "lexical")):
        assert [hit.chunk for hit in hits] == [GAUGE]
        assert hits[0].via == via
    assert store.chunks() == [GAUGE, PLANS]
    assert store.count() == 2
    assert store.versions() == {("gauge", "0" * 16), ("plans", "0" * 16)}


def test_adding_twice_is_adding_once(store):
    add(store, GAUGE, PLANS)
    add(store, GAUGE, ALARMS, ALARMS)
    assert store.count() == 3
    assert found(lexical(store, "gauge")) == ["gauge"]
    assert sorted(found(dense(store, "anything"))) == ["alarms", "gauge", "plans"]


def test_a_chunk_is_found_by_each_of_its_texts(store):
    add(store, GAUGE, GAUGE, PLANS, GAUGE, texts=["tides", "level", "plan", "level"])
    add(store, GAUGE, GAUGE, PLANS, texts=["tides", "level", "plan"])
    assert found(lexical(store, "tides level")) == ["gauge", "gauge"]
    assert found(dense(store, "level", 1)) == ["gauge"]
    assert store.count() == 3
    assert store.chunks() == [GAUGE, PLANS]
    store.remove([("gauge", "0" * 16)])
    assert (store.count(), store.chunks()) == (1, [PLANS])


def test_adding_again_replaces_what_is_searched(store):
    add(store, GAUGE)
    add(store, GAUGE, texts=["tides"])
    assert found(lexical(store, "tide")) == ["gauge"]
    assert lexical(store, "level") == []
    assert dense(store, "tides")[0].score == pytest.approx(1)


def test_only_the_searched_text_is_searched(store):
    add(store, PLANS, texts=["prices"])
    assert found(lexical(store, "prices")) == ["plans"]
    assert lexical(store, "harbour") == []


def test_dense_scores_are_cosines_best_first(store):
    chunks = [GAUGE, PLANS, ALARMS]
    add(store, *chunks)
    vectors = HashEmbedder(DIM).embed([c.text for c in chunks], "passage")
    queries = HashEmbedder(DIM).embed(["the water level", "harbour plan", "alarm"], "query")
    for row, hits in zip(queries, store.search_dense(queries, 3), strict=True):
        expected = dict(zip([c.id for c in chunks], vectors @ row, strict=True))
        assert {hit.chunk.id: hit.score for hit in hits} == pytest.approx(expected, abs=1e-5)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert [len(hits) for hits in store.search_dense(queries, 2)] == [2, 2, 2]
    assert store.search_dense(np.empty((0, DIM), dtype=np.float32), 2) == []


def test_lexical_scores_are_best_first_and_in_order_of_the_queries(store):
    add(store, GAUGE, PLANS, ALARMS)
    first, second = store.search_lexical(["water", "euros plan"], 5)
    assert found(first) == ["alarms", "gauge"]
    assert first[0].score > first[1].score > 0
    assert found(second) == ["plans"]
    assert found(lexical(store, "water", 1)) == ["alarms"]
    assert store.search_lexical([], 5) == []


def test_words_are_found_by_their_stem_and_without_accents(store):
    add(store, chunk("a", "The café's batteries were running out"))
    for query in ("battery", "RUNS", "cafe"):
        assert found(lexical(store, query)) == ["a"]


def test_equal_scores_come_in_the_order_of_ids(store):
    add(store, *[chunk(name, "same words") for name in "dbca"])
    assert found(dense(store, "same words")) == found(lexical(store, "words")) == list("abcd")


def test_removing_takes_one_version_of_one_document(store):
    old, new = "a" * 16, "b" * 16
    add(
        store,
        chunk("x", "old text", old),
        chunk("x", "old text end", old, 8),
        chunk("x", "new text", new),
        chunk("y", "old text", old),
        chunk("z", "old text", new),
    )
    store.remove([("x", old), ("z", new), ("never", old)])
    assert store.versions() == {("x", new), ("y", old)}
    assert sorted(found(lexical(store, "text"))) == ["x", "y"]
    assert sorted(found(dense(store, "text"))) == ["x", "y"]


def test_many_are_removed_at_once(store):
    add(store, *[chunk(f"d{i}", "text") for i in range(3000)])
    store.remove([(f"d{i}", "0" * 16) for i in range(2999)])
    assert store.versions() == {("d2999", "0" * 16)}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    document_id=st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
        st.sampled_from(["it's", '"', "' OR 1=1 --", "a\\'b", "%", "_", "a:b@c", "$1", "?", "\x00", "\n", "é/ж.md"]),
    )
)
def test_ids_may_hold_any_character(store, document_id):
    other = chunk("other", "kept")
    add(store, other, chunk(document_id + "x", "some text"))
    assert (document_id + "x", "0" * 16) in store.versions()
    store.remove([(document_id + "x", "0" * 16)])
    assert store.versions() == {("other", "0" * 16)}


@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        "?!",
        '"',
        "'",
        '"open',
        "AND OR NOT",
        "+water -gauge",
        "(",
        "a:b",
        "water^2~",
        "*",
        "\\",
        "the of",
        "\x00",
        "\n",
        "😀",
        "x" * 10_000,
        "water'; DROP TABLE chunks",
    ],
)
def test_no_query_is_an_error_or_an_operator(store, query):
    add(store, GAUGE, PLANS)
    expected = ["gauge"] if "water" in query or "gauge" in query else []
    assert found(lexical(store, query)) == expected
    store.optimize()
    assert found(lexical(store, query)) == expected


def test_vectors_and_chunks_must_match(store):
    with pytest.raises(ValueError, match="do not match"):
        store.add([GAUGE], np.zeros((2, DIM), dtype=np.float32), ["text"])
    with pytest.raises(ValueError, match="do not match"):
        store.add([GAUGE], np.zeros((1, DIM + 1), dtype=np.float32), ["text"])
    with pytest.raises(ValueError, match="do not match"):
        store.add([GAUGE], np.zeros((1, DIM), dtype=np.float32), [])


def test_it_is_all_there_after_reopening(open_store):
    add(open_store(), GAUGE, PLANS)
    again = open_store()
    assert again.count() == 2
    assert found(lexical(again, "water")) == ["gauge"]
    add(again, ALARMS)
    assert found(lexical(again, "water")) == ["alarms", "gauge"]


def test_an_open_store_sees_what_another_one_writes(open_store):
    reader, writer = open_store(), open_store()
    add(writer, GAUGE)
    assert found(lexical(reader, "water")) == found(dense(reader, "water")) == ["gauge"]
    add(writer, ALARMS)
    assert reader.count() == 2
    writer.optimize()
    writer.remove([("gauge", "0" * 16)])
    assert found(lexical(reader, "water")) == found(dense(reader, "water")) == ["alarms"]
    assert reader.versions() == {("alarms", "0" * 16)}


def test_many_commits_are_merged_and_nothing_is_lost(open_store):
    store, reader = open_store(), open_store()
    for i in range(20):
        add(store, chunk(f"d{i:02}", f"number{i} and water"))
        store.optimize()
    assert reader.count() == 20
    for i in range(20):
        assert found(lexical(reader, f"number{i}")) == [f"d{i:02}"]
    assert found(lexical(reader, "water", 30)) == [f"d{i:02}" for i in range(20)]


def clustered(count, seed=0):
    """Texts' vectors as embedders make them: near to some others, far from most; as unit rows."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(20, DIM))[rng.integers(20, size=count)] + rng.normal(size=(count, DIM)) / 2
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def add_clustered(store, count, seed=0):
    chunks = [chunk(f"d{seed}-{i}", f"text {i}") for i in range(count)]
    store.add(chunks, clustered(count, seed), [each.text for each in chunks])


def exactly(vectors, query, k):
    return sorted(vectors @ query, reverse=True)[:k]


def test_a_large_store_is_searched_approximately_and_says_how_well(open_store):
    store = open_store(exact_up_to=1000)
    add_clustered(store, 1000)
    assert store.optimize() is None
    add_clustered(store, 500, seed=1)
    assert store.optimize() > 0.9
    assert store.optimize() is None
    vectors, queries = np.concatenate([clustered(1000), clustered(500, 1)]), clustered(20, 2)
    shares = []
    for query, hits in zip(queries, store.search_dense(queries, 10), strict=True):
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        for hit in hits:
            seed, row = map(int, hit.chunk.document_id[1:].split("-"))
            assert hit.score == pytest.approx(float(clustered(500 if seed else 1000, seed)[row] @ query), abs=1e-5)
        shares.append(sum(score >= exactly(vectors, query, 10)[-1] - 1e-5 for score in scores) / 10)
    assert np.mean(shares) > 0.9
    assert [len(hits) for hits in store.search_dense(queries, 1400)] == [1400] * 20
    assert [len(hits) for hits in store.search_dense(queries[:1], 5000)] == [1500]


def test_an_approximate_index_follows_what_is_added_and_removed(open_store):
    store, reader = open_store(exact_up_to=300), open_store(exact_up_to=300)
    add_clustered(store, 500)
    assert store.optimize() is not None
    query = clustered(1, 7)
    add(store, GAUGE)
    store.remove([(f"d0-{i}", "0" * 16) for i in range(150)])
    assert store.optimize() is None
    found_by_all = {hit.chunk.document_id for hit in reader.search_dense(query, 351)[0]}
    assert found_by_all == {f"d0-{i}" for i in range(150, 500)} | {"gauge"}
    assert found(dense(reader, GAUGE.text, 1)) == ["gauge"]
    add_clustered(store, 700, seed=1)
    store.optimize()
    store.remove([(f"d1-{i}", "0" * 16) for i in range(700)] + [(f"d0-{i}", "0" * 16) for i in range(400)])
    assert store.optimize() is None
    scores = [hit.score for hit in reader.search_dense(query, 10)[0]]
    rest = np.concatenate([clustered(500)[400:], HashEmbedder(DIM).embed([GAUGE.text], "passage")])
    assert scores == pytest.approx(exactly(rest, query[0], 10), abs=1e-5)


def found_among(store, query, among, k=10):
    (vector,) = HashEmbedder(DIM).embed([query], "query")
    return store.search_dense(vector[None], k, among)[0], store.search_lexical([query], k, among)[0]


def test_a_search_among_some_documents_finds_what_one_of_all_finds_of_them(store):
    names = ["it's", "b", 'c"', "d_%"]
    rows = [chunk(f"{name}{i}", f"water level number{i}", ("%x" % (i % 2)) * 16) for i in range(30) for name in names]
    add(store, *rows)
    store.optimize()
    everything = found_among(store, "water number7", None, 1000)
    for each in (rows[:1], rows[40:52], rows[::7], rows):
        among = {(row.document_id, row.document_version) for row in each}
        for all_hits, hits in zip(everything, found_among(store, "water number7", among, 1000), strict=True):
            expected = [hit for hit in all_hits if (hit.chunk.document_id, hit.chunk.document_version) in among]
            assert [hit.chunk for hit in hits] == [hit.chunk for hit in expected]
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], abs=1e-5)


def test_a_search_among_nothing_or_another_version_finds_nothing(store):
    add(store, GAUGE, PLANS)
    for among in (set(), {("gauge", "f" * 16)}, {("gaug", "0" * 16), ("", "0" * 16)}):
        assert found_among(store, "the level of the water", among) == ([], [])


def test_the_few_chosen_are_all_found_however_far_down_they_stand(open_store):
    store = open_store(exact_up_to=300)
    add_clustered(store, 3000)
    assert store.optimize() is not None
    vectors, (query,) = clustered(3000), clustered(1, 7)
    farthest = np.argsort(vectors @ query)[:25]
    among = {(f"d0-{row}", "0" * 16) for row in farthest}
    (hits,) = store.search_dense(query[None], 20, among)
    assert [hit.score for hit in hits] == pytest.approx(exactly(vectors[farthest], query, 20), abs=1e-5)
    assert len(store.search_dense(query[None], 99, among)[0]) == 25
    worded = store.search_lexical(["text"], 99, among)[0]
    assert {(hit.chunk.document_id, hit.chunk.document_version) for hit in worded} == among


def test_thousands_may_be_searched_among(store):
    rows = [chunk(f"folder/document number {i}.md", f"water {i}") for i in range(4000)]
    add(store, *rows)
    among = {(row.document_id, row.document_version) for row in rows[1:]}
    near, worded = found_among(store, "water 0", among, 4000)
    assert len(near) == len(worded) == 3999


def test_lance_asks_its_index_and_looks_at_the_vectors_after(tmp_path):
    store = LanceStore(tmp_path, DIM, 300)
    for count, expected in ((300, "KNNVectorDistance"), (301, "ANNSubIndex")):
        add_clustered(store, count)
        store.optimize()
        search = store._table.search(clustered(1)[0]).distance_type("cosine").nprobes(20).refine_factor(2).limit(10)
        assert expected in search.explain_plan(True)


def test_lance_makes_its_index_anew_when_the_rows_have_doubled(tmp_path):
    store = LanceStore(tmp_path, DIM, 300)
    for count, made in ((400, True), (399, False), (1, True)):
        add_clustered(store, count, seed=count)
        assert (store.optimize() is not None) == made


def test_lance_is_seen_by_another_process(tmp_path):
    store = LanceStore(tmp_path, DIM, ALL)
    add(store, GAUGE)
    code = (
        "import sys; from pathlib import Path; from lorag.retrieval.backends.lance_store import LanceStore\n"
        f"store = LanceStore(Path({str(tmp_path)!r}), {DIM}, 99)\n"
        "for line in sys.stdin: print(*[h.chunk.document_id for h in store.search_lexical([line], 9)[0]], flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        for new, expected in ((PLANS, "gauge\n"), (ALARMS, "gauge\n"), (None, "alarms gauge\n")):
            reader.stdin.write("water\n")
            assert reader.stdout.readline() == expected
            if new:
                add(store, new)
        reader.stdin.close()
        assert reader.wait(20) == 0


def test_lance_refuses_another_length_of_vector(tmp_path):
    add(LanceStore(tmp_path, DIM, ALL), GAUGE)
    with pytest.raises(StoreError, match=f"holds vectors of length {DIM}, expected 32"):
        LanceStore(tmp_path, 32, ALL)


def test_lance_names_the_repair_of_a_damaged_table(tmp_path):
    add(LanceStore(tmp_path, DIM, ALL), GAUGE)
    for manifest in (tmp_path / "chunks.lance" / "_versions").iterdir():
        manifest.write_bytes(b"junk")
    with pytest.raises(StoreError, match=r"cannot be used .* rebuild it with `lorag index DOCS --rebuild`"):
        LanceStore(tmp_path, DIM, ALL)


def test_the_client_of_a_service_is_not_loaded_until_somebody_asks_for_it(tmp_path):
    code = (
        "import sys; from pathlib import Path; from lorag.retrieval.backends.lance_store import LanceStore\n"
        f"LanceStore(Path({str(tmp_path)!r}), {DIM}, {ALL})\n"
        "client = 'lance_namespace_urllib3_client'\n"
        "print(f'{client}.api' in sys.modules)\n"
        "from lance_namespace_urllib3_client import ApiClient, ListTablesRequest\n"
        "from lance_namespace_urllib3_client.models import ListTablesRequest as same\n"
        "print(f'{client}.api' in sys.modules, ApiClient.__name__, same is ListTablesRequest)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "ApiClient", "True"]
