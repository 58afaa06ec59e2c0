"""What holds a model in place are its own answers, in the form in which it is asked, whole or not at all."""

from lorag.llm.engines.scripted import ScriptedModel
from lorag.training.data.general_replay import general_replay
from lorag.types import Message


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
