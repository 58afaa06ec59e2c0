"""Prompts that begin alike share a pass, whatever they share, and the answers are those of each prompt alone."""

from collections import defaultdict
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.cache_utils import CacheLayerMixin

from lorag.llm.decoding import prefill
from lorag.llm.decoding.batch import Batch, Row
from lorag.llm.decoding.prefill import merges, passes
from lorag.llm.decoding.prefix_cache import common
from lorag.llm.engines.transformers import TransformersModel
from lorag.llm.prefix_tree import tree
from lorag.types import Message, Sampling

SYSTEM = Message("system", "You are the assistant of a harbour.")
PASSAGES = ("The lighthouse was built in 1906 of red brick. " * 2, "Ships pay a fee of nine crowns a night.")
QUESTIONS = ("When was it built?", "What does a night cost?", "Hi")
PROMPTS = [(SYSTEM, Message("user", f"{text}\n{question}")) for question in QUESTIONS for text in PASSAGES]
LONG = [(Message("system", SYSTEM.content * 12), *prompt[1:]) for prompt in PROMPTS]
SHORT = Sampling(max_tokens=8)
SMALL: dict[str, Any] = {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA_LIKE = SMALL | {"intermediate_size": 64, "num_key_value_heads": 2}


@contextmanager
def logits_of(*batches):
    """By row, the logits of each token that the rows of batches say."""
    found = defaultdict(list)
    with pytest.MonkeyPatch.context() as patch:
        for batch in batches:
            say = batch._say

            def noting(rows, logits, say=say):
                for row, each in zip(rows, logits, strict=True):
                    found[row].append(each)
                say(rows, logits)

            patch.setattr(batch, "_say", noting)
        yield found


def texts(completions):
    return [completion.text for completion in completions]


def test_a_passage_is_read_once_however_many_questions_follow_it(shallow, counted, monkeypatch):
    ids = [shallow._ids(prompt, SHORT) for prompt in PROMPTS]
    assert shallow.weights.merges
    with counted(shallow) as passed:
        found = texts(shallow.generate(PROMPTS, SHORT))
    assert passed[0] == len(tree(ids).ids) < sum(map(len, ids)) / 2
    monkeypatch.setattr(prefill, "PASS_TOKENS", 80)
    with counted(shallow) as passed:
        assert texts(shallow.generate(PROMPTS, SHORT)) == found
    assert passed[0] <= 80
    monkeypatch.setitem(shallow.weights.__dict__, "merges", False)
    with counted(shallow) as passed:
        assert texts(shallow.generate(PROMPTS, SHORT)) == found
    assert passed[0] == len(ids) * max(map(len, ids))
    assert len(set(found)) > len(PASSAGES)


def test_what_all_prompts_begin_with_is_read_once_though_they_take_several_passes(shallow, counted, monkeypatch):
    found = texts(shallow.generate(LONG, SHORT))
    ids = sorted(shallow._ids(prompt, SHORT) for prompt in LONG)
    head = common(ids)
    assert head > 64
    monkeypatch.setattr(prefill, "PASS_TOKENS", 80)
    rests = list(passes([each[head:] for each in ids]))
    assert len(rests) > 1
    with counted(shallow) as passed:
        assert texts(shallow.generate(LONG, SHORT)) == found
    assert passed[: len(rests) + 1] == [head, *(len(tree(run).ids) for run in rests)]


def test_what_some_prompts_begin_with_is_read_once_though_others_begin_otherwise(shallow, counted, monkeypatch):
    guide = Message("system", "You show visitors the museum of a small town. " * 10)
    both = [*LONG, *((guide, *prompt[1:]) for prompt in LONG)]
    found = texts(shallow.generate(both, SHORT))
    ids = sorted(shallow._ids(prompt, SHORT) for prompt in both)
    monkeypatch.setattr(prefill, "PASS_TOKENS", 80)
    with counted(shallow) as passed:
        assert texts(shallow.generate(both, SHORT)) == found
    assert common(ids) < 64
    expected = []
    for family in (ids[: len(LONG)], ids[len(LONG) :]):
        head = common(family)
        expected += [head, *(len(tree(run).ids) for run in passes([each[head:] for each in family]))]
    assert len(expected) > 4
    assert passed[: len(expected)] == expected


def first_keys(batch: Batch) -> torch.Tensor:
    """The keys of the lowest layer."""
    assert batch._cache is not None
    layer = batch._cache.layers[0]
    assert isinstance(layer, CacheLayerMixin)
    assert layer.keys is not None
    return layer.keys


def test_logits_and_what_follows_are_those_of_each_prompt_alone(shallow):
    rows = [Row(shallow._ids(prompt, SHORT), SHORT) for prompt in PROMPTS]
    batch = Batch(shallow)
    with logits_of(batch) as found:
        batch.add(rows)
        where = first_keys(batch).data_ptr()
        batch.step()
        assert first_keys(batch).data_ptr() == where  # a step copies nothing of what was there
    for row in rows:
        alone = shallow._forward(torch.tensor([[*row.ids, row.said[0]]]), logits_to_keep=2).logits[0]
        torch.testing.assert_close(torch.stack(found[row]), alone, rtol=1e-4, atol=4e-4)


@pytest.mark.parametrize("size", [1024, 80])
def test_virtual_tokens_stand_before_every_prompt_of_a_pass(shallow, size, monkeypatch):
    monkeypatch.setattr(prefill, "PASS_TOKENS", size)
    virtual = shallow._forward(torch.tensor([[30, 31, 32, 33, 34]]), use_cache=True).past_key_values
    model = TransformersModel(shallow.weights, "virtual", virtual=virtual)
    together, plain = Batch(model), Batch(shallow)
    with logits_of(together, plain) as found:
        rows, others = ([Row(model._ids(prompt, SHORT), SHORT) for prompt in LONG[:3]] for _ in range(2))
        together.add(rows)
        plain.add(others)
        for row, other in zip(rows, others, strict=True):
            alone = shallow._forward(torch.tensor([row.ids]), past_key_values=model.before(1), logits_to_keep=1).logits[
                0
            ]
            torch.testing.assert_close(found[row][0], alone[0], rtol=1e-4, atol=4e-4)
            assert not torch.allclose(found[row][0], found[other][0], atol=0.1)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda: Qwen2ForCausalLM(Qwen2Config(**LLAMA_LIKE)), True),
        (lambda: GPT2LMHeadModel(GPT2Config(vocab_size=200, n_embd=32, n_layer=2, n_head=4)), True),
        (lambda: MistralForCausalLM(MistralConfig(**LLAMA_LIKE, sliding_window=8)), False),
        (lambda: BloomForCausalLM(BloomConfig(vocab_size=200, hidden_size=32, n_layer=2, n_head=4)), False),
    ],
    ids=["qwen2", "gpt2", "sliding window", "distances instead of positions"],
)
def test_only_models_that_prove_it_share_a_pass(model, expected):
    torch.manual_seed(0)
    with torch.inference_mode():
        assert merges(model().eval()) is expected


def test_a_model_that_looks_beyond_its_mask_is_found_out():
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(**LLAMA_LIKE)).eval()
    model.register_forward_pre_hook(lambda _, given, named: (given, named | {"attention_mask": None}), with_kwargs=True)
    with torch.inference_mode():
        assert not merges(model)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=9).map(sorted))
def test_every_prompt_is_in_one_pass_and_passes_keep_their_size(prompts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefill, "PASS_TOKENS", 12)
        made = list(passes(prompts))
    assert [prompt for run in made for prompt in run] == prompts
    assert all(len(tree(run).ids) <= 12 for run in made)
