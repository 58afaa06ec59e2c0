"""Where questions are to be refused, an arm with sources gets a probe and refuses what its sources do not answer."""

import json
from dataclasses import replace

import pytest

from lorag import build
from lorag.chat.kept_prompt import KeptPrompt, read_prompt
from lorag.evaluation.results import RETRIEVAL
from lorag.evaluation.runner import recorded_rows
from lorag.interfaces import no_progress
from lorag.llm.engines.scripted import ScriptedModel
from lorag.settings import ChatSettings, CompareSettings, RetrievalSettings
from lorag.types import Document, Example, Sampling
from lorag.workflows.comparing.arm_prompts import Trial
from lorag.workflows.comparing.asking import Scene, ask_arms, recall
from lorag.workflows.comparing.prompt_trials import worked_examples
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
OPEN = [f"How heavy is the {thing} of pier {n}?" for n in range(4) for thing in THINGS]
SETTINGS = CompareSettings(
    chat=ChatSettings(context_tokens=60, sampling=Sampling(max_tokens=8)), retrieval=RetrievalSettings(k=6)
)


def example(question, answer, document):
    return Example(question, question, (answer,), (document,))


@pytest.fixture
def trial(bge_folder, tmp_path):
    knowledge = build.knowledge(tmp_path / "run" / "index", str(bge_folder))
    knowledge.sync([Document(f"{n}.md", answer, document) for n, (_, answer, document) in enumerate(KNOWN)])
    scene = Scene(Run(tmp_path / "run"), knowledge, SETTINGS, no_progress)
    questions = [Example("open", "Who built the quay?", (), ())]
    answered = tuple(example(*each) for each in KNOWN[:36])
    return Trial(worked_examples([], [], "-"), questions, scene, answered=answered)


def chosen(trial, model):
    """The prompting of retrieval, in the file where a comparison keeps it."""
    return trial.prompting("retrieval", trial.shown.preferred[:1], model, trial.scene.knowledge)


def test_what_the_sources_do_not_answer_is_refused(trial, smollm):
    scene = trial.scene
    cached = scene.cached(smollm)
    arm = trial.reader(RETRIEVAL, cached, chosen(trial, cached))
    probe = arm.prompting.probe
    assert (probe.model, probe.layer, probe.conversations) == ("smollm2-135m", 21, 36)
    assert "refuses by a probe of layer 21" in str(arm.prompting)
    examples = [example(*each) for each in KNOWN[36:]]
    examples += [Example(question, question, (), ()) for question in OPEN]
    log = scene.run.rows()
    ask_arms("before", examples, {RETRIEVAL: arm}, scene, log)
    rows = {name: row.answer for (_, _, name), row in recorded_rows(log).items()}
    refused = {name for name, answer in rows.items() if answer.text == SETTINGS.chat.response_template}
    assert len(refused & set(OPEN)) >= 18
    assert len(refused - set(OPEN)) <= 2
    for name in refused:
        assert rows[name].refused
        assert rows[name].sources
        assert rows[name].usage.completion_tokens == 0
    base = smollm.generate([rows[name].prompt for name in refused], SETTINGS.chat.sampling)
    assert all(completion.text != SETTINGS.chat.response_template for completion in base)

    again = trial.reader(RETRIEVAL, cached, chosen(trial, cached))
    assert again.prompting == arm.prompting
    recall({RETRIEVAL: again}, log, SETTINGS)
    assert recorded_rows(scene.run.rows()) == recorded_rows(log)
    assert "weights" not in scene.run.tried()["prompts"]["retrieval"]["probe"]

    served = build.chatbot(
        "smollm2-135m",
        index=scene.run.index,
        settings=SETTINGS.chat,
        retrieval=SETTINGS.retrieval,
        by=str(scene.knowledge.embedder.name),
        number_format="float32",
        prompt=read_prompt(scene.run.prompts / "retrieval.json"),
    )
    reply = served.reply(OPEN[0])
    assert "".join(reply) == served.ask(OPEN[0]).text == SETTINGS.chat.response_template
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
def test_without_questions_to_refuse_or_to_fit_to_there_is_none(trial, tiny, change):
    trial = replace(trial, **change)
    cached = trial.scene.cached(tiny)
    arm = trial.reader(RETRIEVAL, cached, chosen(trial, cached))
    assert arm.model is cached
    assert arm.prompting.probe is None
    assert json.loads((trial.scene.run.prompts / "retrieval.json").read_text())["probe"] is None


def test_an_arm_that_was_asked_before_there_were_probes_gets_none(trial, tiny):
    cached = trial.scene.cached(tiny)
    prompting = chosen(trial, cached)
    bot = {RETRIEVAL: trial.reader(RETRIEVAL, trial.scene.cached(ScriptedModel(lambda prompt: "no idea")), prompting)}
    ask_arms("before", [Example("q", "Is it?", ("yes",), ())], bot, trial.scene, trial.scene.run.rows())
    assert trial.reader(RETRIEVAL, cached, prompting).prompting.probe is None


def test_a_probe_is_used_where_it_fits_and_missed_aloud_elsewhere(trial, smollm, tiny):
    cached = trial.scene.cached(smollm)
    trial.reader(RETRIEVAL, cached, chosen(trial, cached))
    kept = read_prompt(trial.scene.run.prompts / "retrieval.json")
    assert KeptPrompt.from_json(kept.to_json()) == kept
    assert kept.over(smollm, searched=True).probe == kept.probe
    assert kept.over(smollm, searched=False) is smollm
    with pytest.warns(UserWarning, match="was fitted to smollm2-135m: tiny answers without it"):
        assert kept.over(tiny, searched=True) is tiny
    other = ScriptedModel(lambda prompt: "yes")
    other.name = smollm.name
    with pytest.warns(UserWarning, match="needs the engine transformers"):
        assert kept.over(other, searched=True) is other
