import pytest

from lorag.chat.prompts import as_served, system_message
from lorag.errors import InputError
from lorag.llm.rendering import render
from lorag.neural_chat.models.raw_prompt import messages
from lorag.settings import REFUSAL
from lorag.types import Conversation, Message

USER = Message("user", "What is it?")


@pytest.mark.parametrize("end", ["", "</s>", "<|im_end|>", "<|end|>"])
def test_turns_are_taken_apart_whatever_ends_them(end):
    prompt = f"\n### System:\n- Be brief.{end}\n### User:\nWhat is it?{end}\n### Assistant:\n"
    below = Message("system", f"{system_message(REFUSAL).content}\n\n- Be brief.")
    assert messages(prompt, ["</s>", "<|im_end|>", "<|end|>"]) == (below, USER)


def test_earlier_turns_go_along_and_roles_are_read_not_counted():
    prompt = "### User:\nHello\n### Assistant:\nHi\n### User:\nWhat is it?\n### Assistant:\n"
    instruction, *turns = messages(prompt, [])
    assert instruction.role == "system"
    assert turns == [Message("user", "Hello"), Message("assistant", "Hi"), USER]


def test_what_only_looks_like_a_turn_is_text():
    prompt = "### User:\nI saw </s> in a file. ### User guide?\n### Users: none\n### Assistant:\n"
    assert messages(prompt, ["</s>"])[-1].content == "I saw </s> in a file. ### User guide?\n### Users: none"


@pytest.mark.parametrize("prompt", ["What is it?", "### User:\nWhat is it?</s>\n### Assistant:\n"])
def test_a_prompt_without_a_system_text_has_the_very_tokens_of_training(smollm, prompt):
    trained = as_served(Conversation((USER, Message("assistant", "A gauge."))), REFUSAL)
    tokenizer = smollm.weights.tokenizer
    served = render(tokenizer, messages(prompt, ["</s>"]), reply=True).ids
    assert render(tokenizer, trained.messages, reply=False).ids[: len(served)] == served


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (" \n", "the prompt is empty"),
        ("Be brief.\n### User:\nWhat?", "'Be brief.' comes before the first turn"),
        ("### User:\n</s>\n### Assistant:\n", "the user's turn is empty"),
        ("### User:\nWhat?\n### Assistant:\nIt is", "the prompt begins the answer with 'It is'"),
        ("### System:\nBe brief.\n### Assistant:\n", "the prompt has no question"),
    ],
)
def test_a_prompt_that_asks_nothing_is_refused_with_the_reason(prompt, said):
    with pytest.raises(InputError, match=said):
        messages(prompt, ["</s>"])
