import numpy as np
import pytest

from lorag import build
from lorag.errors import ModelError
from lorag.retrieval.encoders.torch_embedder import TorchEmbedder


@pytest.fixture(scope="module")
def minilm(minilm_folder):
    return TorchEmbedder(minilm_folder, "minilm-l6")


def test_minilm_tells_related_from_unrelated(minilm):
    (query,) = minilm.embed(["What is the capital of France?"], "query")
    related, unrelated = minilm.embed(
        ["Paris is the capital and largest city of France.", "Bake the bread for forty minutes at 220 degrees."],
        "passage",
    )
    assert query @ related > 0.7
    assert query @ unrelated < 0.2


def test_what_is_beyond_the_length_of_its_training_does_not_count(minilm):
    window = "water " * minilm.max_tokens
    assert minilm.max_tokens == minilm.count_tokens(window) == 254
    longer, exact, shorter = minilm.embed([window + "and quite other words", window, "water " * 253], "passage")
    np.testing.assert_array_equal(longer, exact)
    assert not np.array_equal(exact, shorter)


def test_the_first_token_may_be_the_vector_and_queries_may_have_a_prefix(minilm_folder, minilm):
    first = TorchEmbedder(minilm_folder, "x", query_prefix="query: ", pooling="cls")
    assert first.embed(["water"], "passage")[0] @ minilm.embed(["water"], "passage")[0] < 0.99
    np.testing.assert_array_equal(first.embed(["water"], "query"), first.embed(["query: water"], "passage"))


def test_the_folder_decides_what_runs(minilm_folder, bge_folder, minilm):
    expected = minilm.embed(["water"], "query")
    for name in (str(minilm_folder), "minilm-l6"):
        np.testing.assert_array_equal(build.embedder(name).embed(["water"], "query"), expected)
    assert (build.embedder(str(minilm_folder)).max_tokens, build.embedder(str(bge_folder)).max_tokens) == (254, 510)


def test_a_folder_without_weights_is_refused(minilm_folder, tmp_path):
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((minilm_folder / name).read_bytes())
    with pytest.raises(ModelError, match="holds no encoder"):
        TorchEmbedder(tmp_path, "x")
