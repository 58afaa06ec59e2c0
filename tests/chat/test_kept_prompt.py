"""A prompt is read as it was written, by hand or by a program, and what is wrong in it is named."""

import json

import pytest

from lorag.chat.kept_prompt import KeptPrompt, read_prompt, text_source
from lorag.chat.prompts import WorkedExample
from lorag.errors import DataError
from lorag.settings import ChatSettings, PromptSettings
from lorag.types import Chunk, Hit

EXAMPLE = WorkedExample(
    "How far?", (Hit(Chunk("a.md", "1", 5, 8, "5 m", "Way", place="page 1"), 0.5, "dense"),), "5 m."
)


def written(tmp_path, value):
    path = tmp_path / "prompt.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_what_was_kept_is_read_again_with_its_examples(tmp_path):
    kept = KeptPrompt(PromptSettings(question_first=True, examples=1), (EXAMPLE,), 250, "smollm2-135m")
    assert read_prompt(written(tmp_path, {**kept.to_json(), "tried": []})) == kept
    assert str(kept) == "question before sources, 1 example, up to 250 tokens of sources"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, KeptPrompt()),
        ({"question_first": True}, KeptPrompt(PromptSettings(question_first=True))),
        ({"offer_refusal": False, "context_tokens": 0}, KeptPrompt(PromptSettings(offer_refusal=False), (), 0)),
        ({"prompt": {"examples": 3}}, KeptPrompt(PromptSettings(examples=3))),
        ({"examples": 3}, KeptPrompt(PromptSettings(examples=3))),
        (
            {"examples": [{"question": "How far?", "sources": ["It is 5 m."], "reply": "5 m."}]},
            KeptPrompt(PromptSettings(examples=1), (WorkedExample("How far?", (text_source("It is 5 m."),), "5 m."),)),
        ),
    ],
)
def test_a_prompt_written_by_hand_names_only_what_it_changes(tmp_path, value, expected):
    assert read_prompt(written(tmp_path, value)) == expected


def test_a_prompt_gives_its_room_for_sources_only_where_it_has_one():
    chat = ChatSettings(context_tokens=77)
    assert KeptPrompt().applied(chat) == chat
    assert KeptPrompt(context_tokens=0).applied(chat).context_tokens == 0
    assert KeptPrompt(PromptSettings(examples=2)).lacks_examples
    assert not KeptPrompt(PromptSettings(examples=2), (EXAMPLE,)).lacks_examples


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "prompt.json:1: broken JSON at column 2"),
        ("[1]", "is not a prompt: \\[1\\]; expected a JSON object"),
        ({"question_frist": True}, "unknown key 'question_frist'; did you mean question_first"),
        ({"prompt": {"offer_refusals": True}}, "unknown key 'offer_refusals'; did you mean offer_refusal"),
        ({"prompt": {}, "question_first": True}, "unknown key 'question_first'"),
        ({"prompt": 3}, "'prompt' is 3, expected an object with some of question_first"),
        ({"question_first": "yes"}, "'question_first' is 'yes', expected true or false"),
        ({"examples": True}, "'examples' is True, expected a whole number"),
        ({"examples": -1}, "examples -1 is below 0"),
        ({"context_tokens": "many"}, "'context_tokens' is 'many', expected a whole number"),
        ({"model": 3}, "'model' is 3, expected the name of a model"),
        ({"probe": 3}, "'probe' is not one that a comparison fitted; leave it out"),
        ({"probe": {"weights": [0.5]}}, "'probe' is not one that a comparison fitted; leave it out"),
        ({"prompt": {}, "examples": 3}, "'examples' is 3, expected a list"),
        (
            {"examples": ["How far?"]},
            "item 1 of 'examples' is not a worked example .* expected an object with a 'question'",
        ),
        ({"examples": [{"question": 1, "sources": [], "reply": "5"}]}, "question and reply of example 1 are 1 and '5'"),
    ],
)
def test_what_is_wrong_in_a_prompt_is_named(tmp_path, value, said):
    with pytest.raises(DataError, match=said) as caught:
        read_prompt(written(tmp_path, value))
    assert "prompt.json" in str(caught.value)
