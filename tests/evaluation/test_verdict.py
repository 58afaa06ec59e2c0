import random
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorag.evaluation.comparison import (
    BASE,
    BOTH,
    EVIDENCE,
    FINETUNED,
    FINETUNED_EVIDENCE,
    RETRIEVAL,
    compare_rows,
)
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
    return "\n".join(map(str, result.verdict.reasons))


def test_retrieval_wins_clearly(synthetic, compare):
    result = compare(synthetic(200), arms(never, mostly(0.2, 1), mostly(0.8, 2), mostly(0.6, 3)))
    verdict = result.verdict
    assert (verdict.choice, verdict.bottleneck, verdict.more_questions) == ("retrieval", None, None)
    assert re.fullmatch(
        r"Use retrieval: \d+ % of answers are right, \d+ points above the base model\.", verdict.sentence
    )
    assert "Certainty: retrieval minus finetuning: +" in text(result)
    assert "Certainty: retrieval minus both together: +" in text(result)
    assert "Dynamic data: not measured" in text(result)
    assert "Customisation: not measured" in text(result)
    assert "Ceiling: base with gold passages: 90.0 % (" in text(result)


def test_a_finetune_that_reads_worse_is_named_as_the_reason(synthetic, compare):
    damaged = compare(synthetic(200), arms(never, mostly(0.2, 1), mostly(0.8, 2), mostly(0.5, 3)))
    assert "the finetuned model is right less often than the base model (-" in text(damaged)
    equal = compare(synthetic(200), arms(never, mostly(0.2, 1), mostly(0.8, 2), mostly(0.78, 3)))
    assert "harmed reading" not in text(equal)


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
    assert result.verdict.sentence.startswith("Use both: ")
    assert result.verdict.sentence.endswith("above the base model, with one training.")


def test_equal_arms_give_the_cheapest_one_when_equality_is_shown(synthetic, compare):
    # The same questions right but for a few in a hundred, in favour of the dearer arms.
    right = mostly(0.7, 1)
    dearer = arms(never, lambda i: right(i) or i % 100 == 7, right, lambda i: right(i) or i % 100 == 9)
    assert compare(synthetic(400), dearer).verdict.choice == "retrieval"


def test_a_gain_smaller_than_the_margin_over_a_cheaper_arm_is_a_tie(synthetic, compare):
    right = mostly(0.7, 1)
    result = compare(synthetic(400), arms(never, right, right, lambda i: right(i) or i % 60 == 7))
    assert result.verdict.choice == "retrieval"
    assert "Certainty: finetuning and both together can be at most 5 points better." in text(result)


def test_arms_that_look_equal_are_not_declared_equal(synthetic, compare):
    patterns = arms(never, mostly(0.7, 1), mostly(0.7, 2), mostly(0.7, 3))
    verdict = compare(synthetic(100), patterns).verdict
    assert (verdict.choice, verdict.cheapest) == ("undecided", "retrieval")
    # Independent arms at 0.7 differ on 42 % of questions: 5 points take about 1,300.
    few, many = verdict.more_questions
    assert 20 < few < 1300 < many < 4000
    assert f"100 questions cannot settle it; {few} to {many} more should." in verdict.sentence
    assert verdict.sentence.startswith("Undecided between retrieval and both together: ")
    assert verdict.sentence.endswith("The cheapest is retrieval.")


def test_a_costlier_arm_that_is_not_clearly_better_is_not_chosen(synthetic, compare):
    # Retrieval cannot be 5 points better than both, and both are not clearly better than retrieval.
    right = mostly(0.7, 1)
    patterns = arms(never, never, right, lambda i: i % 50 != 1 if right(i) else i % 5 == 0)
    result = compare(synthetic(150), patterns)
    pair = {(d.first, d.second): d for d in result.differences}[BOTH, RETRIEVAL].difference
    assert -0.05 < pair.interval.low < 0 < 0.05 < pair.interval.high
    assert (result.verdict.choice, result.verdict.cheapest) == ("undecided", "retrieval")
    assert "Certainty: both together minus retrieval: +" in text(result)


def test_the_cheapest_is_one_that_clearly_helps(synthetic, compare):
    base = mostly(0.4, 1)
    patterns = arms(base, lambda i: base(i) or i % 6 == 1, mostly(0.5, 3), mostly(0.1, 4))
    verdict = compare(synthetic(80), patterns).verdict
    assert (verdict.choice, verdict.cheapest) == ("undecided", "finetuning")
    assert verdict.sentence.endswith("The cheapest that clearly helps is finetuning.")


def test_an_undecided_verdict_says_what_is_settled(synthetic, compare):
    patterns = arms(never, mostly(0.1, 1), mostly(0.7, 2), mostly(0.75, 3))
    result = compare(synthetic(60), patterns)
    assert result.verdict.choice == "undecided"
    assert "this much is known: finetuning is clearly worse than retrieval and both together." in text(result)


@pytest.mark.parametrize("n", [5, 19])
def test_few_questions_are_never_enough(synthetic, compare, n):
    verdict = compare(synthetic(n), arms(never, never, lambda i: True, never)).verdict
    assert verdict.choice == "undecided"
    assert verdict.more_questions >= (20 - n, 20 - n)
    assert "too few" in verdict.sentence


def test_twenty_questions_are_enough_for_a_landslide(synthetic, compare):
    verdict = compare(synthetic(20), arms(never, never, lambda i: True, never)).verdict
    assert verdict.choice == "retrieval"


LOW = "Ceiling: it lies below 60 %"


def test_a_low_ceiling_names_the_model_or_the_metric_and_voids_no_gain(synthetic, compare):
    result = compare(synthetic(200), arms(never, never, mostly(0.3, 1), never), ceiling=every(3))
    assert (result.verdict.choice, result.verdict.bottleneck) == ("retrieval", "model or metric")
    assert "Ceiling: base with gold passages: 33.5 % (" in text(result)
    assert LOW in text(result)


def test_both_may_win_below_the_ceiling(synthetic, compare):
    patterns = arms(never, mostly(0.1, 3), mostly(0.2, 1), mostly(0.5, 2))
    verdict = compare(synthetic(200), patterns, ceiling=every(3)).verdict
    assert (verdict.choice, verdict.bottleneck) == ("both", "model or metric")


def test_a_ceiling_that_may_be_high_accuses_nobody(synthetic, compare):
    # 55 % of 40 questions: the interval reaches beyond 60 %.
    result = compare(synthetic(40), arms(never, never, mostly(0.3, 1), never), ceiling=mostly(0.55, 5))
    assert result.verdict.bottleneck is None
    assert LOW not in text(result)


def test_a_finetuned_model_that_reads_well_lifts_the_ceiling(synthetic):
    world, settings = synthetic(200), VerdictSettings(draws=400)
    rows = world.rows("before", BASE, never) + world.rows("before", BOTH, mostly(0.5, 2))
    rows += world.rows("before", EVIDENCE, every(3))
    assert compare_rows(rows, world.examples(), settings=settings).verdict.bottleneck == "model or metric"
    result = compare_rows(
        rows + world.rows("before", FINETUNED_EVIDENCE, mostly(0.8, 4)), world.examples(), None, settings
    )
    assert result.verdict.bottleneck is None
    assert "Ceiling: finetuned with gold passages: " in text(result)
    assert list(result.at("before")) == [BASE, BOTH, EVIDENCE, FINETUNED_EVIDENCE]


def test_a_low_ceiling_without_the_answer_in_the_passages_is_warned_of(synthetic, compare):
    # The synthetic passages never hold a reference.
    patterns = arms(never, never, mostly(0.3, 1), mostly(0.3, 2))
    warning = "the low ceiling may come from the passages or the references"
    assert warning in text(compare(synthetic(100), patterns, ceiling=every(3)))
    assert warning not in text(compare(synthetic(100), patterns))


def test_neither_needs_proof_that_there_is_nothing_to_gain(synthetic, compare):
    same = mostly(0.3, 1)
    for ceiling in (every(1), every(3)):
        assert compare(synthetic(400), arms(same, same, same, same), ceiling=ceiling).verdict.choice == "neither"
    verdict = compare(synthetic(60), arms(same, same, same, same)).verdict
    assert verdict.choice == "undecided"
    assert "cannot show whether" in verdict.sentence


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
    assert result.verdict.sentence.startswith("Use retrieval: after the update ")
    assert "finetuning gives the new answer to 0.0 %" in text(result)


def test_a_chosen_arm_that_answers_everything_is_warned_of(synthetic, compare):
    world = synthetic(200, unanswerable=every(5))
    always = arms(never, never, lambda i: i % 5 != 0, never)
    result = compare(world, always)
    assert result.verdict.choice == "retrieval"
    assert "Warning: retrieval answers 100.0 % of the questions that the documents do not answer" in text(result)


def test_a_gain_below_the_margin_is_warned_of(synthetic, compare):
    base = every(2)
    result = compare(synthetic(800), arms(base, base, lambda i: base(i) or i % 19 == 1, base))
    assert result.verdict.choice == "retrieval"
    assert "below the margin of 5 points" in text(result)


def test_what_was_not_measured_is_named(synthetic):
    world = synthetic(60)
    rows = world.rows("before", BASE, never) + world.rows("before", RETRIEVAL, mostly(0.9, 1))
    result = compare_rows(rows, world.examples(), settings=VerdictSettings(draws=200))
    assert result.verdict.choice == "retrieval"
    assert "not measured: finetuning and both together." in text(result)
    assert "Ceiling: not measured: no gold passages were given." in text(result)


def of_documents(synthetic, n, documents):
    """Questions of few documents."""

    class Few(synthetic):  # type: ignore[misc, valid-type]
        def example(self, i):
            return replace(super().example(i), evidence=(f"doc{i % documents}",))

    return Few(n)


def test_a_verdict_warns_that_its_questions_were_made(synthetic, compare):
    class Made(synthetic):  # type: ignore[misc, valid-type]
        makers = ("rules", "rules")

        def example(self, i):
            return replace(super().example(i), meta={"made_by": self.makers[i % 2]})

    class Partly(Made):
        makers = ("rules", "")

    patterns = arms(never, mostly(0.2, 1), mostly(0.8, 2), mostly(0.6, 3))
    assert "Warning: the 40 questions were made from the documents, by rules: " in text(compare(Made(40), patterns))
    assert "questions were made" not in text(compare(Partly(40), patterns))


def test_few_documents_limit_the_verdict_to_themselves(synthetic, compare):
    patterns = arms(never, mostly(0.2, 1), mostly(0.8, 2), mostly(0.6, 3))
    few, many = (compare(of_documents(synthetic, 200, documents), patterns) for documents in (5, 8))
    assert few.verdict.these_documents_only
    assert few.verdict.sentence.startswith("Use retrieval for these 5 documents: ")
    assert any("not for other documents" in note for note in few.notes)
    assert not many.verdict.these_documents_only
    assert many.verdict.choice == "retrieval"


def test_one_training_is_named_and_several_show_their_spread(synthetic, compare):
    world = synthetic(200)
    patterns = arms(never, mostly(0.8, 1), mostly(0.5, 2), mostly(0.5, 3))
    assert "Trainings: one training, with one seed" in text(compare(world, patterns))
    again = [world.rows("before", FINETUNED, mostly(share, seed)) for share, seed in ((0.6, 4), (0.95, 5))]
    result = compare(world, patterns, trainings=again)
    first, *others = result.at("before")[FINETUNED].trainings
    assert first == result.at("before")[FINETUNED].accuracy.mean
    assert len(others) == 2
    assert "Trainings: 3 of finetuning, right on " in text(result)
    pair = {(d.first, d.second): d.difference for d in result.differences}
    assert pair[FINETUNED, RETRIEVAL].mean == pytest.approx(
        (first + sum(others)) / 3 - result.at("before")[RETRIEVAL].accuracy.mean
    )
    alone = {(d.first, d.second): d.difference for d in compare(world, patterns).differences}
    assert pair[FINETUNED, BASE].interval.low < alone[FINETUNED, BASE].interval.low
    assert pair[RETRIEVAL, BASE] == alone[RETRIEVAL, BASE]
    assert result.verdict.choice == "undecided"


@pytest.mark.parametrize(("n", "draws"), [(12, 8), (60, 3), (200, 2)])
def test_a_verdict_is_short_and_has_no_brackets(synthetic, compare, n, draws):
    worlds = [synthetic(n, updated=True), of_documents(synthetic, n, 5)]
    shares = (0.1, 0.4, 0.42, 0.8, 0.84)
    for number, world in enumerate(worlds):
        for seed in range(draws):
            drawn = random.Random(f"{n} {number} {seed}").choices(shares, k=4)
            patterns = arms(*(mostly(share, seed + 7 * k) for k, share in enumerate(drawn)))
            sentence = compare(world, patterns, patterns if world.updated else None).verdict.sentence
            assert len(sentence.replace(" %", "%").split()) <= 25, sentence
            assert "(" not in sentence


def test_the_longest_verdicts_are_short_too(synthetic, compare):
    world, met = of_documents(synthetic, 60, 5), ("right>=0", "prompt_tokens>=1", "completion_tokens>=1")
    alike = [arms(never, *(mostly(share, seed + k) for k in range(3))) for share in (0.05, 0.5) for seed in range(3)]
    same = [arms(mostly(0.3, 1), *(mostly(0.3, 1) for _ in range(3)))]
    broken = ("right>=0.99", "prompt_tokens<=1", "completion_tokens<=1")
    found = {}
    for patterns in (*alike, *same):
        for require in ((), met, broken):
            verdict = compare(world, patterns, settings=VerdictSettings(draws=200, require=require)).verdict
            assert len(verdict.sentence.replace(" %", "%").split()) <= 25, verdict.sentence
            found[" ".join(verdict.sentence.split()[:2])] = verdict
    assert {"Undecided between", "Undecided for", "Use neither:"} <= set(found), found
    assert found["Use neither:"].sentence.startswith("Use neither: no arm meets the 3 requirements; the nearest is ")


@given(st.integers(20, 90), st.floats(0, 1), st.floats(0, 1), st.integers(0, 10**6))
@settings(max_examples=15)
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


def graded(world, arm, texts):
    """An arm's rows, with the answer of each question from ``texts``."""
    rows = world.rows("before", arm, lambda i: True)
    return [replace(row, answer=replace(row.answer, text=texts(i))) for i, row in enumerate(rows)]


@pytest.fixture
def by_scoring(synthetic):
    """The verdict where retrieval answers what ``texts`` gives, and the base model nothing right."""
    world = synthetic(200)
    references = [replace(example, answers=("the long pier at Viana do Castelo",)) for example in world.examples()]

    def under(texts):
        rows = world.rows("before", BASE, never) + graded(world, RETRIEVAL, texts)
        return compare_rows(rows, references, settings=VerdictSettings(draws=400)).verdict

    return under


def test_where_every_scoring_gives_the_same_choice_it_stands(by_scoring):
    verdict = by_scoring(lambda i: "It is the long pier at Viana do Castelo.")
    assert (verdict.choice, verdict.depends_on_scoring) == ("retrieval", False)
    assert "Certainty: strict and lenient scoring of the same answers give the same verdict." in map(
        str, verdict.reasons
    )


def test_where_scorings_disagree_the_verdict_is_undecided_and_says_so(by_scoring):
    """Three of the reference's four new words are right by default, and strictly are not."""
    verdict = by_scoring(lambda i: "At the long pier of Viana.")
    assert (verdict.choice, verdict.cheapest, verdict.depends_on_scoring) == ("undecided", "retrieval", True)
    assert verdict.sentence == (
        "Undecided, because it depends on how answers are scored: normal scoring gives retrieval, strict neither and "
        "lenient retrieval."
    )
    assert "mark some: `lorag review`" in "\n".join(map(str, verdict.reasons))


def test_scorings_disagree_on_supported_answers_too(by_scoring, synthetic):
    world = synthetic(200)
    references = [replace(example, answers=("the long pier at Viana do Castelo",)) for example in world.examples()]
    rows = world.rows("before", BASE, never) + graded(world, RETRIEVAL, lambda i: "At the long pier of Viana.")
    text = "Ships moor at the long pier at Viana do Castelo."
    chunk = replace(rows[-1].answer.sources[0].chunk, text=text, end=len(text))
    rows = [
        replace(row, answer=replace(row.answer, sources=tuple(replace(hit, chunk=chunk) for hit in row.answer.sources)))
        for row in rows
    ]
    settings = VerdictSettings(draws=400, verdict_on="right_and_supported")
    verdict = compare_rows(rows, references, settings=settings).verdict
    assert verdict.sentence.startswith("Undecided, because it depends on how answers are scored: ")
    unsupported = [
        replace(row, answer=replace(row.answer, text=f"{row.answer.text} It has 99 lamps.")) for row in rows[200:]
    ]
    assert compare_rows([*rows[:200], *unsupported], references, settings=settings).verdict.choice == "neither"


def test_an_update_that_changes_nothing_is_not_named_as_a_reason(synthetic):
    world = synthetic(200)
    references = [replace(example, answers=("the long pier at Viana do Castelo",)) for example in world.examples()]
    rows = world.rows("before", BASE, never) + graded(world, RETRIEVAL, lambda i: "At the long pier of Viana.")
    rows += [replace(row, phase="after") for row in rows]
    verdict = compare_rows(rows, references, settings=VerdictSettings(draws=400)).verdict
    assert verdict.depends_on_scoring
    assert not any("before the update the verdict would" in reason.text for reason in verdict.reasons)
