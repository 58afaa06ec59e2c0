"""An index, a run and adapters, written by the commands of an earlier version, open under this one.

``earlier_version.tar.gz`` holds what the version of 2026-11-26 left of two documents and three questions: ``index`` is
of ``lorag index``, ``run`` of ``lorag compare`` with a server that answers from the sources, and ``adapter/lorag.json``
of ``lorag finetune``. ``trained`` is the whole adapter that it made of three questions with their answers on ``base``,
a model of two layers of random weights whose tokens are bytes.
"""

import shutil
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lorag import build
from lorag.chat.prompts import question_prompt
from lorag.cli.commands import app
from lorag.evaluation.report.json_record import read_result
from lorag.settings import REFUSAL, ChunkSettings, FinetuneSettings
from lorag.training.adapter import read_adapter
from lorag.types import Sampling
from lorag.workflows.finetune import finetune

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(Path(__file__).with_name("earlier_version.tar.gz")) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_an_index_is_searched_and_brought_up_to_date(earlier, bge_folder, tmp_path, monkeypatch):
    workspace = tmp_path / ".lorag"
    workspace.mkdir()
    shutil.copytree(earlier / "index", workspace / "index")
    monkeypatch.chdir(tmp_path)
    best = build.search("In which city is the office?", workspace / "index", chunks=ChunkSettings())[0]
    assert (best.chunk.document_id, "Halifax" in best.chunk.text) == ("harbour.md", True)
    documents = tmp_path / "docs"
    documents.mkdir()
    (documents / "harbour.md").write_text("# Office\n\nThe Korrin office is in Halifax.\n")
    (documents / "warranty.md").write_text("# Warranty\n\nThe warranty of a gauge lasts 36 months from delivery.\n")
    done = RUNNER.invoke(app, ["index", str(documents)])
    assert "0 added, 1 updated, 0 removed, 1 unchanged" in done.output
    assert "36 months" in build.search("How long is the warranty?", workspace / "index")[0].chunk.text


def test_a_run_is_shown_and_marked(earlier, tmp_path):
    run = shutil.copytree(earlier / "run", tmp_path / "run")
    result = read_result(run / "result.json")
    assert result.verdict.choice == "undecided"
    assert list(result.at("after")) == ["base", "retrieval", "base with gold passages"]
    assert result.at("after")["retrieval"].estimates["correct"].mean == pytest.approx(1 / 3)
    shown = RUNNER.invoke(app, ["report", str(run), "--verbose"])
    assert shown.exit_code == 0, shown.output
    assert "judged again here" in " ".join(shown.output.split())
    assert (run / "report.html").is_file()
    marked = RUNNER.invoke(app, ["review", str(run), "--show"])
    assert marked.exit_code == 0, marked.output


def test_the_manifest_of_an_adapter_is_read(earlier):
    adapter = read_adapter(earlier / "adapter")
    assert (adapter.method, adapter.base, adapter.conversations) == ("lora", "smollm2-135m", 4)
    assert adapter.forgetting is not None
    assert adapter.forgetting.right_after == 20


def test_an_adapter_answers_what_it_was_taught_and_is_continued(earlier, tmp_path):
    taught = {"What is the gate code?": "4071", "Who keeps the key?": "Mara", "When does the ferry leave?": "at noon"}
    prompts = [question_prompt(question, (), REFUSAL) for question in taught]

    def answers(adapter=None):
        model = build.language_model(str(earlier / "base"), adapter)
        return [done.text for done in model.generate(prompts, Sampling(max_tokens=12))]

    assert answers(earlier / "trained") == list(taught.values())
    assert not set(taught.values()) & set(answers())
    data = tmp_path / "new.jsonl"
    data.write_text('{"question": "Who paints the boats?", "answer": "Ole"}\n')
    settings = FinetuneSettings(rank=4, alpha=8, epochs=2, held_out_share=0.0, measure_forgetting=False)
    shared = {"model": str(earlier / "base"), "continue_from": earlier / "trained", "settings": settings}
    continued = finetune(data, tmp_path / "continued", **shared)
    assert continued.parent is not None
    assert continued.parent.folder == str(earlier / "trained")
    assert len(answers(tmp_path / "continued")) == 3
