"""The review on the page: blind answers, marks in the format of ``lorag review``, and agreement after twenty."""

import json

import pytest

from studio_place import write_run

RUN = ".lorag/runs/reviewed"


@pytest.fixture(scope="module")
def run(page):
    return write_run(page.place.root / RUN, questions=24)


def shown(page, **query):
    return page.get("review", run=RUN, reviewer="Ada", **query)


def mark(page, place, item, said="right", **given):
    body = {"run": RUN, "reviewer": "Ada", "number": place, "sha": item["sha"], "mark": said}
    return page.send("POST", "review", body | given)


def test_answers_are_shown_without_who_gave_them(page, run):
    items = shown(page)
    assert len(items) >= 30
    assert {arm for arm in ("base", "finetuned", "retrieval", "both") if f'"{arm}"' in json.dumps(items)} == set()
    assert items == shown(page)


def test_a_mark_is_one_line_for_each_row_that_gave_the_answer(page, run):
    item = shown(page)[0]
    assert mark(page, 0, item, "partly") == (200, {"mark": "partly"})
    lines = [json.loads(line) for line in (run.folder / "marks" / "Ada.jsonl").read_text().splitlines()]
    assert {line["mark"] for line in lines} == {"partly"}
    assert set(lines[0]) == {"question_id", "arm", "phase", "mark", "answer_sha", "at"}
    assert shown(page)[0]["mark"] == "partly"
    assert page.get("review", run=RUN, reviewer="Bo")[0]["mark"] is None


def test_agreement_is_shown_after_twenty_marks_and_goes_into_the_report(page, run):
    assert page.get("review/agreement", run=RUN)["rows"] == []
    items = shown(page)
    for number, item in enumerate(items[:20]):
        mark(page, number, item, "wrong" if "Nobody" in item["answer"] else "right")
    found = page.get("review/agreement", run=RUN)
    assert found["rows"][0][2].startswith("1.00 (")
    assert "agrees with people" in found["sentences"][0]
    assert [sentence.partition(":")[0] for sentence in found["sentences"][1:2]] == ["Verdict by the metric"]
    assert "by marks" in found["sentences"][2]
    assert page.send("POST", "review/report", {"run": RUN})[0] == 200
    assert "agrees with people" in run.report.read_text()


def test_where_marks_decide_the_list_of_comparisons_has_their_verdict(page, run):
    def verdict():
        return next(each["verdict"] for each in page.get("runs") if each["run"] == RUN)

    items = shown(page, count=200)
    for number, item in enumerate(items):
        assert mark(page, number, item, "right" if "Nobody" in item["answer"] else "wrong", count=200)[0] == 200
    assert "marks decide" in verdict()["reasons"][0]
    assert verdict()["reasons"][1].startswith("Marks: Verdict by the metric: ")


def test_marks_that_cannot_be_read_are_named_and_the_verdict_by_the_metric_stands(page, run):
    (run.folder / "marks").mkdir(exist_ok=True)
    path = run.folder / "marks" / "ann.jsonl"
    path.write_text("no marks\n")
    found = next(each for each in page.get("runs") if each["run"] == RUN)
    path.unlink()
    by_metric = json.loads(run.result.read_text())["verdict"]["sentence"]
    assert (found["state"], found["verdict"]["sentence"]) == ("finished", by_metric)
    assert found["verdict"]["reasons"][0].startswith("Marks: not counted, because ")
    assert "ann.jsonl:1" in found["verdict"]["reasons"][0]


def test_marks_of_an_answer_that_changed_since_are_refused(page, run):
    items = shown(page)
    assert mark(page, 1, items[1], sha="0" * 16)[0] == 409
    write_run(page.place.root / ".lorag" / "runs" / "again", questions=24, says=lambda arm, n: f"{arm} {n}")
    changed = (page.place.root / ".lorag" / "runs" / "again" / "result.json").read_bytes()
    kept = run.result.read_bytes()
    run.result.write_bytes(changed)
    assert mark(page, 0, items[0])[0] == 409
    refused = page.get("review/agreement", run=RUN)["refused"]
    assert refused
    assert "changed since" in refused[0]
    run.result.write_bytes(kept)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"mark": "fine"}, 400),
        ({"number": -1}, 400),
        ({"number": 10_000}, 400),
        ({"number": "0"}, 400),
        ({"count": 0}, 400),
        ({"reviewer": "../../out"}, 400),
        ({"reviewer": ""}, 400),
        ({"run": ".lorag/runs/none"}, 404),
    ],
)
def test_wrong_marks_are_refused(page, run, given, status):
    assert mark(page, 0, shown(page)[0], **given)[0] == status
    assert not (page.place.root / "out.jsonl").exists()
