"""The finetune reads sources at the strength at which it reads best, which is kept and asked under every seed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lorag import build
from lorag.cli.compare_command import assistant_command
from lorag.evaluation.prompt_choice import PromptChoice
from lorag.evaluation.results import BOTH, FINETUNED
from lorag.evaluation.row_log import RowLog
from lorag.interfaces import no_progress
from lorag.llm.engines.scripted import ScriptedModel
from lorag.llm.engines.transformers import load
from lorag.settings import DEFAULT_EMBEDDER, ChatSettings, CompareSettings, PromptSettings, RecipeSettings
from lorag.training.adapter import read_adapter
from lorag.types import Example, Message, Sampling
from lorag.workflows.comparing.arm_prompts import Trial
from lorag.workflows.comparing.asking import Scene
from lorag.workflows.comparing.finetuned import Finetuned, ask_further, train_finetuned
from lorag.workflows.comparing.inputs import read_inputs
from lorag.workflows.comparing.prompt_trials import Prompting, worked_examples
from lorag.workflows.recipe_search import general_loss
from lorag.workspace import Run

QUESTIONS = [Example(f"q{n}", f"What is the width of bolt {n}?", (f"{n}7 mm",), ()) for n in range(8)]
SETTINGS = CompareSettings(chat=ChatSettings(sampling=Sampling(max_tokens=12)), recipe=RecipeSettings(minutes=4.0))


@pytest.fixture
def trial(unopened, tmp_path):
    """Eight questions to choose on, over a copy of a finished run in which nothing was chosen for "both" yet."""
    folder = shutil.copytree(unopened, tmp_path / "run")
    (folder / "prompts" / "both.json").unlink()
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    strong = {**config, "lora_alpha": 12 * config["lora_alpha"]}  # so that half of it still changes answers
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(strong))
    knowledge = build.knowledge(folder / "index", DEFAULT_EMBEDDER, SETTINGS.chunks, SETTINGS.retrieval)
    run = Run(folder)
    scene = Scene(run, RowLog(run.rows), knowledge, SETTINGS, no_progress)
    return Trial(worked_examples([], [], "-"), QUESTIONS, scene)


def scripted(right):
    """A model that answers so many of the eight questions right."""
    answers = {example.question: example.answers[0] for example in QUESTIONS[:right]}
    return ScriptedModel(lambda prompt: answers.get(prompt[-1].content.rsplit("\n", 1)[-1], "no idea"))


@pytest.mark.parametrize(
    ("rights", "taken"), [((8, 8, 8), 0.5), ((1, 8, 8), 0.25), ((1, 2, 8), 1.0), ((7, 7, 8), 0.5), ((8, 0, 0), 0.5)]
)
def test_the_first_is_taken_that_does_as_well_within_noise(trial, rights, taken):
    models = dict(zip((0.5, 0.25, 1.0), map(scripted, rights), strict=True))
    weaker = {share: lambda share=share: models[share] for share in (0.5, 0.25)}
    found = trial.prompting("both", [PromptSettings()], models[1.0], None, weaker)
    assert found.choice.strength == taken
    assert {each.strength for each in found.choice.tried} == {0.25, 0.5, 1.0}
    assert (f"at {taken:g} of its strength" in str(found.choice)) == (taken < 1)
    kept = json.loads((trial.scene.run.prompts / "both.json").read_text())
    assert PromptChoice.from_json(kept) == found.choice


def test_with_too_few_questions_it_stays_whole(trial):
    few = replace(trial, questions=QUESTIONS[:5])
    weaker = {0.25: lambda: pytest.fail("a weaker one was asked")}
    assert few.prompting("both", [PromptSettings()], scripted(0), None, weaker).choice.strength == 1


def test_both_is_answered_at_the_strength_that_was_chosen_under_every_seed(case, trial):
    run = trial.scene.run
    files = {name: case.folder / name for name in ("docs", "qa.jsonl", "docs_v2")}
    inputs = read_inputs(files["docs"], files["qa.jsonl"], None, files["docs_v2"], None, None, SETTINGS)
    engine = load(Path(case.model))
    retrieval = Prompting(PromptChoice(room=90))
    parts = run.further(3)
    for part in parts:
        shutil.copytree(run.adapter, part.adapter)  # as if trained
    tuned = train_finetuned(None, inputs, retrieval, trial, engine)
    assert isinstance(tuned, Finetuned)
    assert list(tuned.further) == list(trial.scene.further) == parts  # the budget has room for three trainings
    asked = [(Message("user", "In which city is the Korrin office?"),), (Message("user", "What is new?"),)]

    def answers(model):
        return [completion.text for completion in model.generate(asked, SETTINGS.chat.sampling)]

    base = load(Path(case.model))
    whole, weaker = (base.with_adapter(run.folder / name) for name in ("adapter", "adapter-both"))
    assert tuned.arms[BOTH].prompting.choice.strength == 0.5  # the tiny model is right nowhere
    assert tuned.arms[BOTH].prompting.choice.room == 90
    assert answers(tuned.arms[FINETUNED].model) == answers(whole)
    assert answers(tuned.arms[BOTH].model) == answers(weaker)
    assert answers(weaker) not in (answers(whole), answers(base))
    assert "at 0.5 of its strength" in tuned.facts["prompt of both"]
    assert run.tried()["reading"]["general_loss"] == pytest.approx(general_loss(weaker), abs=1e-5)
    kept = read_adapter(run.reading_adapter)
    assert kept.strength == 0.5
    assert kept.served_loss is not None
    assert kept.forgetting is not None
    assert kept.forgetting.loss_after == pytest.approx(general_loss(weaker), abs=1e-5)
    assert general_loss(weaker) != pytest.approx(general_loss(whole), abs=1e-3)
    assert str(run.folder / "adapter-both") in assistant_command("both", run.folder)

    made = (run.folder / "adapter-both" / "lorag.json").stat().st_mtime_ns
    again = train_finetuned(None, inputs, retrieval, trial, load(Path(case.model)))
    assert isinstance(again, Finetuned)
    assert again.arms[BOTH].prompting == tuned.arms[BOTH].prompting
    assert (run.folder / "adapter-both" / "lorag.json").stat().st_mtime_ns == made

    part = parts[0]
    ask_further("before", inputs.tested, replace(tuned, further={part: tuned.further[part]}), trial)
    rows = RowLog(part.rows).rows
    for name, expected, other in ((FINETUNED, whole, weaker), (BOTH, weaker, whole)):
        given = [row.answer for (_, arm, _), row in rows.items() if arm == name]
        prompts = [answer.prompt for answer in given]
        texts = [[each.text for each in model.generate(prompts, SETTINGS.chat.sampling)] for model in (expected, other)]
        assert texts[0] == [answer.text for answer in given] != texts[1]
    assert {arm for _, arm, _ in rows} == {FINETUNED, BOTH}
