import pytest

from lorag.errors import InputError
from lorag.evaluation.answers.gold_context import EvidenceRetriever
from lorag.interfaces import Retriever
from lorag.types import Chunk, Example, Hit


def chunk(document, start, text, heading=""):
    return Chunk(document, "v", start, start + len(text), text, heading)


CHUNKS = [
    chunk("pumps", 0, "Pumps are blue."),
    chunk("pumps", 50, "Cleaning takes an hour.", "Cleaning a pump filter"),
    chunk("pumps", 100, "It lasts 14 days or 4 weeks."),
    chunk("other", 0, "It lasts 4 weeks."),
]
EXAMPLE = Example("a", "How long does a pump filter last?", ("4 weeks",), ("pumps",))


def starts(retriever, question=EXAMPLE.question, k=10):
    (hits,) = retriever.retrieve([question], k)
    return [hit.chunk.start for hit in hits]


def test_passages_with_the_answer_come_first_then_those_that_share_words_with_the_question():
    retriever: Retriever = EvidenceRetriever(CHUNKS, [EXAMPLE])
    (hits,) = retriever.retrieve([EXAMPLE.question], 10)
    assert [hit.chunk.start for hit in hits] == [100, 50, 0]
    assert {hit.via for hit in hits} == {"evidence"}
    assert {hit.chunk.document_id for hit in hits} == {"pumps"}
    # Content words: long, pump, filter, last; the second passage has two of them, in its heading.
    assert [hit.score for hit in hits] == [1.0, 0.5, 0.0]
    assert starts(retriever, k=1) == [100]


def test_a_long_reference_is_found_by_its_content():
    reference = "Cleaning takes about an hour of work by one person"
    assert (
        starts(EvidenceRetriever(CHUNKS, [Example("a", "How long?", (reference,), ("pumps",))]), "How long?")[0] == 50
    )


def test_the_same_question_twice_takes_the_evidence_of_both():
    second = Example("b", EXAMPLE.question, ("blue",), ("other",))
    (hits,) = EvidenceRetriever(CHUNKS, [EXAMPLE, second]).retrieve([EXAMPLE.question], 10)
    assert len(hits) == 4


def test_without_evidence_the_passages_are_those_of_a_search():
    class Search:
        def retrieve(self, queries, k):
            return [[Hit(CHUNKS[3], 0.5, "dense")][:k] for _ in queries]

    retriever = EvidenceRetriever(CHUNKS, [EXAMPLE, Example("b", "Who?", ())], Search())
    asked = retriever.retrieve(["Who?", EXAMPLE.question, "Who?"], 2)
    assert [[(hit.chunk.document_id, hit.via) for hit in hits] for hits in asked] == [
        [("other", "dense")],
        [("pumps", "evidence"), ("pumps", "evidence")],
        [("other", "dense")],
    ]


def test_without_evidence_there_are_no_passages_and_unknown_questions_are_refused():
    retriever = EvidenceRetriever(CHUNKS, [Example("a", "Who?", ())])
    assert retriever.retrieve(["Who?"], 3) == [[]]
    with pytest.raises(InputError, match=r"no evidence is known for the question 'Whom\?'"):
        retriever.retrieve(["Whom?"], 3)
