"""A model with a tokenizer of SentencePiece's kind, as GGUF: llama.cpp cuts texts and answers as transformers does."""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.request import Request, urlopen

import pytest
import torch
import transformers as library
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from lorag.errors import ModelError
from lorag.llm.engines.llamacpp import LlamaCppModel
from lorag.llm.engines.transformers import load
from lorag.llm.rendering import render
from lorag.models.gguf_writing import write_gguf
from lorag.types import Message, Sampling

SPECIAL = ["<unk>", "<s>", "</s>", "<|user|>", "<|end|>"]
PIECES = (
    "▁▁ ▁▁▁ ▁t he ▁the in er ▁in ng ing ▁G Gr ▁Gr ö ß öß röß größ Größ ▁Größ ▁Größe de der ▁der th the her here ther"
    " there ▁there wa ter wat water ▁water 潮 潮位 位 \n \n\n is th his this ▁this te ht"
).replace(" ", "|")
TEXTS = [
    "the daughter in the water of the inner ring is there",
    "Größe der Größen, größer: ÄÖÜ äöü ß",
    "潮位計は水位を測定します。",
    "it is 🙂👩‍🔬 here",
    "  two in front, three   within and two behind  ",
    "line\n\n\tline\r\nline",
    "In 2024, 12.50 € (é, e\u0301, ﬁ, Ⅳ)",
    "a <table> in a text, ▁ and <0x41>",
]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|user|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|user|>{% endif %}"
)
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
NO_TEXT = len(SPECIAL) + 256
GEMMA: dict[str, Any] = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8}


def pieces():
    """A vocabulary, and every way to make one of its pieces of two others, the first pieces first."""
    words = [word for word in PIECES.split("|") if word]
    alphabet = sorted({c for word in words for c in word} | set(map(chr, range(33, 127))) | {"▁"})
    made = dict.fromkeys([*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *words, *alphabet])
    vocabulary = {piece: place for place, piece in enumerate(made)}
    halves = [(word[:i], word[i:]) for word in words for i in range(1, len(word))]
    return vocabulary, [pair for pair in halves if pair[0] in vocabulary and pair[1] in vocabulary]


def finished(made):
    made.add_special_tokens({"additional_special_tokens": SPECIAL[3:]})
    made.add_tokens([AddedToken(token, normalized=False) for token in ("<table>", "▁▁▁▁")])
    made.chat_template = TEMPLATE
    return made


NAMED = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


def file_like(space=True, **changes):
    """A tokenizer as a tokenizer.json of Llama 2, Mistral or Phi-3 has it."""
    vocabulary, merges = pieces()
    options = {"unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True}
    made = Tokenizer(models.BPE(vocabulary, merges, **options | changes))
    steps = [normalizers.Prepend("▁")] * space + [normalizers.Replace(" ", "▁")]
    made.normalizer = normalizers.Sequence(steps)
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return finished(library.PreTrainedTokenizerFast(tokenizer_object=made, **NAMED))


def class_like(kind, **options):
    """A tokenizer as transformers' own class of the family makes it."""
    vocabulary, merges = pieces()
    return finished(kind(vocab=vocabulary, merges=merges, pad_token="<unk>", add_bos_token=True, **NAMED, **options))


FAMILIES: dict[str, tuple[type[library.PreTrainedConfig], dict[str, Any], Callable[[], Any]]] = {
    "llama 2, by its file": (library.LlamaConfig, {}, file_like),
    "llama 2": (library.LlamaConfig, {}, partial(class_like, library.LlamaTokenizer)),
    "mistral": (
        library.MistralConfig,
        {"sliding_window": None},
        partial(class_like, library.LlamaTokenizer, legacy=True),
    ),
    "phi 3": (library.Phi3Config, {"sliding_window": None}, file_like),
    "gemma 2": (library.Gemma2Config, GEMMA, partial(class_like, library.GemmaTokenizer)),
    "gemma 3": (library.Gemma3TextConfig, GEMMA, partial(class_like, library.GemmaTokenizer)),
}
SPACED = {
    "llama 2": re.compile(""),
    "mistral": re.compile("^ |<table> "),
}
"""Texts that get another space from llama.cpp, which puts one before a text and behind every added token, or none: the
first tokenizer puts one before a text alone, and the second none where there is one."""


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def weights(family, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    kind, own, make_tokenizer = FAMILIES[family]
    tokenizer = make_tokenizer()
    model = library.AutoModelForCausalLM.from_config(kind(**{**SHAPE, **own, "vocab_size": len(tokenizer) + 3}))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.25 * torch.randn_like(weight))
        # A random model says any token; llama.cpp reports none that is not text.
        model.get_output_embeddings().weight[[*range(NO_TEXT), *range(len(tokenizer) - 2, len(tokenizer) + 3)]] = 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load(folder, "tiny", "float32").weights


@pytest.fixture(scope="module")
def file(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(weights.model, weights.tokenizer, path, "f32", "tiny")
    return path


def llama_cpp(file):
    """A function that asks llama.cpp's own server."""
    import xllamacpp  # type: ignore[import-untyped]

    parameters = xllamacpp.CommonParams()
    parameters.model.path, parameters.n_ctx, parameters.hostnames = str(file), 64, ["127.0.0.1"]
    parameters.n_gpu_layers, parameters.fit_params, parameters.warmup, parameters.verbosity = 0, False, False, -1
    server = xllamacpp.Server(parameters)
    server.handle_completions({"prompt": [0], "max_tokens": 1})

    def ask(what, **asked):
        with urlopen(Request(f"{server.listening_address}/{what}", json.dumps(asked).encode())) as reply:
            return json.load(reply)

    return ask


def test_llama_cpp_cuts_texts_and_conversations_as_transformers_does(weights, family, file):
    tokenizer, ask = weights.tokenizer, llama_cpp(file)

    def cut(text, whole):
        return ask("tokenize", content=text, add_special=whole, parse_special=True)["tokens"]

    for text in TEXTS:
        plain = text.replace("<table>", "table").strip()
        turns = [{"role": "user", "content": plain}] * 2
        talk = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(talk, add_special_tokens=False)["input_ids"]
        assert cut(talk, False) == ids, talk
        if family not in SPACED or not SPACED[family].search(text):
            assert cut(text, True) == tokenizer(text)["input_ids"], text
        assert ask("detokenize", tokens=cut(plain, False))["content"].strip() == plain.replace("▁", " ")


def test_llama_cpp_answers_as_transformers_does(weights, file):
    quick = LlamaCppModel(file, weights.tokenizer, "tiny", weights.context_tokens, exact=True)
    answers = []
    for text in TEXTS:
        prompt = (Message("user", text),)
        ids = list(render(weights.tokenizer, prompt, reply=True).ids)
        with torch.inference_mode():
            said = weights.model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)[0, len(ids) :]
        answers.append([token for token, _ in quick.tokens(prompt, Sampling(max_tokens=12))])
        assert answers[-1] == said.tolist()
    assert len({tuple(answer) for answer in answers}) > 1


def unlike(change):
    made = file_like()
    state = json.loads(made.backend_tokenizer.to_str())
    change(state)
    made._tokenizer = Tokenizer.from_str(json.dumps(state))
    return made


WORD_BY_WORD = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}


def without_a_byte(state):
    state["model"]["vocab"]["<none>"] = state["model"]["vocab"].pop("<0xF0>")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state["model"]["merges"].remove(["▁t", "he"]), "joins the pieces of words by rules other"),
        (lambda state: state["model"]["merges"].sort(), "joins the pieces of words by rules other"),
        (lambda state: state["model"].update(ignore_merges=True), "joins the pieces of words by rules other"),
        (without_a_byte, "has no token for some bytes"),
        (lambda state: state.update(normalizer={"type": "Lowercase"}), "changes or splits text differently"),
        (lambda state: state.update(normalizer={"type": "NFKC"}), "changes or splits text differently"),
        (lambda state: state.update(pre_tokenizer=WORD_BY_WORD), "changes or splits text differently"),
    ],
)
def test_a_tokenizer_that_llama_cpp_has_no_form_of_is_refused_with_the_reason(change, reason, tmp_path):
    model = library.LlamaForCausalLM(library.LlamaConfig(**SHAPE, vocab_size=600))
    write = partial(write_gguf, model, unlike(change), tmp_path / "odd.gguf", "f32", "odd")
    with pytest.raises(
        ModelError, match=f"the tokenizer {reason}.* cannot be written as GGUF; export the model as merged"
    ):
        write()
    assert not (tmp_path / "odd.gguf").exists()


def test_a_tokenizer_without_a_template_is_written_without_one(tmp_path):
    model, tokenizer = library.LlamaForCausalLM(library.LlamaConfig(**SHAPE, vocab_size=600)), file_like()
    for template, known in ((TEMPLATE, True), (None, False)):
        tokenizer.chat_template = template
        write_gguf(model, tokenizer, tmp_path / "tiny.gguf", "f32", "tiny")
        assert ("tokenizer.chat_template" in GGUFReader(tmp_path / "tiny.gguf").fields) == known


def test_a_tokenizer_of_unigrams_is_refused(tmp_path):
    made = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁", -1.0), ("a", -2.0)], unk_id=0, byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    model = library.LlamaForCausalLM(library.LlamaConfig(**SHAPE, vocab_size=600))
    with pytest.raises(
        ModelError, match="the tokenizer is of the kind Unigram, not BPE, and cannot be written as GGUF"
    ):
        write_gguf(
            model,
            library.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>"),
            tmp_path / "odd.gguf",
            "f32",
            "odd",
        )
