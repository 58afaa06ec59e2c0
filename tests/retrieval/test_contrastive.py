"""An embedder learns from questions and passages: the loss against its formula, the training, and what is saved."""

import numpy as np
import pytest

from lorag import build
from lorag.errors import ModelError
from lorag.retrieval.encoders.contrastive import TrainingPair, ranking_loss, save, train
from lorag.retrieval.encoders.torch_embedder import TorchEmbedder
from lorag.settings import EmbedderSettings

PASSAGES = [
    "The gauge reads the level of the water every minute.",
    "Plans",
    "An alarm rings when it rises.",
    "Support answers.",
]
PAIRS = [
    TrainingPair(f"What is zorp {n}?", passage, (PASSAGES[(n + 1) % 4], "Bread bakes."), frozenset((passage,)))
    for n, passage in enumerate(PASSAGES)
]


@pytest.fixture
def minilm(minilm_folder):
    return TorchEmbedder(minilm_folder, "minilm-l6")


def test_vectors_to_train_on_are_those_to_search_with(minilm, minilm_folder):
    cls = TorchEmbedder(minilm_folder, "x", query_prefix="query: ", pooling="cls")
    for embedder in (minilm, cls):
        for kind in ("query", "passage"):
            trained_on = embedder.trained_on([*PASSAGES, ""], kind).detach().numpy()
            np.testing.assert_allclose(trained_on, embedder.embed([*PASSAGES, ""], kind), atol=1e-5)


def test_the_loss_is_that_of_the_formula_and_takes_no_answering_passage_for_a_wrong_one(minilm):
    known = [TrainingPair(each.question, each.passage, each.negatives, frozenset(PASSAGES[:2])) for each in PAIRS]
    for pairs in (PAIRS, known):
        passages = [each.passage for each in pairs] + [text for each in pairs for text in each.negatives]
        cosines = (
            minilm.embed([each.question for each in pairs], "query") @ minilm.embed(passages, "passage").T
        ).astype(np.float64)
        losses = []
        for row, each in enumerate(pairs):
            counted = [c for c, text in enumerate(passages) if c == row or text not in each.answering]
            shares = np.exp(20 * cosines[row, counted])
            losses.append(-np.log(np.exp(20 * cosines[row, row]) / shares.sum()))
        assert ranking_loss(minilm, pairs, 20).item() == pytest.approx(np.mean(losses), abs=1e-3)
    assert ranking_loss(minilm, known, 20).item() < ranking_loss(minilm, PAIRS, 20).item() - 0.05


def test_training_brings_questions_to_their_passages_and_is_repeatable_and_saved(minilm, minilm_folder, tmp_path):
    settings = EmbedderSettings(epochs=2, batch_size=2, learning_rate=3e-4, seed=3)
    before, said = ranking_loss(minilm, PAIRS, 20).item(), []
    losses = train(minilm, PAIRS, settings, lambda *call: said.append(call))
    assert len(losses) == 2
    assert [call[:3] for call in said] == [("training", step, 4) for step in range(1, 5)]
    assert ranking_loss(minilm, PAIRS, 20).item() < before - 0.3
    again = TorchEmbedder(minilm_folder, "minilm-l6")
    assert train(again, PAIRS, settings) == losses
    (tmp_path / "saved").mkdir()
    save(minilm, minilm_folder, tmp_path / "saved")
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert {"model.safetensors", "tokenizer.json", "modules.json", "sentence_bert_config.json", "1_Pooling"} <= names
    assert "lorag.json" not in names
    saved = build.embedder(str(tmp_path / "saved"))
    np.testing.assert_array_equal(saved.embed(PASSAGES, "query"), minilm.embed(PASSAGES, "query"))
    assert saved.max_tokens == 254
    assert saved.identity != build.embedder("minilm-l6").identity


def test_what_cannot_train_is_refused(minilm):
    with pytest.raises(ValueError, match="1 pairs are too few"):
        train(minilm, PAIRS[:1], EmbedderSettings())
    with pytest.raises(ModelError, match=r"the loss became nan in step \d; lower the learning rate"):
        train(minilm, PAIRS, EmbedderSettings(epochs=9, batch_size=2, learning_rate=0.99, scale=1e38))
