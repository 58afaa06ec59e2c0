import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.ranking import Ranker, SearchResults, diverse, fuse, rerank
from lorag.settings import RetrievalSettings
from lorag.types import Chunk, Hit


def hit(name, score, via="dense"):
    return Hit(Chunk(name, "v", 0, 4, "text"), score, via)


def ranked(hits):
    return [(hit.chunk.document_id, pytest.approx(hit.score)) for hit in hits]


def fused(dense, lexical, weight, fusion="convex"):
    return fuse(SearchResults(dense, lexical), weight, fusion)


def test_values_worked_out_by_hand():
    # dense 0.9 0.7 0.5 -> 1, 0.5, 0; lexical 8 4 3 -> 1, 0.2, 0
    dense = [hit("a", 0.9), hit("b", 0.7), hit("c", 0.5)]
    lexical = [hit("c", 8.0, "lexical"), hit("b", 4.0, "lexical"), hit("d", 3.0, "lexical")]
    hits = fused(dense, lexical, 0.6)
    # a: 0.6; b: 0.6 * 0.5 + 0.4 * 0.2 = 0.38; c: 0 + 0.4; d: 0
    assert ranked(hits) == [("a", 0.6), ("c", 0.4), ("b", 0.38), ("d", 0.0)]
    assert {hit.via for hit in hits} == {"hybrid"}


def test_reciprocal_ranks_worked_out_by_hand():
    dense = [hit("a", 0.9), hit("b", 0.7)]
    lexical = [hit("b", 8.0), hit("c", 7.9), hit("a", 0.1)]
    # a: 0.75 / 61 + 0.25 / 63; b: 0.75 / 62 + 0.25 / 61; c: 0.25 / 62
    expected = [("a", 0.75 / 61 + 0.25 / 63), ("b", 0.75 / 62 + 0.25 / 61), ("c", 0.25 / 62)]
    hits = fused(dense, lexical, 0.75, "rrf")
    assert ranked(hits) == expected
    assert {hit.via for hit in hits} == {"hybrid"}
    assert [name for name, _ in ranked(fused(dense, lexical, 0.75))] == ["a", "b", "c"]


def test_negative_scores_are_scores():
    assert ranked(fused([hit("a", 0.2), hit("b", -0.6), hit("c", -0.2)], [], 0.5)) == [
        ("a", 0.5),
        ("c", 0.25),
        ("b", 0.0),
    ]


def test_a_single_hit_is_the_best_of_its_side():
    assert ranked(fused([hit("a", 0.1)], [hit("b", 3.0)], 0.7)) == [("a", 0.7), ("b", 0.3)]
    assert ranked(fused([hit("a", 0.1)], [hit("a", 3.0)], 0.7)) == [("a", 1.0)]


def test_equal_scores_are_all_the_best_and_ordered_by_id():
    assert ranked(fused([hit("b", 0.4), hit("a", 0.4)], [], 0.5)) == [("a", 0.5), ("b", 0.5)]


def test_nothing_found_is_nothing():
    assert fused([], [], 0.5) == []
    assert ranked(fused([], [hit("a", 2.0), hit("b", 1.0)], 0.5)) == [("a", 0.5), ("b", 0.0)]


def test_all_weight_on_one_side_returns_its_hits_as_they_are():
    dense, lexical = [hit("a", 0.9), hit("b", 0.8)], [hit("b", 9.0, "lexical"), hit("c", 1.0, "lexical")]
    for fusion in ("convex", "rrf"):
        assert fused(dense, lexical, 1.0, fusion) == dense
        assert fused(dense, lexical, 0.0, fusion) == lexical


SIDES = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-1, 40, allow_nan=False), max_size=8)


@given(SIDES, SIDES, st.floats(0, 1, exclude_min=True, exclude_max=True), st.randoms())
@pytest.mark.parametrize("fusion", ["convex", "rrf"])
def test_the_order_of_the_inputs_does_not_matter(fusion, dense, lexical, weight, random):
    sides = [[hit(name, score) for name, score in side.items()] for side in (dense, lexical)]
    hits = fused(sides[0], sides[1], weight, fusion)
    assert len(hits) == len(dense.keys() | lexical.keys())
    assert all(-1e-9 <= hit.score <= 1 + 1e-9 for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    for side in sides:
        random.shuffle(side)
    assert fused(sides[0], sides[1], weight, fusion) == hits


# a and b say the same; c says something else and fits less.
HITS = [hit("a", 3.0), hit("b", 2.9), hit("c", 1.0)]
VECTORS = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)


class Known:
    """A reranker with three logits."""

    name = "known"

    def score(self, query, passages):
        return [-4.0, 4.0, 0.0]


def test_what_a_reranker_reads_keeps_a_share_of_the_score_it_was_found_with():
    found = [hit("a", 0.9), hit("b", 0.5), hit("c", 0.8)]
    # own 1, 0, 0.75; the reranker's 0, 1, 0.5
    assert ranked(rerank("q", found, Known(), 0.4)) == [("c", 0.65), ("a", 0.6), ("b", 0.4)]
    assert ranked(rerank("q", found, Known(), 0.7)) == [("b", 0.7), ("c", 0.575), ("a", 0.3)]
    assert ranked(rerank("q", found, Known(), 0)) == [("a", 1), ("c", 0.75), ("b", 0)]
    assert ranked(rerank("q", found, Known(), 1)) == [("b", 4), ("c", 0), ("a", -4)]
    assert {hit.via for hit in rerank("q", found, Known(), 0.4)} == {"reranked"}


def test_the_weight_of_the_reranker_takes_part():
    found = SearchResults([hit("a", 0.9), hit("b", 0.6), hit("c", 0.5)], [])

    def first(weight):
        settings = RetrievalSettings(dense_weight=1, reranker="known", rerank_weight=weight)
        return ranked(Ranker(settings, HashEmbedder(), Known()).rank("q", found, 1))

    # own 1, 0.25, 0
    assert [*first(0.4), *first(0.6), *first(1)] == [("a", 0.6), ("b", 0.7), ("b", 4)]


def names(hits):
    return [each.chunk.document_id for each in hits]


def test_marginal_relevance_puts_what_is_new_before_what_repeats():
    assert names(diverse(HITS, VECTORS, 1.0, 3)) == ["a", "b", "c"]
    # after a: b 0.5 * 0.95 - 0.5 * 1 = -0.025; c 0.5 * 0 - 0.5 * 0 = 0
    assert diverse(HITS, VECTORS, 0.5, 3) == [HITS[0], HITS[2], HITS[1]]
    assert names(diverse(HITS, VECTORS, 0.5, 2)) == ["a", "c"]
    # after a: b 0.6 * 0.95 - 0.4 = 0.17; c 0
    assert names(diverse(HITS, VECTORS, 0.6, 3)) == ["a", "b", "c"]
    assert diverse([], np.empty((0, 2), dtype=np.float32), 0.5, 3) == []


def test_the_opposite_of_what_was_chosen_is_the_newest():
    vectors = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    equally_fit = [hit(name, 1.0) for name in "abc"]
    assert names(diverse(equally_fit, vectors, 0.5, 3)) == ["a", "c", "b"]


@given(SIDES, st.floats(0, 1), st.integers(1, 9))
def test_marginal_relevance_chooses_each_once(side, weight, k):
    hits = fused([hit(name, score) for name, score in side.items()], [], 0.5)
    chosen = diverse(hits, HashEmbedder(8).embed(names(hits), "passage"), weight, k)
    assert len(chosen) == min(k, len(hits)) == len({each.chunk.id for each in chosen})
    assert chosen[:1] == hits[:1] or weight == 0
    assert diverse(hits, HashEmbedder(8).embed(names(hits), "passage"), 1.0, k) == hits[:k]


def test_a_least_cosine_needs_a_vector():
    ranker = Ranker(RetrievalSettings(min_cosine=0.5), HashEmbedder(8))
    with pytest.raises(ValueError, match="needs the vector"):
        ranker.rank("x", SearchResults([hit("a", 0.9)], []), 1)
