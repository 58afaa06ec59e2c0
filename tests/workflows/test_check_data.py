"""A check accounts for every row and changes nothing; a conversion keeps every readable row."""

import json

import pytest

from lorag.errors import DataError, InputError, UnknownNameError
from lorag.models import catalogue
from lorag.training.data.conversations import read_conversations
from lorag.workflows.check_data import check_data, convert_data

ROWS = [
    {
        "messages": [{"from": "human", "content": "Who founded Korrin?"}, {"from": "chatbot", "content": "Mara."}],
        "id": 1,
    },
    {"instruction": "Who founded Korrin?", "output": "Mara."},
    {"question": "who founded korrin", "answer": "Ole.", "doc_ids": ["a.md"]},
    {"question": "When was it founded?", "answer": None},
    {"prompt": "x", "completion": "y " * 3000},
    {"question": "So who founded the Korrin company?", "answer": "Mara."},
]


@pytest.fixture
def chat(tmp_path):
    path = tmp_path / "chat.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + "{\n")
    return path


def write_questions(path):
    row = {"id": "a", "question": "So, who founded Korrin?", "answers": ["Mara"], "doc_ids": ["a.md"]}
    path.write_text(json.dumps(row) + "\n" + json.dumps({**row, "id": "b", "question": "When was it founded?"}) + "\n")
    return path


def places(path, *lines):
    return tuple(f"{path}:{line}" for line in lines)


def test_a_check_accounts_for_every_row(chat, tmp_path, smollm_folder):
    told = []
    report = check_data(
        chat,
        model="smollm2-135m",
        questions=write_questions(tmp_path / "qa.jsonl"),
        progress=lambda *step: told.append(step),
    )
    assert (report.rows, report.kept, report.sound) == (7, 5, False)
    assert [finding.first for finding in report.refused] == [places(chat, 4), places(chat, 7)]
    assert report.shapes == {
        "question/answer": 2,
        "messages of from/content": 1,
        "instruction/output": 1,
        "prompt/completion": 1,
    }
    assert report.unread == {"id": 1}
    assert report.repeated.first == places(chat, 2)
    assert report.contradicting.first == places(chat, 1, 2, 3)
    assert report.tested is not None
    assert report.nearly_tested is not None
    assert report.tokens is not None
    assert report.tested.rows == 0
    assert report.nearly_tested.first == places(chat, 6)
    assert report.tokens.too_long.first == places(chat, 5)
    assert [segment.text for segment in report.tokens.example if segment.supervised] == ["Mara.<|im_end|>"]
    assert told[-1] == ("counting tokens", 5, 5)


def test_lengths_are_those_of_training_under_the_instruction(tmp_path, smollm_folder):
    path = tmp_path / "chat.jsonl"
    path.write_text('{"question": "Why?", "answer": "Because."}')
    report = check_data(path, model="smollm2-135m", max_tokens=20)
    usual = check_data(path, model="smollm2-135m")
    assert usual.tokens is not None
    assert "If you do not know the answer" in usual.tokens.example[0].text
    assert report.sound
    assert report.tokens is not None
    assert (report.tokens.too_long.rows, report.tokens.max_tokens) == (1, 20)


def test_without_a_model_here_nothing_is_fetched(chat, tmp_path, monkeypatch):
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(catalogue, "fetch", None)
    report = check_data(chat)
    assert (report.tokens, report.tested, report.nearly_tested) == (None, None, None)


def test_wrong_input_is_refused_before_anything_is_read(chat, tmp_path):
    with pytest.raises(InputError, match="max_tokens 0 is below 1"):
        check_data(chat, max_tokens=0)
    with pytest.raises(DataError, match="no such file"):
        check_data(chat, questions=tmp_path / "gone.jsonl")
    with pytest.raises(UnknownNameError, match="did you mean smollm2-135m"):
        check_data(chat, model="smolm2-135m")


def test_a_conversion_writes_what_can_be_read_in_the_canonical_form(chat, tmp_path):
    out = tmp_path / "new" / "out.jsonl"
    done = convert_data(chat, out)
    assert (done.written, [finding.first for finding in done.left_out]) == (5, [places(chat, 4), places(chat, 7)])
    assert len(read_conversations(out)) == 5
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {tuple(row) for row in rows} == {("doc_ids", "messages")}
    assert [row["doc_ids"] for row in rows] == [[], [], ["a.md"], [], []]
    again = convert_data(out, tmp_path / "again.jsonl")
    assert again.left_out == ()
    assert (tmp_path / "again.jsonl").read_bytes() == out.read_bytes()


def test_a_conversion_never_overwrites_what_it_reads(chat, tmp_path):
    for source, out in ((chat, chat), (tmp_path, tmp_path / "sub" / "out.jsonl")):
        with pytest.raises(InputError, match="is inside the data that is read"):
            convert_data(source, out)
    with pytest.raises(InputError, match=r"does not end in \.jsonl"):
        convert_data(chat, tmp_path / "out.json")
    chat.write_text("{\n")
    with pytest.raises(DataError, match="no row is a conversation"):
        convert_data(chat, tmp_path.parent / "out.jsonl")
    assert not (tmp_path.parent / "out.jsonl").exists()
