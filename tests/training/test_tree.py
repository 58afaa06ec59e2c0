"""A tree of rows holds each distinct token once, and every row can be read back from it."""

from hypothesis import given
from hypothesis import strategies as st

from lorag.llm.rendering import Rendered
from lorag.training.tree import tree

ROW = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=8).map(
    lambda tokens: Rendered(tuple(t for t, _ in tokens), (False, *(s for _, s in tokens[1:-1]), True))
)


@given(st.lists(ROW, min_size=1, max_size=6))
def test_rows_can_be_read_back_and_share_what_they_begin_with(rows):
    made = tree(rows)
    prefixes = {row.ids[:end] for row in rows for end in range(1, len(row.ids) + 1)}
    paths = [tuple(made.ids[seen].tolist()) for seen in made.visible]
    assert sorted(paths) == sorted(prefixes)
    assert made.positions.tolist() == [len(path) - 1 for path in paths]


@given(st.lists(ROW, min_size=1, max_size=6))
def test_every_supervised_token_is_predicted_from_what_stands_before_it(rows):
    made = tree(rows)
    before = [tuple(made.ids[made.visible[node]].tolist()) for node in made.predicting]
    found = sorted((before[place], token) for place, token in made.targets.tolist())
    assert found == sorted(
        (row.ids[:i], row.ids[i]) for row in rows for i in range(1, len(row.ids)) if row.supervised[i]
    )
    assert len(set(before)) == len(before)
