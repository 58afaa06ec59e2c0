"""What holds a model in place are its own answers, in the form in which it is asked, whole or not at all."""

import json
from dataclasses import replace
from importlib.resources import files

import pytest

from lorag.errors import InputError
from lorag.llm.engines.scripted import ScriptedModel
from lorag.settings import FinetuneSettings
from lorag.training.data import general_replay as replay
from lorag.training.data.general_replay import general_replay, general_texts, texts_of_like_length
from lorag.types import Conversation, Message
from lorag.workflows.finetuning.adapter_training import _general_replay


def prompt(question):
    return (Message("system", "Answer briefly."), Message("user", question))


def test_every_conversation_is_what_the_model_itself_answers():
    model = ScriptedModel(lambda asked: f"Because {asked[-1].content}")
    made = general_replay(model, 10, prompt)
    assert [conversation.messages[:-1] for conversation in made] == model.prompts
    assert len({conversation.question for conversation in made}) == 10
    assert all(c.messages[-1] == Message("assistant", f"Because {c.question}") for c in made)
    assert general_replay(model, 5, prompt) == made[:5]
    assert general_replay(model, 0, prompt) == []


def test_an_answer_that_did_not_end_or_says_nothing_is_left_out():
    def reply(asked):
        return {"W": "word " * 100, "H": ""}.get(asked[-1].content[0], "An answer.")

    made = general_replay(ScriptedModel(reply), 1000, prompt)
    assert 10 < len(made) < 30
    assert not any(conversation.question.startswith(("W", "H")) for conversation in made)


def test_a_real_model_ends_some_of_its_answers(smollm):
    made = general_replay(smollm, 6, prompt)
    assert made
    assert all(conversation.messages[-1].content for conversation in made)


@pytest.fixture(scope="module")
def texts(smollm):
    return [text.opening for text in general_texts(smollm, 5, seed=3)]


def test_every_text_is_what_a_real_model_itself_writes(texts):
    assert sum(len(text.split("\n", 1)[1]) > 40 for text in texts) >= 3


def test_no_two_texts_are_alike(tiny, monkeypatch):
    monkeypatch.setattr(replay, "_TEXTS", replace(replay._TEXTS, max_tokens=8))
    texts = [text.messages[0].content for text in general_texts(tiny, 122, seed=3)]
    assert len(set(texts)) == 122
    assert len({text.split("\n")[0] for text in texts}) == 120  # there are no more general questions to begin with
    assert all(text.split("\n", 1)[1] for text in texts)
    assert general_texts(tiny, 2, seed=3) == general_texts(tiny, 2, seed=3) != general_texts(tiny, 2, seed=4)
    assert general_texts(tiny, 0, seed=3) == []


def test_nothing_that_forgetting_is_measured_by_is_replayed():
    texts = general_texts(ScriptedModel(lambda asked: "So."), 120, seed=0)
    openers = {text.messages[0].content.split("\n")[0] for text in texts}
    general = files("lorag.training") / "general"
    asked = {json.loads(line)["question"] for line in (general / "choices.jsonl").read_text().splitlines()}
    assert not openers & asked
    assert not any(opener in (general / "passages.txt").read_text() for opener in openers)


def test_questions_and_text_make_their_shares_of_all():
    data = [Conversation((Message("user", str(n)), Message("assistant", "Yes."))) for n in range(70)]
    settings = FinetuneSettings(general_share=0.1, general_text_share=0.2)
    made = _general_replay(ScriptedModel(lambda asked: "So."), data, settings)
    assert [row.is_text for row in made] == [False] * 10 + [True] * 20
    with pytest.raises(InputError, match="general_share and general_text_share are 1 together, not below 1"):
        FinetuneSettings(general_share=0.4, general_text_share=0.6)
    with pytest.raises(InputError, match="general_text_share -1 is not between 0 and 1"):
        FinetuneSettings(general_text_share=-1)


def test_an_estimate_takes_text_of_like_length_and_writes_none(smollm, texts):
    count = smollm.count_tokens
    written = [count(text) for text in texts]
    assumed = [count(text.opening) for text in texts_of_like_length(130)]
    assert len(assumed) == 130
    assert 0.5 < (sum(assumed) / len(assumed)) / (sum(written) / len(written)) < 2
    data = [Conversation((Message("user", str(n)), Message("assistant", "Yes."))) for n in range(9)]
    silent = ScriptedModel(lambda asked: pytest.fail("it wrote"))
    made = _general_replay(silent, data, FinetuneSettings(general_text_share=0.1), write=False)
    assert [row.is_text for row in made] == [True]
