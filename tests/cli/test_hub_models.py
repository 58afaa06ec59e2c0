"""``--model OWNER/NAME`` as a user types it: the real client, in a process of its own, against a local hub."""

import json
import os
import subprocess
import sys

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from lorag.cli.commands import app

NAME = "hf-internal-like/tiny"


@pytest.fixture
def lorag(local_hub, tmp_path):
    """Runs the program with the local hub as mirror, and a cache and a token of its own."""
    own = {"HF_ENDPOINT": local_hub.address, "HF_HOME": str(tmp_path / "home"), "LORAG_CACHE": str(tmp_path / "cache")}

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "COLUMNS": "1000", "LORAG_NUMBER_FORMAT": "float32", **own, **variables}
        command = [sys.executable, "-m", "lorag", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)

    return run


def write_rows(folder):
    rows = [
        {"messages": [{"role": "user", "content": f"Q{i}?"}, {"role": "assistant", "content": "A."}]} for i in (1, 2)
    ]
    (folder / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_model_of_a_hub_trains_by_name_and_answers_offline_by_its_commit(
    lorag, local_hub, tiny_folder, tmp_path, monkeypatch
):
    commit = local_hub.publish(NAME, tiny_folder, "v1", token="hf_local")
    write_rows(tmp_path)
    training = ("finetune", "chat.jsonl", "--out", "adapter", "--epochs", "1", "--model")

    trained = lorag(*training, f"{NAME}@v1", HF_TOKEN="hf_local")
    assert trained.returncode == 0, trained.stderr
    assert json.loads((tmp_path / "adapter" / "lorag.json").read_text())["base"] == f"{NAME}@{commit}"
    written = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (written["base_model_name_or_path"], written["revision"]) == (NAME, commit)  # as other programs read it
    assert "hf_local" not in trained.stdout + trained.stderr

    local_hub.shutdown()
    local_hub.server_close()
    asked = ("ask", "Q1?", "--no-sources", "--engine", "transformers", "--adapter", "adapter")
    offline = lorag(*asked, "--model", f"{NAME}@v1", HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LORAG_NUMBER_FORMAT", "float32")
    answered = CliRunner().invoke(app, list(asked))
    assert answered.exit_code == 0, answered.output
    assert answered.stdout == offline.stdout


def test_a_model_that_the_hub_does_not_show_and_a_hub_that_is_away_are_named(
    local_hub, tiny_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    local_hub.publish(NAME, tiny_folder, "v1", token="hf_local")
    write_rows(tmp_path)
    refused = CliRunner().invoke(app, ["finetune", "chat.jsonl", "--out", "adapter", "--epochs", "1", "--model", NAME])
    assert refused.exit_code == 2
    assert "has no such model, or does not show it to you" in refused.stderr
    assert "Traceback" not in refused.stderr

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    asked = ["ask", "Q1?", "--no-sources", "--engine", "transformers", "--model", "hf-internal-like/other"]
    unknown = CliRunner().invoke(app, asked)
    assert unknown.exit_code == 1
    assert "set HF_ENDPOINT to a mirror" in unknown.stderr
    assert "lorag models list" in unknown.stderr


def test_a_bare_name_trains_online_and_offline_and_a_file_that_is_missing_is_named(
    local_hub, tiny_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LORAG_NUMBER_FORMAT", "float32")
    write_rows(tmp_path)
    commit = local_hub.publish(NAME, tiny_folder)

    def finetune(name, out):
        given = ["chat.jsonl", "--out", out, "--epochs", "1", "--model", name]
        return CliRunner().invoke(app, ["finetune", *given])

    trained = finetune(NAME, "adapter")
    assert trained.exit_code == 0, trained.output
    assert json.loads((tmp_path / "adapter" / "lorag.json").read_text())["base"] == f"{NAME}@{commit}"
    asked = len(local_hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    again, offline = finetune(NAME, "adapter"), finetune("hf-internal-like/other", "other")
    assert (again.exit_code, offline.exit_code, len(local_hub.requests)) == (0, 1, asked)
    assert "HF_HUB_OFFLINE is set" in offline.stderr

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    local_hub.publish("hf-internal-like/torn", tiny_folder, missing=("model.safetensors",))
    torn = finetune("hf-internal-like/torn", "torn")
    assert torn.exit_code == 1
    assert "lists a file of hf-internal-like/torn that it does not have" in torn.stderr
    assert not any((tmp_path / name).exists() for name in ("other", "torn"))
