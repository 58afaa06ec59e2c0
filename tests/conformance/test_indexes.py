"""What knowledge promises wherever its index lies: in step with its documents, whole at any moment, one writer."""

import threading
from pathlib import Path

import pytest

from harbour import CHUNKS, DIM, HOURS, PLANS, RETRIEVAL, WARRANTY, CountingHashes, document
from lorag import build
from lorag.errors import InputError, StoreError, UnknownNameError
from lorag.retrieval import knowledge as knowledge_module
from lorag.retrieval.backends import folder_index as folder_module
from lorag.retrieval.backends import postgres_index as postgres_module
from lorag.retrieval.backends.location import holds_index, location_name, replacing
from lorag.retrieval.backends.postgres_database import Database
from lorag.retrieval.backends.s3_bucket import Bucket
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.knowledge import Knowledge, SyncReport, chunks_of
from lorag.settings import ChunkSettings, RetrievalSettings
from lorag.types import Chunk, Document


@pytest.fixture
def embedder():
    return CountingHashes()


@pytest.fixture
def knowledge(place, embedder):
    return Knowledge.open(place, embedder, CHUNKS, RETRIEVAL)


def reopened(place, settings=RETRIEVAL):
    return Knowledge.open(place, HashEmbedder(DIM), CHUNKS, settings)


def texts(knowledge, query, k=10):
    return [hit.chunk.text for hit in knowledge.retrieve([query], k)[0]]


def all_there_is(place):
    """The folders or schemas that hold an index, or half of one; in a bucket also what is missing or too much."""
    if isinstance(place, Path):
        return [path.name for path in place.parent.iterdir()]
    if place.startswith("s3:"):
        needed = {"conditions", "head.json", "objects"}
        return ["lorag", *({name.partition("/")[0] for name in Bucket(place).names("")} ^ needed)]
    return [name for (name,) in Database(place).rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'lorag%%'")]


def test_an_index_is_made_when_it_is_opened(place):
    assert not holds_index(place)
    knowledge = reopened(place)
    assert holds_index(place)
    assert (knowledge.count(), knowledge.documents(), knowledge.chunks()) == (0, [], [])
    assert knowledge.retrieve(["anything"], 3) == [[]]
    assert knowledge.sync([]) == SyncReport(0, 0, 0, 0, 0)


def test_sync_adds_updates_removes_and_leaves_alone(knowledge, embedder):
    assert knowledge.sync([WARRANTY, PLANS]) == SyncReport(2, 0, 0, 0, 3)
    longer = document("warranty", WARRANTY.text.replace("two", "three"))
    assert knowledge.sync([HOURS, longer]) == SyncReport(1, 1, 1, 0, 3)
    assert knowledge.sync([HOURS, longer]) == SyncReport(0, 0, 0, 2, 3)
    assert knowledge.documents() == ["hours", "warranty"]
    assert knowledge.count() == len(knowledge.chunks()) == 3
    assert knowledge.sync([]) == SyncReport(0, 0, 2, 0, 0)
    assert knowledge.retrieve(["warranty"], 3) == [[]]


def test_only_what_changed_is_embedded(knowledge, embedder):
    knowledge.sync([WARRANTY, PLANS])
    assert len(embedder.passages) == 3
    knowledge.sync([PLANS, WARRANTY])
    knowledge.sync([PLANS, Document("warranty", WARRANTY.text, "moved/warranty.md")])
    assert len(embedder.passages) == 3
    knowledge.sync([PLANS, WARRANTY, HOURS])
    assert embedder.passages[3:] == ["Hours\nSupport answers between nine and five."]


def test_documents_are_taken_out_by_name(knowledge, embedder):
    knowledge.sync([WARRANTY, PLANS, HOURS])
    knowledge.remove(["plans", "never there"])
    assert knowledge.documents() == ["hours", "warranty"]
    assert all("euros" not in text for text in texts(knowledge, "harbour plan euros"))
    knowledge.remove([])
    assert knowledge.count() == len(knowledge.chunks()) == 3
    embedder.passages.clear()
    assert knowledge.sync([WARRANTY, PLANS, HOURS]) == SyncReport(1, 0, 0, 2, 4)
    assert embedder.passages == [f"Plans\n{PLANS.text}"]


ODD = ("", " ", "\ud800", '"', "?" * 1000, "\0", "x" * 100_000, " ".join(f"word{i}" for i in range(12_000)))


def test_odd_questions_and_more_passages_than_there_are_may_be_asked_for(knowledge):
    knowledge.sync([WARRANTY, PLANS])
    for k in (1, 1000):
        for query, hits in zip(ODD, knowledge.retrieve(ODD, k), strict=True):
            assert len(hits) == min(k, 3), query[:20]


def test_at_least_one_passage_is_asked_for(knowledge):
    with pytest.raises(InputError, match="k 0 is below 1"):
        knowledge.retrieve(["x"], 0)


def test_documents_may_be_blank_or_named_alike(knowledge):
    blank, odd = document("blank", " \n"), document('it\'s; "odd"\n/é.md', "odd words")
    assert knowledge.sync([blank, odd]) == SyncReport(2, 0, 0, 0, 1)
    assert knowledge.sync([blank, odd]) == SyncReport(0, 0, 0, 2, 1)
    with pytest.raises(InputError, match=r"two documents have the id 'a'; ids must be unique"):
        knowledge.sync([document("a", "x"), document("b", "x"), document("a", "x")])
    assert knowledge.documents() == ["blank", 'it\'s; "odd"\n/é.md']


def test_it_is_all_there_after_reopening(place, knowledge, embedder):
    knowledge.sync([WARRANTY, PLANS])
    again = Knowledge.open(place, embedder, CHUNKS, RETRIEVAL)
    assert again.chunks() == knowledge.chunks()
    assert again.retrieve(["harbour"], 3) == knowledge.retrieve(["harbour"], 3)
    assert again.sync([WARRANTY, PLANS]).unchanged == 2


@pytest.mark.parametrize("chunks", [ChunkSettings(32), ChunkSettings(600, 16)])
def test_opened_without_sizes_of_chunks_an_index_keeps_its_own(place, embedder, chunks):
    assert chunks_of(place) is None
    made = Knowledge.open(place, embedder, chunks, RETRIEVAL)
    made.sync([WARRANTY, PLANS])
    again = build.knowledge(place, embedder, retrieval=RETRIEVAL)
    assert chunks_of(place) == chunks
    assert again.retrieve(["harbour"], 3) == made.retrieve(["harbour"], 3)
    again.sync([WARRANTY, PLANS, HOURS])
    assert made.chunks() == again.chunks()
    assert Knowledge.open(place, embedder, chunks, RETRIEVAL).sync([WARRANTY, PLANS, HOURS]).unchanged == 3


@pytest.mark.parametrize(
    ("other", "chunks", "said", "option"),
    [
        (
            HashEmbedder(32),
            CHUNKS,
            "made with dim 64 instead of 32, embedder hash-64 instead of hash-32",
            " --embedder hash-32",
        ),
        (HashEmbedder(DIM), ChunkSettings(32), "made with chunk tokens 16 instead of 32", ""),
    ],
)
def test_other_settings_are_refused_with_the_repair(place, knowledge, other, chunks, said, option):
    with pytest.raises(StoreError) as caught:
        Knowledge.open(place, other, chunks, RETRIEVAL)
    assert said in str(caught.value)
    assert f"`lorag index DOCS --store {location_name(place)}{option} --rebuild`" in str(caught.value)


def test_a_new_index_takes_the_place_of_an_old_one_whole_or_not_at_all(place, knowledge, embedder):
    knowledge.sync([WARRANTY])

    def rebuild(patience):
        embedder.passages, embedder.patience = [], patience
        with replacing(place) as fresh:
            Knowledge.open(fresh, embedder, ChunkSettings(32), RETRIEVAL).sync([PLANS, HOURS])

    with pytest.raises(KeyboardInterrupt):
        rebuild(patience=0)
    assert Knowledge.open(place, embedder, CHUNKS, RETRIEVAL).documents() == ["warranty"]
    rebuild(patience=9)
    again = Knowledge.open(place, embedder, ChunkSettings(32), RETRIEVAL)
    assert again.documents() == ["hours", "plans"]
    assert texts(again, "harbour plan", 1) == [PLANS.text]
    assert again.sync([PLANS, HOURS, WARRANTY]).added == 1
    assert all_there_is(place) == ["index" if isinstance(place, Path) else "lorag"]


def test_an_index_is_rebuilt_where_there_was_none(place, embedder):
    with replacing(place) as fresh:
        Knowledge.open(fresh, embedder, CHUNKS, RETRIEVAL).sync([WARRANTY])
    assert reopened(place).documents() == ["warranty"]


TAGGED = [
    Document(
        f"d{i:02}",
        f"water level {i}",
        f"{'new' if i % 3 else 'old'}/d{i:02}.{'MD' if i % 2 else 'pdf'}",
        f"Level {i}",
        meta=(("year", str(2000 + i % 4)), ("tag", f"[{i % 5}]"), ("tag", "100%_of\\it's")),
    )
    for i in range(40)
]


def meant(knowledge, where, k=40, query="water level 7"):
    return sorted(hit.chunk.document_id for hit in knowledge.retrieve([query], k, where)[0])


def ids(number_fits):
    return [f"d{i:02}" for i in range(40) if number_fits(i)]


@pytest.mark.parametrize("listed", [10_000, 3])
def test_only_the_documents_meant_are_searched_and_all_of_them(knowledge, monkeypatch, listed):
    monkeypatch.setattr(knowledge_module, "_LISTED", listed)
    knowledge.sync(TAGGED)
    for where, expected in (
        ({"id": "d07"}, ids(lambda i: i == 7)),
        ({"id": "d?7"}, ids(lambda i: i % 10 == 7)),
        ({"type": "pdf"}, ids(lambda i: i % 2 == 0)),
        ({"type": ["pdf", "md"]}, ids(lambda i: True)),
        ({"source": "old/*"}, ids(lambda i: i % 3 == 0)),
        ({"source": "*d1*.pdf", "year": "2002"}, ids(lambda i: i // 10 == 1 and i % 4 == 2)),
        ({"title": "Level 3*"}, ids(lambda i: str(i).startswith("3"))),
        ({"tag": "[3]"}, ids(lambda i: i % 5 == 3)),
        ({"tag": "[*]", "year": ["2000", "2001"]}, ids(lambda i: i % 4 < 2)),
        ({"tag": "100%_of\\it's"}, ids(lambda i: True)),
        ({}, ids(lambda i: True)),
        (None, ids(lambda i: True)),
    ):
        assert meant(knowledge, where) == expected, where
        assert len(meant(knowledge, where, k=2)) == min(2, len(expected))
        if where:
            assert [hit.chunk.document_id for hit in knowledge.only(where).retrieve(["7"], 1)[0]] == [
                hit.chunk.document_id for hit in knowledge.retrieve(["7"], 1, where)[0]
            ]


@pytest.mark.parametrize(
    ("where", "error", "said"),
    [
        ({"typ": "pdf"}, UnknownNameError, "unknown key of documents 'typ'; did you mean type"),
        ({"type": "pfd"}, InputError, "no document has a type like 'pfd'; the index has 'pdf' and 1 more"),
        ({"tag": "100"}, InputError, "no document has a tag like '100'; the index has "),
        ({"tag": "100%"}, InputError, "no document has a tag like '100%'"),
        ({"title": "level *"}, InputError, "no document has a title like 'level \\*'; the index has 'Level"),
        ({"id": "d07", "type": "pdf"}, InputError, "a id like 'd07' and a type like 'pdf' at once; leave one out"),
        ({"type": []}, InputError, "no value is given for 'type'; give one, or leave the key out"),
        ({"type": "*" * 20_000}, InputError, "a value of 20000 characters for 'type'; expected at most 10000"),
    ],
)
def test_where_no_document_is_meant_the_nearest_key_and_value_are_named(knowledge, where, error, said):
    knowledge.sync(TAGGED)
    for ask in (lambda: knowledge.retrieve(["water"], 3, where), lambda: knowledge.only(where)):
        with pytest.raises(error, match=said):
            ask()


def test_an_empty_index_has_nothing_to_choose_from(knowledge):
    with pytest.raises(InputError, match="the index holds no documents to choose from"):
        knowledge.only({"type": "pdf"})


def test_new_attributes_are_searched_by_at_once_and_cost_no_embedding(place, knowledge, embedder):
    knowledge.sync([PLANS, HOURS])
    before, only = len(embedder.passages), knowledge.only({"source": "plans.md"})
    moved = Document("plans", PLANS.text, "moved/plans.txt", PLANS.title, meta=(("lang", "en"), ("lang", "\0é")))
    assert knowledge.sync([moved, HOURS]) == SyncReport(0, 0, 0, 2, 2)
    assert len(embedder.passages) == before
    again = reopened(place)
    for where in ({"lang": "\0é"}, {"lang": "en", "source": "moved/*"}, {"type": "txt"}):
        assert meant(again, where) == ["plans"]
    with pytest.raises(InputError, match=r"no document has a source like 'plans\.md'"):
        only.retrieve(["harbour"], 3)
    assert knowledge.sync([HOURS]).removed == 1
    with pytest.raises(UnknownNameError, match="unknown key of documents 'lang'"):
        knowledge.retrieve(["harbour"], 3, {"lang": "en"})


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_no_leftover_and_no_old_version_comes_by_a_choice_either(place, embedder, weight):
    settings = RetrievalSettings(candidates=20, dense_weight=weight, exact_up_to=100)
    knowledge = Knowledge.open(place, embedder, CHUNKS, settings)
    knowledge.sync([*TAGGED, *(document(f"x{i}", f"water gauge {i}") for i in range(200))])
    (chunk,) = [chunk for chunk in knowledge.chunks() if chunk.document_id == "d07"]
    old = [Chunk("d07", "f" * 16, 0, 5, "water"), Chunk("z", "f" * 16, 0, 5, "water")]
    with knowledge._index.writing():
        knowledge._store.add(old, embedder.embed(["water"] * 2, "passage"), ["water"] * 2)
    for where in ({"id": "d07"}, {"id": ["d07", "z"]}, {"tag": "[2]", "year": "2003", "id": "d0*"}):
        assert [hit.chunk for hit in knowledge.retrieve(["water"], 5, where)[0]] == [chunk]


def test_whoever_searches_sees_the_new_index_when_it_is_there(place, knowledge, embedder):
    knowledge.sync([WARRANTY])
    with replacing(place) as fresh:
        Knowledge.open(fresh, embedder, CHUNKS, RETRIEVAL).sync([PLANS])
        assert "two years" in " ".join(texts(knowledge, "warranty years"))
    assert texts(reopened(place), "harbour plan warranty") == [PLANS.text]


def test_a_second_writer_waits_and_then_says_why_not(place, knowledge, monkeypatch):
    for module in (folder_module, postgres_module):
        monkeypatch.setattr(module, "_WAIT_SECONDS", 0.1)
    knowledge.sync([WARRANTY])

    def rebuild():
        with replacing(place) as fresh:
            reopened(fresh).sync([PLANS])

    for write in (lambda: knowledge.sync([PLANS]), rebuild):
        with reopened(place)._index.writing(), pytest.raises(StoreError, match="another process has been writing to"):
            write()
    assert knowledge.documents() == ["warranty"]
    assert knowledge.sync([WARRANTY, PLANS]).added == 1


def test_leftovers_are_never_shown_and_then_dropped(knowledge):
    knowledge.sync([document(f"d{i:02}", f"water number{i}") for i in range(25)])
    expected = knowledge.retrieve(["water"], 25)[0]
    leftovers = [Chunk(f"z{i}", "f" * 16, 0, 5, "water") for i in range(100)]
    vectors = HashEmbedder(DIM).embed(["water"] * 100, "passage")
    with knowledge._index.writing():
        knowledge._store.add(leftovers, vectors, ["water"] * 100)
    found = knowledge.retrieve(["water"], 25)[0]
    assert {hit.chunk for hit in found} == {hit.chunk for hit in expected}
    assert knowledge.count() == len(knowledge.chunks()) == 25
    knowledge.sync([document(f"d{i:02}", f"water number{i}") for i in range(25)])
    assert knowledge._store.count() == 25


def test_large_knowledge_is_searched_approximately_and_shows_no_leftovers(place, embedder):
    settings = RetrievalSettings(candidates=20, dense_weight=1, exact_up_to=300)
    knowledge = Knowledge.open(place, embedder, CHUNKS, settings)
    documents = [document(f"d{i:03}", f"water number{i} level{i % 7} gauge{i % 11}") for i in range(400)]
    report = knowledge.sync(documents)
    assert report.recall is not None
    assert 0.9 < report.recall <= 1
    leftovers = [Chunk(f"z{i}", "f" * 16, 0, 5, "water") for i in range(200)]
    with knowledge._index.writing():
        knowledge._store.add(leftovers, embedder.embed(["water number7"] * 200, "passage"), ["water number7"] * 200)
    assert len(knowledge.retrieve(["water number7"], 20)[0]) == 20
    assert "d007" in [hit.chunk.document_id for hit in knowledge.retrieve(["water number7"], 20)[0]]
    assert len(texts(knowledge, "water", 400)) == 400
    changed = [document("d007", "quite other words"), *documents[:7], *documents[8:]]
    assert knowledge.sync(changed).recall is None
    assert "d007" not in [hit.chunk.document_id for hit in knowledge.retrieve(["water number7"], 20)[0]]
    # Among everything an approximate index may miss it; a search of chosen documents is exact.
    assert texts(knowledge.only({"id": "d007"}), "quite other words", 1) == ["quite other words"]


def test_a_search_that_a_sync_falls_into_is_repeated(place, knowledge, embedder, monkeypatch):
    knowledge.sync([document(f"d{i}", f"water old{i}") for i in range(5)])
    writer = Knowledge.open(place, embedder, CHUNKS, RETRIEVAL)
    search = knowledge._store.search_dense
    syncs: list[SyncReport] = []

    def interrupted(*asked):
        hits = search(*asked)
        if not syncs:
            syncs.append(writer.sync([document(f"d{i}", f"water new{i}") for i in range(5)]))
        return hits

    monkeypatch.setattr(knowledge._store, "search_dense", interrupted)
    assert sorted(texts(knowledge, "water")) == [f"water new{i}" for i in range(5)]


def test_writers_at_once_leave_one_of_everything(place):
    def write(reports):
        reports.append(reopened(place).sync([WARRANTY, PLANS, HOURS]))

    reports: list[SyncReport] = []
    threads = [threading.Thread(target=write, args=(reports,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.added for report in reports) == [0, 0, 0, 3]
    assert reopened(place)._store.count() == 4


def test_an_interrupted_sync_changes_nothing(knowledge, embedder, monkeypatch):
    monkeypatch.setattr(knowledge_module, "_COMMIT_CHUNKS", 2)
    knowledge.sync([PLANS])
    before, new = knowledge.chunks(), [document(f"d{i}", f"water {i}") for i in range(10)]
    embedder.passages, embedder.patience = [], 7
    with pytest.raises(KeyboardInterrupt):
        knowledge.sync(new)
    assert knowledge.chunks() == before
    assert texts(knowledge, "water plan") == [PLANS.text]
    embedder.patience = 10**9
    assert knowledge.sync(new) == SyncReport(10, 0, 1, 0, 10)


def test_what_a_thread_is_writing_another_one_does_not_see(place, knowledge):
    """Threads share one ``Knowledge``: a server searches while it is brought in step."""
    knowledge.sync([PLANS])
    seen = []

    class Looking(HashEmbedder):
        def embed(self, texts, kind):
            if kind == "passage":
                reader = threading.Thread(target=lambda: seen.append(knowledge.documents()))
                reader.start()
                reader.join()
            return super().embed(texts, kind)

    knowledge.embedder = Looking(DIM)
    knowledge.sync([WARRANTY, HOURS])
    assert seen == [["plans"]]
    assert knowledge.documents() == ["hours", "warranty"]
