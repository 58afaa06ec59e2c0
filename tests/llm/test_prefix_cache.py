"""A conversation goes on from what is kept of it, and the answers are those of computing everything."""

import pytest
import torch
from peft import LoraConfig, PeftModel

from lorag.chat.bot import ChatBot
from lorag.chat.kept_prompt import text_source
from lorag.chat.prompts import WorkedExample
from lorag.llm.decoding.prefix_cache import PrefixCache, common
from lorag.llm.engines import transformers
from lorag.settings import ChatSettings
from lorag.types import Message, Sampling

SYSTEM = Message("system", "You are the assistant of a harbour. " * 6 + "Answer in one short sentence.")
PROMPTS = [
    (SYSTEM, Message("user", question))
    for question in ("What is the capital of France?", "Hi", "Name three colours, then an animal.", "Why is it wet?")
]
SHORT = Sampling(max_tokens=10)


class Shelf:
    """Finds another passage for every question."""

    def retrieve(self, queries, k):
        return [[text_source(f"About this: {query}")] for query in queries]


def texts(completions):
    return [completion.text for completion in completions]


def test_a_conversation_goes_on_from_its_last_turn_with_the_same_answers(shallow, counted):
    model = transformers.TransformersModel(shallow.weights)
    history = [SYSTEM]
    for question in ("What is the capital of France?", "And of Norway?", "Which is larger?"):
        history.append(Message("user", question))
        prompt = tuple(history)
        with counted(model) as passed:
            said = "".join(model.stream(prompt, SHORT))
        assert said == transformers.TransformersModel(shallow.weights).generate([prompt], SHORT)[0].text
        if len(history) > 2:
            assert passed[0] < len(model._ids(prompt, SHORT)) / 2
        history.append(Message("assistant", said))


def test_worked_examples_are_computed_once_for_all_questions(shallow, counted):
    model = transformers.TransformersModel(shallow.weights)
    passage = "The lamp of the pier was put up in 1921. " * 4
    examples = [WorkedExample(f"When was lamp {n} put up?", (text_source(passage),), "In 1921.") for n in range(3)]
    bot = ChatBot(model, Shelf(), ChatSettings(sampling=SHORT), examples=examples)
    list(bot.reply("How high is the quay?"))
    with counted(model) as passed:
        reply = bot.reply("Where is the office?")
        said = "".join(reply)
    assert reply.answer is not None
    ids = model._ids(reply.answer.prompt, SHORT)
    assert "Where is the office?" in reply.answer.prompt[-1].content
    assert passed[0] < len(ids) / 4
    assert said == transformers.TransformersModel(shallow.weights).generate([reply.answer.prompt], SHORT)[0].text


def test_a_stream_that_was_left_or_broke_off_does_not_disturb_the_next(shallow, counted):
    model = transformers.TransformersModel(shallow.weights)
    expected = shallow.generate(PROMPTS[:1], SHORT)[0].text
    left = model.stream(PROMPTS[0], SHORT)
    next(left)
    left.close()
    with counted(model) as passed:
        assert "".join(model.stream(PROMPTS[0], SHORT)) == expected
    assert passed[0] == 1
    calls = []

    def break_off(module, arguments, output):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of memory")

    hook = model.weights.model.model.layers[2].register_forward_hook(break_off)
    with pytest.raises(RuntimeError, match="out of memory"):
        "".join(model.stream(PROMPTS[0], SHORT))
    hook.remove()
    with counted(model) as passed:
        assert "".join(model.stream(PROMPTS[0], SHORT)) == expected
    assert passed[0] == 1


def test_two_streams_at_once_do_not_share_a_cache(shallow, counted):
    model = transformers.TransformersModel(shallow.weights)
    "".join(model.stream(PROMPTS[0], SHORT))
    expected = texts(shallow.generate(PROMPTS[:2], SHORT))
    streams = [model.stream(prompt, SHORT) for prompt in PROMPTS[:2]]
    pieces: list[list[str]] = [[], []]
    for _ in range(14):
        for stream, kept in zip(streams, pieces, strict=True):
            kept.append(next(stream, ""))
    assert ["".join(kept) for kept in pieces] == expected


def test_an_adapter_does_not_go_on_from_the_base(shallow_folder, tmp_path, counted):
    own = transformers.load(shallow_folder, "shallow", "float32")
    torch.manual_seed(1)
    adapted = PeftModel(own.weights.model, LoraConfig(r=4, target_modules=["v_proj"], task_type="CAUSAL_LM"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    adapted.save_pretrained(tmp_path)
    adapted.unload()
    model = own.with_adapter(tmp_path)
    "".join(own.stream(PROMPTS[0], SHORT))
    with counted(model) as passed:
        said = "".join(model.stream(PROMPTS[0], SHORT))
    assert passed[0] == len(model._ids(PROMPTS[0], SHORT))
    assert said == model.generate(PROMPTS[:1], SHORT)[0].text


def test_what_is_common_leaves_each_sequence_its_last_token():
    assert common([[1, 2, 3], [1, 2, 4]]) == 2
    assert common([[1, 2], [1, 2, 3]]) == 1
    assert common([[1, 2], [1, 2]]) == 1
    assert common([[1], [2]]) == 0
    assert PrefixCache().take([1, 2]) == (0, None)
