import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorag.evaluation.comparison import BASE, BOTH, FINETUNED, RETRIEVAL, compare_rows
from lorag.evaluation.verdict import rule
from lorag.settings import VerdictSettings


def mostly(share, seed):
    """Right on about ``share`` of the questions, independently of other seeds."""
    return lambda i: random.Random(seed * 100_003 + i).random() < share


def never(i):
    return False


def every(step):
    return lambda i: i % step == 0


def arms(base, finetuned, retrieval, both):
    return {BASE: base, FINETUNED: finetuned, RETRIEVAL: retrieval, BOTH: both}


def text(result):
    return "\n".join(result.verdict.reasons)


def test_retrieval_wins_clearly(synthetic, compare):
    result = compare(synthetic(200), arms(never, mostly(0.2, 1), mostly(0.8, 2), mostly(0.6, 3)))
    verdict = result.verdict
    assert (verdict.choice, verdict.bottleneck, verdict.more_questions) == ("retrieval", None, None)
    assert verdict.sentence.startswith("Use retrieval: it answers ")
    assert "finetuning and both together can be at most 5 points better" in verdict.sentence
    assert "Dynamic data: not measured" in text(result)
    assert "Customisation: not measured" in text(result)
    assert "ceiling" in text(result)


def test_a_finetune_that_reads_worse_is_named_as_the_reason(synthetic, compare):
    damaged = compare(synthetic(200), arms(never, mostly(0.2, 1), mostly(0.8, 2), mostly(0.5, 3)))
    assert "the finetuned model is right less often than the base model (-" in text(damaged)
    equal = compare(synthetic(200), arms(never, mostly(0.2, 1), mostly(0.8, 2), mostly(0.78, 3)))
    assert "cost more reading" not in text(equal)


def test_a_finetune_that_taught_nothing_is_named_so(synthetic, compare):
    untaught = compare(synthetic(200), arms(mostly(0.2, 1), mostly(0.2, 4), mostly(0.8, 2), mostly(0.8, 3)))
    assert "finetuning is judged by this training" in text(untaught)
    taught = compare(synthetic(200), arms(mostly(0.2, 1), mostly(0.5, 4), mostly(0.8, 2), mostly(0.8, 3)))
    assert "finetuning is judged by this training" not in text(taught)


def test_finetuning_wins_clearly(synthetic, compare):
    result = compare(synthetic(200), arms(never, mostly(0.9, 1), mostly(0.5, 2), mostly(0.6, 3)))
    assert result.verdict.choice == "finetuning"


def test_both_win_clearly(synthetic, compare):
    result = compare(synthetic(200), arms(never, mostly(0.5, 1), mostly(0.55, 2), mostly(0.95, 3)))
    assert result.verdict.choice == "both"
    assert result.verdict.sentence.startswith("Use both, finetuning with retrieval: it answers ")


def test_equal_arms_give_the_cheapest_one_when_equality_is_shown(synthetic, compare):
    # The same questions right but for a few in a hundred, in favour of the dearer arms.
    right = mostly(0.7, 1)
    dearer = arms(never, lambda i: right(i) or i % 100 == 7, right, lambda i: right(i) or i % 100 == 9)
    assert compare(synthetic(400), dearer).verdict.choice == "retrieval"


def test_arms_that_look_equal_are_not_declared_equal(synthetic, compare):
    patterns = arms(never, mostly(0.7, 1), mostly(0.7, 2), mostly(0.7, 3))
    verdict = compare(synthetic(100), patterns).verdict
    assert verdict.choice == "undecided"
    # Independent arms at 0.7 differ on 42 % of questions: 5 points take about 1,300.
    assert 500 < verdict.more_questions < 3000
    assert f"about {verdict.more_questions} more questions would" in verdict.sentence


def test_an_undecided_verdict_says_what_is_settled(synthetic, compare):
    patterns = arms(never, mostly(0.1, 1), mostly(0.7, 2), mostly(0.75, 3))
    verdict = compare(synthetic(60), patterns).verdict
    assert verdict.choice == "undecided"
    assert "What is known: finetuning is clearly worse than retrieval and both together." in verdict.sentence


@pytest.mark.parametrize("n", [5, 19])
def test_few_questions_are_never_enough(synthetic, compare, n):
    verdict = compare(synthetic(n), arms(never, never, lambda i: True, never)).verdict
    assert verdict.choice == "undecided"
    assert verdict.more_questions >= 20 - n
    assert "too few" in verdict.sentence


def test_twenty_questions_are_enough_for_a_landslide(synthetic, compare):
    verdict = compare(synthetic(20), arms(never, never, lambda i: True, never)).verdict
    assert verdict.choice == "retrieval"


def test_a_low_ceiling_is_a_fact_about_the_model(synthetic, compare):
    result = compare(synthetic(200), arms(never, never, mostly(0.3, 1), mostly(0.3, 2)), ceiling=every(3))
    verdict = result.verdict
    assert (verdict.choice, verdict.bottleneck, verdict.more_questions) == ("undecided", "model", None)
    assert "fact about this model, not about retrieval; try a larger model" in verdict.sentence


def test_a_low_ceiling_without_the_answer_in_the_passages_is_warned_of(synthetic, compare):
    # The synthetic passages never hold a reference.
    patterns = arms(never, never, mostly(0.3, 1), mostly(0.3, 2))
    warning = "the low ceiling may come from the passages or the references"
    assert warning in text(compare(synthetic(100), patterns, ceiling=every(3)))
    assert warning not in text(compare(synthetic(100), patterns))


def test_finetuning_may_win_below_the_ceiling_with_this_model_only(synthetic, compare):
    patterns = arms(never, mostly(0.8, 3), mostly(0.3, 1), mostly(0.3, 2))
    verdict = compare(synthetic(200), patterns, ceiling=every(3)).verdict
    assert (verdict.choice, verdict.bottleneck) == ("finetuning", "model")
    assert verdict.sentence.startswith("With this model, use finetuning")
    close = arms(never, mostly(0.3, 3), mostly(0.3, 1), mostly(0.3, 2))
    assert compare(synthetic(200), close, ceiling=every(3)).verdict.choice == "undecided"


def test_neither_needs_proof_that_there_is_nothing_to_gain(synthetic, compare):
    same = mostly(0.3, 1)
    for ceiling in (every(1), every(3)):
        assert compare(synthetic(400), arms(same, same, same, same), ceiling=ceiling).verdict.choice == "neither"
    verdict = compare(synthetic(60), arms(same, same, same, same)).verdict
    assert verdict.choice == "undecided"
    assert "better than the base model" in verdict.sentence


def test_a_worse_arm_is_not_useful(synthetic, compare):
    verdict = compare(synthetic(300), arms(mostly(0.8, 1), never, never, never)).verdict
    assert verdict.choice == "neither"


def test_the_update_decides_and_a_change_of_mind_is_told(synthetic, compare):
    world = synthetic(200, updated=True)
    knows = mostly(0.97, 1)
    before = arms(never, knows, mostly(0.8, 2), mostly(0.8, 3))
    # Every fifth question changes, and the weights do not.
    after = {**before, FINETUNED: lambda i: knows(i) and i % 5 != 0, RETRIEVAL: mostly(0.95, 2)}
    result = compare(world, before, after)
    assert result.verdict.choice == "retrieval"
    assert "before the update the verdict would have been 'finetuning'" in text(result)
    assert "after the update it answers" in result.verdict.sentence
    assert "finetuning gives the new answer to 0.0 %" in text(result)


def test_a_chosen_arm_that_answers_everything_is_warned_of(synthetic, compare):
    world = synthetic(200, unanswerable=every(5))
    always = arms(never, never, lambda i: i % 5 != 0, never)
    result = compare(world, always)
    assert result.verdict.choice == "retrieval"
    assert "Warning: retrieval answers 100.0 % of the questions that the documents do not answer" in text(result)


def test_a_gain_below_the_margin_is_warned_of(synthetic, compare):
    base = every(2)
    result = compare(synthetic(600), arms(base, base, lambda i: base(i) or i % 50 == 1, base))
    assert result.verdict.choice == "retrieval"
    assert "below the margin of 5 points" in text(result)


def test_what_was_not_measured_is_named(synthetic):
    world = synthetic(60)
    rows = world.rows("before", BASE, never) + world.rows("before", RETRIEVAL, mostly(0.9, 1))
    result = compare_rows(rows, world.examples(), settings=VerdictSettings(draws=200))
    assert result.verdict.choice == "retrieval"
    assert "not measured, so that nothing is said of it: finetuning and both together." in text(result)
    assert "the ceiling (right passages given) was not measured" in text(result)


@given(st.integers(20, 90), st.floats(0, 1), st.floats(0, 1), st.integers(0, 10**6))
@settings(max_examples=25)
def test_identical_arms_never_make_a_dearer_one_win(synthetic, n, base, share, seed):
    world, same = synthetic(n), mostly(share, seed)
    rows = world.rows("before", BASE, mostly(base, seed + 1))
    for arm in (FINETUNED, RETRIEVAL, BOTH):
        rows += world.rows("before", arm, same)
    verdict = compare_rows(rows, world.examples(), settings=VerdictSettings(draws=200)).verdict
    assert verdict.choice in ("retrieval", "neither", "undecided")
    assert (verdict.more_questions is None) == (verdict.choice != "undecided")


def test_the_rule_speaks_with_the_numbers_in_force():
    words = " ".join(rule(VerdictSettings(margin=0.1, ceiling=0.75, confidence=0.9)))
    for part in ("10 points", "75 %", "90 %", "below 0.1", "Fewer than 20"):
        assert part in words
