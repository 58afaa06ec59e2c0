"""A GGUF file from anywhere answers through llama.cpp as it is, and trains once it is converted."""

import json
from typing import Any
from urllib.request import Request, urlopen

import gguf
import numpy as np
import pytest
import torch
import xllamacpp  # type: ignore[import-untyped]
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, MambaConfig, MambaForCausalLM, PreTrainedTokenizerFast

from lorag import build
from lorag.errors import InputError, ModelError
from lorag.llm.engines import llamacpp
from lorag.llm.engines.llamacpp import LlamaCppModel, signals_kept
from lorag.llm.engines.transformers import load
from lorag.llm.rendering import render
from lorag.models import naming
from lorag.models.gguf_reading import gguf_fingerprint, read_header, read_tokenizer
from lorag.models.gguf_writing import _LLAMA3, _QWEN2, _add_tokenizer, write_gguf
from lorag.settings import FinetuneSettings
from lorag.types import Message, Sampling

PROMPTS = [(Message("user", "List three colours."),), (Message("system", "Be brief."), Message("user", "Who are you?"))]
SHORT, SHORTEST = Sampling(max_tokens=5), Sampling(max_tokens=3)
FURTHER_END = 7
"""A token that the tests' model names as an end of answers, beside its tokenizer's."""
TEXTS = [
    "I've been told he's there, 'RE you sure? 'M not sure I'll make it, WE'VE it",
    "3 33 333 3333 33333 333333 3.3 3..3 in 2024, ½ Ⅳ ٣٤",
    "  two in front, three   within\n\n\tline\r\n \r\n line  \n",
    "Größe der Größen: ÄÖÜ äöü ß ΑΒΓ αβγ",
    "潮位計は水位を測定します。कि ที่",
    "if (x_1 >= 10.50) {\n    return (x+y)/2; // ***\n}",
    "(é, e\u0301, ﬁ) 🙂👩‍🔬… “Zoë”",
]


@pytest.fixture(scope="module")
def file(tiny_folder, tmp_path_factory):
    path, written = tmp_path_factory.mktemp("wild") / "wild.gguf", load(tiny_folder, "tiny", "float32").weights
    written.model.generation_config.eos_token_id = [written.tokenizer.eos_token_id, FURTHER_END]
    write_gguf(written.model, written.tokenizer, path, "f16", "wild")
    return path


def texts(model):
    """Answers of random weights, whose later words hang on the last bit."""
    return [done.text for done in model.generate(PROMPTS, SHORTEST)]


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_file_answers_at_once_as_the_model_it_was_written_from(file, tiny, own_cache):
    model = build.answering_model(str(file), engine="llama.cpp")
    assert isinstance(model, LlamaCppModel)
    assert texts(model) == texts(tiny)
    assert model.context_tokens == tiny.weights.context_tokens
    assert not own_cache.exists()  # nothing was converted


def test_a_file_is_converted_once_to_train_and_to_compare(file, tiny, own_cache, monkeypatch):
    model = build.trainable_model(str(file), FinetuneSettings())
    assert texts(model) == texts(tiny)
    assert model.weights.ends == {tiny.weights.tokenizer.eos_token_id, FURTHER_END}
    folder = naming.resolve(str(file), "llm")
    assert folder.parent == own_cache / "gguf"
    monkeypatch.setattr("lorag.models.gguf_reading.convert", lambda *_: pytest.fail("it was converted again"))
    assert naming.resolve(str(file), "llm") == folder


def test_the_context_is_as_long_as_memory_allows(file, monkeypatch):
    header, size = read_header(file), file.stat().st_size
    assert (header.architecture, header.context_tokens) == ("llama", 8192)
    assert header.cache_bytes == 4 * 2 * (16 + 16) * 2
    monkeypatch.setattr(llamacpp, "free_bytes", lambda device: size + 2 * 3000 * header.cache_bytes)
    assert LlamaCppModel.from_file(file, "wild").context_tokens == 3000
    monkeypatch.setattr(llamacpp, "free_bytes", lambda device: size + header.cache_bytes)
    with pytest.raises(ModelError, match=r"wild needs about .* GB of memory, and .* GB are free; choose a smaller"):
        LlamaCppModel.from_file(file, "wild")


def test_a_tokenizer_that_cuts_otherwise_than_llama_cpp_is_refused(file, monkeypatch):
    monkeypatch.setattr(llamacpp, "read_tokenizer", lambda file: lambda text: {"input_ids": text.split()})
    with pytest.raises(ModelError, match=r"the tokenizer of wild splits a text into .* tokens, and llama\.cpp into"):
        LlamaCppModel.from_file(file, "wild")


def test_a_token_beyond_the_embedding_is_left_out(tiny, tmp_path):
    weights, path = tiny.weights, tmp_path / "more.gguf"
    weights.tokenizer.add_special_tokens({"pad_token": "<more>"})
    assert weights.tokenizer.pad_token_id == weights.model.config.vocab_size
    write_gguf(weights.model, weights.tokenizer, path, "f16", "more")
    assert "<more>" not in read_tokenizer(path).get_vocab()
    assert texts(LlamaCppModel.from_file(path, "more")) == texts(tiny)


def test_words_beyond_the_embedding_have_no_gguf_form(tiny, tmp_path):
    weights = tiny.weights
    weights.model.resize_token_embeddings(8_000)
    with pytest.raises(ModelError, match="has more tokens than the model, which has 8000, and cannot be written as"):
        write_gguf(weights.model, weights.tokenizer, tmp_path / "fewer.gguf", "f16", "fewer")


def test_every_token_that_the_model_names_as_an_end_ends_its_answers(tiny, tmp_path, own_cache):
    weights, path = tiny.weights, tmp_path / "ends.gguf"
    vectors = weights.model.get_input_embeddings().weight.data
    (said,) = tiny.generate(PROMPTS[:1], SHORT)
    words = weights.tokenizer(said.text, add_special_tokens=False)["input_ids"]
    for place, name in ((4, "<jupyter_start>"), (2, "<jupyter_code>")):
        end = weights.tokenizer.convert_tokens_to_ids(name)
        vectors[end] = 1.1 * vectors[words[place]]  # the model says it instead of that word
        named = weights.model.generation_config.eos_token_id
        weights.model.generation_config.eos_token_id = [*(named if isinstance(named, list) else [named]), end]
        weights.__dict__.pop("ends", None)  # is kept once it was asked for
        (expected,) = tiny.generate(PROMPTS[:1], SHORT)
        assert (expected.text, expected.finish) == (weights.tokenizer.decode(words[:place]).strip(), "stop")
        write_gguf(weights.model, weights.tokenizer, path, "f16", "ends")
        (done,) = LlamaCppModel.from_file(path, "ends").generate(PROMPTS[:1], SHORT)
        assert (done.text, done.finish) == (expected.text, "stop")
    weights.model.generation_config.eos_token_id = [1, 2, 3, 4]
    with pytest.raises(ModelError, match="4 tokens end the model's answers, and a GGUF file names 3"):
        write_gguf(weights.model, weights.tokenizer, path, "f16", "ends")


def trained_tokenizer(cut: Any, ignore_merges: bool) -> PreTrainedTokenizerFast:
    """Byte-level BPE whose merges reach over the borders at which ``cut`` cuts, and a word that no merges make."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(TEXTS * 2, trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet))
    state = json.loads(made.to_str())
    vocabulary = state["model"]["vocab"]
    vocabulary["Ġreturn"] = len(vocabulary)
    state["model"]["merges"] = [pair for pair in state["model"]["merges"] if "".join(pair) != "Ġreturn"]
    state["model"]["ignore_merges"] = ignore_merges
    made = Tokenizer.from_str(json.dumps(state))
    made.pre_tokenizer = cut
    return PreTrainedTokenizerFast(tokenizer_object=made)


def split(pattern: str, behavior: str = "isolated", invert: bool = False) -> Any:
    steps = [pre_tokenizers.Split(Regex(pattern), behavior, invert), pre_tokenizers.ByteLevel(False, use_regex=False)]
    return pre_tokenizers.Sequence(steps)


DIGITS = pre_tokenizers.Digits(individual_digits=True)
WORDS = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
"""How the tokenizers of Mistral Nemo and GPT-4o begin."""


@pytest.mark.parametrize(
    ("cut", "ignore_merges", "name"),
    [
        (pre_tokenizers.ByteLevel(False), False, "gpt-2"),
        (pre_tokenizers.Sequence([DIGITS, pre_tokenizers.ByteLevel(False)]), False, "smollm"),
        (split(_QWEN2), False, "qwen2"),
        (split(_LLAMA3), True, "llama-bpe"),
        (split(_LLAMA3, "removed", invert=True), False, "dbrx"),
    ],
)
def test_llama_cpp_cuts_texts_as_the_tokenizer_does(cut, ignore_merges, name, tmp_path):
    tokenizer, path = trained_tokenizer(cut, ignore_merges), tmp_path / "cut.gguf"
    torch.manual_seed(0)
    shape: Any = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(**shape, vocab_size=len(tokenizer), max_position_embeddings=512))
    write_gguf(model, tokenizer, path, "f32", "cut")
    assert bytes(gguf.GGUFReader(path).fields["tokenizer.ggml.pre"].parts[-1]).decode() == name
    parameters = xllamacpp.CommonParams()
    parameters.model.path, parameters.n_ctx, parameters.hostnames = str(path), 64, ["127.0.0.1"]
    parameters.n_gpu_layers, parameters.fit_params, parameters.warmup, parameters.verbosity = 0, False, False, -1
    with signals_kept():
        server = xllamacpp.Server(parameters)
    server.handle_completions({"prompt": [0], "max_tokens": 1})
    for text in TEXTS:
        asked = json.dumps({"content": text, "parse_special": True}).encode()
        with urlopen(Request(f"{server.listening_address}/tokenize", asked)) as reply:
            assert json.load(reply)["tokens"] == tokenizer(text)["input_ids"], text


@pytest.mark.parametrize(("cut", "ignore_merges"), [(split(WORDS), True), (split(_QWEN2), True), (None, False)])
def test_a_tokenizer_that_cuts_otherwise_than_llama_cpp_has_no_gguf_form(cut, ignore_merges, tiny, tmp_path):
    with pytest.raises(ModelError, match=r"cuts text by rules .* that llama\.cpp does not have and cannot"):
        write_gguf(tiny.weights.model, trained_tokenizer(cut, ignore_merges), tmp_path / "odd.gguf", "f32", "odd")


def write_mamba(model: Any, tokenizer: Any, path: Any) -> None:
    """A model without attention as llama.cpp's own converter writes it."""
    config, writer = model.config, gguf.GGUFWriter(path, "mamba")
    writer.add_context_length(2**20)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_ssm_conv_kernel(config.conv_kernel)
    writer.add_ssm_inner_size(config.intermediate_size)
    writer.add_ssm_state_size(config.state_size)
    writer.add_ssm_time_step_rank(config.time_step_rank)
    writer.add_layer_norm_rms_eps(config.layer_norm_epsilon)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_tokenizer(writer, tokenizer, config.vocab_size)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    names: Any = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MAMBA, config.num_hidden_layers)
    for name, weight in model.named_parameters():
        values = weight.detach().numpy()
        if name.endswith("A_log"):
            values = -np.exp(values)
        elif name.endswith("conv1d.weight"):
            values = values.squeeze(1)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_model_without_attention_answers_through_llama_cpp(tiny, tmp_path, own_cache):
    tokenizer, path = tiny.weights.tokenizer, tmp_path / "mamba.gguf"
    torch.manual_seed(0)
    config = MambaConfig(vocab_size=len(tokenizer), hidden_size=64, state_size=4, num_hidden_layers=2)
    model: Any = MambaForCausalLM(config)
    with torch.no_grad():
        model.backbone.embeddings.weight.normal_(std=0.5)
    write_mamba(model.eval(), tokenizer, path)
    header = read_header(path)
    assert (header.architecture, header.context_tokens, header.cache_bytes) == ("mamba", 2**20, 0)
    quick = build.answering_model(str(path), engine="llama.cpp")
    assert isinstance(quick, LlamaCppModel)
    for prompt in PROMPTS:
        ids = list(render(tokenizer, prompt, reply=True).ids)
        with torch.inference_mode():
            said = model.generate(torch.tensor([ids]), max_new_tokens=5, do_sample=False)[0, len(ids) :]
        assert [token for token, _ in quick.tokens(prompt, SHORT)] == said.tolist()


def test_a_damaged_file_and_an_unknown_architecture_are_refused_with_the_reason(file, tmp_path, own_cache):
    data = file.read_bytes()
    (tmp_path / "short.gguf").write_bytes(data[:5000])
    with pytest.raises(ModelError, match=r"short\.gguf' is not a complete GGUF file"):
        build.answering_model(str(tmp_path / "short.gguf"), engine="llama.cpp")
    (tmp_path / "half.gguf").write_bytes(data[: len(data) // 2])
    for engine in ("auto", "llama.cpp", "transformers"):
        with pytest.raises(ModelError, match=r"half\.gguf' is cut short: .* bytes of .*; fetch it again"):
            build.answering_model(str(tmp_path / "half.gguf"), engine=engine)
    unknown = data[:40_000].replace(b"llama", b"lemma") + data[40_000:]
    (tmp_path / "unknown.gguf").write_bytes(unknown)
    with pytest.raises(ModelError, match=r"architecture lemma cannot be converted .*it answers through llama\.cpp"):
        build.trainable_model(str(tmp_path / "unknown.gguf"), FinetuneSettings())
    assert gguf_fingerprint(tmp_path / "unknown.gguf") != gguf_fingerprint(file)
    with pytest.raises(InputError, match="is a GGUF file, which cannot be used as embedder"):
        build.embedder(str(file))
