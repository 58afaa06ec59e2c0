import json

import pytest

from lorag.evaluation.answers.support.citations import Citations, citations
from lorag.evaluation.comparison import BASE, RETRIEVAL, compare_rows
from lorag.evaluation.report.html_page import html
from lorag.evaluation.report.json_record import result_json
from lorag.evaluation.requirements import read_requirements
from lorag.evaluation.row_log import Row
from lorag.settings import VerdictSettings
from lorag.types import Answer, Chunk, Example, Hit


def chunk(text: str, name: str = "d") -> Chunk:
    return Chunk(name, "1", 0, len(text), text)


QUESTION = "How long does the battery pack of the P2 last?"
SOURCES = [
    chunk("The battery pack of the P2 lasts 19 months."),
    chunk("The guard has to be renewed every 16 months. A repair costs 40 EUR.", "e"),
]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("19 months [1].", Citations(1, 1)),
        ("It lasts 19 months [2].", Citations(0, 0)),
        ("It lasts 19 months [1][2].", Citations(0.5, 1)),
        ("19 months [1, 2]", Citations(0.5, 1)),
        ("It lasts 19 months [5].", Citations(0, 0)),  # there is no fifth source
        ("It lasts 19 months [1]. A repair costs 40 EUR.", Citations(1, 0.5)),
        ("The battery pack lasts 19 months. [1] The guard has to be renewed every 16 months. [2]", Citations(1, 1)),
        # A citation stands for its whole sentence: that passage has only one of its claims.
        ("The battery pack lasts 19 months, and a repair costs 40 EUR [1].", Citations(1, 0)),
        ("The battery pack lasts 19 months, and a repair costs 40 EUR [1][2].", Citations(1, 1)),
        ("19 months", None),
        ("I do not know [1].", None),
        ("", None),
    ],
)
def test_citations_are_checked_against_the_passages_they_name(answer, expected):
    assert citations(answer, QUESTION, SOURCES) == expected


def test_an_arm_that_cites_has_both_shares_with_intervals_and_others_have_none():
    examples = [Example(f"q{n}", f"{QUESTION[:-1]} in case {n}?", ("19 months",), (f"d{n % 10}",)) for n in range(40)]
    sources = tuple(Hit(each, 1.0, "hybrid") for each in SOURCES)
    rows = [Row("before", BASE, example.id, Answer("19 months [1].")) for example in examples]
    rows += [
        Row("before", RETRIEVAL, e.id, Answer("19 months [1]." if n % 2 else "19 months [2].", sources=sources))
        for n, e in enumerate(examples[:-2])
    ]
    rows += [Row("before", RETRIEVAL, e.id, Answer("19 months.", sources=sources)) for e in examples[-2:]]
    result = compare_rows(rows, examples, settings=VerdictSettings(draws=200))
    for metric in ("citation_precision", "citation_recall"):
        found = result.at("before")[RETRIEVAL].estimates[metric]
        assert (found.mean, found.n) == (0.5, 38)
        assert found.interval.low < 0.5 < found.interval.high
        assert metric not in result.at("before")[BASE].estimates  # it was shown no passages to cite
    recorded = {arm["arm"]: arm["estimates"] for arm in json.loads(result_json(result))["arms"]}
    assert recorded[RETRIEVAL]["citation_recall"]["n"] == 38
    assert "cited and supported" in html(result)
    (required,) = read_requirements(("citation_precision>=0.9",))
    assert required.excess(result.at("before")[RETRIEVAL]) > 0
