"""Conversations are read by role, and a row that is none is named."""

import json

import pytest

from lorag.errors import DataError
from lorag.training.conversations import read_conversations


def write(path, *rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_every_accepted_form_gives_the_same_conversation(tmp_path):
    turns = [("user", "Who founded it?"), ("assistant", "Mara.")]
    path = write(
        tmp_path / "chat.jsonl",
        {"messages": [{"role": role, "content": text} for role, text in turns], "doc_ids": ["a.md"]},
        {"conversations": [{"from": "human", "value": turns[0][1]}, {"from": "gpt", "value": "Mara."}]},
        {"messages": [{"from": "human", "content": turns[0][1]}, {"from": "chatbot", "content": " Mara. "}]},
        {"question": turns[0][1], "answer": "Mara."},
    )
    read = read_conversations(path)
    assert [[(m.role, m.content) for m in c.messages] for c in read] == [turns] * 4
    assert [c.evidence for c in read] == [("a.md",), (), (), ()]
    assert read[0].question == "Who founded it?"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": [{"role": "narrator", "content": "x"}]}, "unknown role 'narrator'"),
        ({"messages": [{"role": "user", "content": "  "}]}, "the user's turn has no text"),
        ({"messages": [{"role": "user", "content": None}]}, "the user's turn has no text"),
        ({"messages": [{"role": "user", "content": "x"}]}, "must end with the assistant's"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "needs a user's turn"),
        ({"messages": []}, "expected messages, conversations, or question and answer"),
        ({"messages": ["hello"]}, "a turn must be an object"),
        ({"text": "x"}, r"found \['text'\]"),
        ({"question": "x", "answer": "y", "doc_ids": "a.md"}, "doc_ids must be a list of names"),
    ],
)
def test_a_row_that_is_no_conversation_is_named_by_its_line(tmp_path, row, message):
    path = write(tmp_path / "chat.jsonl", {"question": "a", "answer": "b"}, row)
    with pytest.raises(DataError, match=rf"chat\.jsonl:2: .*{message}"):
        read_conversations(path)


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no conversation"):
        read_conversations(write(tmp_path / "chat.jsonl"))
