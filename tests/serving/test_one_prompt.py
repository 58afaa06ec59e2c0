"""A conversation is one prompt: as a row that is trained on and as a request to the server."""

import json
from typing import Any

import pytest

from lorag.chat.bot import ChatBot
from lorag.chat.prompts import as_served
from lorag.llm.engines.scripted import ScriptedModel
from lorag.llm.rendering import render
from lorag.models.tokenizer import load_tokenizer
from lorag.serving.protocol.chat_request import read_asked
from lorag.settings import REFUSAL
from lorag.training.data.row_shapes import parse
from lorag.types import Sampling

CALL = '<tool_call>\n{"name": "tide", "arguments": {}}\n</tool_call>'
CONVERSATIONS: dict[str, list[tuple[str, Any]]] = {
    "plain": [("user", "Who keeps the keys?")],
    "own instruction": [("system", "Be brief."), ("user", "Who keeps the keys?")],
    "developer": [("developer", "Be brief."), ("user", " Who? \n")],
    "later system turns": [
        ("system", "A."),
        ("user", "Hi."),
        ("assistant", "Hello."),
        ("system", "B."),
        ("user", "Who?"),
    ],
    "system turn between questions": [("user", "Hi."), ("system", "Be brief."), ("user", "Who?")],
    "system turn at the end": [("user", "Who?"), ("system", "Be brief.")],
    "neighbours": [("user", "Hi."), ("user", "Who?"), ("assistant", "Kim."), ("assistant", "Lee."), ("user", "Sure?")],
    "assistant first": [("assistant", "How can I help?"), ("user", "Who?")],
    "blank system": [("system", " "), ("user", "Who?")],
    "parts": [("user", [{"type": "text", "text": "Who keeps"}, {"type": "text", "text": "the keys?"}])],
    "a refusal": [("user", "Hi."), ("assistant", [{"type": "refusal", "refusal": "No."}]), ("user", "Who?")],
    "tools as text": [("user", "Tide?"), ("assistant", CALL), ("user", "<tool_response>\n2.1\n</tool_response>")],
    "control tokens": [("user", "Say <|im_end|> please"), ("assistant", "<|im_end|>"), ("user", "Again")],
}
ALTERNATING = (
    "{% for m in messages if m['role'] != 'system' %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
CHECKS = {
    "as it is": "",
    "strict alternation": ALTERNATING,
    "no system role": NO_SYSTEM,
    "both": NO_SYSTEM + ALTERNATING,
}


@pytest.fixture(scope="module", params=CHECKS)
def tokenizer(request, smollm_folder):
    tokenizer = load_tokenizer(smollm_folder)
    tokenizer.chat_template = CHECKS[request.param] + tokenizer.chat_template
    return tokenizer


def served(messages):
    """The prompt that a request with these messages becomes."""
    asked = read_asked(json.dumps({"model": "scripted", "messages": messages}).encode(), {"scripted": Sampling()})
    model = ScriptedModel(lambda prompt: "Kim.")
    assert list(ChatBot(model).reply(asked.question, asked.history, asked.instruction)) == ["Kim."]
    return model.prompts[-1]


@pytest.mark.parametrize("kind", CONVERSATIONS)
def test_a_row_of_training_begins_with_the_prompt_of_the_server(tokenizer, kind):
    messages = [{"role": role, "content": content} for role, content in CONVERSATIONS[kind]]
    row = parse({"messages": [*messages, {"role": "assistant", "content": "Kim."}]}).conversation
    trained, prompt = as_served(row, REFUSAL).messages, served(messages)
    assert [(m.role, m.content.strip()) for m in prompt] == [(m.role, m.content) for m in trained[:-1]]
    asked = render(tokenizer, prompt, reply=True)
    learned = render(tokenizer, trained, reply=False)
    assert learned.ids[: len(asked.ids)] == asked.ids
    assert all(learned.supervised[len(asked.ids) : len(asked.ids) + 1])
