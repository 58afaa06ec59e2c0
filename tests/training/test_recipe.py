"""How a budget is spent, and which of the trained models is taken."""

import json
from dataclasses import replace

import pytest

from lorag.settings import RecipeSettings
from lorag.training.diagnosis import Diagnosis
from lorag.training.recipe import (
    Probed,
    Probing,
    Recipe,
    Rung,
    Strength,
    TimeLimit,
    better,
    comparable,
    fitting_conversations,
    fitting_wordings,
    learning_curve,
    schedule,
    seconds_left,
    seeds_within,
    taken,
)

SETTINGS = RecipeSettings(minutes=20)
BEFORE = Probed(24, 0.0, 0.9, 3.6)
DIAGNOSIS = Diagnosis(24, ("Who?",), (), (), ())


def rung(rate, recall, reading=0.9, loss=3.8):
    return Rung("lora", rate, 3, 100, 50, 60.0, Probed(24, recall, reading, loss))


@pytest.mark.parametrize(
    ("minutes", "settings", "seeds"),
    [
        (5.0, SETTINGS, 3),  # 1 minute for a rung, then three times 5: 16 of the 17 that are planned
        (5.5, SETTINGS, 1),
        (5.0, replace(SETTINGS, passes=3), 1),  # its minutes are not kept
    ],
)
def test_further_seeds_are_trained_if_the_budget_has_room_for_two(minutes, settings, seeds):
    final = replace(rung(5e-4, 0.8), seconds=60 * minutes)
    chosen = Recipe(20.0, BEFORE, (rung(2e-4, 0.5),), final, (Strength(1.0, BEFORE),), 1.0, DIAGNOSIS)
    assert seeds_within(settings, chosen) == seeds


@pytest.mark.parametrize("seconds", [0.1, 1.0, 2.0, 10.0, 60.0])
@pytest.mark.parametrize("updates", [1, 30, 200, 5000])
def test_a_schedule_stays_within_its_budget_and_its_rungs_within_a_third(seconds, updates):
    conversations = 4 * updates
    plan = schedule(seconds, updates, conversations, SETTINGS)
    rungs = 3 * plan.rung_conversations / 4 * plan.passes * seconds
    training = plan.passes * plan.conversations / 4 * seconds
    assert plan.passes >= 1
    assert 1 <= plan.conversations <= conversations
    assert rungs <= 20 * 60 / 3 + 3 * seconds * plan.passes
    assert rungs + training <= 20 * 60 + 2 * seconds * plan.passes or plan.conversations == 1


def test_a_budget_too_small_for_one_pass_trains_on_fewer_conversations():
    plan = schedule(10.0, 1000, 4000, SETTINGS)
    assert (plan.passes, plan.rung_conversations) == (1, 0)
    assert plan.conversations == 408  # what is not estimated has 15 % of the budget


def test_facts_in_few_wordings_are_shown_often_enough_or_left_out():
    counts = (20, 5, 4, 2, 1)
    plans = [schedule(1.0, 600, 2400, SETTINGS, wordings=count, chooses_rate=False) for count in counts]
    assert [plan.passes for plan in plans] == [1, 2, 3, 5, 5]
    assert [plan.conversations for plan in plans] == [2400, 2040, 1360, 816, 816]
    assert all(plan.minutes == pytest.approx(17) for plan in plans[1:])


def test_little_data_gets_no_rungs_and_no_more_passes_than_help():
    assert schedule(0.5, 10, 40, SETTINGS) == schedule(0.5, 10, 40, RecipeSettings(minutes=600))
    assert schedule(0.5, 10, 40, SETTINGS).passes == 5
    assert schedule(0.5, 10, 40, SETTINGS).rung_conversations == 0


def test_a_large_budget_has_room_for_rungs():
    plan = schedule(1.0, 200, 800, SETTINGS)
    assert plan.rung_conversations > 100


def test_the_best_rung_recalls_most_and_keeps_reading():
    weak, strong, blind = rung(2e-4, 0.4), rung(5e-4, 0.7), rung(1e-3, 0.9, reading=0.5)
    assert better([weak, strong, blind], BEFORE, SETTINGS) == strong
    assert better([weak, blind], BEFORE, SETTINGS) == weak
    assert better([blind], BEFORE, SETTINGS) == blind
    gentle = rung(2e-4, 0.7, loss=3.7)
    assert better([strong, gentle], BEFORE, SETTINGS) == gentle


def test_a_weaker_adapter_is_taken_where_it_forgets_less_and_recalls_as_much():
    def at(share, recall, loss, reading=0.9):
        return Strength(share, Probed(24, recall, reading, loss))

    assert taken([at(1, 0.8, 4.3), at(0.75, 0.8, 4.0), at(0.5, 0.5, 3.7)], BEFORE, SETTINGS) == 0.75
    assert taken([at(1, 0.8, 4.3), at(0.75, 0.7, 4.0)], BEFORE, SETTINGS) == 1
    # No further down than the limit on forgetting (3.9) asks: the facts that were probed are few.
    assert taken([at(1, 0.8, 4.3), at(0.75, 0.8, 3.89), at(0.5, 0.8, 3.7)], BEFORE, SETTINGS) == 0.75
    assert taken([at(1, 0.8, 4.0, reading=0.6), at(0.5, 0.6, 3.9)], BEFORE, SETTINGS) == 0.5
    one, two = 1 / 24, 2 / 24  # a fact more or less decides nothing
    assert taken([at(1, 0.8, 4.3), at(0.75, 0.8 - one, 4.0), at(0.5, 0.8 - 4 * one, 3.8)], BEFORE, SETTINGS) == 0.75
    assert taken([at(1, 0.8, 4.3, reading=0.9 - two), at(0.5, 0.4, 3.8)], BEFORE, SETTINGS) == 1
    assert taken([at(1, 0.8, 4.0, reading=0.2), at(0.5, 0.3, 4.1, reading=0.7)], BEFORE, SETTINGS) == 0.5


def test_a_recipe_is_read_back_and_says_what_it_brought():
    strengths = (Strength(1.0, rung(5e-4, 0.75).probed), Strength(0.5, rung(5e-4, 0.5).probed))
    recipe = Recipe(
        20.0, BEFORE, (rung(2e-4, 0.2), rung(5e-4, 0.7)), rung(5e-4, 0.75), strengths, 0.5, DIAGNOSIS, ("A note.",)
    )
    told = recipe.to_json()
    assert Recipe.from_json(json.loads(json.dumps(told))) == recipe
    known = replace(recipe, curve=learning_curve((0.2, 0.5), 40, 24), identity="0123")
    assert Recipe.from_json(json.loads(json.dumps(known.to_json()))) == known
    del told["curve"], told["identity"]  # as earlier versions wrote it
    assert Recipe.from_json(told) == recipe
    said = str(recipe)
    assert "best of 2 rates" in said
    assert "at 0.5 of its strength" in said
    assert "0 % right before, 50 % after" in said
    assert "no other was tried" in str(replace(recipe, rungs=()))
    assert "no other was tried" in str(replace(recipe, rungs=recipe.rungs[:1]))
    unprobed = Probed(0, 0.0, None, 3.8)
    without = replace(recipe, before=unprobed, strengths=(Strength(0.5, unprobed),))
    assert str(without).endswith(
        "; no wording could be held back, so no fact was probed, and the passes come from the budget alone"
    )
    assert "0 %" not in str(without)


@pytest.mark.parametrize(("seconds", "wordings"), [(0.0, 10), (10.0, 10), (40.0, 6), (60.0, 4), (1000.0, 4)])
def test_a_budget_limits_the_wordings_and_leaves_enough_to_learn_a_fact(seconds, wordings):
    assert fitting_wordings(seconds, SETTINGS) == wordings
    assert fitting_wordings(seconds, replace(SETTINGS, wordings=2)) == 2


@pytest.mark.parametrize(("seconds", "given", "wordings"), [(1000.0, 4.0, 1), (1000.0, 2.0, 2), (40.0, 4.0, 3)])
def test_wordings_that_were_given_need_no_further_ones(seconds, given, wordings):
    assert fitting_wordings(seconds, SETTINGS, given) == wordings


@pytest.mark.parametrize("passes", [None, 1, 4])
@pytest.mark.parametrize("given", [1, 2, 4])
@pytest.mark.parametrize("wordings", [1, 2, 4, 10])
def test_before_rows_are_widened_no_fewer_are_taken_than_are_trained_on(passes, given, wordings):
    recipe = RecipeSettings(minutes=20, passes=passes)
    taken = fitting_conversations(50_000, 10_000.0, recipe, given)
    assert taken <= 6_000
    wide = schedule(1.0, 10_000 * wordings, 50_000 * wordings, recipe, wordings=given * wordings)
    assert wide.conversations / wordings <= taken
    assert fitting_conversations(400, 1.0, recipe, given) == 400


def test_passes_and_rate_that_are_set_by_hand_are_kept():
    fixed = RecipeSettings(minutes=20, passes=4)
    assert schedule(1.0, 200, 800, fixed).passes == 4
    slow = schedule(10.0, 1000, 4000, fixed)
    assert (slow.passes, slow.conversations) == (4, 102)
    assert (slow.minutes, slow.pass_minutes) == pytest.approx((17, 1000 / 6))
    assert schedule(1.0, 200, 800, SETTINGS, chooses_rate=False).rung_conversations == 0
    assert "3 short trainings on" in str(schedule(1.0, 200, 800, SETTINGS))
    assert (
        str(schedule(1.0, 60, 240, fixed, chooses_rate=False)) == "4 passes over 240 conversations, about 4.0 minutes"
    )


def test_another_pass_begins_where_it_ends_in_time_at_the_pace_of_the_last_one():
    limit = TimeLimit(100.0, later_share=0.5)
    assert not limit.ends(60.0, 60.0, was_first=True)
    assert limit.ends(60.0, 60.0, was_first=False)
    assert limit.ends(80.0, 21.0, was_first=False)
    assert seconds_left(SETTINGS, 200.0) == 1000.0
    assert seconds_left(SETTINGS, 200.0, 0.5) == 400.0
    assert seconds_left(replace(SETTINGS, passes=3), 200.0) is None


def test_rates_are_compared_by_rungs_that_had_all_of_their_passes():
    whole, cut = rung(2e-4, 0.4), replace(rung(5e-4, 0.2), out_of_time=True)
    assert comparable([whole, whole, cut]) == [whole, whole]
    assert comparable([whole, cut]) == comparable([whole]) == []


@pytest.mark.parametrize(
    ("recalls", "ends"),
    [((), False), ((0.5,), False), ((0.2, 0.5, 0.5), False), ((0.5, 0.5, 0.4), True), ((0.0, 0.0, 0.0, 0.0), False)],
)
def test_a_training_ends_when_two_passes_brought_nothing_but_not_before_anything_was_learned(recalls, ends):
    assert Probing(lambda _: 0.0, before=0.0).levels_off(recalls) is ends
    assert not Probing(lambda _: 0.0, before=0.5).levels_off(recalls)


def test_a_learning_curve_has_intervals_over_facts():
    curve = learning_curve((0.0, 0.5), 40, 24)
    assert [(point.passes, point.updates, point.recall) for point in curve] == [(1, 20, 0.0), (2, 40, 0.5)]
    assert curve[0].low == 0.0 < curve[0].high < curve[1].low < 0.5 < curve[1].high
