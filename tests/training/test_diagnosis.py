"""Every way of being wrong has its own line and its own remedy."""

import json

from lorag.training.diagnosis import Asked, Diagnosis, diagnose

ASKED = [
    Asked("fine?", trained=True, held_out=True, reversed=True, with_passage=True),
    Asked("unstored?", trained=False, held_out=False, reversed=None, with_passage=True),
    Asked("unfound?", trained=True, held_out=False, reversed=None, with_passage=True),
    Asked("forwards?", trained=True, held_out=True, reversed=False, with_passage=True),
    Asked("distracted?", trained=True, held_out=True, reversed=None, with_passage=False),
    Asked("unknown?", trained=None, held_out=False, reversed=None, with_passage=None),
]


def test_each_fact_stands_where_it_belongs():
    found = diagnose(ASKED)
    assert found == Diagnosis(6, ("unstored?",), ("unfound?",), ("forwards?",), ("distracted?",))
    assert Diagnosis.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_the_lines_name_the_facts_and_what_helps():
    lines = diagnose(ASKED).lines
    assert len(lines) == 4
    assert "1 were not stored" in lines[0]
    assert "(unstored?)" in lines[0]
    assert "more wordings" in lines[1]
    assert diagnose(ASKED[:1]).lines == ()
