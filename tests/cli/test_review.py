"""``lorag review`` in the terminal: one key for each answer, blind, resumed where it was left."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lorag.cli.commands import app
from lorag.evaluation.comparison import BASE, RETRIEVAL, compare_rows
from lorag.evaluation.report.json_record import result_json
from lorag.evaluation.row_log import Row
from lorag.settings import VerdictSettings
from lorag.types import Answer, Example


@pytest.fixture
def run(tmp_path: Path) -> Path:
    examples = [Example(f"q{i}", f"What is entry {i}?", (f"value{i}",), (f"doc{i}",)) for i in range(24)]
    rows = [Row("before", BASE, e.id, Answer("no idea of it")) for e in examples]
    rows += [Row("before", RETRIEVAL, e.id, Answer(f"It is {e.answers[0]}.")) for e in examples]
    result = compare_rows(rows, examples, settings=VerdictSettings(draws=200))
    (tmp_path / "result.json").write_text(result_json(result))
    return tmp_path


def review(run: Path, *options: str, keys: str = ""):
    return CliRunner().invoke(app, ["review", str(run), *options], input=keys)


def marks(run: Path, name: str = "me") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "marks" / f"{name}.jsonl").read_text().splitlines()]


def test_one_key_marks_an_answer_and_the_same_command_resumes(run):
    first = review(run, "--answers", "6", keys="rwsq")
    assert first.exit_code == 0, first.output
    assert [line["mark"] for line in marks(run)] == ["right", "wrong"]
    assert "2 of 6 answers are marked" in first.output
    assert not any(arm in first.output for arm in ("base", "retrieval"))
    second = review(run, "--answers", "6", keys="uprr")
    assert "6 of 6 answers are marked" in second.output
    assert "1 of 6" not in second.output
    assert "3 of 6" in second.output
    assert len({(line["question_id"], line["arm"]) for line in marks(run)}) == 6
    assert "right and me" in second.output


def test_back_marks_the_answer_before_once_more_and_other_keys_do_nothing(run):
    assert review(run, "--answers", "4", keys="rxbwq").exit_code == 0
    first, again = marks(run)
    assert (first["mark"], again["mark"]) == ("right", "wrong")
    assert (first["question_id"], first["arm"]) == (again["question_id"], again["arm"])


def test_show_prints_agreement_and_the_verdict_by_marks_where_it_is_poor(run):
    assert "No answer of this run is marked yet." in review(run, "--show").output
    kept = (run / "result.json").read_bytes()
    review(run, "--name", "ann", "--answers", "100", keys="w" * 100)
    assert "Verdict by the metric: Use retrieval" in (run / "report.html").read_text()
    assert (run / "result.json").read_bytes() == kept
    shown = review(run, "--show")
    assert shown.exit_code == 0
    assert "agrees poorly with people" in shown.output
    assert "Verdict by marks" in shown.output
    found = json.loads(review(run, "--json").stdout)
    assert found["reviewers"] == [{"name": "ann", "marked": 48, "refused": []}]
    assert found["metrics"][0]["kappa"]["mean"] == 0
    assert found["verdict"]["choice"] in ("neither", "undecided")
    assert found["decided_by"] == "marks"
    assert json.loads(kept)["verdict"]["choice"] == "retrieval"


def test_the_verdict_by_marks_is_the_one_that_a_report_shows(run):
    review(run, "--answers", "100", keys="w" * 100)
    by_marks = json.loads(review(run, "--json").stdout)["verdict"]
    for options in ([], ["--verbose"], ["--markdown"]):
        shown = " ".join(CliRunner().invoke(app, ["report", str(run), *options]).output.split())
        assert f"Verdict: {by_marks['choice']}" in shown
        assert by_marks["sentence"] in shown
        assert "marks decide" in shown
        assert "Use it:" not in shown
    found = json.loads(CliRunner().invoke(app, ["report", str(run), "--json"]).stdout)["verdict"]
    assert (found["choice"], found["sentence"]) == (by_marks["choice"], by_marks["sentence"])
    assert found["reasons"][0]["term"] == "Marks"
    assert f"<strong>{by_marks['choice'].capitalize()}</strong>" in (run / "report.html").read_text()


def test_marks_of_other_answers_are_not_counted(run):
    review(run, "--answers", "2", keys="rr")
    path = run / "marks" / "me.jsonl"
    path.write_text(path.read_text().replace('"answer_sha":"', '"answer_sha":"0'))
    shown = review(run, "--show")
    assert "not counted: me.jsonl:1:" in shown.output
    assert "No answer of this run is marked yet." in shown.output


def test_a_folder_without_a_finished_run_is_refused(tmp_path):
    refused = review(tmp_path)
    assert refused.exit_code == 2
    assert "expected the result of a finished `lorag compare`" in refused.output
    assert not (tmp_path / "marks").exists()
    assert review(tmp_path, "--show").exit_code == 2


def test_a_finished_run_is_shown_again_in_short_and_whole(run):
    def report(*options: str) -> str:
        done = CliRunner().invoke(app, ["report", str(run), *options])
        assert done.exit_code == 0, done.output
        return done.output

    short, whole = report(), report("--verbose")
    assert len([line for line in short.splitlines() if line.strip(" ─")]) <= 12
    assert "knows the facts" in short
    assert "Verdict: retrieval" in short
    assert "External knowledge" not in short
    assert "External knowledge" in whole
    assert "prompt tokens" in whole
    assert report("--markdown").startswith("**Verdict: retrieval.**")
    assert json.loads(report("--json"))["verdict"]["choice"] == "retrieval"
    assert "<strong>Retrieval</strong>" in (run / "report.html").read_text()
    assert "1,000 questions, machine hours" not in short
    (run / "prices.toml").write_text('currency = "EUR"\nmachine_hour = 2\n')
    assert "Seconds as median" in report("--verbose", "--prices", str(run / "prices.toml"))
    assert json.loads((run / "result.json").read_text())["prices"]["rates"]["machine_hour"] == 2
    assert json.loads(report("--json"))["costs"]["currency"] == "EUR"
    missing = CliRunner().invoke(app, ["report", str(run / "marks")])
    assert (missing.exit_code, "no such file" in missing.output) == (2, True)
