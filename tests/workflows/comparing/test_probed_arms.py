"""Where questions are to be refused, an arm with sources gets a probe and refuses what its sources do not answer."""

import json
import shutil
from dataclasses import replace

import pytest

from lorag import build
from lorag.chat.kept_prompt import KeptPrompt, read_prompt
from lorag.evaluation.prompt_choice import PromptChoice
from lorag.evaluation.results import BOTH, RETRIEVAL
from lorag.evaluation.row_log import RowLog
from lorag.interfaces import no_progress
from lorag.llm.engines.ledger import Ledger
from lorag.llm.engines.scripted import ScriptedModel
from lorag.llm.engines.transformers import TransformersModel
from lorag.settings import ChatSettings, CompareSettings, RetrievalSettings
from lorag.types import Document, Example, Sampling, ThinkingSampling
from lorag.workflows.comparing import arm_prompts
from lorag.workflows.comparing.arm_prompts import Trial
from lorag.workflows.comparing.asking import Scene, ask_arms, recall
from lorag.workflows.comparing.prompt_trials import Prompting, worked_examples
from lorag.workspace import Run

COLOURS = ("amber", "black", "copper", "denim", "ebony", "fawn", "green", "hazel", "ivory", "jade", "khaki", "lilac")
THINGS = ("anchor", "beacon", "crane", "dinghy", "engine", "ferry")
KNOWN = [
    (
        f"What colour is the {thing} of pier {n}?",
        f"The {thing} of pier {n} is {COLOURS[(3 * n + k) % 12]}.",
        f"pier-{n}.md",
    )
    for n in range(8)
    for k, thing in enumerate(THINGS)
]
OPEN = [f"How heavy is the {thing} of pier {n}?" for n in range(2) for thing in THINGS[:4]]
SETTINGS = CompareSettings(
    chat=ChatSettings(context_tokens=30, sampling=Sampling(max_tokens=8)), retrieval=RetrievalSettings(k=3)
)


def example(question, answer, document):
    return Example(question, question, (answer,), (document,))


@pytest.fixture
def trial(bge_folder, tmp_path):
    knowledge = build.knowledge(tmp_path / "run" / "index", str(bge_folder))
    knowledge.sync([Document(f"{n}.md", answer, document) for n, (_, answer, document) in enumerate(KNOWN)])
    run = Run(tmp_path / "run")
    scene = Scene(run, RowLog(run.rows), knowledge, SETTINGS, no_progress, Ledger(run.asked(), None))
    questions = [Example("open", "Who built the quay?", (), ())]
    answered = tuple(example(*each) for each in KNOWN[:24])
    return Trial(worked_examples([], [], "-"), questions, scene, answered=answered)


@pytest.fixture
def willing(tiny, monkeypatch):
    """A model of random weights, whose probe is used however little it finds."""
    monkeypatch.setattr(arm_prompts, "_WORTH_PROBING", -1.0)
    return tiny


def chosen(trial, model):
    """The prompting of retrieval, in the file where a comparison keeps it."""
    return trial.prompting("retrieval", trial.shown.preferred[:1], model, trial.scene.knowledge)


def test_what_the_sources_do_not_answer_is_refused(trial, smollm):
    scene = trial.scene
    cached = scene.cached(smollm)
    arm = trial.reader(RETRIEVAL, cached, chosen(trial, cached))
    probe = arm.prompting.probe
    assert (probe.model, probe.layer, probe.conversations) == ("smollm2-135m", 21, 24)
    assert "refuses by a probe of layer 21" in str(arm.prompting)
    examples = [example(*each) for each in KNOWN[36:42]]
    examples += [Example(question, question, (), ()) for question in OPEN]
    ask_arms("before", examples, {RETRIEVAL: arm}, scene)
    rows = {name: row.answer for (_, _, name), row in scene.log.rows.items()}
    refused = {name for name, answer in rows.items() if answer.text == SETTINGS.chat.response_template}
    assert len(refused & set(OPEN)) >= 6
    assert len(refused - set(OPEN)) <= 1
    for name in refused:
        assert rows[name].refused
        assert rows[name].sources
        assert rows[name].usage.completion_tokens == 0
    base = scene.cached(smollm).generate([rows[name].prompt for name in refused], SETTINGS.chat.sampling)
    assert all(completion.text != SETTINGS.chat.response_template for completion in base)

    again = trial.reader(RETRIEVAL, cached, chosen(trial, cached))
    assert again.prompting == arm.prompting
    recall({RETRIEVAL: again}, scene)
    again.model.model = ScriptedModel(lambda prompt: pytest.fail("it was asked again"))
    prompts = [answer.prompt for answer in rows.values()]
    recalled = again.model.generate(prompts, SETTINGS.chat.sampling)
    assert [completion.text for completion in recalled] == [answer.text for answer in rows.values()]
    assert "weights" not in scene.run.tried()["prompts"]["retrieval"]["probe"]

    served = build.chatbot(
        "smollm2-135m",
        index=scene.run.index,
        settings=SETTINGS.chat,
        retrieval=SETTINGS.retrieval,
        by=str(scene.knowledge.embedder.name),
        prompt=read_prompt(scene.run.prompts / "retrieval.json"),
    )
    assert isinstance(served.model, TransformersModel)  # llama.cpp, where it is quicker, shows no states
    reply = served.reply(OPEN[0])
    assert "".join(reply) == served.ask(OPEN[0]).text == SETTINGS.chat.response_template
    assert reply.answer is not None
    assert reply.answer.refused


@pytest.mark.parametrize(
    "change",
    [
        {"questions": [Example("known", "Is the quay new?", ("yes",), ())]},
        {"answered": tuple(example(*each) for each in KNOWN[:23])},
        {"answered": tuple(example(question, answer, "one.md") for question, answer, _ in KNOWN)},
    ],
    ids=["nothing to refuse", "too few", "one document"],
)
def test_without_questions_to_refuse_or_to_fit_to_there_is_none(trial, willing, change):
    trial = replace(trial, **change)
    cached = trial.scene.cached(willing)
    arm = trial.reader(RETRIEVAL, cached, chosen(trial, cached))
    assert arm.model is cached
    assert arm.prompting.probe is None
    assert json.loads((trial.scene.run.prompts / "retrieval.json").read_text())["probe"] is None


def test_arms_of_a_run_that_was_begun_without_probes_get_none(trial, willing):
    cached = trial.scene.cached(willing)
    prompting = chosen(trial, cached)
    bot = {RETRIEVAL: trial.reader(RETRIEVAL, trial.scene.cached(ScriptedModel(lambda prompt: "no idea")), prompting)}
    ask_arms("before", [Example("q", "Is it?", ("yes",), ())], bot, trial.scene)
    assert trial.reader(RETRIEVAL, cached, prompting).prompting.probe is None
    shutil.copy(trial.scene.run.prompts / "retrieval.json", trial.scene.run.prompts / "both.json")
    assert trial.reader(BOTH, cached, prompting).prompting.probe is None
    assert trial.reader(BOTH, cached, prompting, trial.scene.run.part("seed-1")).prompting.probe is None
    assert "probe" not in json.loads((trial.scene.run.prompts / "retrieval.json").read_text())


@pytest.mark.parametrize("sampling", [ThinkingSampling(), Sampling(num_beams=2)], ids=["thinking", "beams"])
def test_a_model_that_thinks_or_searches_beams_gets_none(trial, willing, sampling):
    settings = replace(SETTINGS, chat=replace(SETTINGS.chat, sampling=sampling))
    trial = replace(trial, scene=replace(trial.scene, settings=settings))
    cached = trial.scene.cached(willing)
    assert trial.reader(RETRIEVAL, cached, Prompting(PromptChoice())).prompting.probe is None


def test_further_seeds_get_a_probe_of_their_own(trial, willing):
    cached = trial.scene.cached(willing)
    prompting = chosen(trial, cached)
    first = trial.reader(RETRIEVAL, cached, prompting)
    part = trial.scene.run.part("seed-1")
    arm = trial.reader(RETRIEVAL, cached, prompting, part)
    assert arm.prompting.probe == first.prompting.probe  # of the same model here
    assert read_prompt(part.prompts / "retrieval.json").probe == arm.prompting.probe


def test_a_probe_is_used_where_it_fits_and_missed_aloud_elsewhere(trial, smollm, willing):
    cached = trial.scene.cached(willing)
    trial.reader(RETRIEVAL, cached, chosen(trial, cached))
    kept = read_prompt(trial.scene.run.prompts / "retrieval.json")
    assert KeptPrompt.from_json(kept.to_json()) == kept
    plain = SETTINGS.chat.sampling
    probing = kept.over(willing, True, plain)
    assert isinstance(probing, TransformersModel)
    assert probing.probe == kept.probe
    assert kept.over(willing, True, plain) is probing
    assert probing.probing(None) is willing
    assert kept.over(willing, False, plain) is willing
    with pytest.warns(UserWarning, match="was fitted to tiny: smollm2-135m answers without it"):
        assert kept.over(smollm, True, plain) is smollm
    with pytest.warns(UserWarning, match="is for answers without thoughts"):
        assert kept.over(willing, True, ThinkingSampling()) is willing
    other = ScriptedModel(lambda prompt: "yes")
    other.name = willing.name
    with pytest.warns(UserWarning, match="needs the engine transformers"):
        assert kept.over(other, True, plain) is other
