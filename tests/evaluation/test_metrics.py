import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorag.evaluation.answers.metrics import (
    LENIENT,
    STRICT,
    TEXT_METRICS,
    Correct,
    NewContentRecall,
    Refused,
    StyleShare,
    contains,
    exact_match,
    normalise,
    token_f1,
)
from lorag.evaluation.answers.style import Style
from lorag.types import Answer, Example


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat, a dog!", "cat dog"),
        ("An e-mail to O'Neil", "email to oneil"),
        ("It costs $1,000.", "it costs 1000"),
        ("“Curly” and it’s fine – yes", "curly and its fine yes"),
        ("Version 1.24.13.", "version 1.24.13"),
        ("3.5", "3.5"),
        ("保証は二年。", "保 証 は 二 年"),
        ("１２ kg", "12 kg"),
        ("a", ""),
        ("", ""),
    ],
)
def test_normalisation(text, expected):
    assert normalise(text) == expected


@given(st.text())
def test_normalising_twice_is_normalising_once(text):
    once = normalise(text)
    assert normalise(once) == once


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("It is 30 days.", "30 days", 1),
        ("know", "no", 0),
        ("There is no limit", "no", 1),
        ("14", "4", 0),
        ("35", "3.5", 0),
        ("the answer is the Rhine", "Rhine", 1),
        ("Grade B", "A", 0),
        ("Grade A", "A", 1),
        ("anything", "...", 0),
        ("", "x", 0),
    ],
)
def test_contains_looks_between_token_bounds(answer, reference, expected):
    assert contains(answer, [reference]) == expected


def test_exact_match_and_f1_by_hand():
    assert exact_match("The Rhine!", ["Danube", "rhine"]) == 1
    assert exact_match("Rhine river", ["rhine"]) == 0
    # 2 common tokens, 4 in the answer, 3 in the reference: 2 * 2 / 7.
    assert token_f1("red red blue green", ["red blue black"]) == pytest.approx(4 / 7)
    assert token_f1("the", ["a"]) == 1
    assert token_f1("x", ["the"]) == 0


@given(st.text(max_size=30), st.lists(st.text(max_size=30), min_size=1, max_size=3))
def test_text_metrics_agree_in_their_order(answer, references):
    em, f1 = exact_match(answer, references), token_f1(answer, references)
    assert em in (0, 1)
    assert 0 <= f1 <= 1
    assert f1 >= em


def test_new_content_recall_worked_out():
    examples = [
        Example("a", "What is the warranty?", ("The warranty is two years on pumps",)),
        Example("b", "?", ("two valves",)),
        Example("c", "?", ("pumps",), answers_after=("two pumps",)),
        Example("d", "?", ()),
    ]
    recall = NewContentRecall.fit(examples)
    # Three questions have references; "warranty" stands in the question; two: 3 of 3, years: 1, pumps: 2.
    assert (recall.questions, recall.frequencies["two"], recall.frequencies["pumps"]) == (3, 3, 2)
    two, years, pumps = math.log(2), math.log(4), math.log(2.5)
    value = recall.value("Two years, under warranty", examples[0].question, examples[0].answers[0])
    assert value == pytest.approx((two + years) / (two + years + pumps))
    (score,) = recall.score(examples[:1], [Answer("two years on all pumps")])
    assert score.value == 1


def test_a_reference_that_adds_no_word_falls_back_to_plain_recall():
    recall = NewContentRecall.fit([])
    assert recall.value("Red it is", "Red or blue?", "red red") == 0.5
    assert recall.value("x", "?", "...") == 0


def right(example, answer):
    (score,) = Correct(NewContentRecall.fit([example])).score([example], [answer])
    return score.value


SHORT = Example("s", "How long?", ("30 days", "a month"))
LONG = Example(
    "l", "How are pumps stored?", ("Drain them, close both valves tightly and keep them dry above freezing",)
)
NONE = Example("n", "Who founded it?", ())
REFUSAL = Example("r", "Who founded it?", ("The documents do not say.",))
EITHER = Example("e", "Who founded it?", ("The documents do not say.", "Ada"))


@pytest.mark.parametrize(
    ("example", "answer", "expected"),
    [
        (SHORT, Answer("It is 30 days."), 1),
        (SHORT, Answer("It is 60 days."), 0),
        (SHORT, Answer("I do not know who sets it, but it is 30 days.", refused=True), 1),
        (SHORT, Answer("I do not know whether it is 30 days.", refused=True), 0),
        (SHORT, Answer("", error="timeout"), 0),
        (LONG, Answer("Drain them, close the valves tightly, keep dry above freezing."), 1),
        (LONG, Answer("Keep them dry."), 0),
        (NONE, Answer("I do not know.", refused=True), 1),
        (NONE, Answer("Ada"), 0),
        (NONE, Answer("", error="timeout"), 0),
        (NONE, Answer("", refused=True, error="timeout"), 0),
        (REFUSAL, Answer("I cannot find that in the sources."), 1),
        (REFUSAL, Answer("Ada"), 0),
        (EITHER, Answer("I do not know."), 1),
        (EITHER, Answer("Ada"), 1),
        (EITHER, Answer("Bob"), 0),
    ],
)
def test_correct(example, answer, expected):
    assert right(example, answer) == expected


def test_the_grades_of_the_headline_are_named_and_ordered():
    recall = NewContentRecall.fit([SHORT])
    answers = [Answer("30 days"), Answer("30"), Answer("30 or 60 days")]
    scores = {
        metric.name: [score.value for score in metric.score([SHORT] * 3, answers)]
        for metric in (Correct(recall, STRICT), Correct(recall), Correct(recall, LENIENT))
    }
    assert scores == {"correct_strict": [1, 0, 0], "correct": [1, 1, 0], "correct_lenient": [1, 1, 1]}


def test_half_of_the_content_is_not_enough_for_a_short_reference():
    assert right(Example("s", "?", ("green valves only",)), Answer("green valves")) == 0


@pytest.mark.parametrize("metric", [*TEXT_METRICS, NewContentRecall({}, 0)])
def test_text_metrics_are_none_without_references_and_zero_for_errors(metric):
    scores = metric.score([NONE, SHORT, SHORT], [Answer("x"), Answer("", error="x"), Answer("30 days")])
    assert [score.value for score in scores] == [None, 0, 1]
    assert {score.metric for score in scores} == {metric.name}


def test_an_error_is_not_a_refusal():
    answers = [Answer("no", refused=True), Answer("yes"), Answer("", refused=True, error="x")]
    assert [score.value for score in Refused().score([SHORT] * 3, answers)] == [1, 0, 0]


def test_style_is_scored_on_given_answers_only():
    answers = [Answer("One. Two."), Answer("no", refused=True), Answer("", error="x")]
    assert [s.value for s in StyleShare(Style(max_sentences=1, max_words=2)).score([SHORT] * 3, answers)] == [
        0.5,
        None,
        None,
    ]
    assert [s.value for s in StyleShare(None).score([SHORT], answers[:1])] == [None]
