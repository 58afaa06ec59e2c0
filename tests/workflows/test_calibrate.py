import json

import pytest

from lorag.errors import DataError, InputError
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import ChunkSettings, RetrievalSettings
from lorag.types import Document
from lorag.workflows.calibrate import calibrate


def opened(folder, **settings):
    return Knowledge.open(folder, HashEmbedder(2048), ChunkSettings(), RetrievalSettings(**settings))


@pytest.fixture
def knowledge(tmp_path):
    knowledge = opened(tmp_path / "index")
    knowledge.sync([Document(f"d{i}", f"Gauge{i} reads the water level of harbour{i}.", "", "") for i in range(12)])
    return knowledge


@pytest.fixture
def questions(tmp_path):
    rows = [
        {"id": str(i), "question": f"Which water level reads gauge{i}?", "answers": ["x"], "doc_ids": [f"d{i}"]}
        for i in range(12)
    ]
    rows.append({"id": "none", "question": "What reads pancakes?", "answers": [], "doc_ids": []})
    path = tmp_path / "qa.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_gate_lets_own_questions_in_and_others_not(tmp_path, knowledge, questions):
    found = calibrate(knowledge, questions)
    assert (found.questions, found.off_topic) == (12, 64)
    assert found.gate.kept.mean == found.gate.refused.mean == found.gate.auc.mean == 1
    gated = opened(tmp_path / "index", gate_cosine=found.gate.cosine)
    own, other = gated.retrieve(["Which water level reads gauge3?", "How do I tune a ukulele by ear?"], 10)
    assert [len(own), other] == [10, []]
    by_words = opened(tmp_path / "index", gate_cosine=found.gate.cosine, dense_weight=0)
    assert by_words.retrieve(["the ukulele reads"], 3) == [[]]
    assert by_words.retrieve(["the water level reads"], 3) != [[]]
    assert opened(tmp_path / "index", dense_weight=0).retrieve(["the ukulele reads"], 3) != [[]]


def test_what_a_gate_cannot_see_is_measured(knowledge, questions):
    seen = calibrate(knowledge, questions).gate.missing
    assert seen is not None
    assert (seen.auc.mean, seen.refused.mean) == (1, 1)
    copies = [
        Document(f"{name}{i}", f"Gauge{i} reads the water level of harbour{i}.", "", "")
        for name in ("d", "copy")
        for i in range(12)
    ]
    knowledge.sync(copies)
    unseen = calibrate(knowledge, questions).gate.missing
    assert unseen is not None
    assert unseen.refused.mean == 0
    assert unseen.auc.mean == pytest.approx(0.5)


def test_other_questions_may_be_given(tmp_path, knowledge, questions):
    others = tmp_path / "others.txt"
    others.write_text("\n".join(f"The water level of harbour{i}?" for i in range(9)) + "\n\n")
    found = calibrate(knowledge, questions, others)
    assert found.off_topic == 9
    assert found.gate.auc.mean < 0.5
    assert found.gate.refused.mean == 0


def test_what_cannot_be_calibrated_with_is_refused(tmp_path, knowledge, questions):
    few = tmp_path / "few.txt"
    few.write_text("One?\nTwo?\n")
    with pytest.raises(InputError, match=r"few.txt' holds 2 questions to calibrate with, expected 8"):
        calibrate(knowledge, questions, few)
    with pytest.raises(InputError, match="keep 0 is not a share"):
        calibrate(knowledge, questions, keep=0)
    with pytest.raises(DataError, match="names document 'd0', which does not exist"):
        calibrate(opened(tmp_path / "empty"), questions)
    unnamed = tmp_path / "unnamed.jsonl"
    rows = [{"id": str(i), "question": "?", "answers": ["x"], "doc_ids": []} for i in range(9)]
    unnamed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"is empty; fill it with `lorag index FOLDER`"):
        calibrate(opened(tmp_path / "empty"), unnamed)
    assert calibrate(knowledge, unnamed).gate.missing is None
