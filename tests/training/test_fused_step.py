"""The fused step is the library's: loss and every gradient, on all shapes it accepts; others it refuses."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from lorag.llm.engines.transformers import load
from lorag.llm.rendering import Rendered
from lorag.training.kernels import fused_step as fused
from lorag.training.kernels.batching import rows
from lorag.training.kernels.fused_step import fused_loss
from lorag.training.kernels.loss import choose_loss, plain_loss
from lorag.training.kernels.supervised_tree import supervised_tree
from lorag.types import Conversation, Message

SHAPE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, num_key_value_heads=2)),
    "llama without groups": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True)),
    "llama, wide heads, scaled positions": lambda: LlamaForCausalLM(
        LlamaConfig(
            **SHAPE,
            num_key_value_heads=1,
            head_dim=32,
            tie_word_embeddings=True,
            rope_parameters={
                "rope_type": "llama3",
                "rope_theta": 500.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        )
    ),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE, num_key_value_heads=2)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SHAPE, num_key_value_heads=2, sliding_window=None)),
    "windows": lambda: MistralForCausalLM(MistralConfig(**SHAPE, num_key_value_heads=2, sliding_window=16)),
}
OTHERS = {
    "another architecture": lambda: Gemma2ForCausalLM(Gemma2Config(**SHAPE, num_key_value_heads=2, head_dim=16)),
    "dropout": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, attention_dropout=0.1)),
}


def adapted(model, **changes):
    """The model with LoRA layers that take part."""
    config = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    torch.manual_seed(0)
    model = PeftModel(model, LoraConfig(**{**config, **changes})).get_base_model().train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zero at first, so that LoRA would take no part
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def made_rows() -> list[Rendered]:
    """Rows that share a beginning, an end of one that is a beginning of another, several turns, one row twice."""
    draw = torch.Generator().manual_seed(1)
    first = tuple(torch.randint(300, (7,), generator=draw).tolist())
    made = []
    for own in (5, 9, 90):
        ids = first + tuple(torch.randint(300, (own,), generator=draw).tolist())
        made.append(Rendered(ids, tuple(i > 8 and i % 9 != 3 for i in range(len(ids)))))
    made.append(Rendered((*made[0].ids[:-1], 299), made[0].supervised))
    return [*made, made[1]]


def gradients(model, loss, data):
    model.zero_grad()
    value = loss(model, data)
    value.backward()
    return value.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("kind", MODELS)
def test_loss_and_every_gradient_are_those_of_the_library(kind):
    torch.manual_seed(0)
    model = adapted(MODELS[kind](), use_rslora=kind == "qwen2")
    data = made_rows()
    assert fused.supports(model)
    expected, theirs = gradients(model, plain_loss, data)
    value, ours = gradients(model, fused_loss, data)
    assert value == pytest.approx(expected, rel=1e-6)
    assert len(theirs) == 3 * 7 * 2
    for name, gradient in theirs.items():
        assert gradient.norm() > 0
        torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-3 * gradient.norm().item())


def test_what_only_fills_a_batch_up_changes_no_loss_and_no_gradient():
    model, data = adapted(MODELS["llama"]()), made_rows()

    def filled(model, rows):
        batch = supervised_tree(rows).filled(64)
        assert (len(batch.tokens.ids) % 64, len(batch.labels) % 64) == (0, 0)
        assert len(batch.predicting) == len(batch.labels) == len(batch.weights) > batch.weights.sum()
        return fused.loss(model, batch)

    expected, theirs = gradients(model, fused_loss, data)
    value, ours = gradients(model, filled, data)
    assert value == pytest.approx(expected, rel=1e-6)
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-5 * gradient.norm().item())


def test_the_padded_batch_is_the_rows_one_by_one():
    model, data = adapted(MODELS["llama"]()), made_rows()
    weights = [sum(row.supervised) for row in data]
    alone = sum(w * plain_loss(model, [row]).item() for w, row in zip(weights, data, strict=True)) / sum(weights)
    library = 0.0
    for weight, row in zip(weights, data, strict=True):
        ids = torch.tensor([row.ids])
        labels = torch.where(torch.tensor([row.supervised]), ids, -100)
        library += weight * model(input_ids=ids, labels=labels).loss.item() / sum(weights)
    assert plain_loss(model, data).item() == pytest.approx(alone, rel=1e-5)
    assert alone == pytest.approx(library, rel=1e-5)


def test_in_bfloat16_it_stays_within_the_format():
    torch.manual_seed(0)
    reference, model = adapted(MODELS["qwen2"]()), adapted(MODELS["qwen2"]().bfloat16())
    model.load_state_dict(reference.state_dict())
    data = made_rows()
    expected, theirs = gradients(reference, plain_loss, data)
    value, ours = gradients(model, fused_loss, data)
    assert value == pytest.approx(expected, rel=0.01)
    flat, other = (torch.cat([g.flatten().float() for g in side.values()]) for side in (theirs, ours))
    assert torch.nn.functional.cosine_similarity(flat, other, dim=0) > 0.99


@pytest.mark.parametrize("kind", OTHERS)
def test_models_of_another_kind_take_the_library_step(kind):
    torch.manual_seed(0)
    assert choose_loss(adapted(OTHERS[kind]()), made_rows()) is plain_loss


@pytest.mark.parametrize(
    "change", [{"use_dora": True}, {"lora_dropout": 0.1}, {"target_modules": ["q_proj", "v_proj"]}, {"lora_bias": True}]
)
def test_adapters_of_another_kind_take_the_library_step(change):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True))
    assert choose_loss(adapted(model, **change), made_rows()) is plain_loss


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_fused_step_is_chosen_where_it_proves_itself_and_leaves_no_trace(dtype):
    model = adapted(MODELS["qwen2"]().to(dtype))
    before = {name: p.clone() for name, p in model.named_parameters()}
    assert choose_loss(model, made_rows()) is fused_loss
    for name, parameter in model.named_parameters():
        assert parameter.dtype == before[name].dtype
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None


def test_a_real_model_takes_the_fused_step(smollm_own):
    conversations = [Conversation((Message("user", q), Message("assistant", "42."))) for q in ("How many?", "Why?")]
    kept = rows(smollm_own.weights.tokenizer, conversations, 512).kept
    assert choose_loss(adapted(smollm_own.weights.model), kept) is fused_loss


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_computes_otherwise_is_found_out(dtype):
    model = adapted(MODELS["llama"]().to(dtype))
    attention = model.model.layers[1].self_attn
    attention.register_forward_hook(lambda module, inputs, output: (output[0] * 1.01, *output[1:]))
    with pytest.warns(UserWarning, match="the fast training step differs from the library's by"):
        assert choose_loss(model, made_rows()) is plain_loss


def test_the_loss_of_plain_text_is_the_librarys_cross_entropy_over_all_of_it(shallow_folder):
    weights = load(shallow_folder, "shallow", "float32").weights
    model = adapted(weights.model)
    texts = ("Korrin makes tide gauges in Bergen.", " Korrin makes tide clocks.\nThey are sold in pairs.\n" * 3)
    talk = Conversation((Message("user", "What does Korrin make?"), Message("assistant", "Tide gauges.")))
    tokenizer = weights.tokenizer
    for text in texts:
        kept = rows(tokenizer, [Conversation((Message("text", text),))], 512).kept
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        library = model(input_ids=ids, labels=ids).loss.item()
        assert plain_loss(model, kept).item() == pytest.approx(library, rel=1e-5)
        assert fused_loss(model, kept).item() == pytest.approx(library, rel=1e-5)
    mixed = rows(tokenizer, [talk, *(Conversation((Message("text", text),)) for text in texts)], 512).kept
    expected, theirs = gradients(model, plain_loss, mixed)
    value, ours = gradients(model, fused_loss, mixed)
    assert value == pytest.approx(expected, rel=1e-5)
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-3 * gradient.norm().item())
