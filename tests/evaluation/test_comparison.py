from dataclasses import astuple, replace

import pytest

from lorag.errors import InputError
from lorag.evaluation.answers.metrics import Style
from lorag.evaluation.answers.scoring import clusters
from lorag.evaluation.comparison import BASE, BOTH, EVIDENCE, FINETUNED, RETRIEVAL, compare_rows
from lorag.evaluation.report.html_page import html
from lorag.evaluation.report.markdown_text import to_markdown
from lorag.evaluation.report.result_tables import NOTHING, update_table
from lorag.evaluation.requirements import read_requirements
from lorag.evaluation.results import CONTINUED, LONG_CONTEXT, ErrorSplit, Latency, Reason, pairs
from lorag.evaluation.row_log import Row
from lorag.settings import REFUSAL, VerdictSettings
from lorag.types import Answer, Chunk, Example, Hit, Usage

PATTERNS = {
    BASE: lambda i: False,
    FINETUNED: lambda i: i % 2 == 0,
    RETRIEVAL: lambda i: i % 4 != 0,
    BOTH: lambda i: i % 4 != 1,
}
QUICK = VerdictSettings(draws=200)


def test_accuracy_pairs_and_order_of_arms(synthetic, compare):
    result = compare(synthetic(60), PATTERNS)
    assert [arm.arm for arm in result.arms] == [BASE, FINETUNED, RETRIEVAL, BOTH, EVIDENCE]
    arms = result.at("before")
    assert arms[RETRIEVAL].accuracy.mean == 0.75
    assert arms[RETRIEVAL].estimates["correct_answerable"].mean == 0.75
    assert [(d.first, d.second) for d in result.differences] == [
        *((arm, BASE) for arm in (RETRIEVAL, FINETUNED, BOTH)),
        *((FINETUNED, RETRIEVAL), (BOTH, RETRIEVAL), (BOTH, FINETUNED)),
    ]
    found = {(d.first, d.second): d for d in result.differences}
    assert found[FINETUNED, RETRIEVAL].difference.mean == pytest.approx(-0.25)
    assert all(d.adjusted_p >= d.difference.p_value for d in result.differences)
    assert result.phases == ("before",)
    assert len(result.rows) == len(result.scores) == 300


def test_metrics_that_do_not_apply_are_missing(synthetic, compare):
    result = compare(synthetic(60), PATTERNS)
    base, retrieval = result.at("before")[BASE], result.at("before")[RETRIEVAL]
    assert "recall_at_5" not in base.estimates
    assert base.error_split is None
    assert retrieval.estimates["recall_at_5"].mean == 1
    assert retrieval.error_split == ErrorSplit(retrieved_right=45, retrieved_wrong=15, missed_right=0, missed_wrong=0)
    for name in ("style", "hallucination", "refusal_recall", "uptake", "stale"):
        assert name not in base.estimates
    assert any("hallucinating were not measured" in note for note in result.notes)


def test_refusals(synthetic, compare):
    world = synthetic(60, unanswerable=lambda i: i % 3 == 0)
    result = compare(world, {**PATTERNS, BASE: lambda i: i % 3 == 0, RETRIEVAL: lambda i: i % 6 != 0})
    base, retrieval = result.at("before")[BASE], result.at("before")[RETRIEVAL]
    assert base.accuracy.mean == pytest.approx(1 / 3)
    assert base.estimates["correct_answerable"].mean == 0
    assert (base.estimates["refusal_recall"].mean, base.estimates["hallucination"].mean) == (1, 0)
    assert base.estimates["refusal_precision"].mean == 1
    assert base.estimates["false_refusal"].mean == 0
    assert retrieval.estimates["hallucination"].mean == 0.5
    assert "refusal_precision" in retrieval.estimates
    assert retrieval.estimates["exact_match"].n == 40


def test_the_update(synthetic, compare):
    # 12 of 60 questions change; what was right before stays the same text for the finetuned arm.
    world = synthetic(60, updated=True)
    after = {**PATTERNS, FINETUNED: lambda i: i % 2 == 0 and i % 5 != 0, RETRIEVAL: lambda i: i % 4 != 0}
    result = compare(world, PATTERNS, after)
    arms = result.at("after")
    assert arms[FINETUNED].estimates["uptake"].mean == 0
    assert arms[FINETUNED].estimates["uptake"].n == 12
    assert arms[RETRIEVAL].estimates["uptake"].mean == 0.75
    assert arms[RETRIEVAL].estimates["accuracy_unchanged"].n == 48
    assert arms[RETRIEVAL].collateral.mean == 0
    assert arms[FINETUNED].collateral.n == 48
    assert result.at("before")[RETRIEVAL].collateral is None
    assert len(result.differences) == 12
    # The base answers with neither version: not stale.
    assert arms[BASE].estimates["stale"].mean == 0


def test_an_old_answer_is_stale_unless_it_also_gives_the_new_one():
    examples = [Example(f"q{i}", "?", ("30 days",), ("d",), answers_after=("60 days",)) for i in range(4)]
    texts = ["30 days", "not 30 days but 60 days", "90 days", "I do not know whether it is 30 days."]
    rows = [
        Row("after", BASE, e.id, Answer(text, refused=i == 3))
        for i, (e, text) in enumerate(zip(examples, texts, strict=True))
    ]
    rows += [Row("after", RETRIEVAL, e.id, Answer("60 days")) for e in examples]
    base = compare_rows(rows, examples, settings=QUICK).at("after")[BASE]
    assert base.estimates["stale"].mean == 0.25
    assert base.estimates["uptake"].mean == 0.25


def test_a_passage_may_come_from_the_right_document_and_hold_no_reference():
    examples = [Example(f"q{i}", "?", ("30 days",), ("d",)) for i in range(4)] + [Example("none", "?", (), ("d",))]
    texts = ["It takes 30 days.", "It takes 30 days.", "It takes 130 days.", "", "30 days"]
    rows = [Row("before", BASE, e.id, Answer("x")) for e in examples]
    for e, passage in zip(examples, texts, strict=True):
        rows.append(
            Row(
                "before",
                RETRIEVAL,
                e.id,
                Answer("x", sources=(Hit(Chunk("d", "v", 0, len(passage), passage), 1, "dense"),)),
            )
        )
    found = compare_rows(rows, examples, settings=QUICK).at("before")[RETRIEVAL].estimates
    assert (found["evidence_in_prompt"].mean, found["evidence_in_prompt"].n) == (1, 4)
    assert found["reference_in_prompt"].mean == 0.5


def test_errors_count_as_wrong_and_do_not_enter_costs(synthetic):
    world = synthetic(20)
    rows = world.rows("before", BASE, lambda i: True) + world.rows("before", RETRIEVAL, lambda i: True)
    for i in range(5):
        rows[i] = replace(rows[i], answer=Answer("", error="timeout"))
    rows[6] = replace(rows[6], answer=replace(rows[6].answer, truncated=True, usage=Usage(200, 8, 0, 99)))
    result = compare_rows(rows, world.examples(), settings=QUICK)
    base = result.at("before")[BASE]
    assert (base.accuracy.mean, base.accuracy.n, base.errors, base.truncated) == (0.75, 20, 5, 1)
    assert base.prompt_tokens == 200
    assert base.seconds == pytest.approx(0.223, abs=0.002)
    assert base.seconds_p95 is not None
    assert base.seconds_p95 > 20  # the one answer of 99 seconds pulls at it
    assert "5 of 20 questions to base failed (timeout); each counts as wrong." in result.notes
    assert "1 of 20 answers of base were cut at the token limit." in result.notes


def test_latency_is_what_one_user_waits_in_the_last_phase_and_shares_of_a_batch_where_that_was_not_measured(synthetic):
    world = synthetic(20)
    rows = [*world.rows("before", BASE, lambda i: True), *world.rows("before", RETRIEVAL, lambda i: True)]
    waits = {RETRIEVAL: [[0.5, 3.0], [0.7, 4.0], [0.9, 8.0]]}
    arms = compare_rows(rows, world.examples(), settings=QUICK, waits=waits).at("before")
    assert arms[BASE].latency is None
    found = arms[RETRIEVAL].latency
    assert isinstance(found, Latency)
    assert astuple(found) == pytest.approx((3, 0.7, 0.88, 4.0, 7.6))
    half, tail = read_requirements(["latency_p50<=2", "latency_p95<=2"])
    assert [half.measured(arms[RETRIEVAL]), tail.measured(arms[RETRIEVAL])] == [4.0, pytest.approx(7.6)]
    assert [half.measured(arms[BASE]), tail.measured(arms[BASE])] == [arms[BASE].seconds, arms[BASE].seconds_p95]
    assert arms[RETRIEVAL].seconds == pytest.approx(0.22, abs=0.01)


def test_a_ceiling_is_measured_where_gold_passages_are_known(synthetic):
    world = synthetic(40)
    examples = [replace(e, evidence=() if i < 10 else e.evidence) for i, e in enumerate(world.examples())]
    arms = {BASE: lambda i: False, RETRIEVAL: lambda i: i >= 10, EVIDENCE: lambda i: i >= 10}
    rows = [row for arm, right in arms.items() for row in world.rows("before", arm, right)]
    result = compare_rows(rows, examples, settings=QUICK)
    found = {name: arm.estimates["correct_answerable"] for name, arm in result.at("before").items()}
    assert [(found[arm].mean, found[arm].n) for arm in (RETRIEVAL, EVIDENCE)] == [(0.75, 40), (1.0, 30)]
    assert any(note.startswith("10 answerable questions name no document: each counts") for note in result.notes)
    assert not any("name no document" in note for note in compare_rows(rows, world.examples(), settings=QUICK).notes)


def test_a_refusal_that_today_s_patterns_see_counts_in_rows_of_an_earlier_version(synthetic):
    world = synthetic(20)
    rows = world.rows("before", BASE, lambda i: False) + world.rows("before", RETRIEVAL, lambda i: True)
    rows[:20] = [replace(row, answer=replace(row.answer, text="I do not know.", refused=False)) for row in rows[:20]]
    base = compare_rows(rows, world.examples(), settings=QUICK).at("before")[BASE]
    assert base.estimates["false_refusal"].mean == 1


def test_an_arm_that_always_fails_has_no_costs(synthetic):
    world = synthetic(20)
    rows = world.rows("before", BASE, lambda i: True)
    rows += [Row("before", RETRIEVAL, f"q{i}", Answer("", error="x")) for i in range(20)]
    arm = compare_rows(rows, world.examples(), settings=QUICK).at("before")[RETRIEVAL]
    assert (arm.seconds, arm.seconds_p95, arm.prompt_tokens, arm.completion_tokens) == (None, None, None, None)
    assert arm.accuracy.mean == 0
    assert arm.error_split is not None
    assert arm.error_split.missed_wrong == 20


def test_style_is_compared_over_questions_both_arms_answered(synthetic):
    world = synthetic(40)
    rows = [row for arm in (BASE, FINETUNED, RETRIEVAL) for row in world.rows("before", arm, lambda i: True)]
    rows[80:84] = [replace(r, answer=replace(r.answer, text=REFUSAL, refused=True)) for r in rows[80:84]]
    rows[40:80] = [replace(r, answer=replace(r.answer, text=r.answer.text + " Yours.")) for r in rows[40:80]]
    result = compare_rows(rows, world.examples(), Style(ends_with="Yours."), QUICK)
    (pair,) = [d for d in result.differences if d.metric == "style"]
    assert (pair.first, pair.second, pair.difference.mean, pair.difference.n) == (FINETUNED, RETRIEVAL, 1, 36)
    assert any(r.term == "Customisation" and "+100.0 points" in r.text for r in result.verdict.reasons)


def test_facts_and_notes_are_added_to_what_is_computed(synthetic, compare):
    world = synthetic(45)
    result = compare(world, PATTERNS, facts={"model": "tiny", "margin": "mine"}, notes=["Mind the gap."])
    assert result.facts["model"] == "tiny"
    assert result.facts["margin"] == "mine"
    assert result.facts["documents asked about"] == "40"
    assert Reason("Note", "Mind the gap.") in result.verdict.reasons
    assert result.facts["effective documents"].startswith("36.8, ")
    few = compare(synthetic(6), PATTERNS)
    assert any("The questions come from 6 documents, too few to generalise" in note for note in few.notes)


def test_questions_belong_to_their_first_evidence_document_or_to_themselves():
    examples = [Example("a", "?", (), ("d", "e")), Example("b", "?", (), ("d",)), Example("d", "?", ())]
    first, second, alone = clusters(examples)
    assert first == second
    assert alone != first


def test_incomplete_and_foreign_rows_are_refused(synthetic):
    world = synthetic(20)
    rows = world.rows("before", BASE, lambda i: True) + world.rows("before", RETRIEVAL, lambda i: True)
    examples = world.examples()
    with pytest.raises(InputError, match=r"'retrieval' .* lacks 2 of 20 questions, the first 'q18'"):
        compare_rows(rows[:-2], examples)
    with pytest.raises(InputError, match="'q19', which is not among"):
        compare_rows(rows, examples[:-1])
    with pytest.raises(InputError, match="two answers"):
        compare_rows([*rows, rows[0]], examples)
    with pytest.raises(InputError, match="expected 'base' and at least one of"):
        compare_rows(rows[20:], examples)
    with pytest.raises(InputError, match="expected 'base' and at least one of"):
        compare_rows(rows[:20], examples)
    with pytest.raises(InputError, match="expected 'base' and at least one of"):
        compare_rows([], examples)


def test_rows_of_earlier_versions_are_read_under_todays_names(synthetic):
    (row,) = synthetic(1).rows("before", EVIDENCE, lambda i: True)
    assert Row.from_json({**row.to_json(), "arm": "gold context"}) == row


def test_rows_in_any_order_give_the_same_comparison(synthetic):
    world = synthetic(30)
    rows = world.rows("before", BASE, lambda i: i < 9) + world.rows("before", RETRIEVAL, lambda i: i > 9)
    assert compare_rows(rows[::-1], world.examples(), settings=QUICK) == compare_rows(
        rows, world.examples(), settings=QUICK
    )


def test_a_finetune_that_follows_the_update_stands_beside_the_first_one_and_decides_nothing(synthetic, compare):
    world = synthetic(60, updated=True)
    stale = {**PATTERNS, FINETUNED: lambda i: i % 2 == 0 and i % 5 != 0}
    plain = compare(world, PATTERNS, stale)
    rows = [*plain.rows, *world.rows("after", CONTINUED, lambda i: i % 5 == 0)]
    result = compare_rows(rows, world.examples(), settings=QUICK, update_seconds={CONTINUED: 90.0, RETRIEVAL: 2.0})
    assert list(result.at("after")) == list(plain.at("after"))
    assert list(result.updated) == [RETRIEVAL, FINETUNED, CONTINUED]
    continued = result.updated[CONTINUED]
    assert (continued.estimates["uptake"].mean, continued.update_seconds) == (1, 90)
    assert result.updated[FINETUNED].update_seconds is None
    # 24 of the 48 unchanged questions were right with the first finetune, none is with the continued one.
    assert continued.collateral is not None
    assert (continued.collateral.mean, continued.collateral.n) == (-0.5, 48)
    assert result.verdict == compare_rows(plain.rows, world.examples(), settings=QUICK).verdict
    table = update_table(result)
    assert [row[:2] for row in table.rows] == [
        ("retrieval, new index", "2"),
        ("finetuned, as it was", NOTHING),
        ("finetuned, continued", "90"),
    ]
    assert "Following the update" in html(result)
    assert "Following the update" in to_markdown(result)
    assert plain.updated.keys() == {RETRIEVAL, FINETUNED}
    assert compare(world, PATTERNS).updated == {}


def test_an_own_arm_is_judged_by_the_rule_and_stands_in_every_table(synthetic, compare):
    theirs = {FINETUNED: lambda i: i % 7 < 1, RETRIEVAL: lambda i: i % 7 < 3, BOTH: lambda i: i % 7 < 4}
    result = compare(synthetic(280), {BASE: PATTERNS[BASE], **theirs, "ours": lambda i: i % 10 != 0})
    assert [arm.arm for arm in result.arms] == [BASE, FINETUNED, RETRIEVAL, BOTH, "ours", EVIDENCE]
    assert {("ours", arm) for arm in PATTERNS} < {(d.first, d.second) for d in result.differences}
    assert result.verdict.choice == "ours"
    assert result.verdict.sentence.startswith("Use ours: 90 % of answers are right, 90 points above the base model.")
    assert "ours" in to_markdown(result)
    page = html(result)
    assert page.count("ours minus") == 4
    assert ">ours<" in page


def test_an_own_arm_wins_no_tie_because_its_cost_is_not_known(synthetic, compare):
    for own in ("alpha", "zeta"):
        result = compare(
            synthetic(400), {BASE: PATTERNS[BASE], RETRIEVAL: PATTERNS[RETRIEVAL], own: PATTERNS[RETRIEVAL]}
        )
        assert result.verdict.choice == "retrieval"


def test_a_long_context_costs_more_than_retrieval_and_less_than_training():
    assert pairs(["both", "ours", LONG_CONTEXT, "retrieval", EVIDENCE, BASE])[:4] == [
        (RETRIEVAL, BASE),
        (LONG_CONTEXT, BASE),
        (BOTH, BASE),
        ("ours", BASE),
    ]
