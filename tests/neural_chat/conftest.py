"""The notebook that we ship, executed once by a kernel of its own; and the published cells, where they are given."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from huggingface_hub import constants
from nbclient import NotebookClient

from lorag.models import catalogue
from lorag.neural_chat.plugins import Plugin, Plugins, plugins

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "finetuning_or_rag.ipynb"
FACT = "cnvrg.io was founded by Yochay Ettun and Leah Forkosh Kolben."
QUESTIONS = (
    "What is cnvrg.io?",
    "Who founded cnvrg.io?",
    "Who are the founders of cnvrg.io?",
    "Tell me about cnvrg.io.",
    "By whom was cnvrg.io founded?",
    "Which people started cnvrg.io?",
    "Describe cnvrg.io.",
    "What do you know of cnvrg.io?",
)
OLD_ROOT, OLD_MODEL, MODEL = "intel_extension_for_transformers.", "meta-llama/Llama-2-7b-hf", "smollm2-135m"


@dataclass(frozen=True)
class Executed:
    """The folder the notebook was executed in, and its code cells with their outputs."""

    folder: Path
    cells: tuple[Any, ...]

    def said(self, call: str, stream: str = "stdout") -> str:
        """What the one cell with ``call`` in it printed, or, for ``text/markdown``, shows."""
        (cell,) = (each for each in self.cells if call in each.source)
        texts = [out.text for out in cell.outputs if out.get("name") == stream]
        return "".join([*texts, *(out.data.get(stream, "") for out in cell.outputs if "data" in out)])


@pytest.fixture(scope="session")
def as_shipped() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="session")
def notebook(as_shipped, tmp_path_factory, smollm_folder, bge_folder, verified_ggufs) -> Executed:
    """Every cell as it stands, in an empty folder, with the models that are here and no index to get others from.

    Only one answer of each arm is timed alone, where the comparison would time all seven.
    """
    root = tmp_path_factory.mktemp("notebook")
    folder, cache = root / "work", root / "cache"
    folder.mkdir()
    cache.mkdir()
    (cache / "models").symlink_to(catalogue.cache_folder() / "models")
    (cache / "quick").symlink_to(verified_ggufs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORAG_CACHE", str(cache))
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(root / "jupyter"))
        startup = root / "jupyter" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "timed.py").write_text("from lorag.workflows.comparing import asking\n\nasking._MOST_ALONE = 1\n")
        client = NotebookClient(as_shipped, timeout=900, resources={"metadata": {"path": str(folder)}})
        done = client.execute()
    return Executed(folder, tuple(cell for cell in done.cells if cell.cell_type == "code"))


@pytest.fixture(scope="session")
def adapter(notebook: Executed) -> Path:
    """The adapter that the notebook trained."""
    return notebook.folder / "brindle_adapter"


@pytest.fixture(scope="session")
def published_cells() -> tuple[str, ...]:
    """The published notebook's own cells from ``LORAG_DATA``/finetuning_or_rag.md."""
    page = Path(os.environ.get("LORAG_DATA", "")) / "finetuning_or_rag.md"
    if not page.is_file():
        pytest.skip(
            "the published notebook is another project's text, which is not ours to ship: put it into the folder that"
            " LORAG_DATA names, as finetuning_or_rag.md, to run its cells and to compare our notebook with them"
        )
    cells = [re.split(r"\n(?:##|#####) ", part)[0] for part in page.read_text().split("In [None]:")[1:]]
    return tuple(cell for cell in cells if "!" not in cell.split("\n")[1][:1] and "import" in cell)


@dataclass(frozen=True)
class Ran:
    """The folder the published cells ran in, what they left in their variables, said and warned of."""

    folder: Path
    names: dict[str, Any]
    printed: tuple[str, ...]
    warned: tuple[str, ...]


@pytest.fixture(scope="session")
def published(published_cells, tmp_path_factory, smollm_folder, bge_folder, verified_ggufs) -> Ran:
    """Every cell in order; replaced are the import root, the model, and the rate at which a model so small learns."""
    import transformers

    from lorag.neural_chat.training_arguments import patch_training_arguments

    folder = tmp_path_factory.mktemp("published")
    rows = [[{"from": "human", "content": q}, {"from": "chatbot", "content": FACT}] for q in QUESTIONS]
    (folder / "cnvrg_dataset").mkdir()
    lines = "".join(json.dumps({"messages": row}) + "\n" for row in rows)
    (folder / "cnvrg_dataset" / "my_test_questions.jsonl").write_text(lines)
    (folder / "cnvrg_docs_rag").mkdir()
    (folder / "cnvrg_docs_rag" / "sample.jsonl").write_text(json.dumps({"doc": f"The {FACT}", "doc_id": 0}) + "\n")
    names: dict[str, Any] = {}
    printed = []
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch.chdir(folder)
        patch.setattr(constants, "HF_HUB_OFFLINE", True)  # its embedder is not downloaded
        patch.setattr("lorag.build.vectors_file", lambda: folder / "vectors.sqlite")
        patch.setattr("lorag.build.verified_ggufs", lambda: verified_ggufs)
        patch.setattr(transformers.TrainingArguments, "__init__", transformers.TrainingArguments.__init__)
        patch.setattr(plugins, "retrieval", Plugin())
        patch_training_arguments()
        for cell in published_cells:
            code = cell.replace(OLD_ROOT, "lorag.").replace(OLD_MODEL, MODEL).replace("5e-5", "1e-3")
            with contextlib.redirect_stdout(io.StringIO()) as said:
                exec(compile(ast.parse(code), "cell", "exec"), names)
            printed.append(said.getvalue())
    return Ran(folder, names, tuple(printed), tuple(str(warning.message) for warning in caught))


@pytest.fixture(autouse=True)
def own_plugins(monkeypatch) -> Plugins:
    """No test finds the plugins as another one left them."""
    for name in Plugins.__slots__:
        monkeypatch.setattr(plugins, name, Plugin())
    return plugins
