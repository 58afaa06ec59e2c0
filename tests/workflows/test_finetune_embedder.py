"""An embedder is finetuned, measured on documents that it did not learn from, and used by name; real small models."""

import json

import pytest
from typer.testing import CliRunner

from lorag.cli.commands import app
from lorag.documents.chunking import searched_text
from lorag.errors import InputError
from lorag.evaluation.statistics import Difference, Interval
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import ChunkSettings, EmbedderSettings, RetrievalSettings
from lorag.types import Document
from lorag.workflows import finetune_embedder as journey
from lorag.workflows.finetune_embedder import FinetunedEmbedder, finetune_embedder

PLACES = ["Halifax", "Bergen", "Esbjerg", "Leith", "Cork", "Brest", "Vigo", "Porto", "Split", "Varna", "Riga", "Turku"]
YELLOW = "It is yellow. " * 8
QUICK = EmbedderSettings(epochs=1)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    rows = []
    for number, place in enumerate(PLACES * 2):
        name = f"d{number:02}.md"
        text = f"# Gauge {number}\n\nThe gauge {number} in {place} reads {number + 40} cm.\n\nIt is yellow.\n"
        (tmp_path / "docs" / name).write_text(text)
        row = {"question": f"What does gauge {number} read?", "answers": [f"{number + 40} cm"], "doc_ids": [name]}
        rows.append({"id": name, **row, "paraphrases": [f"Which level has number {number}?"]})
    rows.append({"id": "none", "question": "What else?", "answers": [], "doc_ids": []})
    (tmp_path / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_finetuned_embedder_is_measured_and_used_by_its_folder(here, minilm_folder, embedder):
    def lorag(*arguments):
        return CliRunner().invoke(app, list(arguments))

    shown = lorag("finetune-embedder", "docs", "--questions", "qa.jsonl", "--out", "mine", "--epochs", "1", "--json")
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert found["questions"] + 2 * found["held_out"] == 48
    assert found["held_out"] >= 8
    assert found["hard_negatives"] == found["questions"]
    assert list(found["scores"]) == ["minilm-l6", "bge-small-en", "mine"]
    assert list(found["gains"]) == ["minilm-l6", "bge-small-en"]
    for name, gain in found["gains"].items():
        difference = found["scores"]["mine"]["nDCG@10"]["mean"] - found["scores"][name]["nDCG@10"]["mean"]
        assert gain["mean"] == pytest.approx(difference)
    assert found["recommended"] == all(gain["interval"]["low"] > 0 for gain in found["gains"].values())
    kept = json.loads((here / "mine" / "finetuned.json").read_text())
    assert (kept["losses"], kept["settings"]["epochs"]) == (found["losses"], 1)
    assert lorag("index", "docs").exit_code == 0
    refused = lorag("search", "gauge", "--embedder", "mine")
    assert refused.exit_code == 1
    assert "`lorag index DOCS --store .lorag/index --embedder mine --rebuild`" in refused.stderr.replace("\n", " ")
    assert "24 added" in lorag("index", "docs", "--embedder", "mine", "--rebuild").output
    assert lorag("search", "gauge").exit_code == 1
    hits = json.loads(lorag("search", "What does gauge 7 read?", "--embedder", "mine", "--json").stdout)
    assert hits[0]["document_id"] == "d07.md"


def test_what_is_not_told_better_is_not_recommended():
    def gain(low):
        return Difference(low + 0.05, Interval(low, low + 0.1), 0.5, 3, 20, 0.01)

    def done(*lows):
        gains = {str(number): gain(low) for number, low in enumerate(lows)}
        return FinetunedEmbedder("mine", "minilm-l6", 9, 9, False, (1.0,), 20, {}, gains)

    assert done(0.01, 0.02).recommended
    assert not done(0.01, 0.0).recommended
    assert not done(-0.01, 0.02).recommended


@pytest.fixture
def knowledge(tmp_path):
    documents = [
        Document(
            f"d{n:02}", f"# Gauge {n}\n\nIt reads {n} cm. " + "It is yellow. " * 8 + "\n\n## Place\n\nIn Cork.", "x.md"
        )
        for n in range(30)
    ]
    opened = Knowledge.open(tmp_path / "index", HashEmbedder(256), ChunkSettings(16), RetrievalSettings())
    opened.sync(documents)
    return opened


def test_nothing_is_learned_of_a_document_that_is_measured_on(knowledge):
    asked = journey._by_rules(knowledge.chunks())
    learned, held_out = journey._parted(asked, QUICK)
    documents = [{each.example.evidence[0] for each in part} for part in (learned, held_out)]
    assert not documents[0] & documents[1]
    assert len(learned) + len(held_out) == len(asked)
    with pytest.raises(InputError, match=r"of 9 questions with answers and doc_ids, \d are to \w+ \w+, expected at le"):
        journey._parted(asked[:9], QUICK)


def test_a_lesson_has_an_answering_passage_and_wrong_ones_of_other_documents(knowledge):
    by_text: dict[str, set[str]] = {}
    for chunk in knowledge.chunks():
        by_text.setdefault(searched_text(chunk), set()).add(chunk.id)
    asked = journey._by_rules(knowledge.chunks())
    pairs = journey._training_pairs(asked, knowledge, EmbedderSettings(hard_negatives=3))
    assert len(pairs) == len(asked)
    for each, pair in zip(asked, pairs, strict=True):
        (document,) = each.example.evidence
        assert by_text[pair.passage] & each.passages
        assert len(pair.negatives) == 3
        for text in pair.negatives:
            assert not {i for i in by_text[text] if i.startswith(f"{document}@")}
        assert pair.passage in pair.answering


def test_what_cannot_be_trained_or_written_is_refused_before_anything_is(here, minilm_folder, bge_folder):
    with pytest.raises(InputError, match="'bge-small-en' holds no weights that can be trained; use 'minilm-l6'"):
        finetune_embedder("docs", here / "out", base="bge-small-en")
    (here / "qa.jsonl").write_text("".join((here / "qa.jsonl").read_text().splitlines(keepends=True)[:9]))
    with pytest.raises(InputError, match="give questions about more documents, or none, to have them made by rules"):
        finetune_embedder("docs", here / "out", questions="qa.jsonl")
    with pytest.raises(InputError, match="out' is the base itself; choose another folder"):
        finetune_embedder("docs", here / "out", base=str(here / "out"))
    assert not (here / "out").exists()
    for out, said in ((here / "docs", "holds other files"), (here / "qa.jsonl", "is a file; choose a folder")):
        with pytest.raises(InputError, match=said):
            finetune_embedder("docs", out)
