"""Marks by people: which answers are shown, what is kept, how metrics agree, and the verdict by marks."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lorag.errors import DataError, InputError
from lorag.evaluation.comparison import BASE, BOTH, FINETUNED, RETRIEVAL
from lorag.evaluation.marks.marking import add_mark, answers_to_mark, marks_path, read_marks
from lorag.evaluation.marks.prediction_powered import powered, verdict_by_marks
from lorag.evaluation.marks.rater_agreement import kappa
from lorag.evaluation.marks.review import review
from lorag.evaluation.report.json_record import read_result, result_json
from lorag.files import LineLog

PATTERNS = {
    BASE: lambda i: False,
    FINETUNED: lambda i: i % 3 == 0,
    RETRIEVAL: lambda i: i % 5 != 0,
    BOTH: lambda i: i % 7 != 0,
}


@pytest.fixture
def result(synthetic, compare):
    return compare(synthetic(60, unanswerable=lambda i: i % 10 == 1), PATTERNS)


def mark_all(result, folder, name, mark_of, count=30):
    log = LineLog(marks_path(folder, name))
    for shown in answers_to_mark(result, count):
        add_mark(log, shown, mark_of(shown))
    return read_marks(log.path, result)


def by_metric(result):
    """A reviewer who agrees with the metric on every answer."""
    right = {row.key: bool(scores["correct"]) for row, scores in zip(result.rows, result.scores, strict=True)}
    return lambda shown: "right" if right[shown.rows[0].key] else "wrong"


def test_whole_questions_are_shown_in_an_order_that_only_the_seed_decides(result):
    shown = answers_to_mark(result, 30, seed=1)
    assert 30 <= len(shown) <= 33
    assert shown == answers_to_mark(result, 30, seed=1) != answers_to_mark(result, 30, seed=2)
    questions = [each.example.id for each in shown]
    assert questions != sorted(questions)
    for question in set(questions):
        arms = sorted(row.arm for each in shown if each.example.id == question for row in each.rows)
        assert arms == sorted(PATTERNS)
    more = answers_to_mark(result, 60, seed=1)
    assert {(each.example.id, each.answer.text) for each in shown} < {(e.example.id, e.answer.text) for e in more}
    assert all(each.passages for each in shown)


def test_equal_answers_are_shown_once_and_marked_for_every_arm(result, tmp_path):
    shown = next(each for each in answers_to_mark(result) if len(each.rows) > 1)
    log = LineLog(marks_path(tmp_path, "ann"))
    add_mark(log, shown, "wrong")
    add_mark(log, shown, "right")
    found = read_marks(log.path, result)
    assert {key: marked.mark for key, marked in found.marks.items()} == {row.key: "right" for row in shown.rows}
    line = json.loads(log.path.read_text().splitlines()[0])
    assert line.keys() == {"question_id", "arm", "phase", "mark", "answer_sha", "at"}


def test_failed_answers_are_not_shown_and_references_are_those_after_an_update(synthetic, compare):
    result = compare(synthetic(40, updated=True), PATTERNS, PATTERNS)
    failed = replace(result.rows[-1].answer, text="", error="out of memory")
    rows = tuple(replace(row, answer=failed) if row.arm == RETRIEVAL else row for row in result.rows)
    shown = answers_to_mark(replace(result, rows=rows), 10_000)
    assert all(row.phase == "after" and row.arm != RETRIEVAL for each in shown for row in each.rows)
    assert any(each.example.answers[0].startswith("fresh") for each in shown)


def test_marks_of_answers_that_changed_or_of_another_run_are_refused_by_row(result, tmp_path):
    found = mark_all(result, tmp_path, "ann", by_metric(result))
    changed = next(iter(found.marks))
    rows = tuple(
        replace(row, answer=replace(row.answer, text="another answer")) if row.key == changed else row
        for row in result.rows
    )
    again = read_marks(marks_path(tmp_path, "ann"), replace(result, rows=rows))
    assert len(again.marks) == len(found.marks) - 1
    (reason,) = again.refused
    assert reason.startswith("ann.jsonl:")
    assert "has changed since it was marked" in reason
    other = read_marks(marks_path(tmp_path, "ann"), replace(result, rows=()))
    assert not other.marks
    assert len(other.refused) == len(found.marks)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question_id": "q1"}', "is not a mark of an answer: it lacks 'arm'"),
        ('{"question_id":"q1","arm":"base","phase":"before","mark":"good","answer_sha":"x","at":"y"}', "unknown mark"),
        ("[1]", "expected a JSON object"),
        ("{", "broken JSON"),
    ],
)
def test_what_is_no_mark_is_refused_with_its_line(result, tmp_path, line, message):
    path = marks_path(tmp_path, "ann")
    path.parent.mkdir()
    path.write_text("\n" + line + "\n")
    with pytest.raises(DataError, match=f"ann.jsonl:2: .*{message}"):
        read_marks(path, result)


@pytest.mark.parametrize("name", ["../ann", "", "a/b", ".hidden", "x" * 90])
def test_names_that_are_no_files_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot name a file of marks"):
        marks_path(tmp_path, name)
    with pytest.raises(InputError, match="expected at least 1"):
        answers_to_mark(None, 0)  # type: ignore[arg-type]


def test_kappa_is_cohens():
    # Cohen's table of a textbook: 20 both, 5 first only, 10 second only, 15 neither: observed .7, by chance .5.
    first = [True] * 25 + [False] * 25
    second = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = kappa(first, second, range(50))
    assert found.mean == pytest.approx(0.4)
    assert 0.1 < found.interval.low < 0.2
    assert 0.6 < found.interval.high < 0.7
    assert kappa(first, second, [i // 10 for i in range(50)]).interval.low < found.interval.low


def test_a_few_marks_that_all_agree_do_not_prove_perfect_agreement():
    alike = [True, False, True, True, False, True, False, True]
    found = kappa(alike, alike, range(8))
    assert (found.mean, found.interval.high) == (1, 1)
    assert found.interval.low < 0.5
    assert kappa([True] * 5, [True] * 5, range(5)).mean == 1


def test_a_metric_that_agrees_keeps_the_verdict_and_reviewers_are_compared(result, tmp_path):
    mark_all(result, tmp_path, "ann", by_metric(result))
    mark_all(result, tmp_path, "bob", lambda shown: "unsupported" if by_metric(result)(shown) == "right" else "partly")
    found = review(result, tmp_path)
    assert [reviewer.name for reviewer in found.reviewers] == ["ann", "bob"]
    assert {(each.first, each.second): each.kappa.mean for each in found.metrics if each.first == "correct"} == {
        ("correct", "ann"): 1,
        ("correct", "bob"): 1,
    }
    assert [(each.first, each.second, each.kappa.mean) for each in found.people] == [("ann", "bob", 1)]
    assert found.verdict is not None
    assert found.sentences == (
        "The metric agrees with people (kappa 1.00, the mean over 2 reviewers): the verdict stands on it.",
        f"Verdict by the metric: {result.verdict.sentence}",
        f"Verdict by marks, over marked questions: {found.verdict.sentence}",
    )


def test_where_the_metric_agrees_poorly_marks_decide(result, tmp_path):
    """People take every answer of retrieval for wrong and of the finetuned model for right; the metric does not."""

    def people(shown):
        return "right" if FINETUNED in {row.arm for row in shown.rows} else "wrong"

    mark_all(result, tmp_path, "ann", people, count=10_000)
    found = review(result, tmp_path)
    assert result.verdict.choice == "undecided"
    assert found.verdict is not None
    assert found.verdict.choice == "finetuning"
    assert "marks decide" in found.sentences[0]
    assert result.verdict.sentence in found.sentences[1]
    assert found.verdict.sentence in found.sentences[2]
    few = tmp_path / "few"
    mark_all(result, few, "ann", people, count=24)
    undecided = review(result, few).verdict
    assert undecided is not None
    assert undecided.choice == "undecided"
    assert "are too few for a verdict" in review(result, few).sentences[2]


def test_a_handful_of_marks_does_not_judge_the_metric(result, tmp_path):
    mark_all(result, tmp_path, "ann", lambda shown: "wrong", count=5)
    found = review(result, tmp_path)
    assert found.verdict is None
    assert found.sentences == ("Too few answers are marked to judge the metric; 20 are needed.",)


def test_one_marked_question_gives_no_verdict(result, tmp_path):
    marks = mark_all(result, tmp_path, "ann", lambda shown: "partly", count=1)
    assert verdict_by_marks(result, [marks]) is None
    assert review(result, tmp_path / "nobody").sentences == ()


def test_a_share_by_marks_is_unbiased_however_wrong_the_metric_is():
    """The metric takes 40 % of right answers for wrong; 30 of 200 are marked. Intervals hold the truth as promised."""
    rng = np.random.default_rng(0)
    documents, found, held = [i % 40 for i in range(200)], [], 0
    for _ in range(300):
        right = rng.random(200) < 0.7
        metric = (right & (rng.random(200) > 0.4)).astype(float)
        chosen = set(rng.choice(200, 30, replace=False).tolist())
        share = powered(metric.tolist(), [float(y) if i in chosen else None for i, y in enumerate(right)])
        interval = share.difference(documents, 0.95).interval
        found.append(share.value)
        held += interval.low <= 0.7 <= interval.high
    assert np.mean(found) == pytest.approx(0.7, abs=0.015)
    assert held / 300 >= 0.94


def test_with_every_answer_marked_the_metric_does_not_matter():
    marks = [1.0, 0.0] * 20
    one, other = powered([0.0] * 40, marks), powered([1.0] * 40, marks)
    assert one.value == other.value == 0.5
    np.testing.assert_allclose(one.parts, other.parts)
    assert (one - other).difference(range(40), 0.95).mean == 0
    with pytest.raises(ValueError, match="1 marked questions"):
        powered([0.0, 1.0], [None, 1.0])


def test_a_result_is_read_back_as_it_was(result, tmp_path):
    path = tmp_path / "result.json"
    path.write_text(result_json(result))
    assert read_result(path) == result
    assert result_json(read_result(path)) == result_json(result)


def test_results_that_cannot_be_read_are_refused(result, tmp_path):
    path = tmp_path / "result.json"
    with pytest.raises(DataError, match="expected the result of a finished"):
        read_result(path)
    record = json.loads(result_json(result))
    for broken, message in (
        ("{", "is not the result of a comparison"),
        (json.dumps({**record, "format": 0}), "written in format 0"),
        (json.dumps({**record, "rows": [{"scores": {}}]}), "is not the result of a comparison"),
        (json.dumps({**record, "arms": 3}), "is not the result of a comparison"),
    ):
        path.write_text(broken)
        with pytest.raises(DataError, match=message):
            read_result(path)
