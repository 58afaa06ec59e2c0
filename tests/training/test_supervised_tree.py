"""Every supervised token of the rows is predicted, once, from what stands before it."""

from hypothesis import given
from hypothesis import strategies as st

from lorag.llm.rendering import Rendered
from lorag.training.kernels.supervised_tree import supervised_tree

ROW = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=8).map(
    lambda tokens: Rendered(tuple(t for t, _ in tokens), (False, *(s for _, s in tokens[1:-1]), True))
)


@given(st.lists(ROW, min_size=1, max_size=6))
def test_every_supervised_token_is_predicted_from_what_stands_before_it(rows):
    made = supervised_tree(rows)
    before = [tuple(made.tokens.ids[made.tokens.visible[node]].tolist()) for node in made.predicting]
    found = sorted((before[place], token) for place, token in zip(made.places, made.labels.tolist(), strict=True))
    assert found == sorted(
        (row.ids[:i], row.ids[i]) for row in rows for i in range(1, len(row.ids)) if row.supervised[i]
    )
    assert len(set(before)) == len(before)
