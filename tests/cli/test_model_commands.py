"""``lorag models``: search, fetch, list, path and remove, in the catalogue and on a hub on this machine."""

import json

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from lorag.cli.commands import app
from lorag.models import catalogue


@pytest.fixture
def lorag(local_hub, tmp_path, monkeypatch):
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "300")
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_text("{}" * 1000)
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# A model\n")
    local_hub.publish("owner/bge-like", folder)
    return lambda *arguments: CliRunner().invoke(app, ["models", *arguments])


def test_a_model_of_a_hub_is_found_fetched_listed_and_removed(lorag, local_hub):
    found = lorag("search", "bge")
    assert found.exit_code == 0, found.output
    assert "bge-small-en" in found.stdout  # of the catalogue
    (row,) = [line for line in found.stdout.splitlines() if "owner/bge-like" in line]
    assert row.split()[1:] == ["apache-2.0", "1.5B", "weights", "safetensors", "7"]

    fetched = lorag("fetch", "owner/bge-like")
    assert fetched.exit_code == 0, fetched.output
    (commit,) = local_hub.repositories["owner/bge-like"].commits
    rows = {row["name"]: row for row in json.loads(lorag("list", "--json").stdout)}
    assert rows[f"owner/bge-like@{commit}"]["licence"] == "mit"
    assert rows[f"owner/bge-like@{commit}"]["bytes"] > 2000
    assert rows["bge-small-en"] == {
        "name": "bge-small-en",
        "kind": "embedder",
        "what": catalogue.entry("bge-small-en").what,
        "licence": "MIT",
        "bytes": 34_015_106,
        "fetched": False,
    }
    assert lorag("path", "owner/bge-like").stdout == fetched.stdout
    assert lorag("path", f"owner/bge-like@{commit}").stdout == fetched.stdout

    assert "which frees" in lorag("remove", "owner/bge-like").stdout
    gone = lorag("path", "owner/bge-like")
    assert gone.exit_code == 2
    assert "get it with `lorag models fetch owner/bge-like`" in gone.stderr
    assert all("/" not in row["name"] for row in json.loads(lorag("list", "--json").stdout))


def test_without_a_hub_the_catalogue_is_searched(lorag, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = lorag("search", "bge")
    assert found.exit_code == 0
    assert "bge-small-en" in found.stdout
    assert "only the catalogue was searched" in found.stderr
    nothing = lorag("search", "no such words")
    assert nothing.exit_code == 1
    assert "HF_HUB_OFFLINE is set" in nothing.stderr


def test_a_hub_that_is_not_there_is_tried_once(lorag, local_hub, caplog):
    local_hub.shutdown()
    local_hub.server_close()
    found = lorag("search", "bge")
    assert "bge-small-en" in found.stdout
    assert f"only the catalogue was searched: {local_hub.address} cannot be reached" in " ".join(found.stderr.split())
    assert caplog.records == []


def test_a_model_of_the_catalogue_is_removed(lorag, tmp_path):
    folder = tmp_path / "cache" / "models" / "minilm-l6"
    folder.mkdir(parents=True)
    (folder / catalogue.MANIFEST).write_text("{}")
    assert lorag("path", "minilm-l6").stdout.strip() == str(folder)
    assert lorag("remove", "minilm-l6").exit_code == 0
    assert not folder.exists()
    assert lorag("remove", "minilm-l6").exit_code == 2
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "lorag.json").touch()
    (tmp_path / "cache" / "models" / "minilm-l6").symlink_to(tmp_path / "kept")
    refused = lorag("remove", "minilm-l6")
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (1, 1)
    assert "cannot write " in refused.stderr
    assert lorag("remove", "minilm").exit_code == 2


def test_what_cannot_be_fetched_is_refused(lorag, tmp_path):
    assert "a name itself" in lorag("fetch", "owner/bge-like", "--from", str(tmp_path)).stderr
    assert "kind 'chat' is not one of llm" in lorag("fetch", "owner/bge-like", "--kind", "chat").stderr
    assert "is not a folder" in lorag("fetch", "minilm-l6", "--from", str(tmp_path / "none")).stderr


def test_the_bill_of_materials_is_printed(lorag):
    bill = json.loads(lorag("list", "--sbom").stdout)
    assert {component["name"] for component in bill["components"]} == catalogue.CATALOGUE.keys()
