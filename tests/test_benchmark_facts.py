"""The wordings that the benchmark of learned facts trains on hold their facts and nothing of what it asks."""

import json
import runpy
from pathlib import Path

import pytest

from lorag.evaluation.answers.metrics import contains, normalise
from lorag.types import Conversation, Message

FACTS = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "facts.py"))
ASKED = {
    "latest": (
        "What is the latest version of {}?",
        "Which patch release of {} is the newest?",
        "I run {}; what version should I be on to be up to date?",
        "Name the most recent {} release.",
    ),
    "released": (
        "When was {} first released?",
        "On what date did {} come out?",
        "What is the release date of {}?",
        "Give the date of the first release of {}.",
    ),
    "eol": (
        "When does {} reach end of life?",
        "Until what date does {} get security support?",
        "On which date does support for {} end?",
        "What is the end-of-life date of {}?",
    ),
}


@pytest.fixture
def release_tables(tmp_path, monkeypatch):
    """Questions in the words of updates_eol."""
    rows = [
        {
            **{"id": f"pegel-{field}", "question": question.format("Pegel 3.1"), "field": field, "doc_ids": ["pegel"]},
            **{"paraphrases": [other.format("Pegel 3.1") for other in others], "answers": [answer]},
        }
        for (field, (question, *others)), answer in zip(
            ASKED.items(), ("3.1.7", "2024-05-06", "2029-11-08"), strict=True
        )
    ]
    (tmp_path / "updates_eol").mkdir()
    (tmp_path / "updates_eol" / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("LORAG_DATA", str(tmp_path))


def test_every_bundled_fact_is_told_in_ten_wordings():
    examples, told = FACTS["bundled"](40)
    assert len(examples) == len(told) == 40
    assert len({example.evidence for example in examples}) == 12
    require_told(examples, told)


def test_every_field_of_the_release_tables_is_told_in_ten_wordings(release_tables):
    examples, told = FACTS["updates_eol"](3)
    assert len(examples) == 3
    require_told(examples, told)
    assert all("Pegel 3.1" in lesson.question for lessons in told.values() for lesson in lessons)


def require_told(examples, told):
    for example in examples:
        lessons = told[example.id]
        assert len({normalise(lesson.question) for lesson in lessons}) == len(lessons) == 10
        for lesson in lessons:
            assert contains(lesson.messages[-1].content, example.answers), lesson
            assert not contains(lesson.question, example.answers), lesson
    FACTS["require_held_out"](examples, told)


def test_a_wording_that_is_asked_may_not_be_trained_on():
    examples, told = FACTS["bundled"](40)
    asked = examples[0].paraphrases[0].lower()
    leaking = {**told, examples[0].id: [Conversation((Message("user", asked), Message("assistant", "So.")))]}
    with pytest.raises(SystemExit, match="alike"):
        FACTS["require_held_out"](examples, leaking)


def test_fewer_wordings_are_among_more_and_make_as_many_updates():
    _, told = FACTS["bundled"](40)
    one, three, ten = ({lesson.question for lesson in FACTS["in_wordings"](told, n, seed=0)} for n in (1, 3, 10))
    assert one < three < ten
    assert (len(one), len(three), len(ten)) == (40, 120, 400)
    for lessons in (one, three, ten):
        passes = next(n for n in range(1, 301) if FACTS["fits"](n, len(lessons), 300))
        assert passes * len(lessons) == 300 * FACTS["ROWS"]
