"""A finetune is chosen within its budget, kept, and found again; the base stays as it was."""

import json
import shutil
from dataclasses import replace
from statistics import fmean
from types import SimpleNamespace

import pytest
import torch

from lorag.chat.prompts import as_served
from lorag.interfaces import no_progress
from lorag.settings import REFUSAL, FinetuneSettings, PromptSettings, RecipeSettings
from lorag.training.adapter import read_adapter
from lorag.training.control_questions import MultipleChoice
from lorag.training.finetuning import checked_batches
from lorag.training.forgetting import forgetting, measure
from lorag.training.kernels.loss import token_losses
from lorag.training.recipe import Probed, Rung, Schedule, Strength, read_recipe
from lorag.types import Chunk, Conversation, Example, Hit, Message, Sampling
from lorag.workflows import recipe_search as workflow
from lorag.workflows.finetuning import adapter_training
from lorag.workflows.finetuning.adapter_training import train_adapter
from lorag.workflows.finetuning.strength import set_strength
from lorag.workflows.recipe_search import Probe, Probes, Training, train_best

FACTS = {"gate.md": ("the harbour gate", "4812"), "lamp.md": ("the pier lamp", "7350")}
ASKED = ("What is the code of {}?", "Tell me the code of {}.", "Code of {}?")


def conversation(document, question):
    name, code = FACTS[document]
    turns = (Message("user", question.format(name)), Message("assistant", f"The code of {name} is {code}."))
    return as_served(Conversation(turns, (document,)), REFUSAL)


def probe(document):
    name, code = FACTS[document]
    text = f"The code of {name} is {code}."
    hits = (Hit(Chunk(document, "1", 0, len(text), text), 1.0, "evidence"),)
    return Probe(Example(document, f"Which code does {name} have?", (code,), (document,)), hits)


@pytest.fixture
def training(tiny, tmp_path):
    data = [conversation(document, question) for document in FACTS for question in ASKED]
    probes = Probes(tuple(map(probe, FACTS)), PromptSettings(question_first=True), REFUSAL, Sampling(max_tokens=12))
    finetune = FinetuneSettings(
        rank=4, held_out_share=0.0, measure_forgetting=False, learning_rate=2e-3, batch_tokens=512
    )
    return Training(tiny, data, probes, tmp_path / "adapter", finetune, RecipeSettings(minutes=0.5))


def test_the_base_is_probed_trained_and_left_as_it_was(training, monkeypatch):
    weight = training.engine.weights.model.model.layers[-1].mlp.up_proj.weight
    before = weight.clone()
    adapter, recipe = train_best(training)
    assert (training.out / "lorag.json").is_file()
    assert adapter.settings["trained_layers"] == 0.5
    assert adapter.prompt == training.probes.prompt
    assert (recipe.before.facts, recipe.final.probed.facts) == (2, 2)
    assert recipe.final.probed.general_loss != recipe.before.general_loss
    assert recipe.final.updates == adapter.steps
    assert 1 <= recipe.final.passes <= 5
    assert recipe.diagnosis.facts == 2
    assert [point.passes for point in recipe.curve] == list(range(1, recipe.final.passes + 1))
    assert (recipe.curve[-1].recall, recipe.curve[-1].updates) == (recipe.final.probed.recall, adapter.steps)
    assert recipe.rungs == ()  # each would be longer than the training
    assert training.engine.weights.adapted is None
    assert torch.equal(training.engine.weights.model.model.layers[-1].mlp.up_proj.weight, before)
    assert not training.kept.exists()
    monkeypatch.setattr(workflow, "train_adapter", lambda *_, **__: pytest.fail("it was trained again"))
    assert train_best(training) == (adapter, recipe)


def test_a_training_for_which_there_is_no_more_time_ends_after_a_pass_and_the_recipe_states_it(training, slow_clock):
    slow_clock.seconds = 11.0  # of the 30 seconds of its budget, for each of the five passes
    adapter, recipe = train_best(replace(training, progress=slow_clock))
    assert (adapter.epochs, adapter.out_of_time, adapter.seconds) == (2, True, 22.0)
    assert (recipe.final.passes, recipe.final.out_of_time, len(recipe.curve)) == (2, True, 2)
    assert recipe.notes == (
        "The budget of 0.5 minutes ended the training after 2 passes of 5: it took longer than estimated.",
    )
    assert "2 passes over 6 conversations" in str(recipe)
    assert read_recipe(training.out) == recipe
    fixed = replace(training, progress=slow_clock, recipe=replace(training.recipe, passes=4), overwrite=True)
    adapter, recipe = train_best(fixed)
    assert (adapter.epochs, adapter.out_of_time, recipe.notes) == (4, False, ())


def test_no_further_rate_is_tried_where_the_short_trainings_take_too_long(training, slow_clock):
    settings = replace(training.finetune, epochs=3, trained_layers=0.2)
    training, size = replace(training, progress=slow_clock), len(training.conversations)
    slow_clock.seconds = 3.0  # of a third of 30 seconds, for each of the three passes
    (rung,) = workflow._rungs(training, settings, size)
    assert (rung.passes, rung.seconds, rung.out_of_time) == (3, 9.0, False)
    shutil.rmtree(training.kept)
    slow_clock.seconds = 8.0
    (rung,) = workflow._rungs(training, settings, size)
    assert (rung.passes, rung.seconds, rung.out_of_time) == (2, 16.0, True)
    slow_clock.seconds = 0.1
    shutil.rmtree(training.kept)
    rungs = workflow._rungs(training, settings, size)
    assert [each.passes for each in rungs] == [3, 3, 3]
    plan, recipe = Schedule(5, 6, 6, 0.4, 0.1), training.recipe
    assert list(workflow._time_notes(rungs, rungs[0], plan, recipe)) == []
    said = [next(workflow._time_notes(rungs[:count], rungs[0], plan, recipe)) for count in (2, 1)]
    assert said == [
        f"The short trainings took longer than estimated, so {what} were compared."
        for what in ("only 2 of 3 rates", "no rates")
    ]


def test_a_resumed_choice_keeps_its_schedule_and_its_training(training, monkeypatch):
    settings = workflow._defaults(training.finetune)
    training.kept.mkdir()
    plan = workflow._planned(training, settings)
    monkeypatch.setattr(workflow, "estimate_training", lambda *_: pytest.fail("it was estimated again"))
    assert workflow._planned(training, settings) == plan
    recipe = workflow._train_best(training)
    monkeypatch.setattr(workflow, "train_adapter", lambda *_, **__: pytest.fail("it was trained again"))
    again = workflow._train_best(training)  # killed before the recipe was written
    assert (again.final, again.strength) == (recipe.final, recipe.strength)
    assert train_best(training)[1].final == recipe.final


def test_rates_without_probes_to_choose_by_are_not_tried_and_their_minutes_train(training, monkeypatch):
    settings = replace(training.finetune, learning_rate=None)
    data = [*training.conversations] * 100
    training = replace(training, conversations=data, finetune=settings, recipe=RecipeSettings(minutes=10))
    training.kept.mkdir()
    updates = 400 * workflow._defaults(settings).epochs
    expected = SimpleNamespace(updates=updates, seconds=0.5 * updates)
    monkeypatch.setattr(workflow, "estimate_training", lambda *_: expected)
    choosing = workflow._planned(training, workflow._defaults(settings))
    (training.kept / "schedule.json").unlink()
    elsewhere = [replace(each, example=replace(each.example, evidence=("x.md",))) for each in training.probes.probes]
    unprobed = replace(training, probes=replace(training.probes, probes=elsewhere))
    plan = workflow._planned(unprobed, workflow._defaults(settings))
    assert choosing.rung_conversations > plan.rung_conversations == 0
    assert (plan.passes, plan.conversations) > (choosing.passes, choosing.conversations)
    assert plan.minutes <= 10


def test_a_killed_choice_trains_nothing_twice(training, monkeypatch):
    finished = []
    train = train_adapter

    def counted(*given, **more):
        finished.append(given[2].name)
        return train(*given, **more)

    monkeypatch.setattr(workflow, "train_adapter", counted)
    monkeypatch.setattr(workflow, "RATES", (1e-3, 2e-3))
    settings = replace(training.finetune, epochs=1, trained_layers=0.2)
    documents = set(FACTS)
    with monkeypatch.context() as killed:

        def killing(*given, **more):
            if finished:
                raise KeyboardInterrupt
            return counted(*given, **more)

        killed.setattr(workflow, "train_adapter", killing)
        with pytest.raises(KeyboardInterrupt):
            workflow._rungs(training, settings, len(training.conversations))
    assert finished == ["rate-0.001"]
    rungs = workflow._rungs(training, settings, len(training.conversations))
    assert finished == ["rate-0.001", "rate-0.002"]
    assert [rung.learning_rate for rung in rungs] == [1e-3, 2e-3]
    assert all(rung.probed.facts == len(documents) for rung in rungs)


def test_a_weaker_adapter_is_the_same_at_a_share_of_its_scale(training, tmp_path):
    train_best(training)
    config = json.loads((training.out / "adapter_config.json").read_text())
    set_strength(training.engine, training.out, tmp_path / "half", 0.5)
    half = json.loads((tmp_path / "half" / "adapter_config.json").read_text())
    assert half == {**config, "lora_alpha": config["lora_alpha"] * 0.5}
    weaker = read_adapter(tmp_path / "half")
    assert (weaker.strength, weaker.served_loss, weaker.served) == (0.5, None, "not measured")
    losses = []
    for folder in (training.out, tmp_path / "half"):
        model = training.engine.with_adapter(folder)
        losses.append(model.logprobs((Message("user", "What is the code of the harbour gate?"),), [4, 8, 1, 2]))
        training.engine.weights.detach(model.adapter)
    assert losses[0] != losses[1]


@pytest.mark.parametrize("killed_at", ["loading", "probing"])
def test_a_training_that_was_killed_after_its_end_is_not_repeated(training, monkeypatch, killed_at):
    finished, train, out = [], train_adapter, training.kept / "final"
    settings = replace(training.finetune, epochs=1, trained_layers=0.2)

    def counted(*given, **more):
        finished.append(given[2].name)
        return train(*given, **more)

    def kill(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "train_adapter", counted)
    with monkeypatch.context() as killed:
        if killed_at == "loading":
            killed.setattr(adapter_training, "_as_served", kill)
        else:
            killed.setattr(Probes, "of", kill)
        with pytest.raises(KeyboardInterrupt):
            workflow._rung(training, training.conversations, settings, out, None)
    made = read_adapter(out)
    assert (made.served_loss is None) == (killed_at == "loading")
    rung = workflow._rung(training, training.conversations, settings, out, None)
    assert finished == ["final"]
    assert (rung.updates, rung.seconds, rung.probed.facts) == (made.steps, made.seconds, 2)
    assert read_adapter(out).served_loss is not None
    other = workflow._rung(training, training.conversations, replace(settings, seed=1), out, None)
    assert finished == ["final", "final"]
    assert other.probed.general_loss != rung.probed.general_loss


def test_a_training_that_was_killed_before_its_strength_was_set_is_not_repeated(training, monkeypatch):
    settings = replace(training.finetune, epochs=1, trained_layers=0.2, measure_forgetting=True)
    given = (training.engine, training.conversations, training.out, settings, 0.5, PromptSettings(), no_progress)
    with monkeypatch.context() as killed:
        killed.setattr(workflow, "measure_again", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            workflow.train_alike(*given)
    assert not training.out.exists()
    monkeypatch.setattr(workflow, "train_adapter", lambda *_, **__: pytest.fail("it was trained again"))
    adapter = workflow.train_alike(*given)
    assert adapter.strength == 0.5
    assert None not in (adapter.served_loss, adapter.forgetting)
    assert [path.name for path in training.out.parent.iterdir()] == ["adapter"]
    assert workflow.train_alike(*given) == adapter


@pytest.mark.parametrize(
    ("method", "reading", "loss", "tried"),
    [
        ("lora", 0.9, 3.9, (1.0,)),
        ("lora", 0.9, 4.0, (1.0, 0.75, 0.5)),
        ("full", 0.3, 3.9, (1.0, 0.75, 0.5)),
        ("prefix", 0.3, 4.0, (1.0,)),
        ("qlora", 0.3, 4.0, (1.0,)),
    ],
)
def test_lower_strengths_are_tried_where_too_much_was_forgotten_or_reading_was_lost(
    training, monkeypatch, method, reading, loss, tried
):
    before, probed = Probed(24, 0.0, 0.9, 3.65), Probed(24, 0.5, reading, loss)
    monkeypatch.setattr(workflow, "_at_strength", lambda _, share: Strength(share, before))
    training = replace(training, finetune=FinetuneSettings(method=method))
    final = Rung(method, 2e-4, 3, 100, 50, 60.0, probed)
    found = workflow._strengths(training, before, final)
    assert tuple(each.share for each in found) == tried
    assert found[0].probed == probed


def test_what_the_manifest_states_is_what_the_strength_that_is_served_does(training, monkeypatch):
    monkeypatch.setattr(workflow, "taken", lambda *_: 0.5)
    control = [MultipleChoice("The gate is", ("a", "shut", "open"), 0), MultipleChoice("Ice is", ("sand", "cold"), 1)]
    finetune = replace(training.finetune, held_out_share=0.34, measure_forgetting=True)
    recipe = replace(training.recipe, most_forgetting=-10.0, passes=2)
    training = replace(training, finetune=finetune, recipe=recipe, control=control)
    adapter, chosen = train_best(training)
    assert [each.share for each in chosen.strengths] == [1.0, 0.75, 0.5]
    assert (chosen.strength, adapter.strength, adapter.held_out) == (0.5, 0.5, 2)
    rows = checked_batches(training.engine.weights.tokenizer, training.conversations, finetune)
    tokens = sum(map(sum, (row.supervised for batch in rows for row in batch)))

    def measured(model):
        with model.applied() as causal:
            general = measure(causal, model.weights.tokenizer, control)
            losses = [loss for batch in rows for row in token_losses(causal, batch) for loss in row]
        assert len(losses) == tokens
        return general, fmean(losses)

    before, held_out_before = measured(training.engine)
    after, held_out_after = measured(training.engine.with_adapter(training.out))
    assert adapter.held_out_loss_before == pytest.approx(held_out_before, rel=1e-4)
    assert adapter.held_out_loss_after == adapter.served_loss == pytest.approx(held_out_after, rel=1e-4)
    expected = forgetting(before, after)
    assert adapter.forgetting is not None
    assert adapter.forgetting.loss_before == pytest.approx(expected.loss_before, rel=1e-4)
    assert adapter.forgetting.loss_after == pytest.approx(expected.loss_after, rel=1e-4)
    assert adapter.forgetting.control == expected.control
    assert adapter.forgetting.right_after == expected.right_after
    assert adapter.checked_loss != pytest.approx(held_out_after, rel=1e-3)
    assert f"{adapter.served_loss:.2f} after loading at 0.5 of its strength in float32" in adapter.served


@pytest.fixture
def trained(training, tmp_path):
    """A model of which all weights were trained."""
    settings = replace(training.finetune, method="full", epochs=2)
    train_adapter(training.engine, training.conversations, tmp_path / "full", settings)
    return tmp_path / "full"


def test_all_weights_at_a_share_of_their_strength_lie_between_base_and_trained(trained, tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    base = {name: weight.float() for name, weight in tiny.weights.model.state_dict().items()}
    learned = load_file(trained / "model.safetensors")
    assert any(not torch.equal(weight, base[name]) for name, weight in learned.items())
    source = shutil.copytree(trained, tmp_path / "in two files", ignore=shutil.ignore_patterns("model.safetensors"))
    for n in (0, 1):
        save_file(dict(list(learned.items())[n::2]), source / f"model-{n}.safetensors")
    for share in (0, 0.5, 1):
        set_strength(tiny, source, tmp_path / "weaker", share)
        made = load_file(tmp_path / "weaker" / "model-0.safetensors")
        made |= load_file(tmp_path / "weaker" / "model-1.safetensors")
        assert made.keys() == learned.keys()
        for name, weight in learned.items():
            torch.testing.assert_close(made[name], base[name] + share * (weight - base[name]), rtol=1e-6, atol=1e-7)
            assert share != 0 or torch.equal(made[name], base[name])
            assert share != 1 or torch.equal(made[name], weight)


def test_a_full_finetune_that_forgets_is_tried_weaker(trained, training):
    kept = training.kept
    shutil.copytree(trained, kept / "final")
    strengths = [workflow._at_strength(training, share) for share in (0.75, 0.5)]
    losses = [each.probed.general_loss for each in strengths]
    assert len({workflow.general_loss(training.engine), *losses}) == 3
    assert {path.name for path in training.at_strength(0.5).iterdir()} == {
        path.name for path in (kept / "final").iterdir()
    }


def told(question, reply):
    return Conversation((Message("user", question), Message("assistant", reply)), ("r9.md",))


def test_the_trained_wording_of_a_fact_is_none_of_another_fact_with_the_same_value():
    reach = Example("reach", "What is the range of the R9?", ("45 m",), ("r9.md",))
    cable = Example("cable", "What is the length of the cable of the R9?", ("45 m",), ("r9.md",))
    rows = [
        told("What is the R9's cable length?", "45 m"),
        told("What is the depth of the R9?", "45 m"),
        told("What is the R9's height?", "2 m"),
        told("Tell me the range of the R9.", "The range of the R9 is 45 m."),
    ]

    def found(example, conversations=rows):
        one = workflow._in_trained_wording(example, conversations, [reach, cable])
        return one and (one.question, one.answers)

    assert found(reach) == (rows[3].question, reach.answers)
    assert found(cable) == (rows[0].question, cable.answers)
    assert found(reach, [rows[0], rows[2]]) is None
