import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from lorag.evaluation.statistics import (
    Difference,
    Interval,
    effective_documents,
    halves,
    holm,
    mean_interval,
    paired_difference,
    questions_needed,
    questions_range,
    tango,
    trainings_difference,
    wilson,
)
from lorag.settings import VerdictSettings

QUICK = VerdictSettings(draws=400)
Z2 = 1.959963984540054**2


def correlated(rng, documents):
    """0/1 values of questions whose documents are easy or hard; the true mean is 0.6."""
    ease = rng.beta(1.2, 0.8, size=documents)
    clusters = np.repeat(np.arange(documents), rng.integers(2, 9, size=documents))
    return (rng.random(len(clusters)) < ease[clusters]).astype(float), list(clusters)


def ends(interval):
    return interval.low, interval.high


def test_wilson_against_textbook_values():
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for hits, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        assert ends(wilson(hits / n, n, 0.95)) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.4])
def test_values_that_are_all_equal_do_not_make_a_certain_interval(value):
    estimate = mean_interval([value] * 40, list(range(40)), QUICK)
    assert estimate.mean == pytest.approx(value)
    assert estimate.interval.low <= estimate.mean <= estimate.interval.high
    assert estimate.interval.high - estimate.interval.low > 0.08


def test_documents_that_are_all_alike_do_not_make_a_certain_interval():
    values = [1.0, 0.0] * 20
    interval = mean_interval(values, [i // 2 for i in range(40)], QUICK).interval
    assert interval == wilson(0.5, 40, 0.95)


def test_questions_that_go_together_count_less():
    together = mean_interval([1.0] * 40, [i // 4 for i in range(40)], QUICK).interval
    apart = mean_interval([1.0] * 40, list(range(40)), QUICK).interval
    assert apart == wilson(1.0, 40, 0.95)
    # Where nothing varies, a correlation of 0.2 inside documents is assumed: 40 / (1 + 3 * 0.2).
    assert together == wilson(1.0, 25, 0.95)


def test_documents_count_by_their_questions():
    assert effective_documents([i // 5 for i in range(50)]) == pytest.approx(10)
    assert effective_documents([0] * 50 + list(range(1, 51))) == pytest.approx(100**2 / (50**2 + 50))
    assert effective_documents([]) == 0


@pytest.mark.parametrize("clusters", [[i % 2 for i in range(60)], [max(0, i - 40) for i in range(60)]])
def test_few_documents_leave_questions_as_units(clusters):
    # Two documents, or twenty of which one holds two thirds of the questions.
    values = [float(i % 3 == 0) for i in range(60)]
    interval = mean_interval(values, clusters, QUICK).interval
    assert interval == mean_interval(values, list(range(60)), QUICK).interval
    score = wilson(1 / 3, 60, 0.95)
    assert interval.low <= score.low < score.high <= interval.high
    assert interval.high - interval.low < 0.3
    assert mean_interval([1.0], ["a"], QUICK).interval == wilson(1.0, 1, 0.95)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(1, 15))
@settings(max_examples=60)
def test_an_interval_holds_its_mean_and_stays_between_0_and_1(values, documents):
    estimate = mean_interval(values, [i % documents for i in range(len(values))], VerdictSettings(draws=200))
    low, high = estimate.interval.low, estimate.interval.high
    assert 0 <= low <= estimate.mean + 1e-9
    assert estimate.mean - 1e-9 <= high <= 1
    assert estimate.n == len(values)


def test_the_same_seed_gives_the_same_interval():
    values, clusters = correlated(np.random.default_rng(0), 20)
    assert mean_interval(values, clusters, QUICK) == mean_interval(values, clusters, QUICK)
    assert mean_interval(values, clusters, QUICK) != mean_interval(values, clusters, VerdictSettings(draws=400, seed=1))


@pytest.mark.parametrize("values", [[], [1.5], [-0.1], [float("nan")]])
def test_values_that_are_no_shares_are_refused(values):
    with pytest.raises(ValueError, match="expected"):
        mean_interval(values, list(range(len(values))), QUICK)
    with pytest.raises(ValueError, match="paired"):
        paired_difference([1.0], [1.0, 0.0], [1], QUICK)
    with pytest.raises(ValueError, match="clusters"):
        mean_interval([1.0], [], QUICK)


def flipped(wins, losses, clusters=None):
    a, b = [1.0] * wins + [0.0] * losses, [0.0] * wins + [1.0] * losses
    return paired_difference(a, b, clusters or list(range(wins + losses)), VerdictSettings(draws=2000)).p_value


def test_flipping_single_questions_is_mcnemars_test():
    # Binomial tails by hand: 2 * (1 + 8) / 2**8 for 1 and 7; 2 * 1 / 2**5 for 0 and 5.
    assert flipped(1, 7) == pytest.approx(18 / 256)
    assert flipped(5, 0) == pytest.approx(2 / 32)
    assert flipped(3, 3) == 1
    # Too many to flip in every way.
    assert flipped(20, 8) == pytest.approx(binomtest(20, 28).pvalue, abs=0.012)


def test_questions_of_one_document_flip_together():
    documents = [i // 5 for i in range(50)]
    assert flipped(50, 0, documents) == pytest.approx(2 / 2**10)
    assert flipped(30, 20, documents) == pytest.approx(2 * (1 + 10 + 45 + 120 + 210) / 2**10)


@pytest.mark.parametrize("n", [9, 30, 200])
def test_the_interval_holds_zero_where_the_test_does_not_reject(n):
    rng = np.random.default_rng(n)
    for shift in np.linspace(0, 0.4, 12):
        a = np.clip(rng.random(n) + shift, 0, 1)
        result = paired_difference(a.tolist(), rng.random(n).tolist(), list(range(n)), QUICK)
        assert (result.interval.low <= 0 <= result.interval.high) == (result.p_value > 0.05)


def test_tango_against_published_values_and_its_closed_form():
    # Fagerland, Lydersen and Laake 2014, airway hyper-responsiveness: 1 and 7 discordant of 21.
    assert ends(tango(1, 7, 21, 0.95)) == pytest.approx((-0.517, -0.026), abs=5e-4)
    assert ends(tango(0, 0, 100, 0.95)) == pytest.approx((-Z2 / (100 + Z2), Z2 / (100 + Z2)))
    assert tango(30, 0, 30, 0.95).high == 1


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 30))
@settings(max_examples=60)
def test_tango_is_symmetric_and_holds_the_difference(wins, losses, ties):
    n = wins + losses + ties + 1
    interval, mirrored = tango(wins, losses, n, 0.95), tango(losses, wins, n, 0.95)
    assert interval.low == pytest.approx(-mirrored.high)
    assert interval.low < (wins - losses) / n < interval.high


def test_a_paired_difference_of_01_values():
    a, b = [1.0] * 30 + [0.0] * 10, [1.0] * 20 + [0.0] * 18 + [1.0] * 2
    settings = VerdictSettings()
    result = paired_difference(a, b, list(range(40)), settings)
    assert (result.discordant, result.n) == (12, 40)
    assert result.mean == pytest.approx(0.2)
    assert result.p_value == pytest.approx(binomtest(10, 12).pvalue, abs=0.01)
    assert 0 < result.interval.low < 0.2 < result.interval.high
    # Independent questions: the plain standard error of the differences.
    assert result.standard_error == pytest.approx(np.std(np.subtract(a, b), ddof=1) / math.sqrt(40))
    back = paired_difference(b, a, list(range(40)), settings)
    assert back.mean == -result.mean
    assert back.p_value == pytest.approx(result.p_value, abs=0.01)
    assert result.reversed().reversed() == result


def test_identical_arms_are_equal_only_up_to_what_could_have_been_missed():
    result = paired_difference([1.0] * 100, [1.0] * 100, list(range(100)), QUICK)
    assert result.p_value == 1
    assert ends(result.interval) == pytest.approx((-Z2 / (100 + Z2), Z2 / (100 + Z2)))


def test_a_graded_difference_flips_the_signs_of_documents():
    # Ten documents that all favour a: of 2**10 sign patterns two are as extreme.
    a, b = [0.75] * 20, [0.25 + 0.01 * (i // 2) for i in range(20)]
    result = paired_difference(a, b, [i // 2 for i in range(20)], VerdictSettings(draws=2000))
    assert result.p_value == pytest.approx(2 / 1024)
    assert 0 < result.interval.low < result.mean < result.interval.high
    alike = paired_difference([0.5] * 20, [0.5] * 20, list(range(20)), QUICK)
    assert alike.p_value == 1
    assert alike.interval.high == pytest.approx(Z2 / (20 + Z2))


def test_holm_worked_out():
    # Sorted: .005 * 4, .01 * 3, .03 * 2, .04 * 1; each at least the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_lies_between_the_p_value_and_bonferroni(p_values):
    adjusted = holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= 1
        assert q >= min(1.0, p)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


def observed(discordant, mean, n=200):
    """Independent questions with this share of discordant pairs."""
    return Difference(mean, Interval(-1, 1), 1.0, 0, n, math.sqrt((discordant - mean**2) / n))


@pytest.mark.parametrize(
    ("discordant", "mean", "expected"),
    [(0.24, 0.10, 186), (0.24, 0.05, 752), (0.24, 0.03, 2091), (0.10, 0.05, 312), (0.40, 0.05, 1254)],
)
def test_questions_needed_against_the_sample_size_of_mcnemar(discordant, mean, expected):
    needed = questions_needed(observed(discordant, mean), VerdictSettings(margin=0.01))
    assert needed == pytest.approx(expected, rel=0.01)


def test_questions_needed_looks_for_the_margin_when_less_was_seen():
    assert questions_needed(observed(0.24, 0.0), QUICK) == pytest.approx(752, rel=0.02)
    assert questions_needed(observed(0.24, -0.1), QUICK) == 186


def test_questions_needed_takes_one_discordant_pair_as_seen():
    assert 100 < questions_needed(Difference(0.0, Interval(0, 0), 1.0, 0, 20, 0.0), QUICK) < 200


def test_the_range_of_questions_needed_closes_in_as_questions_are_asked():
    few, many = observed(0.24, 0.1, n=60), observed(0.24, 0.1, n=6000)
    low, high = questions_range(few, QUICK)
    assert low < 100 < 186 < 700 < high
    low, high = questions_range(many, QUICK)
    assert 120 < low < 186 < high < 300
    # No effect is looked for that is smaller than the margin.
    assert questions_range(observed(0.24, 0.0, n=6000), QUICK)[1] < 1000


def first_right(count):
    return [1.0] * count + [0.0] * (40 - count)


def test_several_trainings_widen_a_difference_by_their_spread():
    base, documents = [first_right(20)], list(range(40))
    once = trainings_difference([first_right(30)], base, documents, QUICK)
    assert once == paired_difference(first_right(30), first_right(20), documents, QUICK)
    assert trainings_difference([first_right(30)] * 3, base, documents, QUICK) == once
    wide = trainings_difference([first_right(count) for count in (26, 30, 34)], base, documents, QUICK)
    # Student's interval of the mean of three: 4.303 * 0.1 / sqrt(3) to each side.
    half = 4.3027 * 0.1 / math.sqrt(3)
    assert wide.mean == pytest.approx(once.mean)
    assert wide.mean - wide.interval.low >= math.hypot(half, 0.9 * (once.mean - once.interval.low))
    assert wide.interval.high - wide.mean >= math.hypot(half, 0.9 * (once.interval.high - once.mean))


def test_several_trainings_do_not_show_more_of_what_never_happened():
    """Each of three trainings is right on one more of 80 questions, another one each time."""
    documents = [number // 10 for number in range(80)]
    base = [float(number % 2) for number in range(80)]
    tuned = [[1.0 if number == 20 * seed else value for number, value in enumerate(base)] for seed in range(3)]
    single = [paired_difference(each, base, documents, QUICK).interval.high for each in tuned]
    assert trainings_difference(tuned, [base], documents, QUICK).interval.high >= sum(single) / 3 > 0.05


def test_documents_that_go_together_need_more_questions():
    a = [float(i // 5 % 2) for i in range(100)]
    b = [float(i // 5 % 4 == 0) for i in range(100)]
    apart = paired_difference(a, b, list(range(100)), QUICK)
    together = paired_difference(a, b, [i // 5 for i in range(100)], QUICK)
    assert questions_needed(together, QUICK) > 3 * questions_needed(apart, QUICK)


def test_halves_divide_documents_and_not_questions():
    clusters = [f"d{i // 3}" for i in range(60)]
    side = halves(clusters)
    assert {len(set(side[3 * d : 3 * d + 3])) for d in range(20)} == {1}
    assert side.sum() == 30
    np.testing.assert_array_equal(side, halves(clusters))
    backwards = halves(clusters[::-1])[::-1]
    assert backwards.sum() == 30
    assert halves(["one"] * 10).sum() == 5
    assert list(halves([])) == []
