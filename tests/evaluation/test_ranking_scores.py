import math

import pytest

from lorag.evaluation.search.ranking_scores import answering, documents_of, ranking_scores, retrieval_scores
from lorag.types import Answer, Chunk, Example, Hit


def sources(*documents):
    return tuple(Hit(Chunk(name, "v", 0, 1, "x"), 0.1, "dense") for name in documents)


def test_retrieval_scores_by_hand():
    examples = [
        Example("a", "?", ("x",), ("d1", "d2")),
        Example("b", "?", ("x",), ("d3",)),
        Example("c", "?", ("x",), ("d9",)),
        Example("d", "?", ("x",)),
        Example("e", "?", (), ("d1",)),
    ]
    answers = [
        # Documents in order: d5, d1; the repeated passage of d5 takes no rank of its own.
        Answer("", sources=sources("d5", "d5", "d1")),
        Answer("", sources=sources("m1", "m2", "m3", "m4", "m5", "d3")),
        Answer(""),
        Answer("", sources=sources("d1")),
        Answer("", sources=sources("d1")),
    ]
    nothing = {"recall_at_5": None, "mrr_at_10": None, "evidence_in_prompt": None}
    assert retrieval_scores(examples, answers) == [
        {"recall_at_5": 0.5, "mrr_at_10": 0.5, "evidence_in_prompt": 1.0},
        {"recall_at_5": 0.0, "mrr_at_10": pytest.approx(1 / 6), "evidence_in_prompt": 1.0},
        {"recall_at_5": 0.0, "mrr_at_10": 0.0, "evidence_in_prompt": 0.0},
        nothing,
        nothing,
    ]
    assert retrieval_scores(examples[3:], answers[3:]) == [nothing, nothing]
    assert retrieval_scores([], []) == []


def test_ranking_scores_by_hand():
    relevant = [{"a", "b"}, {"c"}, set(), {"d"}]
    rankings = [["x", "a", "y", "b"], ["x"], ["x"], []]
    first, *others = ranking_scores(relevant, rankings, ["nDCG@10", "R@2", "Success@1", "RR@10"])
    gained, best = 1 / math.log2(3) + 1 / math.log2(5), 1 + 1 / math.log2(3)
    assert first == {"nDCG@10": pytest.approx(gained / best), "R@2": 0.5, "Success@1": 0.0, "RR@10": 0.5}
    zero = {"nDCG@10": 0.0, "R@2": 0.0, "Success@1": 0.0, "RR@10": 0.0}
    assert others == [zero, dict.fromkeys(zero), zero]
    assert ranking_scores([], [], ["R@5"]) == []


def test_documents_stand_at_their_best_place():
    assert documents_of(sources("b", "a", "b", "c", "a")) == ["b", "a", "c"]


def test_a_chunk_answers_where_it_holds_an_answer_of_its_questions_document():
    texts = {"a": ["It lasts 28 months.", "Ask us."], "b": ["It lasts 28 months."], "c": ["280 months"]}
    chunks = [Chunk(name, "v", i, i + len(text), text) for name, parts in texts.items() for i, text in enumerate(parts)]
    examples = [
        Example("1", "?", ("two years", "28 Months"), ("a", "c")),
        Example("2", "?", ("28 months",), ("c", "gone")),
        Example("3", "?", ("the",), ("a",)),
        Example("4", "?", ()),
    ]
    assert answering(chunks, examples) == [{chunks[0].id}, frozenset(), frozenset(), frozenset()]
