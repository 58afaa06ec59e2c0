"""Marks by people: which answers are shown, what is kept, how metrics agree, and the verdict by marks."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from lorag.errors import DataError, InputError
from lorag.evaluation.comparison import BASE, BOTH, EVIDENCE, FINETUNED, RETRIEVAL, compare_rows
from lorag.evaluation.marks.marking import add_mark, answers_to_mark, marks_path, read_marks
from lorag.evaluation.marks.prediction_powered import powered
from lorag.evaluation.marks.rater_agreement import POOR, ac1, kappa
from lorag.evaluation.marks.review import review, with_marks
from lorag.evaluation.report.html_page import html
from lorag.evaluation.report.json_record import read_result, result_json
from lorag.evaluation.report.junit_xml import junit_xml
from lorag.evaluation.report.markdown_text import to_markdown
from lorag.evaluation.results import Reason
from lorag.files import LineLog
from lorag.settings import VerdictSettings

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


def test_ac1_is_gwets_and_does_not_fall_where_nearly_everything_is_right():
    # Gwet's example of the paradox (2002): 118 both, 5 first only, 2 second only: kappa -0.02, AC1 0.94.
    first, second = [True] * 123 + [False] * 2, [True] * 118 + [False] * 5 + [True] * 2
    assert kappa(first, second, range(125)).mean == pytest.approx(-0.0234, abs=1e-4)
    found = ac1(first, second, range(125))
    assert found.mean == pytest.approx(0.9408, abs=1e-4)
    assert 0.85 < found.interval.low < found.mean < found.interval.high < 1
    assert ac1([True, False] * 15, [False, True] * 15, range(30)).mean == -1


def test_a_metric_agrees_with_28_right_and_2_wrong_of_30_that_it_takes_for_right(synthetic, compare, tmp_path):
    result = compare(synthetic(60), dict.fromkeys(PATTERNS, lambda i: True))
    wrong = {shown.example.id for shown in answers_to_mark(result, 30)[:2]}
    mark_all(result, tmp_path, "ann", lambda shown: "wrong" if shown.example.id in wrong else "right")
    found = review(result, tmp_path)
    (agreement,) = found.judging
    assert (agreement.kappa.mean, agreement.kappa.n) == (0, 30)
    assert not found.marks_decide
    assert found.sentences[0] == "The metric agrees with people (AC1 0.93, kappa 0.00): the verdict stands on it."


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
    assert found.by_marks is not None
    assert found.verdict == result.verdict != found.by_marks
    assert found.sentences == (
        "The metric agrees with people (AC1 1.00, kappa 1.00, means over 2 reviewers): the verdict stands on it.",
        f"Verdict by the metric: {result.verdict.sentence}",
        f"Verdict by marks, over marked questions: {found.by_marks.sentence}",
    )
    beside = (Reason("Marks", found.sentences[0]), Reason("Marks", found.sentences[2]))
    assert with_marks(result, tmp_path).verdict == replace(result.verdict, reasons=(*beside, *result.verdict.reasons))


def only_finetuned(shown):
    """People take every answer of the finetuned model for right and of the others for wrong; the metric does not."""
    return "right" if FINETUNED in {row.arm for row in shown.rows} else "wrong"


def test_where_the_metric_agrees_poorly_marks_decide(result, tmp_path):
    mark_all(result, tmp_path, "ann", only_finetuned, count=10_000)
    found = review(result, tmp_path)
    assert result.verdict.choice == "undecided"
    assert found.verdict == found.by_marks
    assert found.verdict.choice == "finetuning"
    assert "marks decide" in found.sentences[0]
    assert result.verdict.sentence in found.sentences[1]
    assert found.verdict.sentence in found.sentences[2]
    assert found.to_json()["verdict"]["choice"] == "finetuning"
    assert found.to_json()["decided_by"] == "marks"


def test_marks_decide_where_the_verdict_depends_on_the_scoring(synthetic, tmp_path):
    world = synthetic(60)
    asked = [replace(example, answers=("the long pier at Viana do Castelo",)) for example in world.examples()]
    rows = world.rows("before", BASE, lambda i: False) + [
        replace(row, answer=replace(row.answer, text="At the long pier of Viana."))
        for row in world.rows("before", RETRIEVAL, lambda i: True)
    ]
    result = compare_rows(rows, asked, settings=VerdictSettings(draws=400))
    assert result.verdict.depends_on_scoring
    mark_all(result, tmp_path, "ann", by_metric(result), count=10_000)
    found = review(result, tmp_path)
    assert found.sentences[0] == (
        "The metric agrees with people (AC1 1.00, kappa 1.00), but its verdict depends on the scoring: marks decide."
    )
    assert (found.verdict.choice, found.verdict.depends_on_scoring) == ("retrieval", False)


def test_a_metric_that_fails_in_one_arm_does_not_decide_against_enough_marks(synthetic, tmp_path):
    """It takes every answer for right; people take those of the base model for wrong."""
    world = synthetic(60)
    rows = [
        replace(row, answer=replace(row.answer, text=f"{row.answer.text} So says {arm}."))
        for arm in PATTERNS
        for row in world.rows("before", arm, lambda i: True)
    ]
    result = compare_rows(rows, world.examples(), settings=VerdictSettings(draws=400))
    mark_all(result, tmp_path, "ann", lambda shown: "wrong" if shown.rows[0].arm == BASE else "right", count=10_000)
    found = review(result, tmp_path)
    assert found.judging[0].ac1.mean > POOR
    assert "enough marks give another verdict: marks decide" in found.sentences[0]
    assert (result.verdict.choice, found.verdict.choice) == ("undecided", "retrieval")
    shown = with_marks(result, tmp_path)
    assert shown.at("before")[BASE].accuracy.mean == 0
    (gain,) = [each for each in shown.differences if (each.first, each.second) == (RETRIEVAL, BASE)]
    assert gain.difference.mean == 1


def test_answers_of_a_ceiling_do_not_speak_for_an_arm_that_gave_the_same(synthetic, compare, tmp_path):
    rows, world = [], synthetic(60)
    for arm in (BASE, RETRIEVAL, EVIDENCE):
        rows += world.rows("before", arm, lambda i, arm=arm: arm != BASE)
    other = [
        replace(hit, chunk=replace(hit.chunk, text="passage two"))
        for hit in rows[60].answer.sources  # retrieval's passages do not support what its answers say
    ]
    rows = [
        replace(row, answer=replace(row.answer, sources=tuple(other))) if row.arm == RETRIEVAL else row for row in rows
    ]
    result = compare_rows(rows, world.examples(), settings=VerdictSettings(draws=400))
    mark_all(result, tmp_path, "ann", lambda shown: "right", count=10_000)
    scored = [s["unsupported"] for row, s in zip(result.rows, result.scores, strict=True) if row.arm == RETRIEVAL]
    (supported,) = [each for each in review(result, tmp_path).metrics if each.first == "right_and_supported"]
    assert supported.only_second == 60 + sum(map(bool, scored))


def test_no_share_by_marks_is_above_all_answers():
    found = powered([0.0] * 6 + [1.0] * 54, [1.0] * 25 + [None] * 35)
    assert found.value > 1
    difference = found.difference(range(60), 0.95)
    assert difference.mean == difference.interval.high == 1


def test_the_verdict_by_marks_heads_every_page_with_the_metrics_beside_it(synthetic, tmp_path):
    world = synthetic(60)
    made = [replace(example, meta={"made_by": "rules"}) for example in world.examples()]
    arms = {**PATTERNS, EVIDENCE: lambda i: i % 10 != 9}
    rows = [row for arm, right in arms.items() for row in world.rows("before", arm, right)]
    result = compare_rows(rows, made, settings=VerdictSettings(draws=400), notes=["Three documents were cut."])
    mark_all(result, tmp_path, "ann", only_finetuned, count=10_000)
    shown = with_marks(result, tmp_path)
    assert shown.verdict.sentence.startswith("Use finetuning: 100 % of answers are right")
    agreement, other = shown.verdict.reasons[:2]
    assert "marks decide" in str(agreement)
    assert str(other) == f"Marks: Verdict by the metric: {result.verdict.sentence}"
    texts = [reason.text for reason in shown.verdict.reasons]
    assert "Three documents were cut." in texts
    assert sum("questions were made from the documents" in text for text in texts) == 1
    assert any(text.startswith("base with gold passages: ") for text in texts)
    page = html(shown)
    assert "<strong>Finetuning</strong>" in page
    assert page.index("marks decide") < page.index("<h2>")
    for text in (to_markdown(shown), junit_xml(shown, ())):
        assert shown.verdict.sentence.removesuffix(".") in text
    assert "marks decide" in to_markdown(shown)


def test_with_few_questions_marked_it_is_undecided_with_the_answers_that_are_still_to_be_marked(result, tmp_path):
    mark_all(result, tmp_path, "ann", only_finetuned)
    found = with_marks(result, tmp_path).verdict
    assert (found.choice, found.more_questions) == ("undecided", None)
    said = re.fullmatch(
        r"Undecided: (\d+) questions are marked in every arm, and 20 are needed. "
        r"Mark (\d+) more answers: `lorag review --answers (\d+)`.",
        found.sentence,
    )
    assert said is not None
    questions, more, count = map(int, said.groups())
    assert 8 <= questions < 20
    assert len(found.sentence.split()) <= 25
    assert more == count - len(answers_to_mark(result, 30))
    mark_all(result, tmp_path, "ann", only_finetuned, count=count)
    assert "are needed" not in with_marks(result, tmp_path).verdict.sentence


def test_marks_count_by_what_the_verdict_rests_on(synthetic, tmp_path):
    """Both arms give every answer, the finetuned one always with something unsupported."""
    world = synthetic(60)
    rows = [row for arm in (BASE, FINETUNED, BOTH) for row in world.rows("before", arm, lambda i, a=arm: a != BASE)]
    rows = [replace(row, answer=replace(row.answer, text=f"{row.arm}: {row.answer.text}")) for row in rows]
    marks = {BASE: "wrong", FINETUNED: "unsupported", BOTH: "right"}

    def marked(verdict_on):
        settings = VerdictSettings(draws=400, verdict_on=verdict_on)
        result = compare_rows(rows, world.examples(), settings=settings)
        mark_all(result, tmp_path / verdict_on, "ann", lambda shown: marks[shown.rows[0].arm], count=10_000)
        return review(result, tmp_path / verdict_on)

    right, supported = marked("right"), marked("right_and_supported")
    assert right.by_marks is not None
    assert right.by_marks.choice == "finetuning"
    assert [(each.first, each.ac1.mean) for each in right.judging] == [("correct", 1)]
    assert supported.verdict.choice == "both"
    assert supported.verdict.sentence.startswith("Use both: 100 % of answers are right and supported")
    (judging,) = supported.judging
    assert (judging.first, judging.only_second) == ("right_and_supported", 60)


def test_a_handful_of_marks_does_not_judge_the_metric(result, tmp_path):
    mark_all(result, tmp_path, "ann", lambda shown: "wrong", count=5)
    found = review(result, tmp_path)
    assert (found.by_marks, found.verdict) == (None, result.verdict)
    assert found.sentences == ("Too few answers are marked to judge the metric; 20 are needed.",)
    assert with_marks(result, tmp_path).verdict.choice == result.verdict.choice
    assert review(result, tmp_path / "nobody").sentences == ()
    assert with_marks(result, tmp_path / "nobody") == result


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
