"""What every embedder promises, asked of each of them."""

import numpy as np
import pytest

from lorag.retrieval.encoders.embedders import HashEmbedder, OnnxEmbedder
from lorag.retrieval.encoders.torch_embedder import TorchEmbedder

QUERY_PREFIX = "Represent this sentence for searching relevant passages: "
TEXTS = [
    "The warranty of a gauge lasts two years.",
    "water " * 700,
    "",
    "Прибор измеряет уровень воды.",
    "short",
    "潮位計は水位を測定します。😀",
    "Batteries are changed once a year, always both of them together, and never while it is raining.",
]


@pytest.fixture(scope="module", params=["hash", "onnx-cls", "onnx-mean", "torch"])
def embedder(request):
    if request.param == "hash":
        return HashEmbedder()
    if request.param == "torch":
        return TorchEmbedder(request.getfixturevalue("minilm_folder"), "minilm-l6")
    folder = request.getfixturevalue("bge_folder")
    return OnnxEmbedder(folder, "bge-small-en", query_prefix=QUERY_PREFIX, pooling=request.param.removeprefix("onnx-"))


@pytest.mark.parametrize("kind", ["query", "passage"])
def test_rows_are_unit_vectors(embedder, kind):
    vectors = embedder.embed(TEXTS, kind)
    assert vectors.shape == (len(TEXTS), embedder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_rows(embedder):
    vectors = embedder.embed([], "passage")
    assert vectors.shape == (0, embedder.dim)
    assert vectors.dtype == np.float32


def test_a_vector_depends_on_its_text_alone(embedder):
    together = embedder.embed(TEXTS, "passage")
    alone = np.concatenate([embedder.embed([text], "passage") for text in TEXTS])
    backwards = embedder.embed(TEXTS[::-1], "passage")[::-1]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, backwards)


def test_equal_texts_have_equal_vectors_and_other_texts_have_others(embedder):
    same, again, other = embedder.embed([TEXTS[0], TEXTS[0], TEXTS[4]], "passage")
    np.testing.assert_array_equal(same, again)
    assert same @ other < 0.99


def test_shared_words_bring_texts_together(embedder):
    (query,) = embedder.embed(["warranty of the gauge"], "query")
    related, unrelated = embedder.embed([TEXTS[0], "Bread bakes for forty minutes."], "passage")
    assert query @ related > query @ unrelated + 0.1


def test_tokens_are_counted_without_special_ones_and_without_limit(embedder):
    assert embedder.count_tokens("") == 0
    assert embedder.count_tokens("water") == 1
    assert embedder.count_tokens("water " * 5000) == 5000


def test_it_has_a_name(embedder):
    assert embedder.name
