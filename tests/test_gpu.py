"""On a GPU everything gives what it gives on a CPU: the training step, every method, answers alone and in batches.

The model is a small one of random weights, so that nothing must be fetched.
"""

import json
from importlib.resources import files
from typing import get_args

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lorag import build
from lorag.finetune_methods import Method
from lorag.llm.engines.transformers import load
from lorag.settings import FinetuneSettings
from lorag.training.adapter import NOISE
from lorag.training.kernels.batching import rows
from lorag.training.kernels.cuda_graphs import Replayed
from lorag.training.kernels.fused_step import fused_loss
from lorag.training.kernels.loss import choose_loss, plain_loss
from lorag.training.methods import learner
from lorag.types import Conversation, Message, Sampling
from lorag.workflows.finetuning.adapter_training import train_adapter

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="compares a CUDA GPU with the library's step and with a CPU, and this machine has no GPU; tests/training and"
    " tests/llm cover the same code on a CPU, except replayed CUDA graphs",
)

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
RATES = {"full": 1e-3, "prompt": 3e-2, "prefix": 3e-2}
# A base of 4 bits is another load and needs an extra.
METHODS = [method for method in get_args(Method) if method != "qlora"]
PROMPTS = [
    (Message("user", text),) for text in ("Who founded Korrin?", "Hi", "What is a tide gauge, and who makes it?")
]
SHORT = Sampling(max_tokens=12)


@pytest.fixture(scope="module")
def data() -> list[Conversation]:
    told = files("lorag").joinpath("corpus", "train.jsonl").read_text().splitlines()[:16]
    return [Conversation(tuple(Message(**turn) for turn in json.loads(line)["messages"])) for line in told]


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    """A model and its tokenizer, as they are published."""
    made = tmp_path_factory.mktemp("small")
    words = Tokenizer(models.BPE())
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    words.train_from_iterator([turn.content for row in data for turn in row.messages], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=special[2], pad_token=special[0])
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(made)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.2,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(made)
    return made


def quick(method):
    rate = RATES.get(method, 3e-3)
    return FinetuneSettings(method=method, learning_rate=rate, epochs=6, measure_forgetting=False)


def gradients(model, loss, data):
    model.zero_grad()
    value = loss(model, data, None)
    value.backward()
    return value.item(), {name: p.grad.cpu() for name, p in model.named_parameters() if p.requires_grad}


def test_the_fused_step_is_the_step_of_the_library(folder, data):
    engine = load(folder, "small", "float32")
    kept = rows(engine.weights.tokenizer, data[:6], 1024).kept
    with learner(engine.weights.model, kept[0], FinetuneSettings()) as learning:
        assert learning.device.type == "cuda"
        for name, parameter in learning.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        expected, theirs = gradients(learning.causal, plain_loss, kept)
        value, ours = gradients(learning.causal, fused_loss, kept)
    assert value == pytest.approx(expected, rel=1e-5)
    for name, gradient in theirs.items():
        assert gradient.norm() > 0
        torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-3 * gradient.norm().item())


def test_a_replayed_step_is_the_step_of_its_own_batch_and_of_the_weights_as_they_are(folder, data):
    engine = load(folder, "small", "float32")
    kept = rows(engine.weights.tokenizer, data, 1024).kept
    steps = [kept[start : start + 2] for start in range(0, 12, 2)]
    with learner(engine.weights.model, kept[0], FinetuneSettings()) as learning:
        trained = [p for p in learning.parameters() if p.requires_grad]
        replayed = choose_loss(learning.causal, steps[0])
        assert isinstance(replayed, Replayed)
        for _ in range(3):
            for step in steps:
                with torch.no_grad():
                    for parameter in trained:
                        parameter.add_(torch.randn_like(parameter), alpha=0.02)
                expected, theirs = gradients(learning.causal, fused_loss, step)
                value, ours = gradients(learning.causal, replayed, step)
                assert value == pytest.approx(expected, rel=1e-5)
                for name, gradient in theirs.items():
                    torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-4 * gradient.norm().item())
        recorded = [recording for recording in replayed._recordings.values() if recording]
        assert recorded
        assert sum(recording.replays for recording in recorded) > len(steps)
        learning.zero_grad()
        for _ in range(2):
            replayed(learning.causal, steps[-1]).backward()
        for name, parameter in learning.causal.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None
                torch.testing.assert_close(parameter.grad.cpu(), 2 * theirs[name], rtol=1e-3, atol=1e-4)
        stale = replayed(learning.causal, steps[0])
        replayed(learning.causal, steps[0])
        with pytest.raises(RuntimeError, match="after the next step had replaced it"):
            stale.backward()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_trained_is_what_is_served(folder, data, tmp_path, method, dtype):
    engine = load(folder, "small", dtype)
    adapter = train_adapter(engine, data, tmp_path / "adapter", quick(method))
    assert adapter.loss_last < adapter.loss_first
    assert adapter.step == ("fused" if method in ("lora", "rslora", "pissa") else "library")
    served = build.finetuned_model(engine, adapter)
    assert adapter.served_loss == pytest.approx(adapter.checked_loss, abs=NOISE)
    assert served.stored_dtype == adapter.served_format
    known, before = (model.logprobs(PROMPTS[0], (5, 6, 7)) for model in (served, engine))
    assert known != before


@pytest.mark.parametrize("method", ["lora", "prefix"])
def test_answers_are_those_of_a_cpu_alone_together_and_streamed(folder, data, tmp_path, method, monkeypatch):
    engine = load(folder, "small", "float32")
    adapter = train_adapter(engine, data, tmp_path / "adapter", quick(method))
    there = build.finetuned_model(engine, adapter)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    here = build.finetuned_model(load(folder, "small", "float32"), adapter)
    assert here.weights.model.device.type == "cpu"
    expected = [here.generate([prompt], SHORT)[0].text for prompt in PROMPTS]
    assert len(set(expected)) > 1
    assert [done.text for done in there.generate(PROMPTS, SHORT)] == expected
    assert [there.generate([prompt], SHORT)[0].text for prompt in PROMPTS] == expected
    assert ["".join(there.stream(prompt, SHORT)).strip() for prompt in PROMPTS] == expected
