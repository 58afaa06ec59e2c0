"""The arguments of the retrieval plugin in the core's terms: what is read, what is only named, what is refused."""

from pathlib import Path

import pytest

from lorag.errors import InputError, UnknownNameError
from lorag.neural_chat.retrieval_arguments import plan
from lorag.settings import ChunkSettings


def asked(**args):
    return plan({"input_path": "docs", **args})


def test_ways_to_search_are_the_cores():
    threshold = asked(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.7, "k": 2})
    assert (threshold.retrieval.min_cosine, threshold.retrieval.k, threshold.gated) == (0.7, 2, True)
    spread = asked(search_type="mmr", search_kwargs={"k": 3, "fetch_k": 9, "lambda_mult": 0.3}).retrieval
    assert (spread.k, spread.depth, spread.mmr_lambda) == (3, 9, 0.3)
    ranked = asked(enable_rerank=True, top_n=2, reranker_model="cross-encoder/ms-marco-MiniLM-L-12-v2").retrieval
    assert (ranked.reranker, ranked.depth, ranked.k) == ("minilm-reranker", 4, 2)
    assert asked(retrieval_type="bm25").retrieval.dense_weight == 0
    assert not asked(mode="general").gated
    assert asked(embedding_model="BAAI/bge-small-en-v1.5").embedder == "bge-small-en"


def test_passages_are_cut_as_asked():
    assert asked().chunks == ChunkSettings()
    assert asked(max_chuck_size=400).chunks == ChunkSettings(100)
    assert asked(max_chuck_size=4000).chunks == ChunkSettings(1000, 256)
    assert asked(retrieval_type="child_parent", child_size=200).chunks == ChunkSettings(256, 50)
    assert asked(process=False).chunks.search_tokens == 256


def test_an_index_lies_where_it_is_told_or_apart_from_every_other():
    assert asked(persist_dir="here").place == Path("here").absolute()
    assert asked(persist_directory="here", persist_dir="here").place == Path("here").absolute()
    places = {asked().place, asked(process=False).place, asked(input_path="other").place}
    assert len(places) == 3
    with pytest.raises(InputError, match="persist_dir and persist_directory differ"):
        asked(persist_dir="a", persist_directory="b")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"input_path": None}, "has no input_path"),
        ({"input_path": ["https://example.org/a"]}, "is an address"),
        ({"persist_dri": "x"}, "did you mean persist_dir"),
        ({"search_type": "similar"}, "did you mean similarity"),
        ({"search_type": "similarity_score_threshold"}, "needs search_kwargs"),
        ({"search_kwargs": {"score_treshold": 1}}, "did you mean score_threshold"),
        ({"retrieval_type": "dense"}, "unknown retrieval_type 'dense'"),
        ({"mode": "exact"}, "unknown mode 'exact'"),
        ({"search_kwargs": {"k": 0}}, "k 0 is not between 1"),
        ({"search_type": "similarity_score_threshold", "search_kwargs": {"score_threshold": 80}}, "min_cosine 80"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(args, said):
    with pytest.raises(InputError, match=said):
        asked(**args)


def test_a_model_of_a_hub_is_fetched_and_keeps_its_commit(local_hub, bge_folder):
    commit = local_hub.publish("acme/finder", bge_folder)
    assert asked(embedding_model="acme/finder").embedder == f"acme/finder@{commit}"
    ranked = asked(enable_rerank=True, reranker_model="acme/finder")
    assert ranked.retrieval.reranker == f"acme/finder@{commit}"


def test_a_model_that_no_hub_gives_leaves_the_default(local_hub, tmp_path):
    with pytest.warns(UserWarning, match="'hkunlp/instructor-large' cannot be fetched, so 'bge-small-en' is used: "):
        asked(embedding_model="hkunlp/instructor-large")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    local_hub.publish("acme/pickled", tmp_path)
    with pytest.warns(UserWarning, match="'minilm-reranker' is used: .*a format that can run code"):
        asked(enable_rerank=True, reranker_model="acme/pickled")
    with pytest.raises(UnknownNameError, match="did you mean bge-small-en"):
        asked(embedding_model="bge-smal-en")


def test_arguments_without_effect_are_named():
    with pytest.warns(UserWarning, match=r"args\['polish'\], plugins.retrieval.args\['vector_database'\]"):
        asked(polish=True, vector_database="Chroma", precision=None)
    with pytest.warns(UserWarning, match=r"search_kwargs\['score_threshold'\] of search_type 'similarity'"):
        asked(search_kwargs={"score_threshold": 0.8})
