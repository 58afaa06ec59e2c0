"""How a budget is spent, and which of the trained models is taken."""

import json
from dataclasses import replace

import pytest

from lorag.settings import RecipeSettings
from lorag.training.diagnosis import Diagnosis
from lorag.training.recipe import Probed, Recipe, Rung, Strength, better, fitting_wordings, schedule, taken

SETTINGS = RecipeSettings(minutes=20)
BEFORE = Probed(24, 0.0, 0.9, 3.6)
DIAGNOSIS = Diagnosis(24, ("Who?",), (), (), ())


def rung(rate, recall, reading=0.9, loss=3.8):
    return Rung("lora", rate, 3, 100, 50, 60.0, Probed(24, recall, reading, loss))


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
    assert plan.conversations == 480


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
    assert taken([at(1, 0.8, 4.0, reading=0.6), at(0.5, 0.6, 3.9)], BEFORE, SETTINGS) == 0.5
    assert taken([at(1, 0.8, 4.0, reading=0.2), at(0.5, 0.3, 4.1, reading=0.7)], BEFORE, SETTINGS) == 0.5


def test_a_recipe_is_read_back_and_says_what_it_brought():
    strengths = (Strength(1.0, rung(5e-4, 0.75).probed), Strength(0.5, rung(5e-4, 0.5).probed))
    recipe = Recipe(
        20.0, BEFORE, (rung(2e-4, 0.2), rung(5e-4, 0.7)), rung(5e-4, 0.75), strengths, 0.5, DIAGNOSIS, ("A note.",)
    )
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    said = str(recipe)
    assert "best of 2 rates" in said
    assert "at 0.5 of its strength" in said
    assert "0 % right before, 50 % after" in said
    assert "the default rate" in str(replace(recipe, rungs=()))


@pytest.mark.parametrize(("seconds", "wordings"), [(0.0, 10), (10.0, 10), (60.0, 4), (1000.0, 1)])
def test_a_budget_limits_the_wordings_and_leaves_one(seconds, wordings):
    assert fitting_wordings(seconds, SETTINGS) == wordings
