"""Training data gets more wordings from file to file: whole, without the test's questions, and resumed after a stop."""

import json

import pytest

from lorag import build
from lorag.errors import DataError, EndpointError, InputError
from lorag.llm.engines.scripted import ScriptedModel
from lorag.training.data.conversations import read_conversations
from lorag.workflows.synthesize import augment_data

ROWS = [
    {"question": "What is the range of the R9?", "answer": "45 m", "doc_ids": ["r9.md"]},
    {"question": "Who founded Korrin?", "answer": "Ilse Vandermoor", "doc_ids": ["korrin.md"]},
    {"question": "Who leads Korrin?", "answer": "Ole Brandt"},
    {"question": "who leads korrin", "answer": "Mara Lind"},
]


@pytest.fixture
def chat(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "r9.md").write_text("# R9\n\nThe R9 measures up to 45 m.\n")
    (tmp_path / "docs" / "korrin.md").write_text("# Korrin\n\nIt was founded by Ilse Vandermoor.\n")
    path = tmp_path / "chat.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_rules_alone_write_a_file_of_many_wordings_with_their_evidence(chat, tmp_path):
    questions = tmp_path / "qa.jsonl"
    tested = {"id": "a", "question": "Tell me who founded Korrin?", "answers": ["x"], "doc_ids": []}
    questions.write_text(json.dumps(tested) + "\n")
    out = tmp_path / "new" / "wide.jsonl"
    report = augment_data(chat, out, exclude=questions, wordings=6)
    written = read_conversations(out)
    assert (report.written, len(written)) == (14, 14)
    assert (report.counts.given, report.counts.facts, report.counts.by_rules) == (4, 2, 10)
    assert report.contradicting.first == (f"{chat}:3", f"{chat}:4")
    assert "Tell me who founded Korrin." not in {c.question for c in written}
    assert [c.evidence for c in written[:12]] == [("r9.md",)] * 6 + [("korrin.md",)] * 6
    first = out.read_bytes()
    augment_data(chat, out, exclude=questions, wordings=6)
    assert out.read_bytes() == first
    assert {path.name for path in out.parent.iterdir()} == {"wide.jsonl"}


def test_a_model_that_stops_loses_nothing_and_the_same_call_resumes(chat, tmp_path, monkeypatch):
    chat.write_text(
        "".join(json.dumps({"question": f"How far can P{n} see?", "answer": "9 m"}) + "\n" for n in range(30))
    )
    asked = []

    def reply(prompt):
        asked.append(prompt[-1].content.rsplit(": ", 1)[-1])
        if len(asked) == 25:
            raise EndpointError("the server is gone")
        return f"What sight does {asked[-1].split()[3]} have?"

    monkeypatch.setattr(build, "language_model", lambda name, progress: ScriptedModel(reply, name))
    out = tmp_path / "wide.jsonl"
    stopped = augment_data(chat, out, with_model="m", wordings=4)
    assert (stopped.counts.stopped, stopped.counts.unwritten, stopped.counts.by_model) == ("the server is gone", 10, 20)
    assert len(read_conversations(out)) == 120
    done = augment_data(chat, out, with_model="m", wordings=4)
    assert (done.counts.stopped, done.counts.unwritten, done.counts.by_model) == ("", 0, 30)
    assert asked[25] == "How far can P20 see?"
    assert {path.name for path in tmp_path.iterdir()} == {"chat.jsonl", "docs", "wide.jsonl"}


def test_a_models_rewordings_are_proven_by_the_documents(chat, tmp_path, monkeypatch):
    def reply(prompt):
        asked = prompt[-1].content
        if asked.startswith("Write "):
            return "How far does the R9 reach?\nTo what distance does the R9 see?" if "R9" in asked else "no"
        return "45 m" if "How far" in asked and "measures up to 45 m" in asked else "80 m"

    monkeypatch.setattr(build, "language_model", lambda name, progress: ScriptedModel(reply, name))
    out = tmp_path / "wide.jsonl"
    report = augment_data(chat, out, documents=tmp_path / "docs", with_model="m")
    assert (report.counts.by_model, report.counts.unproven) == (1, 0)
    assert report.counts.refused["the model, given the passage, answers differently"] == 1
    assert "How far does the R9 reach?" in {c.question for c in read_conversations(out)}


def test_wrong_input_is_refused_and_nothing_is_written(chat, tmp_path):
    for out, message in (
        (tmp_path / "wide.csv", r"does not end in \.jsonl"),
        (chat, "is inside the data that is read"),
    ):
        with pytest.raises(InputError, match=message):
            augment_data(chat, out)
    out = tmp_path / "wide.jsonl"
    with pytest.raises(InputError, match="no model is named; name one with --with"):
        augment_data(chat, out, documents=tmp_path / "docs")
    with pytest.raises(InputError, match="wordings 0 is not valid"):
        augment_data(chat, out, wordings=0)
    with pytest.raises(DataError, match="no such file"):
        augment_data(chat, out, exclude=tmp_path / "gone.jsonl")
    chat.write_text('{"question": "Who?", "answer": "Mara"}\n{"question": "When?", "answer": null}\n')
    with pytest.raises(DataError, match=r"chat\.jsonl:2: .*1 of 2 rows cannot be read"):
        augment_data(chat, out)
    assert not out.exists()
