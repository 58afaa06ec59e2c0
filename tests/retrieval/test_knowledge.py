import os
import shutil
from pathlib import Path

import pytest

from harbour import CHUNKS, HOURS, PLANS, RETRIEVAL, WARRANTY, CountingHashes, document
from lorag.errors import InputError, StoreError
from lorag.retrieval import knowledge as knowledge_module
from lorag.retrieval.backends.sqlite_manifest import SqliteManifest
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.knowledge import Knowledge, SyncReport
from lorag.settings import ChunkSettings, RetrievalSettings, SyncSettings
from lorag.types import Document, Entry, Place

ALL = SyncSettings(max_removed_share=1)


@pytest.fixture
def embedder():
    return CountingHashes()


@pytest.fixture
def knowledge(tmp_path, embedder):
    return Knowledge.open(tmp_path / "index", embedder, CHUNKS, RETRIEVAL)


def texts(knowledge, query, k=10):
    return [hit.chunk.text for hit in knowledge.retrieve([query], k)[0]]


def test_new_knowledge_is_empty(knowledge):
    assert (knowledge.count(), knowledge.documents(), knowledge.chunks()) == (0, [], [])
    assert knowledge.retrieve(["anything"], 3) == [[]]
    assert knowledge.retrieve([], 3) == []
    assert knowledge.sync([]) == SyncReport(0, 0, 0, 0, 0)


def test_a_changed_fact_replaces_the_old_one(knowledge):
    knowledge.sync([WARRANTY, PLANS])
    for years in ("three", "five", "two"):
        knowledge.sync([document("warranty", WARRANTY.text.replace("two", years)), PLANS])
        found = " ".join(texts(knowledge, "How many years does the warranty last? two three five years"))
        assert [word for word in ("two", "three", "five") if f"{word} years" in found] == [years]


def test_a_new_title_is_a_new_version(knowledge):
    knowledge.sync([PLANS])
    assert knowledge.sync([document("plans", PLANS.text, "Prices")]).updated == 1
    assert [chunk.heading for chunk in knowledge.chunks()] == ["Prices"]


def test_hits_are_whole_best_first_and_in_order_of_the_queries(knowledge):
    documents = {each.id: each for each in (WARRANTY, PLANS, HOURS)}
    knowledge.sync(list(documents.values()))
    hours, plans = knowledge.retrieve(["When does support answer?", "harbour plan"], 2)
    assert (hours[0].chunk.document_id, plans[0].chunk.document_id) == ("hours", "plans")
    for hits in (hours, plans):
        assert len(hits) == 2
        assert {hit.via for hit in hits} == {"hybrid"}
        assert hits[0].score >= hits[1].score
        for hit in hits:
            cited = documents[hit.chunk.document_id]
            assert cited.text[hit.chunk.start : hit.chunk.end] == hit.chunk.text
            assert hit.chunk.document_version == cited.version


def test_a_document_whose_file_could_not_be_read_stays_as_it_is(knowledge, embedder):
    rows = [Document(f"row{i}", f"water {i}", "rows.jsonl") for i in range(2)]
    knowledge.sync([WARRANTY, PLANS, *rows])
    before = len(embedder.passages)
    report = knowledge.sync([PLANS], unread={"warranty.md", "rows.jsonl", "never-seen.pdf"})
    assert report == SyncReport(0, 0, 0, 1, 5, ("row0", "row1", "warranty"))
    assert "two years" in " ".join(texts(knowledge, "How long does the warranty last?"))
    assert len(embedder.passages) == before
    assert knowledge.sync([PLANS, rows[0]], unread={"rows.jsonl"}) == SyncReport(0, 0, 1, 2, 3, ("row1",))
    assert knowledge.sync([PLANS]).removed == 2


def test_documents_may_be_added_beside_those_that_are_there(knowledge):
    knowledge.sync([WARRANTY, PLANS])
    newer = document("plans", "The harbour plan costs thirteen euros.", "Plans")
    report = knowledge.sync([newer, HOURS], add_only=True)
    assert (report.added, report.updated, report.removed, report.kept) == (1, 1, 0, ("warranty",))
    assert knowledge.holds([HOURS, WARRANTY, newer])
    assert not knowledge.holds([HOURS, WARRANTY, PLANS])
    assert not knowledge.holds([HOURS, WARRANTY])


def test_half_a_folder_is_not_taken_for_deletions(knowledge, embedder):
    everything = [document(f"d{i}", f"water {i}") for i in range(9)]
    knowledge.sync(everything)
    before = knowledge.chunks()
    with pytest.raises(
        InputError, match=r"4 of 9 documents of the index are not .* `lorag index DOCS --allow-removals"
    ):
        knowledge.sync([*everything[:5], document("new", "air")])
    assert knowledge.chunks() == before
    assert "air" not in embedder.passages
    assert knowledge.sync(everything[:5], unread={"d8.md"}).removed == 3
    assert knowledge.sync(everything[:1], settings=ALL).removed == 5
    knowledge.sync(everything[:5])
    assert knowledge.sync([]).removed == 5


def test_a_part_of_a_table_is_found_by_its_header_and_cited_without_it(knowledge):
    rows = "\n".join(f"| Harbour{i} | {i} EUR |" for i in range(20))
    knowledge.sync([document("plans", f"| plan | monthly price |\n|---|---|\n{rows}"), WARRANTY])
    (hits,) = knowledge.retrieve(["monthly price of Harbour17"], 1)
    assert "Harbour17" in hits[0].chunk.text
    assert "monthly" not in hits[0].chunk.text
    assert hits[0].chunk.table_header == "| plan | monthly price |"


def test_a_hit_says_on_which_page_it_stands(knowledge):
    text = "Support answers between nine and five.\n\nThe harbour plan costs twelve euros in every month of the year."
    places = (Place(0, "page 1"), Place(text.index("The"), "page 2"))
    knowledge.sync([Document("a.pdf", text, "a.pdf", "", places)])
    assert knowledge.retrieve(["harbour plan"], 1)[0][0].chunk.place == "page 2"
    moved = (Place(0, "page 1"), Place(text.index("The"), "page 3"))
    assert knowledge.sync([Document("a.pdf", text, "a.pdf", "", moved)]).updated == 1
    assert knowledge.retrieve(["harbour plan"], 1)[0][0].chunk.place == "page 3"


def test_small_pieces_are_found_and_their_passage_is_returned_once(tmp_path, embedder):
    settings = ChunkSettings(max_tokens=600, search_tokens=16)
    knowledge = Knowledge.open(tmp_path, embedder, settings, RetrievalSettings(candidates=4, k=4))
    sections = "\n\n".join(f"## Gauge{i}\n\n{'It reads the water level. ' * 5}" for i in range(30))
    documents = [document(f"d{i}", sections + f"\n\nnumber{i} stands here.") for i in range(5)]
    assert knowledge.sync(documents).chunks == 10
    (hits,) = knowledge.retrieve(["which water level is read by number3"], 4)
    assert len({hit.chunk.id for hit in hits}) == len(hits) == 4
    assert hits[0].chunk.document_id == "d3"
    assert "number3 stands here." in hits[0].chunk.text
    assert 16 < embedder.count_tokens(hits[0].chunk.text) <= 600
    assert [len(found) for found in knowledge.retrieve(["water", "level"], 9)] == [9, 9]
    assert len(knowledge.chunks()) == knowledge.count() == 10
    with pytest.raises(StoreError, match="chunk tokens 600 in pieces of 16 instead of 600 in pieces of 32"):
        Knowledge.open(tmp_path, embedder, ChunkSettings(600, search_tokens=32), RETRIEVAL)


def test_headings_are_searched_but_not_cited(knowledge):
    knowledge.sync([WARRANTY, PLANS, HOURS])
    (hits,) = knowledge.retrieve(["Prices of Plans"], 1)
    assert hits[0].chunk.text == PLANS.text
    assert hits[0].chunk.heading == "Plans"


def test_more_questions_than_are_searched_at_once_keep_their_order(knowledge):
    knowledge.sync([document(f"d{i:02}", f"number{i} stands here") for i in range(70)])
    hits = knowledge.retrieve([f"number{i}" for i in range(70)], 1)
    assert [found[0].chunk.document_id for found in hits] == [f"d{i:02}" for i in range(70)]


def test_more_than_the_candidates_may_be_asked_for(knowledge):
    knowledge.sync([document(f"d{i:02}", f"water {i}") for i in range(60)])
    assert len(texts(knowledge, "water", 60)) == 60
    assert len(texts(knowledge, "water", 7)) == 7


@pytest.mark.parametrize(("weight", "expected"), [(0.0, ["d1"]), (1.0, ["d1", "d0"])])
def test_all_weight_on_one_side_asks_only_that_side(tmp_path, embedder, weight, expected):
    settings = RetrievalSettings(dense_weight=weight)
    knowledge = Knowledge.open(tmp_path, embedder, CHUNKS, settings)
    knowledge.sync([document("d0", "nothing of the kind"), document("d1", "tide tables")])
    assert [hit.chunk.document_id for hit in knowledge.retrieve(["tide"], 5)[0]] == expected


def opened(folder, embedder, **settings):
    return Knowledge.open(folder, embedder, CHUNKS, RetrievalSettings(**settings))


WORDED = [document(f"d{i}", "tide " + " ".join(f"number{i}{j}" for j in range(i))) for i in range(8)]


def cosines(embedder, documents, query):
    (vector,) = embedder.embed([query], "query")
    products = embedder.embed([each.text for each in documents], "passage") @ vector
    return {each.id: float(cosine) for each, cosine in zip(documents, products, strict=True)}


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("candidates", [3, 50])
def test_hits_below_the_least_cosine_are_not_returned_whichever_side_found_them(tmp_path, weight, candidates):
    embedder = HashEmbedder(4096)  # in which no two words fall together, so that what is far shares few words
    opened(tmp_path, embedder).sync(WORDED)
    expected = cosines(embedder, WORDED, "tide")
    settings = {"dense_weight": weight, "candidates": candidates, "k": 3}
    for least in (0.3, 0.45, 0.6, 0.99):
        hits = opened(tmp_path, embedder, min_cosine=least, **settings).retrieve(["tide"], 8)[0]
        near = {name for name, cosine in expected.items() if cosine >= least}
        assert {hit.chunk.document_id for hit in hits} == near
    assert opened(tmp_path, embedder, min_cosine=0.1, **settings).retrieve(["elsewhere"], 8) == [[]]
    assert len(opened(tmp_path, embedder, **settings).retrieve(["tide"], 8)[0]) == 8


def test_a_hit_of_words_alone_is_measured_before_it_is_returned(tmp_path):
    # Of 50 passages nearer to the question, dense search returns 3; "tide" stands only in one that is far from it.
    embedder = HashEmbedder(4096)
    documents = [*(document(f"n{i}", f"water level {i}") for i in range(50)), document("far", "tide " * 2 + "a b c d")]
    opened(tmp_path, embedder).sync(documents)
    query = "water level tide"
    cosine = cosines(embedder, documents, query)["far"]
    found = {}
    for least in (None, cosine - 0.01, cosine + 0.01):
        settings = {"min_cosine": least, "candidates": 3, "k": 3, "dense_weight": 0.2}
        found[least] = {h.chunk.document_id for h in opened(tmp_path, embedder, **settings).retrieve([query], 3)[0]}
    assert "far" in found[None] & found[cosine - 0.01]
    assert "far" not in found[cosine + 0.01]
    assert len(found[cosine + 0.01]) == 3


def test_marginal_relevance_passes_over_what_repeats(tmp_path, embedder):
    copies = [document(f"copy{i}", "The harbour plan costs twelve euros.") for i in range(4)]
    other = document("other", "A plan for rivers.")
    opened(tmp_path, embedder).sync([*copies, other])
    query = "what does the harbour plan cost"
    plain = opened(tmp_path, embedder).retrieve([query], 2)[0]
    diverse = opened(tmp_path, embedder, mmr_lambda=0.3).retrieve([query], 2)[0]
    assert [hit.chunk.document_id for hit in plain] == ["copy0", "copy1"]
    assert [hit.chunk.document_id for hit in diverse] == ["copy0", "other"]
    again = opened(tmp_path, embedder, mmr_lambda=0.3, depth=4).retrieve([query], 2)[0]
    assert [hit.chunk.document_id for hit in again] == ["copy0", "copy1"]


class Backwards:
    """Prefers what stands last in the alphabet, and remembers what it read."""

    name = "backwards"

    def __init__(self):
        self.read = []

    def score(self, query, passages):
        self.read += [(query, passage) for passage in passages]
        return [float(passage[0] == "z") - 7 for passage in passages]


def test_a_reranker_reads_the_best_hits_and_its_order_and_scores_count(tmp_path, embedder):
    reranker = Backwards()
    documents = [document(f"d{i}", ("tide " * 6 + f"a{i}") if i < 5 else f"z{i} tide") for i in range(8)]
    plain = opened(tmp_path, embedder)
    plain.sync(documents)
    settings = RetrievalSettings(reranker="backwards", rerank_weight=1, depth=6)
    knowledge = Knowledge.open(tmp_path, embedder, CHUNKS, settings, reranker)
    before, after = plain.retrieve(["tide"], 8)[0], knowledge.retrieve(["tide"], 3)[0]
    assert before[0].chunk.document_id != after[0].chunk.document_id == "d5"
    assert {hit.via for hit in before} == {"hybrid"}
    assert [(hit.score, hit.via) for hit in after] == [(-6.0, "reranked"), (-7.0, "reranked"), (-7.0, "reranked")]
    assert reranker.read == [("tide", hit.chunk.text) for hit in before[:6]]
    reranker.read.clear()
    assert len(knowledge.retrieve(["tide"], 8)[0]) == len(reranker.read) == 8


def test_a_reranker_reads_headings_and_headers_as_search_does(tmp_path, embedder):
    reranker = Backwards()
    knowledge = Knowledge.open(tmp_path, embedder, CHUNKS, RetrievalSettings(reranker="backwards"), reranker)
    knowledge.sync([PLANS])
    knowledge.retrieve(["plan"], 1)
    assert reranker.read == [("plan", f"Plans\n{PLANS.text}")]


def test_settings_and_reranker_must_name_the_same(tmp_path, embedder):
    for settings, reranker in (
        (RetrievalSettings(reranker="other"), Backwards()),
        (RetrievalSettings(reranker="backwards"), None),
        (RetrievalSettings(), Backwards()),
    ):
        with pytest.raises(ValueError, match="the settings name the reranker"):
            Knowledge.open(tmp_path, embedder, CHUNKS, settings, reranker)


def test_ranks_are_fused_where_ranks_are_asked_for(tmp_path, embedder):
    opened(tmp_path, embedder).sync(WORDED)
    (hits,) = opened(tmp_path, embedder, fusion="rrf").retrieve(["tide"], 8)
    assert max(hit.score for hit in hits) <= 1 / 61
    assert {hit.via for hit in hits} == {"hybrid"}


def test_candidates_are_what_both_sides_found_before_fusion(tmp_path, embedder):
    knowledge = opened(tmp_path, embedder, dense_weight=0.0, candidates=4, k=4)
    knowledge.sync(WORDED)
    tide, nothing = knowledge.candidates(["tide number70", "elsewhere"])
    assert (len(tide.dense), len(tide.lexical)) == (4, 4)
    assert tide.lexical[0].chunk.document_id == "d7"
    assert (len(nothing.dense), nothing.lexical) == (4, [])
    assert [(tide.dense[0].via, tide.lexical[0].via)] == [("dense", "lexical")]


def test_equal_texts_under_two_names_are_two_documents(knowledge):
    one, two = document("one", "same"), document("two", "same")
    knowledge.sync([one, two])
    assert knowledge.sync([two]).removed == 1
    assert [hit.chunk.document_id for hit in knowledge.retrieve(["same"], 5)[0]] == ["two"]


def test_progress_counts_embedded_chunks(knowledge):
    calls = []
    knowledge.sync([document(f"d{i}", "some text") for i in range(150)], lambda *call: calls.append(call))
    assert calls == [("embedding", 64, 150), ("embedding", 128, 150), ("embedding", 150, 150)]
    knowledge.sync([], lambda *call: calls.append(call), settings=ALL)
    assert len(calls) == 3


def test_an_index_of_an_older_format_is_refused_with_the_repair(tmp_path, embedder):
    made_with = {"format": "1", "embedder": "hash-64", "dim": "64", "chunk tokens": "16"}
    (tmp_path / "store").mkdir()
    SqliteManifest.create(tmp_path / "manifest.sqlite", made_with)
    with pytest.raises(
        StoreError, match=r"made with format 1 instead of 4, weights unknown .*`lorag index DOCS --store .* --rebuild`"
    ):
        Knowledge.open(tmp_path, embedder, CHUNKS, RETRIEVAL)


def test_a_damaged_index_is_refused_with_the_repair(tmp_path, knowledge, embedder):
    (tmp_path / "index" / "store").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"store' is missing; rebuild it with `lorag index DOCS --store .* --rebuild`"):
        Knowledge.open(tmp_path / "index", embedder, CHUNKS, RETRIEVAL)
    (tmp_path / "index" / "manifest.sqlite").write_bytes(b"junk" * 1000)
    with pytest.raises(StoreError, match=r"manifest .* cannot be used .*lorag index DOCS --rebuild"):
        Knowledge.open(tmp_path / "index", embedder, CHUNKS, RETRIEVAL)


def test_a_disk_that_refuses_a_write_of_the_manifest_costs_no_rebuild(tmp_path, largest_file):
    """SQLite has one code for a quota, a limit on the size of files and a failing disk."""
    manifest = SqliteManifest.create(tmp_path / "manifest.sqlite", {"format": "4"})
    entries = [Entry(f"{n:03}.txt", "1", "s" * 400, 1, (("path", f"{n:03}.txt"),)) for n in range(100)]
    manifest.commit(entries[:50], ())
    with (
        largest_file(16_000),
        pytest.raises(StoreError, match=r"check its quota.*what was finished is kept") as refused,
    ):
        manifest.commit(entries, ())
    assert "rebuild" not in str(refused.value)
    assert set(manifest.entries()) == {entry.id for entry in entries[:50]}


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"junk" * 300), Path.unlink, cut])
def test_whatever_file_of_an_index_is_damaged_no_other_answer_comes(tmp_path, embedder, damage):
    def answer(folder):
        knowledge = Knowledge.open(folder, embedder, CHUNKS, RetrievalSettings(exact_up_to=300))
        return knowledge.retrieve(["water number7"], 3)

    whole, copy, refused = tmp_path / "whole", tmp_path / "copy", []
    knowledge = Knowledge.open(whole, embedder, CHUNKS, RetrievalSettings(exact_up_to=300))
    knowledge.sync([document(f"d{i}", f"water number{i} level{i % 7}") for i in range(310)])
    for file in [path.relative_to(whole) for path in whole.rglob("*") if path.is_file()]:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        damage(copy / file)
        try:
            assert answer(copy) == answer(whole), file
        except StoreError as error:
            refused.append((file, str(error)))
    assert len(refused) > 3
    assert all("rebuild" in said for _, said in refused), refused


def test_an_interrupted_sync_changes_nothing_and_its_work_is_used(knowledge, embedder, monkeypatch):
    monkeypatch.setattr(knowledge_module, "_COMMIT_CHUNKS", 2)
    knowledge.sync([PLANS])
    before = knowledge.chunks()
    new = [document(f"d{i}", f"water {i}") for i in range(10)]
    embedder.passages, embedder.patience = [], 7
    with pytest.raises(KeyboardInterrupt):
        knowledge.sync(new)
    assert knowledge.chunks() == before
    assert texts(knowledge, "water plan") == [PLANS.text]
    embedder.passages, embedder.patience = [], 4
    assert knowledge.sync(new) == SyncReport(10, 0, 1, 0, 10)
    assert len(embedder.passages) == 4


def test_a_search_gives_up_when_the_index_never_rests(knowledge, monkeypatch):
    monkeypatch.setattr(knowledge._manifest, "generation", iter(range(100)).__next__)
    with pytest.raises(StoreError, match="changed 5 times during a search; try again"):
        knowledge.retrieve(["x"], 1)
