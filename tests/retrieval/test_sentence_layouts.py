"""Embedders and cross-encoders as they are published: vectors equal those of sentence-transformers itself."""

import functools
import json
import shutil
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lorag import build
from lorag.cli.commands import app
from lorag.errors import InputError, ModelError
from lorag.retrieval.encoders.cross_encoder import CrossEncoder
from lorag.retrieval.encoders.onnx_encoder import weights_file
from lorag.retrieval.encoders.torch_embedder import TorchEmbedder
from lorag.settings import RetrievalSettings
from lorag.workflows.finetune_embedder import finetune_embedder

TEXTS = ["Water boils at 100 degrees.", "Wo liegt Köln?", "a " * 400]
POOLINGS = ["cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
PROMPTS = {"prompts": {"query": "query: ", "document": "text: "}, "default_prompt_name": None}


def tiny_encoder(tokenizer_folder, folder, kind="BertModel", **shape):
    """A BERT of random weights, two layers of 32 numbers, with the tokenizer of a real one."""
    import torch
    import transformers

    torch.manual_seed(1)
    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, vocab_size=30522, **shape
    )
    getattr(transformers, kind)(config).eval().save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (tokenizer_folder / name).is_file():
            shutil.copy(tokenizer_folder / name, folder)
    return folder


@pytest.fixture
def layout(minilm_folder, tmp_path):
    """Writes a folder as sentence-transformers lays it out, with these poolings and parts."""

    def write(poolings, parts=("Normalize",), include_prompt=True, config=PROMPTS, **settings):
        import torch
        from safetensors.torch import save_file

        folder = tiny_encoder(minilm_folder, tmp_path / "embedder")
        modules = ["Transformer", "Pooling", *parts]
        listed = [
            {
                "idx": i,
                "name": str(i),
                "path": f"{i}_{kind}" if i else "",
                "type": f"sentence_transformers.models.{kind}",
            }
            for i, kind in enumerate(modules)
        ]
        (folder / "modules.json").write_text(json.dumps(listed))
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 64, **settings}))
        (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
        for place in (folder / module["path"] for module in listed[1:]):
            place.mkdir(exist_ok=True)
        flags = {f"pooling_mode_{name}": name in poolings for name in POOLINGS}
        pooling = {"word_embedding_dimension": 32, **flags, "include_prompt": include_prompt}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        for place in folder.glob("*_Dense"):
            shape = {"in_features": 32 * len(poolings), "out_features": 8, "bias": True}
            activation = {"activation_function": "torch.nn.modules.activation.Tanh"}
            (place / "config.json").write_text(json.dumps(shape | activation))
            weights = {"linear.weight": torch.randn(8, shape["in_features"]), "linear.bias": torch.randn(8)}
            save_file(weights, place / "model.safetensors")
        return folder

    return write


CASES = [
    ({"poolings": ["cls_token"]}),
    ({"poolings": ["mean_tokens"], "include_prompt": False}),
    ({"poolings": ["weightedmean_tokens"], "include_prompt": False}),
    ({"poolings": ["max_tokens", "mean_sqrt_len_tokens", "lasttoken"]}),
    ({"poolings": ["mean_tokens"], "parts": ("Dense", "Normalize")}),
    ({"poolings": ["mean_tokens"], "parts": ("Normalize", "Dense")}),
    ({"poolings": ["mean_tokens"], "config": {"prompts": {"x": "about: "}, "default_prompt_name": "x"}}),
    ({"poolings": ["mean_tokens"], "config": {"prompts": {"query": "q: ", "passage": "p: "}}}),
    ({"poolings": ["mean_tokens"], "config": {}}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values()))[:60])
@pytest.mark.filterwarnings("ignore")
def test_vectors_are_those_of_sentence_transformers(layout, case):
    library = pytest.importorskip(
        "sentence_transformers", reason="pip install sentence-transformers to compare with it"
    )
    folder = layout(**case)
    ours, theirs = TorchEmbedder(folder, "x"), library.SentenceTransformer(str(folder), device="cpu")
    encode_passage = theirs.encode_document
    if "passage" in theirs.prompts:  # which the library takes only when it is named
        encode_passage = functools.partial(theirs.encode, prompt_name="passage")
    queries, passages = ours.embed(TEXTS, "query"), ours.embed(TEXTS, "passage")
    for vectors, encode in ((queries, theirs.encode_query), (passages, encode_passage)):
        expected = np.stack([encode(text, normalize_embeddings=True) for text in TEXTS])
        np.testing.assert_allclose(vectors, expected, atol=2e-6)
    assert ours.dim == expected.shape[1]


@pytest.mark.filterwarnings("ignore")
def test_scores_are_those_of_the_cross_encoders_of_sentence_transformers(minilm_folder, tmp_path):
    library = pytest.importorskip(
        "sentence_transformers", reason="pip install sentence-transformers to compare with it"
    )
    import torch

    folder = tiny_encoder(minilm_folder, tmp_path, "BertForSequenceClassification", num_labels=1)
    theirs = library.CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity())
    expected = [float(theirs.predict([("Who?", text)])[0]) for text in TEXTS]
    np.testing.assert_allclose(CrossEncoder(folder, "x").score("Who?", TEXTS), expected, atol=2e-6)


def test_layers_pooling_and_prompts_are_applied_as_they_are_written(layout):
    """The same without the library, by hand."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    folder = layout(["max_tokens", "mean_tokens"], ("Dense", "Normalize"))
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    weights = load_file(folder / "2_Dense" / "model.safetensors")
    with torch.inference_mode():
        states = model(**tokenizer("query: " + TEXTS[0], return_tensors="pt")).last_hidden_state[0]
        pooled = torch.cat([states.max(0).values, states.mean(0)])
        expected = torch.tanh(weights["linear.weight"] @ pooled + weights["linear.bias"])
    vector = TorchEmbedder(folder, "x").embed([TEXTS[0]], "query")[0]
    np.testing.assert_allclose(vector, expected / expected.norm(), atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # of the older of two exporters
def test_an_onnx_file_of_a_hub_gives_the_vectors_of_its_weights(layout, local_hub):
    import torch
    from transformers import AutoModel

    class States(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, ids, mask):
            return self.model(input_ids=ids, attention_mask=mask).last_hidden_state

    folder = layout(["mean_tokens"])
    local_hub.publish("owner/plain", folder)
    both = folder.parent / "both"
    shutil.copytree(folder, both)
    (both / "onnx").mkdir()
    states = States(AutoModel.from_pretrained(folder, attn_implementation="eager")).eval()
    ones, names = torch.ones(1, 5, dtype=torch.long), ["input_ids", "attention_mask"]
    axes = {name: {0: "rows", 1: "tokens"} for name in (*names, "last_hidden_state")}
    named: dict[str, Any] = {"input_names": names, "output_names": ["last_hidden_state"], "dynamic_axes": axes}
    torch.onnx.export(states, (ones, ones), both / "onnx" / "model.onnx", opset_version=17, dynamo=False, **named)
    local_hub.publish("owner/both", both)
    plain, quick = (build.embedder(name).embed(TEXTS, "query") for name in ("owner/plain", "owner/both"))
    np.testing.assert_allclose(plain, quick, atol=1e-5)
    assert not any("owner/both" in asked and "safetensors" in asked for asked in local_hub.requests)
    (both / "onnx" / "model.onnx").write_bytes(b"of another kind")
    local_hub.publish("owner/both", both)
    np.testing.assert_array_equal(build.embedder("owner/both").embed(TEXTS[:1], "query"), plain[:1])


def test_a_cross_encoder_of_a_hub_reranks(minilm_folder, tmp_path, local_hub):
    folder = tiny_encoder(minilm_folder, tmp_path / "r", "BertForSequenceClassification", num_labels=1)
    local_hub.publish("owner/reranker", folder)
    assert not weights_file(folder).is_file()
    name = RetrievalSettings(reranker="owner/reranker").reranker
    assert name is not None
    assert build.reranker(name).score("Who?", TEXTS) == CrossEncoder(folder, "x").score("Who?", TEXTS)


def test_the_reranker_that_is_named_on_the_command_line_reads(
    minilm_folder, reranker_folder, bge_folder, tmp_path, local_hub, monkeypatch
):
    folder = tiny_encoder(minilm_folder, tmp_path / "r", "BertForSequenceClassification", num_labels=1)
    local_hub.publish("owner/reranker", folder)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs.jsonl").write_text(
        "".join(json.dumps({"id": str(row), "text": text}) + "\n" for row, text in enumerate(TEXTS) if text.strip())
    )

    def lorag(*arguments):
        return CliRunner().invoke(app, list(arguments))

    def scores(*options):
        shown = lorag("search", "Who waits at the quay?", *options, "--json")
        assert shown.exit_code == 0, shown.output
        return {hit["document_id"]: (hit["score"], hit["via"]) for hit in json.loads(shown.stdout)}

    assert lorag("index", "docs.jsonl").exit_code == 0
    named = scores("--reranker", "owner/reranker")
    assert {via for _, via in named.values()} == {"reranked"}
    assert named == scores("--reranker", str(folder), "--rerank")
    assert named != scores("--rerank") == scores("--reranker", "minilm-reranker")
    for name, said in (("minilm", "unknown model 'minilm'"), (str(minilm_folder), "is not a cross-encoder")):
        wrong = lorag("search", "Who?", "--reranker", name)
        assert wrong.exit_code in (1, 2)
        assert said in wrong.stderr.replace("\n", "")
    wrong = lorag("ask", "Who?", "--reranker", "owner/reranker", "--no-rerank")
    assert (wrong.exit_code, "give one of the options" in wrong.stderr) == (2, True)


def test_an_index_knows_layers_pooling_and_the_prompt_of_passages(layout):
    folder = layout(["mean_tokens"], ("Dense",))
    seen = {TorchEmbedder(folder, "x").identity}
    prompts = folder / "config_sentence_transformers.json"
    prompts.write_text(json.dumps({"prompts": {"query": "another: ", "document": "text: "}}))
    assert {TorchEmbedder(folder, "y").identity} == seen
    prompts.write_text(json.dumps({"prompts": {"document": "another: "}}))
    seen.add(TorchEmbedder(folder, "x").identity)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "cls"}))
    seen.add(TorchEmbedder(folder, "x").identity)
    dense = folder / "2_Dense" / "model.safetensors"
    dense.write_bytes(dense.read_bytes()[:-1] + b"?")
    seen.add(TorchEmbedder(folder, "x").identity)
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "2_Dense" / "model.safetensors").rename(f / "2_Dense" / "pytorch_model.bin"), "run code"),
        (lambda f: (f / "2_Dense" / "model.safetensors").write_bytes(b"x"), "is damaged"),
        (lambda f: (f / "modules.json").write_text('[{"type": "own.Code", "path": ""}]'), "needs the module own.Code"),
        (lambda f: (f / "1_Pooling" / "config.json").write_text('{"pooling_mode": "own"}'), "pools by 'own'"),
        (lambda f: (f / "2_Dense" / "config.json").write_text('{"activation_function": "own.Act"}'), "activation Act"),
    ],
)
def test_a_part_that_is_not_known_is_refused(layout, damage, said):
    folder = layout(["mean_tokens"], ("Dense",))
    damage(folder)
    with pytest.raises(ModelError, match=said):
        TorchEmbedder(folder, "x")


def test_a_model_that_was_not_made_to_rerank_is_refused(minilm_folder):
    with pytest.raises(ModelError, match=r"is not a cross-encoder, it lacks the weight 'classifier\.bias'"):
        CrossEncoder(minilm_folder, "x")


def test_an_embedder_with_layers_is_not_finetuned(layout, tmp_path):
    (tmp_path / "docs").mkdir()
    with pytest.raises(InputError, match="pools or projects in a way that cannot be trained"):
        finetune_embedder(tmp_path / "docs", tmp_path / "out", base=str(layout(["mean_tokens"], ("Dense",))))


def test_an_older_tokenizer_is_read_as_the_newer_form_of_it(layout):
    folder = layout(["mean_tokens"])
    newer = TorchEmbedder(folder, "x").embed(TEXTS, "query")
    (folder / "tokenizer.json").unlink()
    np.testing.assert_array_equal(TorchEmbedder(folder, "x").embed(TEXTS, "query"), newer)
