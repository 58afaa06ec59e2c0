"""What every reranker promises, asked of each of them."""

import pytest

from lorag.retrieval.encoders.cross_encoder import CrossEncoder

QUERY = "How long does the warranty last?"
PASSAGES = [
    "The warranty of a gauge lasts two years.",
    "water " * 700,
    "",
    "Прибор измеряет уровень воды.",
    "潮位計は水位を測定します。😀",
    "Bread bakes for forty minutes.",
]


@pytest.fixture(scope="module", params=["minilm"])
def reranker(request):
    return CrossEncoder(request.getfixturevalue("reranker_folder"), "minilm-reranker")


def test_what_answers_is_above_what_does_not(reranker):
    scores = reranker.score(QUERY, PASSAGES)
    assert max(scores) == scores[0]
    assert all(isinstance(score, float) for score in scores)


def test_a_score_depends_on_its_pair_alone(reranker):
    together = reranker.score(QUERY, PASSAGES)
    assert together == [score for passage in PASSAGES for score in reranker.score(QUERY, [passage])]
    assert together == reranker.score(QUERY, PASSAGES[::-1])[::-1]
    assert reranker.score(QUERY, []) == []


def test_the_question_counts(reranker):
    assert reranker.score("How long does bread bake?", PASSAGES)[5] > reranker.score(QUERY, PASSAGES)[5]


def test_any_question_gets_scores(reranker):
    for query in ("", "?", "warranty " * 20_000, "\x00"):
        assert len(reranker.score(query, PASSAGES)) == len(PASSAGES)


def test_it_has_a_name(reranker):
    assert reranker.name
