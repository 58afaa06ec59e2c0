"""A comparison against an earlier run: paired over common questions, and what breaks a build."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
import typer

from lorag.cli.evaluate_command import BROKEN, check_build, old_run
from lorag.errors import DataError, InputError
from lorag.evaluation.comparison import BASE, BOTH, FINETUNED, RETRIEVAL
from lorag.evaluation.regression.build_checks import checks
from lorag.evaluation.regression.old_run import changes_since, read_old_run
from lorag.evaluation.report.json_record import result_json
from lorag.settings import VerdictSettings

PATTERNS = {
    BASE: lambda i: False,
    FINETUNED: lambda i: i % 3 == 0,
    RETRIEVAL: lambda i: i % 5 != 0,
    BOTH: lambda i: i % 7 != 0,
}
WORSE = {**PATTERNS, RETRIEVAL: lambda i: i % 2 == 0}


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


def test_runs_of_other_questions_and_the_run_itself_are_refused_before_anything_is_asked(old, tmp_path):
    other = tmp_path / "qa.jsonl"
    other.write_text('{"id": "x", "question": "Why?", "answers": ["a"], "doc_ids": []}\n')
    with pytest.raises(InputError, match="asked none of these questions"):
        old_run(tmp_path / "old", other, None)
    with pytest.raises(InputError, match="is the folder of this run"):
        old_run(tmp_path / "old", other, tmp_path / "old")
    assert old_run(None, other, None) is None


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
    text = markdown.read_text()
    assert text.startswith("**Verdict: ")
    assert text.index("| broken | retrieval is not worse than before |") < text.index("| kept | ")


def test_nothing_worse_ends_well(synthetic, compare, old, tmp_path):
    check_build(compare(synthetic(80), PATTERNS), old, tmp_path / "junit.xml", None, quiet=True)
    suite = ElementTree.fromstring((tmp_path / "junit.xml").read_text()).find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "0"


def test_requirements_are_kept_by_the_arm_in_use_or_else_by_any(synthetic, compare):
    result = compare(
        synthetic(60), PATTERNS, settings=VerdictSettings(draws=200, require=("right>=0.79", "latency_p95<=9"))
    )
    named = {check.name: check.holds for check in checks(result)}
    assert named == {"right>=0.79": True, "latency_p95<=9": True, "one arm meets every requirement": True}
    assert not {check.name: check.holds for check in checks(result, in_use=FINETUNED)}["right>=0.79"]


def test_what_models_say_cannot_break_the_xml(synthetic, compare, tmp_path):
    result = compare(synthetic(60), PATTERNS)
    verdict = replace(result.verdict, sentence='a < b & "c" \x00\x1b]]>')
    check_build(replace(result, verdict=verdict), None, tmp_path / "junit.xml", None, quiet=True)
    said = ElementTree.fromstring((tmp_path / "junit.xml").read_text()).findtext("testsuite/system-out")
    assert said is not None
    assert said.startswith("a < b")
