from dataclasses import replace

import pytest

from harbour import CHUNKS, document
from lorag.documents.chunking import searched_text
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.retrieval.second_search import asks_for_two, new_names
from lorag.settings import RetrievalSettings

TWO = "In which city is the company that made the pump HX-410?"
PUMP = document("pump", "The pump HX-410 was made by Corvane Works.", "HX-410")
MAKER = document("maker", "Corvane Works: Tromso.")
OTHERS = [document(f"other{i}", f"The company {name} rents a city boat.") for i, name in enumerate("ABCDEFGHIJKL")]
DIM = 512
DOCUMENTS = [PUMP, MAKER, *OTHERS]
SETTINGS = RetrievalSettings(candidates=20)


class RecordingHashes(HashEmbedder):
    """Remembers what it was asked to search for, and runs ``before`` each search."""

    def __init__(self):
        super().__init__(DIM)
        self.asked, self.before = [], lambda texts: None

    def embed(self, texts, kind):
        if kind == "query":
            self.before(texts)
            self.asked.append(list(texts))
        return super().embed(texts, kind)


def opened(folder, embedder=None, documents=DOCUMENTS, **changes):
    """An index of the documents, searched with ``changes`` to the settings."""
    by = embedder or RecordingHashes()
    knowledge = Knowledge.open(folder / "index", by, CHUNKS, replace(SETTINGS, **changes))
    knowledge.sync(documents)
    return knowledge


def names(hits):
    return [hit.chunk.document_id for hit in hits]


def test_only_a_second_search_finds_the_document_that_the_question_does_not_name(tmp_path):
    embedder = RecordingHashes()
    (once,) = opened(tmp_path, second_search=False).retrieve([TWO], 5)
    (twice,) = opened(tmp_path, embedder).retrieve([TWO], 5)
    assert once[0].chunk.document_id == twice[0].chunk.document_id == "pump"
    assert "maker" not in names(once)
    assert names(twice)[3] == "maker"
    assert embedder.asked == [[TWO], [f"{TWO} Corvane Works"]]


@pytest.mark.parametrize("k", [1, 3, 4, 5, 10])
def test_its_best_passages_take_the_places_four_and_five(tmp_path, k):
    (once,) = opened(tmp_path, second_search=False).retrieve([TWO], k)
    (again,) = opened(tmp_path, second_search=False).retrieve([f"{TWO} Corvane Works"], 5)
    (twice,) = opened(tmp_path).retrieve([TWO], k)
    placed = [hit.chunk.id for hit in again if hit.chunk.id not in {hit.chunk.id for hit in once[:3]}][:2]
    rest = [hit.chunk.id for hit in once[3:] if hit.chunk.id not in placed]
    assert (
        [hit.chunk.id for hit in twice] == ([hit.chunk.id for hit in once[:3]] + placed + rest)[:k] if k > 3 else once
    )
    assert len({hit.chunk.id for hit in twice}) == k
    assert [hit.via for hit in twice] == ["hybrid", "hybrid", "hybrid", "second", "second", *["hybrid"] * 5][:k]


def test_a_passage_that_moves_up_does_not_stay_where_it_stood(tmp_path):
    (once,) = opened(tmp_path, second_search=False).retrieve([TWO], 14)
    (twice,) = opened(tmp_path).retrieve([TWO], 14)
    assert names(once).index("maker") > 4
    assert names(twice)[3] == "maker"
    assert sorted(names(once)) == sorted(names(twice))


@pytest.mark.parametrize(
    ("query", "settings"),
    [
        pytest.param("In which city is the maker of the pump HX-410?", {}, id="no relative clause"),
        pytest.param("In welcher Stadt ist die Firma, die die Pumpe HX-410 gebaut hat?", {}, id="another language"),
        pytest.param("Is there a company that rents a boat?", {}, id="no new name"),
        pytest.param(TWO, {"second_search": False}, id="switched off"),
        pytest.param(TWO, {"min_cosine": -1}, id="only passages near to the question"),
        pytest.param(TWO, {"gate_cosine": 1}, id="off topic"),
    ],
)
def test_other_questions_are_searched_once(tmp_path, query, settings):
    embedder = RecordingHashes()
    (hits,) = opened(tmp_path, embedder, **settings).retrieve([query], 5)
    assert embedder.asked == [[query]]
    assert "second" not in {hit.via for hit in hits}


def test_fewer_than_four_passages_need_one_search(tmp_path):
    embedder = RecordingHashes()
    opened(tmp_path, embedder).retrieve([TWO], 3)
    assert embedder.asked == [[TWO]]


def test_where_nothing_is_found_nothing_more_is_searched(tmp_path):
    embedder = RecordingHashes()
    assert opened(tmp_path, embedder, []).retrieve([TWO], 5) == [[]]
    assert embedder.asked == [[TWO]]


def test_a_small_index_gives_each_passage_once(tmp_path):
    (hits,) = opened(tmp_path, documents=[PUMP, MAKER]).retrieve([TWO], 5)
    assert sorted(names(hits)) == ["maker", "pump"]


def test_a_filter_holds_in_the_second_search(tmp_path):
    (hits,) = opened(tmp_path).retrieve([TWO], 5, where={"id": ["pump", "other*"]})
    assert "second" in {hit.via for hit in hits}
    assert "maker" not in names(hits)


@pytest.mark.parametrize(("weight", "kind"), [(0.0, "lexical"), (1.0, "dense")])
def test_each_kind_of_search_is_done_twice(tmp_path, weight, kind):
    (hits,) = opened(tmp_path, dense_weight=weight).retrieve([TWO], 5)
    assert [hit.via for hit in hits] == [kind, kind, kind, "second", "second"]


def test_several_questions_keep_their_order_and_share_the_second_search(tmp_path):
    embedder = RecordingHashes()
    knowledge = opened(tmp_path, embedder)
    queries = [
        "company C in a city",
        TWO,
        "In which city is the maker of the pump HX-410?",
        "Name the company which made the pump HX-410.",
        *["company D"] * 40,
    ]
    queries[36] = TWO
    found = knowledge.retrieve(queries, 5)
    assert list(map(len, embedder.asked)) == [32, 2, 12, 1]
    assert found == [knowledge.retrieve([query], 5)[0] for query in queries]


def test_both_searches_see_one_state_of_the_index(tmp_path):
    embedder = RecordingHashes()
    knowledge = opened(tmp_path, embedder)
    newer = [
        document("pump", PUMP.text.replace("Corvane", "Brelin")),
        document("maker2", "Brelin Works: Oslo."),
    ]

    def change(texts):
        if "Corvane Works" in texts[0]:
            embedder.before = lambda texts: None
            opened(tmp_path, HashEmbedder(DIM), [*newer, *DOCUMENTS[1:]])

    embedder.before = change
    (hits,) = knowledge.retrieve([TWO], 5)
    assert [asked for (asked,) in embedder.asked] == [TWO, f"{TWO} Corvane Works", TWO, f"{TWO} Brelin Works"]
    assert "Brelin" in hits[0].chunk.text
    assert names(hits)[3] == "maker2"


def test_names_of_the_heading_count(tmp_path):
    knowledge = opened(tmp_path, documents=[document("pump", "The pump HX-410 is heavy.", "Corvane Works")])
    assert new_names(TWO, searched_text(knowledge.chunks()[0])) == ["Corvane Works"]


@pytest.mark.parametrize(
    ("passage", "found"),
    [
        ("It was sold to the University of Utrecht in June.", ["University of Utrecht", "June"]),
        ("The gauge KL-7 replaces the gauge KL-6.", ["KL-7", "KL-6"]),
        ("It met The New Board Of Trade And.", ["Board Of Trade"]),
        ("Pressure rises. Valves open. A valve of Brelin closes.", ["Brelin"]),
        ("Brelin is old. Brelin is large.", ["Brelin"]),
        ("Corvane is known to the question, Norvane is not.", ["Norvane"]),
        ("José Álvarez met Anna-Lena O'Neil's son.", ["José Álvarez", "Anna-Lena O'Neil's"]),
        ("| Maker | Brelin Works |\n- Valves\n- 2019", ["Brelin Works"]),
        ("nothing of the kind, and no AB", []),
        ("", []),
    ],
)
def test_names_are_capitalised_runs_and_identifiers_that_the_question_lacks(passage, found):
    assert new_names("Where is the company that Corvane bought?", passage) == found


@pytest.mark.parametrize(
    ("question", "two"),
    [
        (TWO, True),
        ("Who wrote the song whose singer was born in Oslo?", True),
        ("What is the town WHERE Corvane, 'which' bought Brelin, builds?", True),
        ("What did the man who? say", True),
        ("In which city is Corvane?", False),
        ("Who is that person?", False),
        ("Who wrote the song Whichever?", False),
        ("Wer schrieb das Lied, dessen Sänger in Oslo geboren ist?", False),
        ("", False),
    ],
)
def test_a_relative_clause_begins_after_the_third_word(question, two):
    assert asks_for_two(question) is two
