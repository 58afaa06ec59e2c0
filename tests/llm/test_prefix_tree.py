"""A tree of sequences holds each distinct token once, and every sequence can be read back from it."""

from hypothesis import given
from hypothesis import strategies as st

from lorag.llm.prefix_tree import tree

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=6)


@given(SEQUENCES)
def test_sequences_can_be_read_back_and_share_what_they_begin_with(sequences):
    made = tree(sequences)
    prefixes = {tuple(each[:end]) for each in sequences for end in range(1, len(each) + 1)}
    paths = [tuple(made.ids[seen].tolist()) for seen in made.visible]
    assert sorted(paths) == sorted(prefixes)
    assert made.positions.tolist() == [len(path) - 1 for path in paths]
    assert [made.ids[list(path)].tolist() for path in made.paths] == sequences
