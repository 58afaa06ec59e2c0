"""A probe reads the state after a prompt, refuses by it, and changes no answer to what it does not refuse."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM

from lorag.errors import ModelError
from lorag.interfaces import HiddenStates
from lorag.llm.decoding.answerability import fit_probe, probed_layer, refused
from lorag.llm.engines.transformers import TransformersModel, load
from lorag.llm.rendering import render
from lorag.types import LinearProbe, Message, Sampling

GREEDY = Sampling(max_tokens=6)
PROMPTS = [
    (Message("system", "You are the assistant of a harbour."), Message("user", f"{'word ' * (3 * n)}And {n}?"))
    for n in range(7)
]


@pytest.fixture(scope="module")
def windowed(smollm_folder, tmp_path_factory):
    """A model with a sliding window: its prompts share no pass."""
    tokenizer = AutoTokenizer.from_pretrained(smollm_folder)
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = MistralConfig(vocab_size=len(tokenizer), num_key_value_heads=1, sliding_window=16, **shape)
    folder = tmp_path_factory.mktemp("windowed")
    MistralForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load(folder, "windowed", "float32")


@pytest.fixture(params=["tiny", "windowed"])
def model(request):
    return request.getfixturevalue(request.param)


def refusing_half(model):
    """A probe along a direction of its own, which refuses three or four of the seven prompts."""
    states = model.states(PROMPTS, 2)
    weights = np.linspace(-1, 1, states.shape[1])
    bias = -float(np.median(states @ weights))
    return LinearProbe(model.name, 2, tuple(weights.tolist()), bias + 1e-4, 7, 0.1, 0.5, 0, 0.0)


def test_states_are_those_of_each_prompt_alone(model: TransformersModel):
    assert isinstance(model, HiddenStates)
    for layer in (0, 1, model.layers):
        states = model.states(PROMPTS, layer)
        for prompt, state in zip(PROMPTS, states, strict=True):
            ids = torch.tensor([render(model.weights.tokenizer, prompt, reply=True).ids])
            with model.applied() as stock, torch.inference_mode():
                known = stock(ids, output_hidden_states=True).hidden_states[layer][0, -1]
            assert np.allclose(state, known.float().numpy(), atol=1e-4)


def test_what_is_refused_says_nothing_and_the_rest_says_what_it_said(model):
    probe = refusing_half(model)
    expected = refused(probe, model.states(PROMPTS, probe.layer))
    assert 0 < sum(expected) < len(PROMPTS)
    before, after = model.generate(PROMPTS, GREEDY), model.probing(probe).generate(PROMPTS, GREEDY)
    for is_refused, old, new in zip(expected, before, after, strict=True):
        assert (new.finish == "refused") is is_refused
        assert new.text == ("" if is_refused else old.text)
        assert new.prompt_tokens == old.prompt_tokens
    streamed = []
    for prompt in PROMPTS:
        stream, said = model.probing(probe).stream(prompt, GREEDY), ""
        try:
            while True:
                said += next(stream)
        except StopIteration as end:
            streamed.append((said, end.value.finish == "refused"))
    assert streamed == [(completion.text, is_refused) for completion, is_refused in zip(after, expected, strict=True)]


def test_a_probe_of_another_model_and_beams_are_refused(tiny):
    probe = refusing_half(tiny)
    with pytest.raises(ModelError, match="fitted to other and does not apply to"):
        tiny.probing(replace(probe, model="other"))
    with pytest.raises(ModelError, match="fitted to"):
        tiny.probing(replace(probe, weights=probe.weights[:-1]))
    with pytest.raises(ModelError, match="beam search cannot use the probe"):
        tiny.probing(probe).generate(PROMPTS[:1], Sampling(max_tokens=4, num_beams=2))


def test_a_probe_learns_what_differs_and_not_what_a_question_is_about():
    rng = np.random.default_rng(0)
    topics = rng.normal(size=(60, 40)) * 5
    answered, unanswered = topics + rng.normal(size=(60, 40)), topics + rng.normal(size=(60, 40))
    answered[:, 7] += 6
    documents = [f"doc{n // 3}" for n in range(60)]
    none = np.zeros((0, 40), np.float32)
    probe = fit_probe("m", 3, answered.astype(np.float32), unanswered.astype(np.float32), documents, none)
    assert probe.refused_answered == pytest.approx(0.1, abs=0.02)
    assert probe.refused_unanswered > 0.3
    other = rng.normal(size=(400, 40)) * 5
    lifted = other + np.eye(40)[7] * 6
    told = refused(probe, np.concatenate([other, lifted]).astype(np.float32))
    assert sum(told[:400]) > 2 * sum(told[400:])
    same = fit_probe("m", 3, topics.astype(np.float32), topics.astype(np.float32), documents, none)
    assert same.refused_unanswered == pytest.approx(0.1, abs=0.02)
    with pytest.raises(ValueError, match="one document"):
        fit_probe("m", 3, answered.astype(np.float32), unanswered.astype(np.float32), ["doc"] * 60, none)


@pytest.mark.parametrize(
    ("lift", "questions", "expected"),
    [(0, 40, 0.05), (50, 40, 0.0), (-50, 40, 1.0), (0, 11, None)],
    ids=["alike", "easier", "harder", "too few"],
)
def test_the_threshold_is_set_by_questions_within_what_is_held_out(lift, questions, expected):
    rng = np.random.default_rng(1)
    answered, unanswered = rng.normal(size=(80, 30)) + 1, rng.normal(size=(80, 30)) - 1
    asked = (rng.normal(size=(questions, 30)) + 1 + lift).astype(np.float32)
    documents = [f"doc{n}" for n in range(80)]
    probe = fit_probe("m", 3, answered.astype(np.float32), unanswered.astype(np.float32), documents, asked)
    assert probe.questions == questions
    if expected is None:
        assert probe.refused_answered == pytest.approx(0.1, abs=0.02)
    else:
        assert probe.refused_questions == pytest.approx(expected, abs=0.05)
        assert 0.03 <= probe.refused_answered <= 0.31


def test_the_layer_lies_in_the_upper_half():
    assert [probed_layer(layers) for layers in (2, 24, 30, 80)] == [1, 17, 21, 56]
