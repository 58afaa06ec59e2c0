"""The rule on simulated comparisons whose truth is known; ``make bench-statistics`` runs many more of them."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lorag.evaluation.statistics import mean_interval
from lorag.settings import VerdictSettings

SIMULATED = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "simulations.py"))
INTERVALS, VERDICTS = SIMULATED["INTERVALS"], SIMULATED["VERDICTS"]
coverage, verdicts, range_holds = SIMULATED["coverage"], SIMULATED["verdicts"], SIMULATED["range_holds"]


def test_intervals_over_documents_hold_the_truth_as_often_as_they_promise():
    found = [coverage(world, runs=200) for world in INTERVALS.values()]
    assert len(found) == 18
    assert 0.93 <= np.mean([each.mean for each in found]) <= 0.97
    assert 0.93 <= np.mean([each.difference for each in found]) <= 0.97
    assert np.mean([each.wilson for each in found]) < 0.85


def test_the_test_over_documents_rejects_no_more_than_it_promises():
    equal = [world for name, world in INTERVALS.items() if name.endswith("60% and 60%")]
    found = [coverage(world, runs=400, seed=1) for world in equal]
    assert np.mean([each.rejected for each in found]) <= 0.06
    assert np.mean([each.mcnemar for each in found]) > 0.12
    # And sees what is there.
    assert coverage(INTERVALS["40 documents, ten, 80% and 65%"], runs=60).rejected > 0.85


@pytest.mark.parametrize("name", ["retrieval and both equal", "all three equal"])
def test_a_tie_is_never_given_to_the_costlier_arm(name):
    counts = verdicts(VERDICTS[name], runs=200)
    assert counts["false"] <= 10
    # Chosen, or named as the cheapest.
    assert counts["retrieval"] + counts["cheapest retrieval"] >= 190


@pytest.mark.parametrize("name", ["nothing helps", "nothing helps, few documents"])
def test_where_nothing_helps_nothing_is_chosen(name):
    assert verdicts(VERDICTS[name], runs=200)["false"] <= 10


def test_a_costlier_arm_that_is_better_is_chosen():
    assert verdicts(VERDICTS["both are best"], runs=25)["both"] >= 23
    assert verdicts(VERDICTS["finetuning is best"], runs=25)["finetuning"] >= 22


def test_the_range_of_questions_needed_holds_what_is_needed():
    tie = VERDICTS["retrieval and both equal"]
    world = replace(tie, right={"retrieval": 0.7, "both": 0.8}, documents=15)
    assert range_holds(world, runs=100) > 0.8


def test_below_eight_documents_the_interval_is_that_of_these_documents():
    rng = np.random.default_rng(3)
    held = []
    for _ in range(300):
        ease = rng.beta(2, 2, size=5)
        documents = np.repeat(np.arange(5), 20)
        values = (rng.random(100) < ease[documents]).astype(float)
        interval = mean_interval(values.tolist(), documents.tolist(), VerdictSettings(draws=400)).interval
        held.append(interval.low <= ease.mean() <= interval.high)
    assert 0.93 <= np.mean(held) <= 1
