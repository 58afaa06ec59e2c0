import random

import pytest

from lorag.errors import InputError, UnknownNameError
from lorag.evaluation.comparison import BASE, BOTH, FINETUNED, RETRIEVAL, compare_rows
from lorag.evaluation.requirements import read_requirements
from lorag.evaluation.results import Reason
from lorag.settings import VerdictSettings


def mostly(share, seed):
    return lambda i: random.Random(seed * 100_003 + i).random() < share


@pytest.fixture(scope="module")
def verdict(synthetic):
    """The verdict under requirements: both are clearly best, and answer every unanswerable question."""
    world = synthetic(200, unanswerable=lambda i: i % 5 == 0)
    right = {FINETUNED: 0.2, RETRIEVAL: 0.5, BOTH: 0.9}
    rows = world.rows("before", BASE, lambda i: False)
    for seed, (arm, share) in enumerate(right.items()):
        pattern = mostly(share, seed)
        rows += world.rows("before", arm, lambda i, p=pattern, arm=arm: p(i) and (i % 5 != 0 or arm != BOTH))

    def under(*require):
        settings = VerdictSettings(draws=400, require=require)
        return compare_rows(rows, world.examples(), settings=settings).verdict

    return under


def test_an_arm_that_does_not_meet_a_requirement_is_out(verdict):
    assert verdict().choice == "both"
    found = verdict("hallucination <= 60%")
    assert found.choice == "retrieval"
    assert Reason("Requirements", "hallucination <= 60%: both together is out with 100.0 %.") in found.reasons
    (kept,) = [reason.text for reason in found.reasons if "retrieval meets it with" in reason.text]
    assert "but its interval reaches beyond" in kept
    assert verdict("hallucination<=1").choice == "both"


@pytest.mark.parametrize("name", ["hallucination", "answered of unanswerable", "answered_of_unanswerable"])
def test_a_metric_is_known_by_its_key_and_by_its_heading(name):
    (requirement,) = read_requirements([f"{name}<=0.1"])
    assert (requirement.metric, requirement.at_most, requirement.limit) == ("hallucination", True, 0.1)


def test_limits_are_shares_percents_seconds_or_tokens():
    found = read_requirements(["refused_answerable<=5%", "latency_p95 <= 2", "right>=0.5", "prompt_tokens<=400"])
    assert [each.limit for each in found] == [0.05, 2, 0.5, 400]
    assert [each.metric for each in found] == ["false_refusal", "latency_p95", "correct", "prompt_tokens"]
    assert [each.at_most for each in found] == [True, True, False, True]


def test_fresh_needs_an_update():
    assert [each.needs_update for each in read_requirements(["fresh", "uptake>=0.9", "style>=0.9"])] == [
        True,
        True,
        False,
    ]
    assert str(read_requirements(["fresh"])[0]) == "fresh"


def test_of_several_trainings_their_mean_must_meet_a_requirement(synthetic):
    world = synthetic(100, unanswerable=lambda i: i % 4 == 0)
    rows = world.rows("before", BASE, lambda i: False)

    def trained(answered):
        """Right on every question that is answered in the documents; ``answered`` of the 25 others are too."""
        return world.rows("before", FINETUNED, lambda i: i % 4 != 0 or i >= 4 * answered)

    def reasons(*answered):
        settings = VerdictSettings(draws=400, require=("hallucination<=0.05",))
        first, *others = map(trained, answered)
        found = compare_rows([*rows, *first], world.examples(), settings=settings, trainings=others).verdict
        return found.choice, [reason.text for reason in found.reasons if reason.term == "Requirements"]

    assert reasons(1)[0] == "finetuning"
    assert reasons(1, 3, 3) == (
        "neither",
        ["hallucination<=0.05: finetuning is out with 9.3 %, the mean over its trainings."],
    )
    assert reasons(3, 0, 0)[0] == "finetuning"


def test_a_requirement_that_no_arm_meets_is_stated_with_the_nearest_arm(verdict):
    found = verdict("latency_p95<=0.1")
    assert found.choice == "neither"
    assert found.sentence.startswith("Use neither: no arm meets latency_p95<=0.1; the nearest is retrieval with 0.")
    # Both break one of the two, the others break both.
    found = verdict("right>=0.7", "hallucination<=0.1")
    assert found.sentence.startswith(
        "Use neither: no arm meets right>=0.7 and hallucination<=0.1; the nearest is both together with 100.0 % in "
    )


def test_a_requirement_that_was_not_measured_is_not_passed_over(verdict):
    found = verdict("style>=0.9")
    assert found.choice == "undecided"
    assert found.sentence == "Undecided: style>=0.9 cannot be checked, because no arm was measured in it."


def test_an_update_is_required_only_of_what_follows_it(synthetic, compare):
    world = synthetic(200, updated=True)
    before = {BASE: lambda i: False, FINETUNED: mostly(0.97, 1), RETRIEVAL: mostly(0.8, 2), BOTH: mostly(0.8, 3)}
    after = {**before, FINETUNED: lambda i: before[FINETUNED](i) and i % 5 != 0, RETRIEVAL: mostly(0.95, 2)}
    found = compare(world, before, after, settings=VerdictSettings(draws=400, require=("uptake>=0.6",))).verdict
    assert found.choice == "retrieval"
    assert "before the update the verdict would have been 'finetuning'" in "\n".join(map(str, found.reasons))
    assert Reason("Requirements", "uptake>=0.6: finetuning is out with 0.0 %.") in found.reasons


@pytest.mark.parametrize("text", ["hallucination", "hallucination<0.1", "hallucination<=much", "<=0.1", "style<=1.2.3"])
def test_what_is_no_requirement_is_refused(text):
    with pytest.raises(InputError, match="expected METRIC<=LIMIT or METRIC>=LIMIT"):
        read_requirements([text])


def test_a_metric_that_is_not_known_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="'latency95'; did you mean latency_p95"):
        read_requirements(["latency95<=2"])


def test_a_share_above_one_is_refused():
    with pytest.raises(InputError, match=r"between 0 and 1, or in percent, such as hallucination<=5%"):
        read_requirements(["hallucination<=5"])
