import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from lorag.evaluation.search.relevance_threshold import Nearest, calibrate, off_topic_questions

COSINES = st.lists(st.floats(0, 1).map(lambda x: round(x, 2)), min_size=8, max_size=40)


def nearest(values):
    return [Nearest(value) for value in values]


def test_what_is_apart_is_divided_in_the_middle():
    own, others = [0.7 + i / 100 for i in range(20)], [0.3 + i / 100 for i in range(21)]
    gate = calibrate(nearest(own), nearest(others))
    assert gate.cosine == pytest.approx(0.6)
    assert [e.mean for e in (gate.auc, gate.accuracy, gate.kept, gate.refused)] == [1, 1, 1, 1]
    assert all(e.interval.low < 0.95 for e in (gate.auc, gate.accuracy, gate.kept, gate.refused))
    assert gate.missing is None


def test_no_more_of_the_own_questions_are_refused_than_allowed():
    own = [0.1, *(0.5 + i / 1000 for i in range(99))]
    others = [0.49 + i / 100 for i in range(50)]
    assert calibrate(nearest(own), nearest(others), keep=1.0).cosine <= 0.1
    gate = calibrate(nearest(own), nearest(others), keep=0.98)
    assert 0.1 < gate.cosine <= 0.501
    assert np.mean(np.array(own) >= gate.cosine) >= 0.98
    half = calibrate(nearest(own), nearest(others), keep=0.5)
    assert half.cosine > gate.cosine
    assert half.refused.mean > gate.refused.mean


@given(COSINES, COSINES)
def test_the_auc_is_that_of_scipy(own, others):
    gate = calibrate(nearest(own), nearest(others))
    expected = mannwhitneyu(own, others).statistic / (len(own) * len(others))
    assert gate.auc.mean == pytest.approx(expected)
    for estimate in (gate.auc, gate.accuracy, gate.kept, gate.refused):
        assert 0 <= estimate.interval.low <= estimate.mean <= estimate.interval.high <= 1
    assert np.mean(np.array(own) >= gate.cosine) >= 0.98


def test_the_interval_of_the_auc_holds_what_is_true():
    """Of normal scores one standard deviation apart the AUC is known: Phi(1 / sqrt 2) = 0.760."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(60):
        own, others = rng.normal(0.55, 0.05, 60), rng.normal(0.5, 0.05, 40)
        interval = calibrate(nearest(own), nearest(others)).auc.interval
        held += interval.low <= 0.760 <= interval.high
    assert held >= 51  # 57 are expected, with a standard deviation of 1.7


def test_scores_that_say_nothing_are_seen_to_say_nothing():
    rng = np.random.default_rng(1)
    gate = calibrate(nearest(rng.uniform(size=200)), nearest(rng.uniform(size=200)))
    assert gate.auc.interval.low < 0.5 < gate.auc.interval.high
    assert gate.accuracy.interval.low < 0.5


def test_a_missing_passage_is_measured_on_the_questions_whose_documents_are_known():
    own = [Nearest(0.8, 0.75 if i % 2 else 0.4, f"d{i // 2}") for i in range(40)]
    gate = calibrate([*own, Nearest(0.9)], nearest([0.5] * 10))
    assert 0.5 < gate.cosine < 0.8
    assert gate.missing is not None
    assert gate.missing.refused.mean == 0.5
    assert gate.missing.auc.mean == 1.0
    unseen = calibrate([Nearest(0.6 + i / 100, 0.6 + i / 100, f"d{i}") for i in range(30)], nearest([0.5] * 10))
    assert unseen.missing is not None
    assert unseen.missing.auc.mean == pytest.approx(0.5)
    assert unseen.missing.auc.interval.low < 0.5 < unseen.missing.auc.interval.high


def test_too_few_questions_are_refused():
    with pytest.raises(ValueError, match="7 and 9 questions are too few, expected 8 of each"):
        calibrate(nearest([0.5] * 7), nearest([0.5] * 9))


def test_the_bundled_questions_are_many_and_different():
    questions = off_topic_questions()
    assert len(set(questions)) == len(questions) >= 60
    assert all(question.endswith("?") for question in questions)
