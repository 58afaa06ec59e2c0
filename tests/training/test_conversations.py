"""One reading says of every row what it became; training takes all of a file or nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorag.errors import DataError, InputError
from lorag.training.data.conversations import (
    read_conversations,
    read_outcomes,
    without_thoughts,
    write_conversations,
)
from lorag.types import Conversation, Message

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3)
GOOD = {"question": "a", "answer": "b"}


def write(path, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_shapes_may_be_mixed_in_one_file(tmp_path):
    turns = [{"from": "human", "content": "Who founded it?"}, {"from": "chatbot", "content": "Mara."}]
    path = write(tmp_path / "chat.jsonl", {"messages": turns, "doc_ids": ["a.md"]}, turns, GOOD)
    read = read_conversations(path)
    assert [conversation.question for conversation in read] == ["Who founded it?", "Who founded it?", "a"]
    assert [conversation.evidence for conversation in read] == [("a.md",), (), ()]


def test_every_row_has_an_outcome_in_order(tmp_path):
    path = write(tmp_path / "chat.jsonl", GOOD, "{", "", {"texts": "x"}, {**GOOD, "id": 7})
    outcomes = read_outcomes(path)
    assert [outcome.place for outcome in outcomes] == [f"{path}:{line}" for line in (1, 2, 4, 5)]
    assert [outcome.conversation is None for outcome in outcomes] == [bool(outcome.reason) for outcome in outcomes]
    assert [outcome.shape for outcome in outcomes] == ["question/answer", "", "", "question/answer"]
    assert outcomes[3].unread == ("id",)


def test_strict_reading_names_the_first_bad_line_and_counts_the_others(tmp_path):
    path = write(tmp_path / "chat.jsonl", GOOD, {"texts": "x"}, "{", GOOD)
    with pytest.raises(
        DataError, match=r"chat\.jsonl:2: expected messages.*2 of 4 rows cannot be read: `lorag data check"
    ):
        read_conversations(path)


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no conversation"):
        read_conversations(write(tmp_path / "chat.jsonl"))


@given(
    dialogues=st.lists(st.tuples(PAIRS, st.lists(TEXT)), min_size=1, max_size=3),
    texts=st.lists(st.tuples(TEXT.map("\n{} ".format), st.lists(TEXT)), max_size=2),
)
def test_what_is_written_is_read_back(tmp_path_factory, dialogues, texts):
    conversations = [
        Conversation(
            tuple(turn for asked, answer in pairs for turn in (Message("user", asked), Message("assistant", answer))),
            tuple(evidence),
        )
        for pairs, evidence in dialogues
    ]
    conversations += [Conversation((Message("text", text),), tuple(evidence)) for text, evidence in texts]
    path = tmp_path_factory.getbasetemp() / "round_trip.jsonl"
    write_conversations(path, conversations)
    assert read_conversations(path) == conversations


def test_thoughts_are_left_out_of_what_assistants_say_alone():
    asked = Message("user", "What does <think>x</think> mean?")
    talk = Conversation((asked, Message("assistant", "<think>\nhm\n</think>\n\nA thought.")), ("a.md",))
    (plain,) = without_thoughts([talk])
    assert plain == Conversation((asked, Message("assistant", "A thought.")), ("a.md",))
    assert without_thoughts([plain]) == [plain]
    with pytest.raises(InputError, match=r"the answer to 'What does .* mean\?' is only a thought"):
        without_thoughts([Conversation((asked, Message("assistant", "<think>hm</think>")))])
