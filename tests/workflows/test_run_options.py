"""Every run keeps the options that repeat it, whether the command or Python began it."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lorag.chat.kept_prompt import KeptPrompt
from lorag.cli.commands import app
from lorag.llm.engines.scripted import ScriptedModel
from lorag.settings import (
    ChatSettings,
    ChunkSettings,
    CompareSettings,
    FinetuneSettings,
    PromptSettings,
    RecipeSettings,
    RetrievalSettings,
    VerdictSettings,
)
from lorag.types import Sampling, ThinkingSampling
from lorag.workflows import demo
from lorag.workflows.compare import compare
from lorag.workflows.comparing.facts import run_options
from lorag.workspace import Chosen

AS_OPTIONS = CompareSettings(
    limit=2,
    retrieval=RetrievalSettings(dense_weight=0.0, min_cosine=0.1),
    chat=ChatSettings(sampling=Sampling(max_tokens=8)),
    remote=replace(CompareSettings().remote, concurrency=2),
    verdict=VerdictSettings(require=("hallucination<=1.0",)),
)


def written(settings, **chosen):
    return run_options({}, settings, Chosen(**chosen), ())


def test_the_command_repeats_a_run_of_python_and_asks_nothing(case, endpoint, bge_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = endpoint(ScriptedModel(lambda prompt: "Halifax", name="m"))
    prompt = KeptPrompt(PromptSettings(question_first=True), context_tokens=50)
    given = {"style": case.folder / "style.json", "model": server.name, "prompt": prompt, "settings": AS_OPTIONS}
    compare(case.folder / "docs", case.folder / "qa.jsonl", **given, out="run")
    options = tomllib.loads(Path("run/run.toml").read_text())
    asked, rows = len(server.requests), Path("run/rows.jsonl").read_text()
    again = CliRunner().invoke(app, ["compare", "--config", "run/run.toml", "--out", "run"])
    assert again.exit_code == 0, again.output
    assert (len(server.requests), Path("run/rows.jsonl").read_text()) == (asked, rows)
    assert asked > 0
    assert (options["search"], options["prompt"], options["limit"]) == ("lexical", "run/prompt.json", 2)


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        (CompareSettings(), {}),
        (replace(CompareSettings(), recipe=RecipeSettings(minutes=3.0)), {"budget": 3.0}),
        (
            replace(CompareSettings(), recipe=None, finetune=FinetuneSettings(epochs=2, held_out_share=0.0)),
            {"method": "lora", "epochs": 2},
        ),
        (replace(CompareSettings(), retrieval=RetrievalSettings(reranker="x")), {"reranker": "x"}),
        (replace(CompareSettings(), chat=ChatSettings(sampling=ThinkingSampling())), {"thinking": "hidden"}),
    ],
)
def test_settings_become_the_options_that_give_them(settings, options):
    assert tomllib.loads(written(settings)) == options
    assert "# Not" not in written(settings)


def test_a_file_begins_with_what_the_command_has_no_option_for():
    settings = replace(AS_OPTIONS, chunks=ChunkSettings(max_tokens=64), retrieval=RetrievalSettings(dense_weight=0.3))
    lines = run_options({"documents": Path("docs")}, settings, Chosen(), ["arms"]).splitlines()
    begin = "# Not repeated, because `lorag compare` has no option for it: "
    expected = ["arms", "chunks.max_tokens = 64", "retrieval.dense_weight = 0.3"]
    assert lines[:3] == [begin + each for each in expected]
    assert lines[3] == 'documents = "docs"'


def test_what_the_workspace_chose_needs_no_option():
    chunks, retrieval = ChunkSettings(max_tokens=64), RetrievalSettings(dense_weight=1.0, reranker="x")
    settings = replace(CompareSettings(), chunks=chunks, retrieval=retrieval)
    assert written(settings, chunks=chunks, retrieval=retrieval) == ""
    plain = written(CompareSettings(), chunks=chunks, retrieval=retrieval)
    assert "# Not" in plain
    assert tomllib.loads(plain) == {"search": "hybrid", "rerank": False}


def test_the_demo_names_the_command_that_repeats_it(case, endpoint, bge_folder, tmp_path, monkeypatch):
    server = endpoint(ScriptedModel(lambda prompt: "Halifax", name="m"))
    few = replace(demo.SETTINGS, limit=2, prompt_questions=0, finetune=CompareSettings().finetune)

    def compared(*corpus, train, update, train_update, style, **rest):
        """On few documents, by a model that is not trained."""
        return compare(case.folder / "docs", case.folder / "qa.jsonl", **rest)

    monkeypatch.setattr(demo, "SETTINGS", few)
    monkeypatch.setattr(demo, "compare", compared)
    demo.demo(tmp_path / "run", model=server.name)
    lines = (tmp_path / "run" / "run.toml").read_text().splitlines()
    assert lines[0] == f"# `lorag demo --out {tmp_path / 'run'} --model {server.name}` repeats this run."
    assert any(line.endswith("chunks.max_tokens = 128") for line in lines)
