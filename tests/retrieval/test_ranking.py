import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorag.retrieval.ranking import fuse
from lorag.types import Chunk, Hit


def hit(name, score, via="dense"):
    return Hit(Chunk(name, "v", 0, 4, "text"), score, via)


def ranked(hits):
    return [(hit.chunk.document_id, pytest.approx(hit.score)) for hit in hits]


def test_values_worked_out_by_hand():
    # dense 0.9 0.7 0.5 -> 1, 0.5, 0; lexical 8 4 3 -> 1, 0.2, 0
    dense = [hit("a", 0.9), hit("b", 0.7), hit("c", 0.5)]
    lexical = [hit("c", 8.0, "lexical"), hit("b", 4.0, "lexical"), hit("d", 3.0, "lexical")]
    fused = fuse(dense, lexical, 0.6, 10)
    # a: 0.6; b: 0.6 * 0.5 + 0.4 * 0.2 = 0.38; c: 0 + 0.4; d: 0
    assert ranked(fused) == [("a", 0.6), ("c", 0.4), ("b", 0.38), ("d", 0.0)]
    assert {hit.via for hit in fused} == {"hybrid"}
    assert ranked(fuse(dense, lexical, 0.6, 2)) == [("a", 0.6), ("c", 0.4)]


def test_negative_scores_are_scores():
    assert ranked(fuse([hit("a", 0.2), hit("b", -0.6), hit("c", -0.2)], [], 0.5, 3)) == [
        ("a", 0.5),
        ("c", 0.25),
        ("b", 0.0),
    ]


def test_a_single_hit_is_the_best_of_its_side():
    assert ranked(fuse([hit("a", 0.1)], [hit("b", 3.0)], 0.7, 5)) == [("a", 0.7), ("b", 0.3)]
    assert ranked(fuse([hit("a", 0.1)], [hit("a", 3.0)], 0.7, 5)) == [("a", 1.0)]


def test_equal_scores_are_all_the_best_and_ordered_by_id():
    assert ranked(fuse([hit("b", 0.4), hit("a", 0.4)], [], 0.5, 5)) == [("a", 0.5), ("b", 0.5)]


def test_nothing_found_is_nothing():
    assert fuse([], [], 0.5, 5) == []
    assert ranked(fuse([], [hit("a", 2.0), hit("b", 1.0)], 0.5, 5)) == [("a", 0.5), ("b", 0.0)]


def test_all_weight_on_one_side_leaves_the_other_without_a_say():
    dense, lexical = [hit("a", 0.9), hit("b", 0.8)], [hit("b", 9.0), hit("c", 1.0)]
    assert ranked(fuse(dense, lexical, 1.0, 5)) == [("a", 1.0), ("b", 0.0), ("c", 0.0)]
    assert ranked(fuse(dense, lexical, 0.0, 5)) == [("b", 1.0), ("a", 0.0), ("c", 0.0)]


SIDES = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-1, 40, allow_nan=False), max_size=8)


@given(SIDES, SIDES, st.floats(0, 1), st.integers(1, 10), st.randoms())
def test_the_order_of_the_inputs_does_not_matter(dense, lexical, weight, k, random):
    sides = [[hit(name, score) for name, score in side.items()] for side in (dense, lexical)]
    fused = fuse(*sides, weight, k)
    assert len(fused) == min(k, len(dense.keys() | lexical.keys()))
    assert all(-1e-9 <= hit.score <= 1 + 1e-9 for hit in fused)
    assert [hit.score for hit in fused] == sorted((hit.score for hit in fused), reverse=True)
    for side in sides:
        random.shuffle(side)
    assert fuse(*sides, weight, k) == fused
