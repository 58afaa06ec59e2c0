import numpy as np
import pytest

from lorag.evaluation.search.best_settings import Way, choose, significant
from lorag.settings import VerdictSettings

QUICK = VerdictSettings(draws=400)
DEFAULT = Way()
WAYS = [Way(size, weight) for size in (128, 256, 400) for weight in (0.0, 0.3, 0.5, 0.7, 1.0)]


def clusters(questions):
    return [f"d{i // 3}" for i in range(questions)]


def test_the_default_is_one_of_the_ways():
    assert Way(256, 0.5) == DEFAULT in WAYS


def test_noise_is_not_taken_for_a_gain():
    """Fifteen ways that are all right on the same share of questions: the best of them is above the default by luck."""
    rng = np.random.default_rng(0)
    left = lucky = 0
    for _ in range(100):
        columns = {way: (rng.random(90) < 0.6).astype(float).tolist() for way in WAYS}
        choice = choose(columns, clusters(90), QUICK)
        left += choice.way != DEFAULT
        lucky += choice.best != DEFAULT
    assert left <= 8  # 2.5 are expected
    assert lucky > 80


def test_a_real_gain_is_taken_and_its_interval_is_that_of_the_other_half():
    rng = np.random.default_rng(1)
    hard = rng.random(240) < 0.4
    columns = {way: (~hard).astype(float).tolist() for way in WAYS}
    good = Way(128, 0.3)
    columns[good] = np.where(rng.random(240) < 0.6, 1.0, ~hard).tolist()
    choice = choose(columns, clusters(240), QUICK)
    assert choice.way == choice.best == good
    assert significant(choice.gain)
    assert choice.gain.interval.low <= choice.gain.mean <= choice.gain.interval.high
    assert choice.chosen_on + choice.gain.n == 240
    assert 0.1 < choice.gain.mean < 0.4


def test_a_gain_on_one_half_alone_is_none():
    """What is right exactly on the half that is chosen on would look perfect to whoever chooses and measures there."""
    from lorag.evaluation.statistics import halves

    columns = {way: [0.5] * 60 for way in WAYS}
    columns[Way(400, 1.0)] = [1.0 - side for side in halves(clusters(60)).tolist()]
    choice = choose(columns, clusters(60), QUICK)
    assert (choice.best, choice.way) == (Way(400, 1.0), DEFAULT)
    assert choice.gain.mean == -0.5


def test_equals_go_to_the_default_and_then_to_small_chunks():
    same = {way: [0.5] * 40 for way in WAYS}
    assert choose(same, clusters(40), QUICK).best == DEFAULT
    two = same | {Way(400, 0.3): [0.9] * 40, Way(128, 0.3): [0.9] * 40}
    assert choose(two, clusters(40), QUICK).way == Way(128, 0.3)
    assert choose(same, clusters(40), QUICK).needed >= 80


def test_too_few_questions_are_refused():
    with pytest.raises(ValueError, match="15 questions are too few, expected at least 16"):
        choose({DEFAULT: [1.0] * 15}, clusters(15))
