"""Errors reach another process as they are."""

import pickle

import pytest

from lorag.errors import DataError, ModelError, UnknownNameError


@pytest.mark.parametrize(
    "error",
    [
        ModelError("the adapter does not fit"),
        UnknownNameError("model", "smol", ["smollm2-135m"], "see `lorag models list`"),
        DataError("qa.jsonl", "broken JSON", 3),
        DataError("qa.jsonl", "is empty"),
    ],
)
def test_an_error_that_was_pickled_is_the_same(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)
