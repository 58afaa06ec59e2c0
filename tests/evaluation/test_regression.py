"""A comparison against an earlier run: paired over common questions, and what breaks a build."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
import typer
from typer.testing import CliRunner

from lorag.cli.commands import app
from lorag.cli.evaluate_command import BROKEN, check_build, old_run
from lorag.errors import DataError, InputError
from lorag.evaluation.comparison import BASE, BOTH, FINETUNED, RETRIEVAL, compare_rows
from lorag.evaluation.marks.marking import add_mark, answers_to_mark, marks_path
from lorag.evaluation.regression.build_checks import checks
from lorag.evaluation.regression.old_run import OldRun, changes_since, read_old_run
from lorag.evaluation.report.json_record import result_json
from lorag.evaluation.results import LONG_CONTEXT
from lorag.evaluation.row_log import Row, RowLog
from lorag.files import LineLog
from lorag.settings import CompareSettings, VerdictSettings
from lorag.types import Answer, Chunk, Example, Hit

PATTERNS = {
    BASE: lambda i: False,
    FINETUNED: lambda i: i % 3 == 0,
    RETRIEVAL: lambda i: i % 5 != 0,
    BOTH: lambda i: i % 7 != 0,
}
WORSE = {**PATTERNS, RETRIEVAL: lambda i: i % 2 == 0}
TAUGHT = {BASE: lambda i: False, FINETUNED: lambda i: i % 9 != 0, RETRIEVAL: lambda i: i % 3 == 0}
"""Finetuning is chosen."""
OURS = {BASE: lambda i: False, RETRIEVAL: lambda i: i % 3 == 0, "ours": lambda i: i % 9 != 0}
"""The user's own arm is chosen."""


def kept(result, folder):
    folder.mkdir()
    (folder / "result.json").write_text(result_json(result))
    return read_old_run(folder)


@pytest.fixture
def old(synthetic, compare, tmp_path):
    return kept(compare(synthetic(80), PATTERNS), tmp_path / "old")


def test_each_arm_is_paired_over_the_common_questions(synthetic, compare, old):
    changes = {change.arm: change for change in changes_since(old, compare(synthetic(100), WORSE))}
    assert list(changes) == [BASE, FINETUNED, RETRIEVAL, BOTH]
    retrieval = changes[RETRIEVAL]
    assert retrieval.difference.n == 80
    assert (retrieval.old, retrieval.new) == (0.8, 0.5)
    assert retrieval.difference.mean == pytest.approx(-0.3)
    assert retrieval.is_worse
    assert retrieval.adjusted_p >= retrieval.difference.p_value
    assert not any(change.is_worse for arm, change in changes.items() if arm != RETRIEVAL)
    assert "retrieval is right on 50.0 %, before on 80.0 %: -30.0 points" in str(retrieval)


def test_old_answers_are_scored_by_todays_references_and_reworded_questions_are_left_out(synthetic, compare, old):
    result = compare(synthetic(80), PATTERNS)
    examples = list(result.examples)
    examples[0] = replace(examples[0], question="Another question?")
    examples[1] = replace(examples[1], answers=("something else 1",))
    changes = {change.arm: change for change in changes_since(old, replace(result, examples=tuple(examples)))}
    assert changes[BASE].difference.n == 79
    assert changes[BASE].old == changes[BASE].new == pytest.approx(1 / 79)


def test_runs_with_several_trainings_are_compared_by_their_means(synthetic, compare, old, tmp_path):
    """The first training of the new run is as good as the old one's, its second one knows nothing."""
    result = replace(compare(synthetic(80), PATTERNS), folder=tmp_path / "new")
    rows = [
        row for row in compare(synthetic(80), {**PATTERNS, FINETUNED: lambda i: False}).rows if row.arm == FINETUNED
    ]
    (tmp_path / "new" / "seed-1").mkdir(parents=True)
    log = RowLog(tmp_path / "new" / "seed-1" / "rows.jsonl")
    assert {change.arm: change.new for change in changes_since(old, result)}[FINETUNED] == pytest.approx(27 / 80)
    log.append(rows)
    change = {change.arm: change for change in changes_since(old, result)}[FINETUNED]
    assert (change.old, change.new) == pytest.approx((27 / 80, 27 / 160))
    assert change.difference.mean == pytest.approx(-27 / 160)
    assert change.difference.interval.high > 0  # two trainings that differ so show nothing


def test_where_the_verdict_rests_on_supported_answers_a_new_false_claim_makes_an_arm_worse(synthetic, tmp_path):
    """Every answer of retrieval gives the reference; those of the new run add a number that no passage has."""
    settings = VerdictSettings(draws=200, verdict_on="right_and_supported")
    examples = synthetic(40).examples()

    def run(added):
        rows = []
        for each in examples:
            text = f"It is {each.answers[0]}."
            source = Hit(Chunk(each.evidence[0], "1", 0, len(text), text), 1.0, "dense")
            rows.append(Row("before", BASE, each.id, Answer("no idea of it")))
            rows.append(Row("before", RETRIEVAL, each.id, Answer(f"{each.answers[0]}{added}", sources=(source,))))
        return compare_rows(rows, examples, settings=settings)

    old, new = kept(run(""), tmp_path / "old"), run(", for 731 euros")
    change = changes_since(old, new)[-1]
    assert (change.arm, change.metric, change.is_worse) == (RETRIEVAL, "right_and_supported", True)
    assert (change.old, change.new) == (1.0, 0.0)
    assert str(change).startswith("retrieval is right and supported on 0.0 %, before on 100.0 %")
    right = changes_since(old, replace(new, settings=replace(settings, verdict_on="right")))[-1]
    assert (right.metric, right.old, right.new, right.is_worse) == ("correct", 1.0, 1.0, False)


def test_a_run_of_an_earlier_format_can_be_compared_with(synthetic, compare, old, tmp_path):
    path = tmp_path / "old" / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 1}))
    assert read_old_run(tmp_path / "old").rows == old.rows


@pytest.mark.parametrize("content", [None, "{", "[]", '{"rows": [{}], "questions": [], "verdict": {}}'])
def test_a_folder_without_a_finished_run_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises((DataError, InputError)):
        read_old_run(tmp_path)


def questions(folder, examples):
    path = folder / "qa.jsonl"
    rows = [
        {"id": e.id, "question": e.question, "answers": e.answers, "doc_ids": e.evidence, "answers_v2": e.answers}
        for e in examples
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_run_with_too_little_in_common_and_the_run_itself_are_refused_before_anything_is_asked(
    synthetic, old, tmp_path
):
    asked, settings = questions(tmp_path, synthetic(30).examples()), CompareSettings()

    def against(path, out=None, **changes):
        return old_run(tmp_path / "old", path, out, replace(settings, **changes), updated=False)

    assert against(asked) == old
    with pytest.raises(InputError, match=r"asked 12 of these 12 questions .* with fewer than 20 hardly any loss"):
        against(asked, limit=12)
    other = [replace(example, question=f"{example.question} Why?") for example in synthetic(30).examples()]
    with pytest.raises(InputError, match="asked none of these 30 questions"):
        against(questions(tmp_path, other))
    with pytest.raises(InputError, match="is the folder of this run"):
        against(asked, tmp_path / "old")
    assert old_run(None, asked, None, settings, updated=False) is None


def test_a_run_without_an_update_is_refused_for_one_with_an_update_before_anything_is_asked(synthetic, old, tmp_path):
    asked = questions(tmp_path, synthetic(80).examples())
    for name in ("docs", "later"):
        (tmp_path / name).mkdir()
    paths = ["--documents", tmp_path / "docs", "--questions", asked, "--update", tmp_path / "later"]
    command = ["compare", *paths, "--against", tmp_path / "old", "--out", tmp_path / "new"]
    refused = CliRunner().invoke(app, list(map(str, command)))
    assert refused.exit_code == 2
    assert "leave out --update, or name a run with an update" in " ".join(refused.stderr.split())
    assert not (tmp_path / "new").exists()


def test_old_answers_are_judged_with_the_word_weights_of_the_report():
    """That "harbour" is common counts although the questions that show it are new ones."""
    examples = [Example(f"q{i}", f"Which place has number {i}?", (f"Quay{i}x harbour",), (f"d{i}",)) for i in range(99)]
    examples[:25] = [replace(each, answers=(f"Quay{i}x",)) for i, each in enumerate(examples[:25])]
    examples[0] = replace(examples[0], answers=("Halifax harbour",))
    rows = [Row("before", BASE, e.id, Answer("no idea of it")) for e in examples]
    rows += [Row("before", RETRIEVAL, e.id, Answer("Halifax")) for e in examples]
    result = compare_rows(rows, examples, settings=VerdictSettings(draws=200))
    assert result.scores[len(examples)]["correct"] == 1
    earlier = compare_rows(rows[:25] + rows[99:124], examples[:25], settings=VerdictSettings(draws=200))
    assert earlier.scores[25]["correct"] == 0
    old = OldRun("old", earlier.rows, earlier.examples, None)
    (change,) = [change for change in changes_since(old, result) if change.arm == RETRIEVAL]
    assert (change.old, change.new) == (1 / 25, 1 / 25)


def test_an_arm_that_the_old_run_chose_and_this_one_lacks_breaks_the_build(synthetic, compare, tmp_path, capsys):
    old = kept(compare(synthetic(80), TAUGHT), tmp_path / "old")
    assert old.in_use == FINETUNED
    left = {arm: right for arm, right in TAUGHT.items() if arm != FINETUNED}
    result = compare(synthetic(80), left, settings=VerdictSettings(draws=200, require=("right>=0.1",)))
    with pytest.raises(typer.Exit) as ended:
        check_build(result, old, None, None, quiet=True)
    assert ended.value.exit_code == BROKEN
    said = "finetuning, which the earlier run chose, was not measured in this run"
    assert {check.name: check.measured for check in checks(result, (), old) if not check.holds} == {
        "right>=0.1": said,
        "finetuned is not worse than before": said,
    }
    assert said in " ".join(capsys.readouterr().err.split())


def test_an_arm_that_is_missing_breaks_the_build_unless_it_is_measured_on_request_alone(synthetic, compare, tmp_path):
    more = {**PATTERNS, LONG_CONTEXT: PATTERNS[FINETUNED], "ours": PATTERNS[FINETUNED]}
    old = kept(compare(synthetic(80), more), tmp_path / "old")
    fewer = {arm: right for arm, right in PATTERNS.items() if arm != FINETUNED}

    def missing(**facts):
        result = compare(synthetic(80), fewer, facts=facts)
        return [check.name for check in checks(result, changes_since(old, result), old) if not check.holds]

    assert missing() == ["finetuned is not worse than before"]
    assert missing(**{LONG_CONTEXT: "left out"}) == [
        "finetuned is not worse than before",
        "long context is not worse than before",
    ]


def test_an_arm_of_the_users_own_is_compared_and_can_be_the_one_in_use(synthetic, compare, tmp_path):
    old = kept(compare(synthetic(80), OURS), tmp_path / "old")
    assert old.in_use == "ours"
    result = compare(
        synthetic(80),
        {**OURS, "ours": lambda i: i % 3 == 1},
        settings=VerdictSettings(draws=200, require=("right>=0.33",)),
    )
    broken = {check.name for check in checks(result, changes_since(old, result), old) if not check.holds}
    assert broken == {"ours is not worse than before"}
    without = compare(synthetic(80), {arm: right for arm, right in OURS.items() if arm != "ours"})
    assert [check.name for check in checks(without, (), old) if not check.holds] == ["ours is not worse than before"]


def test_the_arm_in_use_is_that_of_marks_where_they_decided(synthetic, compare, tmp_path):
    result = compare(synthetic(60), PATTERNS)
    assert kept(result, tmp_path / "old").in_use != FINETUNED
    log = LineLog(marks_path(tmp_path / "old", "ann"))
    for shown in answers_to_mark(result, 10_000):
        add_mark(log, shown, "right" if FINETUNED in {row.arm for row in shown.rows} else "wrong")
    assert read_old_run(tmp_path / "old").in_use == FINETUNED


def test_a_build_breaks_with_exit_code_3_and_says_why(synthetic, compare, old, tmp_path, capsys):
    result = compare(synthetic(80), WORSE)
    junit, markdown = tmp_path / "junit.xml", tmp_path / "pull.md"
    with pytest.raises(typer.Exit) as ended:
        check_build(result, old, junit, markdown, quiet=False)
    assert ended.value.exit_code == BROKEN == 3
    assert "- retrieval is right on 50.0 %" in capsys.readouterr().out
    suite = ElementTree.fromstring(junit.read_text()).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("4", "1")
    broken = [case.get("name") for case in suite.findall("testcase") if case.find("failure") is not None]
    assert broken == ["retrieval is not worse than before"]
    (passed,) = [case for case in suite.findall("testcase") if case.get("name") == "base is not worse than before"]
    assert "over 80 common questions" in str(passed.findtext("system-out"))
    text = markdown.read_text()
    assert text.startswith("**Verdict: ")
    assert text.index("| broken | retrieval is not worse than before |") < text.index("| kept | ")


def test_nothing_worse_ends_well(synthetic, compare, old, tmp_path):
    check_build(compare(synthetic(80), PATTERNS), old, tmp_path / "junit.xml", None, quiet=True)
    suite = ElementTree.fromstring((tmp_path / "junit.xml").read_text()).find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "0"


def test_requirements_are_kept_by_the_arm_in_use_or_else_by_any(synthetic, compare, tmp_path):
    result = compare(
        synthetic(60), PATTERNS, settings=VerdictSettings(draws=200, require=("right>=0.79", "latency_p95<=9"))
    )
    named = {check.name: check.holds for check in checks(result)}
    assert named == {"right>=0.79": True, "latency_p95<=9": True, "one arm meets every requirement": True}
    old = kept(compare(synthetic(60), TAUGHT), tmp_path / "old")
    assert not {check.name: check.holds for check in checks(result, (), old)}["right>=0.79"]


def test_what_models_say_cannot_break_the_xml(synthetic, compare, tmp_path):
    result = compare(synthetic(60), PATTERNS)
    verdict = replace(result.verdict, sentence='a < b & "c" \x00\x1b]]>')
    check_build(replace(result, verdict=verdict), None, tmp_path / "junit.xml", None, quiet=True)
    said = ElementTree.fromstring((tmp_path / "junit.xml").read_text()).findtext("testsuite/system-out")
    assert said is not None
    assert said.startswith("a < b")
