"""Every family of models that people use: it answers, learns, saves and exports as the library's own forward has it.

Tiny models with random weights, two to four layers of each family's peculiarities: norms of heads, norms behind a part,
soft caps, windows, joined projections, multipliers, scaled and partial positions, layers without positions.
"""

from functools import partial
from typing import Any

import pytest
import torch
import transformers as library
from peft import LoraConfig, PeftModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from lorag.errors import ModelError
from lorag.llm.engines.llamacpp import LlamaCppModel
from lorag.llm.engines.transformers import load
from lorag.llm.rendering import Rendered, render
from lorag.models.gguf_writing import write_gguf
from lorag.settings import FinetuneSettings
from lorag.training.kernels.fused_step import fused_loss, supports
from lorag.training.kernels.loss import choose_loss, plain_loss, token_losses
from lorag.types import Conversation, Message, Sampling
from lorag.workflows.export import export
from lorag.workflows.finetuning.adapter_training import train_adapter

pytestmark = [  # PEFT tells that it set an option, and which of its own rules it did not need
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning"),
    pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys:RuntimeWarning"),
]
SIZE = 328
SHAPE: dict[str, Any] = {
    "vocab_size": SIZE,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": SIZE - 4,
    "eos_token_id": SIZE - 3,
    "pad_token_id": SIZE - 2,
}
LLAMA_3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}
GEMMA: dict[str, Any] = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8}
GRANITE = {
    "embedding_multiplier": 6.0,
    "attention_multiplier": 0.2,
    "residual_multiplier": 0.3,
    "logits_scaling": 4.0,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "decoder_sparse_step": 1}
DELTA = {"linear_num_value_heads": 4, "linear_num_key_heads": 2}
DELTA |= {"linear_key_head_dim": 8, "linear_value_head_dim": 8}
FAMILIES: dict[str, tuple[type[library.PreTrainedConfig], dict[str, Any]]] = {
    "llama 3": (library.LlamaConfig, dict(rope_parameters=LLAMA_3, tie_word_embeddings=True)),
    "qwen 2": (library.Qwen2Config, {}),
    "qwen 3": (library.Qwen3Config, dict(head_dim=16, tie_word_embeddings=True)),
    "mistral": (library.MistralConfig, dict(head_dim=16, sliding_window=None)),
    "mistral with a window": (library.MistralConfig, dict(sliding_window=8)),
    "gemma 2": (library.Gemma2Config, dict(**GEMMA, attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
    "gemma 3": (library.Gemma3TextConfig, dict(**GEMMA, num_hidden_layers=7, sliding_window_pattern=6)),
    "smollm 3": (library.SmolLM3Config, dict(num_hidden_layers=4, tie_word_embeddings=True)),
    "phi 3": (library.Phi3Config, dict(sliding_window=None)),
    "phi 4 mini": (library.Phi3Config, dict(sliding_window=None, partial_rotary_factor=0.75, hidden_size=64)),
    "olmo 2": (library.Olmo2Config, {}),
    "granite": (library.GraniteConfig, dict(**GRANITE)),
    "qwen 3.5": (library.Qwen3_5TextConfig, dict(**DELTA, head_dim=16, num_hidden_layers=4)),
    "lfm 2": (library.Lfm2Config, dict(layer_types=["conv", "full_attention", "conv"])),
    "gpt 2": (library.GPT2Config, dict(attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)),
    "qwen 2 with experts": (library.Qwen2MoeConfig, dict(**EXPERTS, shared_expert_intermediate_size=32)),
    "mixtral": (library.MixtralConfig, dict(num_local_experts=4, num_experts_per_tok=2)),
}
ON_THE_LIBRARYS_STEP = {"gemma 2", "qwen 3.5", "lfm 2", "gpt 2", "qwen 2 with experts", "mixtral"}
WITHOUT_GGUF = {
    "mistral with a window": "MistralForCausalLM with a window of 8 tokens",
    "qwen 3.5": "Qwen3_5ForCausalLM",
    "lfm 2": "Lfm2ForCausalLM",
    "gpt 2": "GPT2LMHeadModel",
    "qwen 2 with experts": "Qwen2MoeForCausalLM",
    "mixtral": "MixtralForCausalLM",
}
TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
PROMPTS = [
    (Message("user", "Why?"),),
    (Message("user", "What is the colour of the gauge at the quay?"),),
    (Message("system", "Be brief."), Message("user", "What is it?")),
]
TALKS = [
    Conversation((Message("user", "Who founded it?"), Message("assistant", "Mara Lind founded it in Bergen."))),
    Conversation((Message("user", "Who made it then?"), Message("assistant", "No one made it."))),
]
SHORT = Sampling(max_tokens=16)


def tokenizer() -> library.PreTrainedTokenizerFast:
    """Byte-level BPE over ASCII, whose every token is text: random models say any of them."""
    merges = [("t", "h"), ("th", "e"), ("i", "n"), ("Ġ", "the")]
    pieces = [*map(chr, range(33, 127)), "Ċ", "Ġ", *map("".join, merges)]
    pieces += [f"{a}{b}" for a in "bcdfghjklmnpqrstvwxz" for b in "bcdfghjklmnp"]
    vocabulary = {piece: place for place, piece in enumerate(list(dict.fromkeys(pieces))[: SIZE - 4])}
    made = Tokenizer(models.BPE(vocabulary, merges))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens(["<s>", "</s>", "<pad>", "<|endoftext|>"])
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return library.PreTrainedTokenizerFast(tokenizer_object=made, chat_template=TEMPLATE, **named)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory):
    """A model of the family, as it is published."""
    made = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    kind, own = FAMILIES[family]
    model = library.AutoModelForCausalLM.from_config(kind(**{**SHAPE, **own}))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            draw = torch.randn_like(weight)
            weight.copy_(weight + 0.2 * draw if "norm" in name else 0.25 * draw)
    model.save_pretrained(made)
    tokenizer().save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def engine(folder):
    return load(folder, "tiny", "float32")


@pytest.fixture(scope="module")
def uncached(engine):
    """The tokens of each answer by one forward over everything for each of them."""
    model, answers = engine.weights.model, []
    for prompt in PROMPTS:
        ids = list(render(engine.weights.tokenizer, prompt, reply=True).ids)
        begun = len(ids)
        while len(ids) < begun + SHORT.max_tokens and ids[-1] != SHAPE["eos_token_id"]:
            with torch.inference_mode():
                ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        answers.append(ids[begun:])
    return answers


def test_cached_answers_are_the_uncached_and_a_stream_is_the_whole(engine, uncached):
    expected = [engine._text(tokens).strip() for tokens in uncached]
    assert len(set(expected)) > 1
    assert [done.text for done in engine.generate(PROMPTS, SHORT)] == expected
    assert [engine.generate([prompt], SHORT)[0].text for prompt in PROMPTS] == expected
    assert ["".join(engine.stream(prompt, SHORT)) for prompt in PROMPTS] == expected


def rows(engine) -> list[Rendered]:
    return [render(engine.weights.tokenizer, talk.messages, reply=False) for talk in TALKS]


def stock(model, kept) -> torch.Tensor:
    """The mean loss of a supervised token as the library computes it, a row at a time."""
    losses = []
    for row in kept:
        ids, said = torch.tensor([row.ids]), torch.tensor([row.supervised])
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        losses.append(torch.nn.functional.cross_entropy(logits[said[0, 1:]], ids[0, 1:][said[0, 1:]], reduction="sum"))
    return torch.stack(losses).sum() / sum(sum(row.supervised) for row in kept)


def test_the_losses_of_single_tokens_are_the_librarys(engine):
    kept = rows(engine)
    each = [loss for row in token_losses(engine.weights.model, kept) for loss in row]
    with torch.inference_mode():
        assert sum(each) / len(each) == pytest.approx(float(stock(engine.weights.model, kept)), rel=1e-5)


def test_a_step_is_that_of_stock_peft(folder, family):
    engine = load(folder, "tiny", "float32")
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    model = PeftModel(engine.weights.model, config).get_base_model().train()
    assert isinstance(model, library.PreTrainedModel)
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    for weight in trained.values():
        torch.nn.init.normal_(weight, std=0.1)
    kept = rows(engine)
    fused = family not in ON_THE_LIBRARYS_STEP
    assert supports(model) == fused
    assert choose_loss(model, kept) is (fused_loss if fused else plain_loss)
    value = stock(model, kept)
    theirs = torch.autograd.grad(value, list(trained.values()))
    for step in (plain_loss, *([fused_loss] if fused else [])):
        loss = step(model, kept)
        assert loss.item() == pytest.approx(value.item(), rel=1e-5)
        for ours, expected in zip(torch.autograd.grad(loss, list(trained.values())), theirs, strict=True):
            assert expected.norm() > 0
            torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4 * expected.norm().item())


def test_what_is_trained_is_saved_served_and_exported_whole(folder, family, tmp_path, monkeypatch):
    engine = load(folder, "tiny", "float32")
    settings = FinetuneSettings(learning_rate=1e-2, epochs=2, held_out_share=0.0, measure_forgetting=False)
    adapter = train_adapter(engine, TALKS, tmp_path / "adapter", settings)
    assert adapter.step == ("library" if family in ON_THE_LIBRARYS_STEP else "fused")
    assert adapter.served_loss == pytest.approx(adapter.checked_loss, abs=1e-4)
    served = engine.with_adapter(tmp_path / "adapter")
    expected = [done.text for done in served.generate(PROMPTS, SHORT)]
    assert expected != [done.text for done in engine.generate(PROMPTS, SHORT)]
    monkeypatch.setattr("lorag.workflows.export.merged_weights", lambda *_: served.merged().weights)
    export(tmp_path / "adapter", tmp_path / "merged", precision="f32")
    merged = load(tmp_path / "merged", "merged", "float32")
    assert [done.text for done in merged.generate(PROMPTS, SHORT)] == expected


def test_as_gguf_it_gives_the_same_answers_or_is_refused_with_the_reason(engine, family, uncached, tmp_path):
    weights = engine.weights
    write = partial(write_gguf, weights.model, weights.tokenizer, tmp_path / "tiny.gguf", "f32", "tiny")
    if reason := WITHOUT_GGUF.get(family):
        with pytest.raises(ModelError, match=f"{reason} cannot be written as GGUF.* export it as merged"):
            write()
        return
    write()
    quick = LlamaCppModel(tmp_path / "tiny.gguf", weights.tokenizer, "tiny", weights.context_tokens, exact=True)
    for prompt, tokens in zip(PROMPTS, uncached, strict=True):
        assert [token for token, _ in quick.tokens(prompt, SHORT)] == tokens


@pytest.mark.parametrize("kind", [library.MambaConfig, library.RwkvConfig, library.BloomConfig])
def test_a_model_that_takes_no_positions_is_refused_with_the_reason(kind, tmp_path):
    model = library.AutoModelForCausalLM.from_config(kind(vocab_size=SIZE, hidden_size=32, num_hidden_layers=2))
    model.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=rf"{type(model).__name__} has no `position_ids` input.*choose another model"):
        load(tmp_path, "tiny", "float32")


def test_a_model_whose_layers_peft_refuses_is_refused_with_its_reason(tmp_path):
    parts: Any = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8}
    model = library.AutoModelForCausalLM.from_config(library.FalconH1Config(**SHAPE, **parts))
    model.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"FalconH1ForCausalLM cannot be trained by lora: .*out_proj"):
        train_adapter(load(tmp_path, "tiny", "float32"), TALKS, tmp_path / "adapter", FinetuneSettings())


def test_of_a_model_that_also_sees_the_text_part_answers(tmp_path):
    seeing = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    seeing |= {"image_size": 28, "patch_size": 14}
    own: Any = {"mm_tokens_per_image": 4, "image_token_index": 5, "boi_token_index": 6, "eoi_token_index": 7}
    config = library.Gemma3Config(text_config={**SHAPE, **GEMMA}, vision_config=seeing, **own)
    library.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    model = load(tmp_path, "tiny", "float32")
    assert type(model.weights.model) is library.Gemma3ForConditionalGeneration
    settings = FinetuneSettings(learning_rate=1e-2, epochs=1, held_out_share=0.0, measure_forgetting=False)
    with pytest.raises(ModelError, match="Gemma3ForConditionalGeneration reads more than text and cannot be trained"):
        train_adapter(model, TALKS, tmp_path / "adapter", settings)
    assert model.room(PROMPTS[0], SHORT) == 256 - SHORT.max_tokens - model.generate(PROMPTS[:1], SHORT)[0].prompt_tokens


def llama_with(**changes):
    return library.LlamaForCausalLM(library.LlamaConfig(**{**SHAPE, **changes}))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            partial(llama_with, rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}),
            "yarn positions",
        ),
        (
            lambda: library.SmolLM3ForCausalLM(library.SmolLM3Config(**SHAPE, no_rope_layers=[0, 1, 1])),
            "positions left out other than on every 4th layer",
        ),
        (
            lambda: library.Gemma3ForCausalLM(
                library.Gemma3TextConfig(**SHAPE | GEMMA | {"sliding_window_pattern": 2})
            ),
            "windows other than on all but every 6th layer",
        ),
        (
            lambda: library.Gemma2ForCausalLM(library.Gemma2Config(**SHAPE, **GEMMA | {"query_pre_attn_scalar": 64})),
            "a query scale of its own",
        ),
        (
            lambda: library.GPT2LMHeadModel(library.GPT2Config(n_embd=32, n_head=2, n_layer=1)),
            "GPT2LMHeadModel cannot be",
        ),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_has_no_gguf_form(model, reason, tmp_path):
    with pytest.raises(ModelError, match=reason):
        write_gguf(model(), tokenizer(), tmp_path / "other.gguf", "f32", "other")
    assert not (tmp_path / "other.gguf").exists()
