import base64
import hashlib
import html as html_library
import json
import re
from dataclasses import replace

import pytest

from lorag.evaluation.comparison import BASE, BOTH, FINETUNED, RETRIEVAL, compare_rows
from lorag.evaluation.labels import METRIC_NAMES
from lorag.evaluation.report.answer_list import answer_list
from lorag.evaluation.report.factor_table import BEHIND, factor_table
from lorag.evaluation.report.html_page import disagreements, html, write_report
from lorag.evaluation.report.json_record import FORMAT, read_result, result_json
from lorag.evaluation.report.markdown_text import to_markdown
from lorag.evaluation.report.plot import arms_plot
from lorag.evaluation.report.result_tables import arms_table, narrow_table, split_table
from lorag.evaluation.results import Built
from lorag.evaluation.row_log import Row
from lorag.evaluation.verdict import deciding_metric
from lorag.files import write_whole
from lorag.settings import VerdictSettings
from lorag.types import Answer, Chunk, Example, Hit, Message

PATTERNS = {
    BASE: lambda i: False,
    FINETUNED: lambda i: i % 3 == 0,
    RETRIEVAL: lambda i: i % 5 != 0,
    BOTH: lambda i: i % 7 != 0,
}


@pytest.fixture
def updated(synthetic, compare):
    world = synthetic(60, unanswerable=lambda i: i % 10 == 1, updated=True)
    return compare(world, PATTERNS, PATTERNS, facts={"model": "tiny <1B>"}, notes=["Three documents were cut."])


def test_the_page_holds_the_verdict_and_everything_behind_it(updated):
    page = html(updated)
    assert f"<strong>{updated.verdict.choice.capitalize()}</strong>" in page
    for part in ("After the update", "Before the update", "p (Holm)", "Where retrieval goes wrong", "fixed before"):
        assert part in page
    assert "Three documents were cut." in page
    assert "tiny &lt;1B&gt;" in page
    assert page.count("<svg") == 1


def test_the_first_table_has_a_row_for_each_factor_and_marks_what_is_behind(updated):
    table = factor_table(updated)
    assert table.headings == ("", BASE, FINETUNED, RETRIEVAL, BOTH)
    rows = {name: cells for name, *cells in table.rows}
    assert {"knows the facts", "follows changes", "refuses when it should", "answers when it can"} <= set(rows)
    base, _, retrieval, both = rows["knows the facts"]
    assert base.startswith(f"{BEHIND} 0 ")
    assert both.startswith("✓ ")
    share = updated.at("after")[RETRIEVAL].estimates["correct_answerable"]
    assert f" {100 * share.mean:.0f} ({100 * share.interval.low:.0f}-" in retrieval
    assert "minutes to build" not in rows
    strength = {"share": 0.5, "probed": {"general_loss": 4.2}}
    recipe = {"before": {"general_loss": 3.7}, "strengths": [strength], "strength": 0.5}
    recipe |= {"final": {"seconds": 90.0}, "rungs": [{"seconds": 30.0}]}
    trained = dict((name, cells) for name, *cells in factor_table(replace(updated, tried={"recipe": recipe})).rows)
    assert trained["forgets nothing"] == ["✓", f"{BEHIND} +0.50 nats", "✓", f"{BEHIND} +0.50 nats"]
    weaker = replace(updated, tried={"recipe": recipe, "reading": {"general_loss": 3.8}})
    weakened = dict((name, cells) for name, *cells in factor_table(weaker).rows)
    assert weakened["forgets nothing"] == ["✓", f"{BEHIND} +0.50 nats", "✓", "✓ +0.10 nats"]
    built = dict((name, cells) for name, *cells in factor_table(replace(updated, built=Built(30.0, 120.0))).rows)
    assert built["minutes to build"] == ["✓ 0.0", f"{BEHIND} 2.0", "✓ 0.5", f"{BEHIND} 2.5"]  # a minute is little


def test_the_page_needs_nothing_else(updated):
    page = html(updated)
    assert not re.search(r"""(src|href(?!="#)|url|@import)\s*[=(]""", page)
    assert "http" not in page.replace("http-equiv", "")
    (script,) = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'\"" in html_library.unescape(page)


def test_every_table_has_headings_and_every_plot_words(updated):
    page = html(updated)
    assert page.count("<table>") == page.count("<caption>") == page.count("<thead>")
    assert page.count("<svg") == page.count("<desc") == page.count('role="img"')
    names = [name for name in re.findall(r'<text class="name"[^>]*>([^<]*)<', page) if name]
    assert names == list(updated.at("after"))
    assert page.count('class="earlier"') == len(updated.at("before"))
    assert ">base with gold passages</text>" in page


@pytest.mark.parametrize(
    ("verdict_on", "heading"), [("right", "Right answers"), ("right_and_supported", "Right and supported answers")]
)
def test_the_plot_shows_what_the_verdict_rests_on(synthetic, compare, verdict_on, heading):
    result = compare(synthetic(60), PATTERNS, settings=VerdictSettings(draws=100, verdict_on=verdict_on))
    plot = arms_plot(result, None)
    assert plot.heading == heading
    assert f"<h3>{heading}</h3>" in html(result)
    means = [arm.estimates[deciding_metric(result.arms, result.settings)].mean for arm in result.at("before").values()]
    assert [mark.label.split(" %")[0] for mark in plot.marks] == [f"{100 * mean:.1f}" for mean in means]


def test_what_models_and_files_say_is_escaped():
    attack = "</p><script>alert(1)</script>"
    examples = [Example(f"q{i}", f"{attack} {i}?", (attack,), (attack,)) for i in range(20)]
    hit = Hit(Chunk(attack, "v", 0, len(attack), attack, attack), 1.0, "dense")
    rows = [Row("before", BASE, e.id, Answer(attack, error=attack)) for e in examples]
    rows += [Row("before", RETRIEVAL, e.id, Answer(attack, sources=(hit,))) for e in examples]
    result = compare_rows(rows, examples, settings=VerdictSettings(draws=100), facts={attack: attack}, notes=[attack])
    page = html(result)
    assert page.count("<script") == 1
    assert page.count("&lt;script&gt;") > 40


def test_disagreements_are_the_most_even_splits_in_the_order_of_the_questions(updated):
    shown = disagreements(updated)
    assert len(shown) == 10
    right = [sum(reply.mark == "right" for reply in case.replies) for case in shown]
    assert right == [2] * 10
    numbers = [int(case.example_id[1:]) for case in shown]
    assert numbers == sorted(numbers)
    changed = next(case for case in shown if int(case.example_id[1:]) % 5 == 0)
    assert changed.references[0].startswith("fresh")


def test_arms_that_agree_everywhere_are_said_to(synthetic, compare):
    result = compare(synthetic(30), dict.fromkeys(PATTERNS, lambda i: True))
    assert disagreements(result) == []
    assert "on every question all arms are right or all are wrong" in html(result)


def test_the_report_is_written_whole(updated, tmp_path):
    path = tmp_path / "run" / "report.html"
    write_report(updated, path)
    assert path.read_text(encoding="utf-8") == html(updated)


def test_markdown(updated):
    text = to_markdown(updated)
    assert text.startswith(f"**Verdict: {updated.verdict.choice}.** ")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    arms = text[: text.index("**Following the update**")].splitlines()
    assert len({line.count("|") for line in arms if line.startswith("|") and "---" not in line}) <= 2
    assert sum(line.startswith("| retrieval |") for line in lines) == 2
    assert sum(line.startswith("| retrieval, new index |") for line in lines) == 1
    assert "| right |" in text
    assert "changed: old answer" in text


def test_the_terminals_table_holds_the_same_figures_in_less_room(updated):
    for phase in updated.phases:
        narrow, wide = narrow_table(updated, phase), arms_table(updated, phase)
        assert narrow.headings[1:] == tuple(row[0] for row in wide.rows)
        assert {row[0] for row in narrow.rows} == set(wide.headings[1:])
        right = updated.at(phase)["retrieval"].accuracy
        shown = dict(zip(narrow.headings, narrow.rows[0], strict=True))["retrieval"]
        low, high = (f"{100 * end:.0f}" for end in (right.interval.low, right.interval.high))
        assert shown == f"{100 * right.mean:.0f} ({low}-{high})"
        assert max(len(cell) for row in narrow.rows for cell in row[1:]) <= 12


def test_warnings_stand_beside_the_verdict(synthetic, compare):
    world = synthetic(100, unanswerable=lambda i: i % 5 == 0)
    result = compare(world, {**dict.fromkeys(PATTERNS, lambda i: False), RETRIEVAL: lambda i: i % 5 != 0})
    warning = "Warning: retrieval answers 100.0 % of the questions that the documents do not answer"
    assert warning in to_markdown(result).split("|")[0]
    assert warning.replace("retrieval", "Retrieval") in html(result).split("<h2>Why</h2>")[0]


def test_every_row_is_in_the_record_with_its_scores(updated):
    record = json.loads(result_json(updated))
    assert [Row.from_json({k: v for k, v in row.items() if k != "scores"}) for row in record["rows"]] == list(
        updated.rows
    )
    assert [row["scores"] for row in record["rows"]] == [dict(scores) for scores in updated.scores]
    assert record["verdict"]["choice"] == updated.verdict.choice
    assert len(record["differences"]) == 12
    assert record["questions"][0]["answers_after"] == ["fresh0"]
    assert record["facts"]["model"] == "tiny <1B>"


def test_a_result_with_reasons_as_strings_is_read(updated, tmp_path):
    record = json.loads(result_json(updated))
    record["format"] = 2
    record["verdict"]["reasons"] = list(map(str, updated.verdict.reasons))
    (tmp_path / "result.json").write_text(json.dumps(record))
    assert read_result(tmp_path / "result.json").verdict == updated.verdict


def test_a_result_whose_metrics_have_keys_with_spaces_is_read(updated, tmp_path):
    written, path = result_json(updated), tmp_path / "result.json"
    path.write_text(written)
    today = read_result(path)
    old = written.replace(f'"format": {FORMAT}', '"format": 3').replace("_in_prompt", " in prompt")
    old = old.replace("recall_at_5", "recall@5").replace("mrr_at_10", "MRR@10")
    path.write_text(re.sub('"(retrieved|missed)_(right|wrong)"', r'"\1, \2"', old))
    assert "missed, wrong" in path.read_text()
    assert read_result(path) == today
    assert today.arms == updated.arms


def test_the_folder_of_a_run_is_where_it_is_read(updated, tmp_path):
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    write_whole(run / "result.json", result_json(updated))
    first = read_result(run / "result.json")
    run.rename(elsewhere)
    moved = read_result(elsewhere / "result.json")
    assert (first.folder, moved.folder) == (run, elsewhere)
    assert moved == first


def test_every_metric_has_a_key_that_can_be_a_name_and_a_heading(updated):
    assert all(map(str.isidentifier, METRIC_NAMES))
    measured = {metric for arm in updated.arms for metric in arm.estimates}
    assert measured <= METRIC_NAMES.keys()
    assert split_table(updated, "after").headings[1:] == (
        "retrieved, right",
        "retrieved, wrong",
        "missed, right",
        "missed, wrong",
    )


def test_numbers_that_json_lacks_become_null(synthetic):
    world = synthetic(20)
    rows = world.rows("before", BASE, lambda i: True)
    hit = Hit(Chunk("d", "v", 0, 1, "x"), float("nan"), "dense")
    rows += [Row("before", RETRIEVAL, e.id, Answer("x", sources=(hit,))) for e in world.examples()]
    record = json.loads(result_json(compare_rows(rows, world.examples(), settings=VerdictSettings(draws=100))))
    assert record["rows"][20]["answer"]["sources"][0]["score"] is None


def test_all_answers_are_listed_by_question_with_what_decided_their_score(updated):
    listed = answer_list(updated)
    assert (len(listed.asked), listed.left_out) == (60, 0)
    assert listed.arms == tuple(updated.at("after"))
    assert len(listed.passages) == 40  # once each, though three arms saw them
    for row, scores in zip(updated.rows, updated.scores, strict=True):
        if row.phase == "after":
            asked = listed.asked[int(row.example_id[1:])]
            reply = asked.replies[listed.arms.index(row.arm)]
            assert reply.marks[0] == ("right" if scores["correct"] else "wrong")
            assert ("refused" in reply.marks) == row.answer.refused
            assert "".join(piece.text for piece in reply.pieces) == row.answer.text
            assert [listed.passages[at] for at in reply.passages] == [hit.chunk for hit in row.answer.sources]
            given = [piece.text for piece in reply.pieces if piece.kind == "reference"]
            assert given == (list(asked.example.answers) if scores["correct"] else [])
    assert listed.asked[5].example.answers == ("fresh5",)
    page = html(updated)
    assert page.count("data-arm=") == 60 * len(listed.arms)
    assert '<mark class="reference">fresh5</mark>' in page


def test_the_answers_say_what_was_sent_and_name_each_passage_and_each_beginning_once():
    passage = Chunk("fees.md", "v", 0, 17, "The fee is 5 EUR.", "Fees")
    opening = (Message("system", "Answer briefly."), Message("user", "Q"), Message("assistant", "A"))
    sent = Message("user", f"[1] {passage.text}\nWhat is the fee?")
    examples = [Example(f"q{i}", "What is the fee?", ("5 EUR",), ("fees.md",)) for i in range(20)]
    rows = [Row("before", BASE, e.id, Answer("7 EUR", (*opening, Message("user", e.question)))) for e in examples]
    hits = (Hit(passage, 1.0, "dense"),)
    rows += [Row("before", RETRIEVAL, e.id, Answer("5 EUR, and in May", (*opening, sent), hits)) for e in examples]
    listed = answer_list(compare_rows(rows, examples, settings=VerdictSettings(draws=100)))
    base, retrieval = listed.asked[3].replies
    assert (listed.openings, listed.passages) == ((opening,), (passage,))
    assert (retrieval.opening, retrieval.asked) == (0, "[1] ⟨passage 1⟩\nWhat is the fee?")
    assert base.marks == ("wrong", "unsupported")
    assert base.reasons[0] == "Gives no reference."
    assert [piece.kind for piece in base.pieces] == ["contradicted"]
    assert "The passage: “The fee is 5 EUR.”" in base.reasons[1]


def test_answers_of_more_questions_than_the_page_has_room_for_are_left_out_and_counted(synthetic, compare):
    result = compare(synthetic(410), {BASE: lambda i: False, RETRIEVAL: lambda i: True}, ceiling=None)
    page = html(result)
    assert "400 questions, 10 more are in result.json" in page
    assert len(page) < 1_000_000
