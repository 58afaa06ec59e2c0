import shutil

import pytest

from lorag.errors import ModelError
from lorag.retrieval.encoders.cross_encoder import CrossEncoder
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import ChunkSettings, RetrievalSettings
from lorag.types import Document


@pytest.fixture(scope="module")
def reranker(reranker_folder):
    return CrossEncoder(reranker_folder, "minilm-reranker")


def test_minilm_tells_an_answer_from_a_passage_on_something_else(reranker):
    passages = ["Paris is the capital and largest city of France.", "Bread."]
    assert reranker.score("What is the capital of France?", passages) == pytest.approx([7.85, -10.68], abs=0.5)


def test_what_is_beyond_the_window_does_not_count(reranker):
    # [CLS] query [SEP] passage [SEP]: of 512 tokens a question of 5 leaves 504.
    query = "one two three four five"
    exact, longer, shorter = reranker.score(query, ["water " * 504, "water " * 504 + "bread", "water " * 503 + "bread"])
    assert exact == longer != shorter


def test_of_a_long_question_and_a_long_passage_both_are_cut(reranker):
    passage = "Paris is the capital of France. " * 100
    cut, same = reranker.score("capital of France " * 1000, [passage, passage + "and bread"])
    assert cut == same
    assert reranker.score("capital of France " * 1000 + "bread", [passage]) == [cut]


def test_it_takes_part_in_an_index(tmp_path, embedder, reranker):
    """The words of the question stand in one passage, its answer in the other."""
    documents = [
        Document("words", "The capital of a firm in France is what its owners pay in.", "", ""),
        Document("answer", "Paris has been the seat of the French government and capital since 987.", "", ""),
    ]
    chunks, question = ChunkSettings(), "What is the capital of France?"
    by_words = RetrievalSettings(dense_weight=0)
    reread = RetrievalSettings(dense_weight=0, reranker="minilm-reranker", rerank_weight=1)
    knowledge = Knowledge.open(tmp_path, embedder, chunks, by_words)
    knowledge.sync(documents)
    (plain,) = knowledge.retrieve([question], 2)
    (reranked,) = Knowledge.open(tmp_path, embedder, chunks, reread, reranker).retrieve([question], 2)
    assert [hit.chunk.document_id for hit in plain] == ["words", "answer"]
    assert [hit.chunk.document_id for hit in reranked] == ["answer", "words"]
    assert [hit.score for hit in reranked] == sorted(
        reranker.score(question, [document.text for document in documents]), reverse=True
    )
    assert {hit.via for hit in reranked} == {"reranked"}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "tokenizer_config.json").write_text("{"), r"tokenizer_config\.json' cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "is not a tokenizer"),
        (lambda folder: (folder / "model.onnx").unlink(), "holds no cross-encoder"),
    ],
)
def test_a_folder_without_a_model_is_refused(reranker_folder, tmp_path, damage, said):
    for name in ("tokenizer_config.json", "tokenizer.json"):
        shutil.copy(reranker_folder / name, tmp_path)
    (tmp_path / "model.onnx").symlink_to(reranker_folder / "model.onnx")
    damage(tmp_path)
    with pytest.raises(ModelError, match=said):
        CrossEncoder(tmp_path, "x")


def test_an_embedder_is_no_reranker(bge_folder):
    with pytest.raises(ModelError, match="expected one number: choose a cross-encoder"):
        CrossEncoder(bge_folder, "x")
