"""Streams that are read at once share their steps, and each gives what it gives alone, whoever joins or leaves."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from lorag.errors import InputError
from lorag.llm.decoding import json_schema, kv_cache, prefix_cache, shared_batch
from lorag.llm.decoding.batch import Row
from lorag.llm.engines.transformers import TransformersModel, load
from lorag.types import Message, Sampling

SHAPE: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
GREEDY = Sampling(max_tokens=20)
DRAWN = Sampling(max_tokens=14, temperature=0.8, top_k=50, top_p=0.9, seed=5)
SYSTEM = Message("system", "You are the assistant of a harbour.")
ASKED = [
    ((Message("user", "word " * (3 + 17 * number % 40)), Message("user", f"And {number}?"))[number % 2 :], sampling)
    for number, sampling in enumerate(
        [GREEDY, DRAWN, replace(GREEDY, repetition_penalty=1.3), replace(DRAWN, seed=6), replace(GREEDY, max_tokens=3)]
        * 2
    )
]


def saved(model, tokenizer, folder):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(smollm_folder):
    return AutoTokenizer.from_pretrained(smollm_folder)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), initializer_range=0.5, **SHAPE))
    return saved(model, tokenizer, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def weights(folder):
    return load(folder, "tiny", "float32").weights


@pytest.fixture
def model(weights):
    return TransformersModel(weights)


def alone(model, prompt, sampling):
    (completion,) = TransformersModel(model.weights, model.adapter).generate([prompt], sampling)
    return completion


def whole(stream):
    """The pieces of a stream, and what it returns."""
    pieces = []
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            return "".join(pieces), end.value


def by_turns(streams):
    """The texts of streams that begin one after the other and are read a piece each, in turn, by one thread."""
    texts = [""] * len(streams)
    for turn in range(400):
        for number, stream in enumerate(streams[: turn + 1]):
            texts[number] += next(stream, "")
    return texts


@pytest.fixture
def rows_of(weights):
    """The rows of every pass through the model."""
    rows = []
    hook = weights.model.get_input_embeddings().register_forward_pre_hook(lambda _, given: rows.append(given[0].shape))
    yield rows
    hook.remove()


def test_an_answer_among_others_is_the_answer_alone_to_the_token(model, rows_of):
    expected = [alone(model, *asked) for asked in ASKED]
    rows_of.clear()
    texts = by_turns([model.stream(*asked) for asked in ASKED])
    assert texts == [completion.text for completion in expected]
    assert max(rows for rows, _ in rows_of) > 5
    assert len(rows_of) < sum(completion.completion_tokens for completion in expected) / 2


def test_threads_get_the_same_and_share_their_steps(model, rows_of):
    expected = [alone(model, *asked) for asked in ASKED]
    rows_of.clear()
    found, together = {}, threading.Barrier(len(ASKED))

    def read(number):
        together.wait()
        found[number] = whole(model.stream(*ASKED[number]))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(len(ASKED))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number, completion in enumerate(expected):
        text, done = found[number]
        assert text == done.text == completion.text
        assert (done.completion_tokens, done.finish) == (completion.completion_tokens, completion.finish)
    assert len(rows_of) < sum(completion.completion_tokens for completion in expected)
    assert model._shared._batch is None


def test_a_real_model_answers_among_others_as_alone(smollm):
    prompts = [
        (SYSTEM, Message("user", each)) for each in ("Hi", "Name three colours.", "What is the capital of France?")
    ]
    short = Sampling(max_tokens=8)
    expected = [alone(smollm, prompt, short).text for prompt in prompts]
    assert by_turns([smollm.stream(prompt, short) for prompt in prompts]) == expected


def test_stop_texts_end_their_own_answer_alone(model):
    prompt = ASKED[0][0]
    text = alone(model, prompt, GREEDY).text
    stopping = replace(GREEDY, stop=(text[len(text) // 2 :][:4],))
    assert by_turns([model.stream(prompt, GREEDY), model.stream(prompt, stopping)]) == [
        text,
        alone(model, prompt, stopping).text,
    ]


def test_memory_that_is_full_is_taken_again(model, monkeypatch):
    monkeypatch.setattr(kv_cache, "_ROOM", 3)
    expected = [alone(model, *asked).text for asked in ASKED]
    assert by_turns([model.stream(*asked) for asked in ASKED]) == expected


def test_who_leaves_disturbs_no_other_and_leaves_nothing(model):
    streams = [model.stream(*asked) for asked in ASKED]
    for stream in streams:
        next(stream, "")
    for stream in streams[1::2]:
        stream.close()
    texts = [whole(stream)[1].text for stream in streams[::2]]
    assert texts == [alone(model, *asked).text for asked in ASKED[::2]]
    assert model._shared._batch is None
    left = model.stream(*ASKED[0])
    next(left)
    left.close()
    assert model._shared._batch is None
    assert not model._shared._waiting


def test_some_wait_where_not_all_fit_and_all_come_to_their_turn(weights, rows_of):
    model = TransformersModel(weights, batch_tokens=200)
    expected = [alone(model, *asked).text for asked in ASKED]
    rows_of.clear()
    assert by_turns([model.stream(*asked) for asked in ASKED]) == expected
    assert 1 < max(rows for rows, _ in rows_of) < len(ASKED) / 2


def test_nobody_waits_for_more_than_one_prompt_and_one_step(model, rows_of, monkeypatch):
    monkeypatch.setattr(shared_batch, "PASS_TOKENS", 1)
    stream = model.stream(*ASKED[0])
    next(stream)
    rows_of.clear()
    model._shared._waiting.extend(Row(model._ids(*asked), asked[1]) for asked in ASKED[1:6])
    whole(stream)
    reading = [tokens > 1 for _, tokens in rows_of]
    assert reading[: reading.index(True) + 10] == [False] * reading.index(True) + [True, False] * 5
    assert (reading.index(True) < 2, sum(reading)) == (True, 5)


def test_a_prompt_that_cannot_be_read_fails_alone_and_a_step_that_breaks_off_fails_all(model, weights):
    long = (Message("user", "many words " * 50),)

    def refuse(_, given):
        if given[0].shape[1] > 100:
            raise RuntimeError("out of memory")

    hook = weights.model.get_input_embeddings().register_forward_pre_hook(refuse)
    first, second = model.stream(*ASKED[0]), model.stream(*ASKED[2])
    begun = next(first) + next(first)
    with pytest.raises(RuntimeError, match="out of memory"):
        next(model.stream(long, GREEDY))
    hook.remove()
    assert begun + whole(first)[0] == alone(model, *ASKED[0]).text
    third = model.stream(*ASKED[0])
    next(second)
    next(third)
    hook = weights.model.model.layers[1].register_forward_hook(lambda *_: [][0])
    for stream in (second, third):
        with pytest.raises(IndexError):
            whole(stream)
    hook.remove()
    assert whole(model.stream(*ASKED[2]))[0] == alone(model, *ASKED[2]).text


def test_adapters_of_one_base_answer_at_once(folder, tmp_path):
    base = load(folder, "tiny", "float32")
    models = [base]
    for seed in range(2):
        torch.manual_seed(seed)
        config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        get_peft_model(LlamaForCausalLM.from_pretrained(folder), config).save_pretrained(tmp_path / str(seed))
        models.append(base.with_adapter(tmp_path / str(seed)))
    asked = [(model, *ASKED[number]) for number in range(4) for model in models]
    expected = [alone(*each).text for each in asked]
    assert by_turns([model.stream(prompt, sampling) for model, prompt, sampling in asked]) == expected
    assert len(set(expected[:3])) == 3


def test_conversations_that_alternate_each_go_on_from_their_last_turn(model, counted, monkeypatch):
    histories = [[Message("user", f"{name} " * 60)] for name in ("harbour", "mountain", "desert")]
    for turn in range(3):
        for history in histories:
            with counted(model) as passed:
                said = whole(model.stream(tuple(history), GREEDY))[1].text
            assert said == alone(model, tuple(history), GREEDY).text
            assert turn == 0 or passed[0] < 60
            history += [Message("assistant", said), Message("user", "And then?")]
    monkeypatch.setattr(prefix_cache, "_MOST_TOKENS", 100)
    whole(model.stream((Message("user", "Hi"),), GREEDY))
    assert len(model._kept._kept) == 1


def test_models_whose_cache_takes_no_rows_stream_at_once_all_the_same(tokenizer, tmp_path):
    torch.manual_seed(0)
    shape = SHAPE | {"num_key_value_heads": 2, "sliding_window": 8}
    sliding = MistralForCausalLM(MistralConfig(vocab_size=len(tokenizer), initializer_range=0.5, **shape))
    model = load(saved(sliding, tokenizer, tmp_path), "sliding", "float32")
    assert not model.merges
    expected = [alone(model, *asked).text for asked in ASKED[:4]]
    assert by_turns([model.stream(*asked) for asked in ASKED[:4]]) == expected


def test_an_answer_that_no_schema_can_hold_any_more_fails_alone(model, monkeypatch):
    """llguidance gives up where a grammar becomes too large in mid-answer."""
    whole = [alone(model, *asked) for asked in ASKED]
    say = json_schema.SchemaConstraint.say

    def give_up(constraint, token):
        say(constraint, token)
        raise InputError("too large")

    monkeypatch.setattr(json_schema.SchemaConstraint, "say", give_up)
    bad = (ASKED[0][0], replace(GREEDY, json_schema='{"type": "object"}'))
    with ThreadPoolExecutor(len(ASKED) + 1) as pool:
        failing = pool.submit(lambda: list(model.stream(*bad)))
        texts = list(pool.map(lambda asked: "".join(model.stream(*asked)), ASKED))
    assert texts == [each.text for each in whole]
    with pytest.raises(InputError, match="too large"):
        failing.result()
    with pytest.raises(InputError, match="too large"):
        model.generate([bad[0]], bad[1])
