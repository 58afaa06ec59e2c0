"""Metrics of the user's own: measured for every arm, shown as they are, and without a say in the verdict."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from lorag.errors import InputError
from lorag.evaluation.answers.own_metrics import require_measuring
from lorag.evaluation.comparison import BASE, BOTH, RETRIEVAL, compare_rows
from lorag.evaluation.report.html_page import html
from lorag.evaluation.report.json_record import read_result, result_json
from lorag.evaluation.report.result_tables import arms_table, measures_table, narrow_table, update_table
from lorag.settings import VerdictSettings
from lorag.types import Answer, Example

PATTERNS = {BASE: lambda i: False, RETRIEVAL: lambda i: i % 5 != 0, BOTH: lambda i: i % 7 != 0}


def length(text, example):
    return len(text.split())


def is_new(text, example):
    """Whether the answer has the reference that holds; nothing where there is none."""
    return any(answer in text for answer in example.answers) if example.answers else None


@pytest.fixture
def world(synthetic):
    return synthetic(60, unanswerable=lambda i: i % 10 == 1, updated=True)


def test_they_are_measured_for_every_arm_beside_the_others_and_decide_nothing(world, compare, tmp_path):
    plain = compare(world, PATTERNS, PATTERNS)
    result = compare(world, PATTERNS, PATTERNS, own={"length": length, "is_new": is_new})
    assert (result.verdict, result.differences) == (plain.verdict, plain.differences)
    for arm, before in zip(result.arms, plain.arms, strict=True):
        assert {name: arm.estimates[name] for name in before.estimates} == before.estimates
        texts = [row.answer.text for row in result.rows if (row.phase, row.arm) == (arm.phase, arm.arm)]
        found = arm.estimates["length"]
        assert found.mean == pytest.approx(np.mean([len(text.split()) for text in texts]))
        assert found.interval.low <= found.mean <= found.interval.high <= 6
        assert arm.estimates["is_new"] == arm.estimates["correct_answerable"]
    (tmp_path / "result.json").write_text(result_json(result))
    assert read_result(tmp_path / "result.json").arms == result.arms
    assert {"length", "is_new"} <= json.loads(result_json(result))["rows"][0]["scores"].keys()


def test_tables_and_the_page_show_them_as_they_are(world, compare):
    result = compare(world, PATTERNS, PATTERNS, own={"length": length})
    found = result.at("after")[RETRIEVAL].estimates["length"]
    shown = f"{found.mean:.4g} ({found.interval.low:.4g} to {found.interval.high:.4g})"
    wide, narrow, every = (table(result, "after") for table in (arms_table, narrow_table, measures_table))
    assert (
        dict(zip(wide.headings, next(row for row in wide.rows if row[0] == RETRIEVAL), strict=True))["length"] == shown
    )
    at = narrow.headings.index(RETRIEVAL)
    assert next(row for row in narrow.rows if row[0] == "length")[at] == shown
    assert next(row for row in every.rows if row[0] == "length")[at] == f"{shown}, n 60"
    assert shown.replace(" (", '<span class="range"> (') in html(result)
    assert "length" not in update_table(result).headings


def test_an_answer_that_failed_has_no_value(world):
    rows = [row for arm in (BASE, RETRIEVAL) for row in world.rows("before", arm, lambda i: True)]
    rows[0] = replace(rows[0], answer=Answer("", error="timeout"))
    result = compare_rows(rows, world.examples(), own={"length": lambda text, _: len(text) / 0 if not text else 1})
    assert (result.at("before")[BASE].estimates["length"].n, result.scores[0]["length"]) == (59, None)


@pytest.mark.parametrize("value", [True, 2, 0.5, np.float32(0.5), np.int64(2), np.True_, Fraction(1, 2)])
def test_every_kind_of_number_is_one(world, compare, value):
    result = compare(world, PATTERNS, own={"same": lambda text, example: value})
    assert result.at("before")[BASE].estimates["same"].mean == pytest.approx(float(value))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (float("nan"), r"'nan' \(float\)"),
        (float("inf"), "inf"),
        ("3", r"'3' \(str\)"),
        (1j, "complex"),
        (10**400, r"\(int\)"),
    ],
)
def test_anything_but_a_finite_number_is_refused(world, compare, returned, message):
    def metric(text, example):
        return returned if example.id == "q7" and text == "It is value7." else 1

    with pytest.raises(
        InputError, match=f"metric 'odd', given the answer of 'retrieval' to question 'q7', .*{message}"
    ):
        compare(world, PATTERNS, own={"odd": metric})


def test_what_a_metric_raises_names_the_metric_the_question_and_the_arm(world, compare):
    with pytest.raises(
        InputError, match="'odd', given the answer of 'base' to question 'q0', failed with KeyError: 'x'"
    ):
        compare(world, PATTERNS, own={"odd": lambda text, example: {"y": 0.0}["x"]})


@pytest.mark.parametrize(
    ("name", "function", "message"),
    [
        ("correct", length, "'correct' cannot be the name of a metric"),
        ("refused", length, "'refused' cannot be the name"),
        ("my length", length, "expected up to 40 letters, digits and underscores"),
        ("l" * 41, length, "cannot be the name"),
        ("length", 3, "metric 'length' is int; expected a function"),
        ("length", lambda text: 1, "given a reference to question 'q', failed with TypeError"),
        ("length", lambda text, example: 1 / (text != "28 months"), "failed with ZeroDivisionError"),
    ],
)
def test_what_cannot_be_a_metric_is_refused_before_anything_is_asked(name, function, message):
    with pytest.raises(InputError, match=message):
        require_measuring({name: function}, Example("q", "How long?", ("28 months",)))


def test_the_interval_of_numbers_is_that_of_shares_of_their_range():
    from lorag.evaluation.statistics import mean_interval, number_interval

    settings = VerdictSettings(draws=400)
    shares = [((i * 7) % 11) / 10 for i in range(60)]
    documents = [i // 2 for i in range(60)]
    assert number_interval(shares, documents, settings) == mean_interval(shares, documents, settings)
    one, ten = (number_interval([k * share for share in shares], documents, settings) for k in (1, 10))
    assert ten.mean == pytest.approx(10 * one.mean)
    assert (ten.interval.low, ten.interval.high) == pytest.approx((10 * one.interval.low, 10 * one.interval.high))
    below = number_interval([-share for share in shares], documents, settings)
    assert below.interval.low < below.mean < below.interval.high <= 0
    same = number_interval([7.0] * 60, documents, settings)
    assert same.interval.low < 6.9 < same.mean == same.interval.high == 7
