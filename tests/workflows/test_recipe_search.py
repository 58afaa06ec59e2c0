"""A finetune is chosen within its budget, kept, and found again; the base stays as it was."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from lorag.chat.prompts import as_served
from lorag.settings import REFUSAL, FinetuneSettings, PromptSettings, RecipeSettings
from lorag.types import Chunk, Conversation, Example, Hit, Message, Sampling
from lorag.workflows import recipe_search as workflow
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
    finetune = FinetuneSettings(rank=4, held_out_share=0.0, measure_forgetting=False, learning_rate=2e-3)
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
    settings = FinetuneSettings(rank=4, held_out_share=0.0, measure_forgetting=False, epochs=1, trained_layers=0.2)
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
    losses = []
    for folder in (training.out, tmp_path / "half"):
        model = training.engine.with_adapter(folder)
        losses.append(model.logprobs((Message("user", "What is the code of the harbour gate?"),), [4, 8, 1, 2]))
        training.engine.weights.detach(model.adapter)
    assert losses[0] != losses[1]


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
