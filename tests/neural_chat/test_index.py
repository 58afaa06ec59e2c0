"""What becomes of the documents of the retrieval plugin: no language model is needed to see it."""

import json

import pytest

from lorag import build
from lorag.errors import DataError, StoreError
from lorag.neural_chat.retrieval_arguments import plan, prepare


@pytest.fixture
def docs(tmp_path, monkeypatch, bge_folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs"


def index(**args):
    asked = plan({"input_path": "docs", "persist_dir": "kept", **args})
    prepare(asked)
    return build.knowledge(asked.place, asked.embedder, asked.chunks, asked.retrieval)


def test_both_schemas_of_rows_are_read_and_each_passage_cites_its_own(docs):
    rows = [{"doc": "Halifax is wet.", "doc_id": 0}, {"doc": "Bergen is wetter.", "doc_id": 1}]
    (docs / "old.jsonl").write_text("\n\n".join(map(json.dumps, rows)) + "\n")
    (docs / "new.json").write_text(json.dumps([{"content": "Oslo is dry.", "link": 0}]))
    found = index(process=False)
    cited = {chunk.document_id: chunk.text for chunk in found.chunks()}
    assert cited == {
        "new.json:1": "Oslo is dry.",
        "old.jsonl:0": "Halifax is wet.",
        "old.jsonl:1": "Bergen is wetter.",
    }
    assert found.retrieve(["Which city is dry?"], 1)[0][0].chunk.document_id == "new.json:1"


@pytest.mark.parametrize(
    "text",
    [
        "word " * 800,
        "Слово о полку Игореве " * 100,
        "吾輩は猫である名前はまだ無い" * 100,
        "كان يا ما كان في قديم الزمان " * 80,
    ],
    ids=["unpunctuated", "cyrillic", "japanese", "arabic"],
)
@pytest.mark.parametrize("args", [{}, {"process": False}, {"retrieval_type": "child_parent"}], ids=str)
def test_no_text_is_lost(docs, text, args):
    (docs / "a.txt").write_text(text)
    assert "".join(chunk.text for chunk in index(**args).chunks()).strip() == text.strip()


def test_a_document_left_whole_is_one_passage(docs):
    (docs / "a.txt").write_text("One sentence. " * 400)
    assert index(process=False).count() == 1
    assert index(persist_dir="cut").count() > 1


def test_a_restart_adds_nothing_twice_and_leaves_what_is_there(docs):
    (docs / "a.txt").write_text("one")
    assert index().count() == index().count() == 1
    (docs / "a.txt").rename(docs / "b.txt")
    assert index().documents() == ["a.txt", "b.txt"]


def test_what_is_not_to_be_added_to_is_used_as_it_is_and_said(docs):
    (docs / "a.txt").write_text("one")
    index(append=False)
    (docs / "a.txt").write_text("two")
    with pytest.warns(UserWarning, match="kept' holds other documents than docs and is used as it is"):
        assert index(append=False).chunks()[0].text == "one"


def test_what_cannot_be_read_is_said_and_stops_nothing(docs):
    (docs / "a.txt").write_text("one")
    (docs / "b.txt").write_text("")
    (docs / ".DS_Store").write_text("x")
    (docs / "c.xyz").write_text("x")
    with pytest.warns(UserWarning, match="2 files of 'docs' are left out: .*b.txt .*it is empty; c.xyz: not read"):
        assert index().documents() == ["a.txt"]


def test_an_index_is_not_reused_for_passages_cut_otherwise(docs):
    (docs / "a.txt").write_text("one")
    index()
    with pytest.raises(StoreError, match="chunk tokens"):
        index(max_chuck_size=400)
    with pytest.raises(DataError, match="no such file or folder"):
        index(input_path="elsewhere")
