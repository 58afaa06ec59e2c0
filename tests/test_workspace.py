"""The settings of a workspace are read as they were written, and wrong ones are refused by name."""

import json
import subprocess
import sys

import pytest

from lorag.errors import DataError
from lorag.settings import ChunkSettings, RetrievalSettings
from lorag.workspace import Chosen, Run, Workspace


def test_a_new_workspace_has_the_defaults(tmp_path):
    assert Workspace(tmp_path / "none").chosen() == Chosen(ChunkSettings(), RetrievalSettings())


def test_what_was_chosen_is_read_again_and_only_that_is_written(tmp_path):
    workspace = Workspace(tmp_path / "new" / ".lorag")
    chosen = Chosen(ChunkSettings(128), RetrievalSettings(dense_weight=0.3, reranker="minilm-reranker"))
    workspace.choose(chosen)
    assert workspace.chosen() == chosen
    assert json.loads(workspace.settings.read_text()) == {
        "chunks": {"max_tokens": 128},
        "retrieval": {"dense_weight": 0.3, "reranker": "minilm-reranker"},
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is not a JSON object"),
        ('{"retrival": {}}', "unknown key 'retrival', expected 'chunks' and 'retrieval'"),
        ('{"chunks": {"size": 1}}', r"\['size'\] is not a ChunkSettings, expected some of max_tokens"),
        ('{"chunks": 256}', "256 is not a ChunkSettings"),
        ('{"retrieval": {"dense_weight": 3}}', "dense_weight 3 is not between 0 and 1"),
        ('{"retrieval": {"dense_weight": "much"}}', "'str'"),
    ],
)
def test_wrong_settings_are_refused_with_the_file(tmp_path, content, said):
    workspace = Workspace(tmp_path)
    workspace.settings.write_text(content)
    with pytest.raises(DataError, match=said) as caught:
        workspace.chosen()
    assert str(workspace.settings) in str(caught.value)


def test_two_runs_do_not_write_to_one_folder(tmp_path):
    run = Run.open(tmp_path / "run", {})
    with run.writing():
        code = "import sys; from pathlib import Path; from lorag.workspace import Run\n"
        code += "with Run(Path(sys.argv[1])).writing(): pass"
        other = subprocess.run([sys.executable, "-c", code, run.folder], capture_output=True, text=True, check=False)
        assert "InputError: another process is working on the run in" in other.stderr
    with run.writing():
        pass
