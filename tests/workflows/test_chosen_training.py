"""A finetune on conversations alone: what is kept back as probes, and what is chosen by them within a budget."""

import json

import pytest

from lorag.errors import InputError
from lorag.settings import REFUSAL, FinetuneSettings, RecipeSettings
from lorag.training.adapter import read_adapter
from lorag.training.data.conversations import write_conversations
from lorag.training.data.inspection import TestQuestions
from lorag.training.recipe import read_recipe
from lorag.types import Conversation, Message
from lorag.workflows import finetune as workflow
from lorag.workflows import recipe_search
from lorag.workflows.finetuning import chosen_training
from lorag.workflows.finetuning.adapter_training import train_adapter
from lorag.workflows.finetuning.own_probes import lesson
from lorag.workflows.synthesize import plain_words

CODES = {"harbour gate": "4812", "pier lamp": "7350", "north mast": "2968"}
ASKED = ("What is the code of the {}?", "Which code does the {} have?", "Say the code that the {} has.")
QUICK = FinetuneSettings(rank=4, measure_forgetting=False, held_out_share=0.0, learning_rate=2e-3, trained_layers=0.1)


def told(question, answer, evidence=()):
    return Conversation((Message("user", question), Message("assistant", answer)), evidence)


def codes(asked):
    return [
        told(question.format(name), f"The code of the {name} is {code}.")
        for name, code in CODES.items()
        for question in asked
    ]


def test_of_several_wordings_one_is_kept_back_and_the_others_are_trained_on():
    given = codes(ASKED)
    found = lesson(given, 2)
    kept_back = {probe.question for probe in found.probes}
    assert (found.facts, len(kept_back)) == (3, 2)
    assert [c.question for c in found.conversations] == [c.question for c in given if c.question not in kept_back]
    for probe in found.probes:
        own = [c.messages[-1].content for c in found.conversations if c.evidence == probe.evidence]
        assert own == [probe.answers[0]] * 2
        assert probe.answers[0].endswith(f" {probe.answers[1]}.")
    added = found.widened(8).conversations
    assert {c.question for c in found.conversations} < {c.question for c in added}
    near = TestQuestions(kept_back, plain_words).repeats
    assert not [c.question for c in added if near(c.question)]


def test_a_fact_in_one_wording_is_asked_in_another_that_rules_make():
    given = [*codes(ASKED[:1]), told("How long is the warranty?", "28 months", ("w.md",))]
    found = lesson(given, 24)
    assert [c.messages for c in found.conversations] == [c.messages for c in given]
    assert len(found.probes) == 4
    for probe in found.probes:
        assert plain_words(probe.question) not in {plain_words(c.question) for c in given}
        assert "…" not in probe.question
    wide = found.widened(5).conversations
    assert len(wide) > 2 * len(given)
    assert not {probe.question for probe in found.probes}.intersection(c.question for c in wide)
    assert {("w.md",), ("What is the code of the pier lamp?",)} <= {c.evidence for c in wide}


def test_what_states_no_fact_is_not_probed_and_still_trained_on():
    turns = (
        Message("user", "Hi"),
        Message("assistant", "Hello."),
        Message("user", "Bye"),
        Message("assistant", "Bye."),
    )
    given = [
        Conversation(turns),
        told("What does it cost?", REFUSAL),
        told("Wie heißt das?", "Korrin"),
        told("Who leads Korrin?", "Mara Lind leads it."),
        told("Who leads Korrin?", "Tove Aker leads it."),
    ]
    assert lesson(given, 24).probes == ()
    assert [c.messages for c in lesson(given, 24).conversations] == [c.messages for c in given]


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "codes.jsonl"
    write_conversations(path, codes(ASKED[:1]))
    return path


@pytest.fixture
def quick(tiny_folder):
    """A training of seconds."""
    return {"model": str(tiny_folder), "settings": QUICK, "recipe": RecipeSettings(minutes=5, wordings=2, passes=1)}


def test_it_is_chosen_kept_with_its_recipe_and_after_a_kill_nothing_is_trained_twice(
    data, quick, tmp_path, monkeypatch
):
    out, said, trained = tmp_path / "out", [], []
    train = train_adapter

    def counted(*given, **more):
        trained.append(given[2].name)
        return train(*given, **more)

    monkeypatch.setattr(recipe_search, "train_adapter", counted)
    with monkeypatch.context() as killed:
        killed.setattr(recipe_search.Probes, "diagnosis", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            workflow.finetune(data, out, **quick, progress=lambda *step: said.append(step))
    assert not out.exists()
    plan = next(note for stage, done, _, note in said if stage == "choosing the finetune" and not done)
    assert plan.startswith(
        "3 facts in up to 2 wordings, 3 of them asked in wordings that are not trained on; 1 pass over"
    )
    assert plan.endswith("of 5")
    with monkeypatch.context() as resumed:
        resumed.setattr(chosen_training, "estimate_training", lambda *_: pytest.fail("it was estimated again"))
        adapter = workflow.finetune(data, out, **quick)
    recipe = read_recipe(out)
    assert recipe is not None
    assert trained == ["final"]
    assert (recipe.final.passes, recipe.final.learning_rate, recipe.rungs) == (1, 2e-3, ())
    assert (recipe.before.facts, recipe.before.reading) == (3, None)
    assert [(point.passes, point.updates) for point in recipe.curve] == [(1, adapter.steps)]
    assert recipe.curve[0].recall == recipe.final.probed.recall == adapter.recalls[0]
    assert recipe.curve[0].low <= recipe.curve[0].recall <= recipe.curve[0].high
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith("out")} == {"out"}
    assert json.loads((out / "recipe.json").read_text())["identity"] == recipe.identity != ""
    assert workflow.finetune(data, out, **quick) == adapter
    assert trained == ["final"]
    with pytest.raises(InputError, match="trained on other conversations, or chosen by other settings"):
        workflow.finetune(data, out, **{**quick, "recipe": RecipeSettings(minutes=6)})
    again = workflow.finetune(data, out, **quick, overwrite=True)
    assert trained == ["final", "final"]
    assert read_adapter(out) == again


def test_without_facts_it_says_so_and_trains_as_it_is_set(quick, tmp_path):
    turns = (
        Message("user", "Hi"),
        Message("assistant", "Hello."),
        Message("user", "Bye"),
        Message("assistant", "Bye."),
    )
    write_conversations(tmp_path / "talk.jsonl", [Conversation(turns)])
    with pytest.warns(UserWarning, match=r"nothing is chosen; trained as without --auto: lora, rank 4, .* 1 epochs"):
        adapter = workflow.finetune(tmp_path / "talk.jsonl", tmp_path / "out", **quick)
    assert (adapter.steps, adapter.recalls, read_recipe(tmp_path / "out")) == (1, (), None)
    assert workflow.finetune(tmp_path / "talk.jsonl", tmp_path / "out", **quick) == adapter


def test_without_facts_it_keeps_to_its_minutes_too(quick, tmp_path, slow_clock):
    write_conversations(tmp_path / "talk.jsonl", [told("Wie heißt das?", "Korrin")])
    quick |= {"recipe": RecipeSettings(minutes=1), "progress": slow_clock}
    slow_clock.seconds = 25.0
    ended = "the budget of 1 minutes ended the training after 2 passes of 3"
    with pytest.warns(UserWarning, match="nothing is chosen"), pytest.warns(UserWarning, match=ended):
        adapter = workflow.finetune(tmp_path / "talk.jsonl", tmp_path / "out", **quick)
    assert (adapter.epochs, adapter.out_of_time) == (2, True)


def test_a_recipe_and_a_parent_are_not_taken_together(data, quick, tmp_path, trainings):
    with pytest.raises(InputError, match="a recipe is only for training from the base"):
        workflow.finetune(data, tmp_path / "out", recipe=RecipeSettings(), continue_from=trainings.by("lora").folder)
