"""A page that really runs: a folder of its own, a server that listens, and models that answer from a script."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

import pytest

from listening import listening
from lorag.serving.studio.studio_app import studio_application
from lorag.serving.studio.workplace import Workplace
from studio_place import HOSTILE, Page, SlowEmbedder, assistants, write_adapter, write_run


@pytest.fixture(scope="module")
def open_page() -> Iterator[Callable[[Path], Page]]:
    with ExitStack() as ending:

        def start(root: Path) -> Page:
            place = Workplace.of(root, "documents")
            embedder = SlowEmbedder()
            port = ending.enter_context(listening(studio_application(place, assistants(place, embedder))))
            return Page(port, place, embedder)

        yield start


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with documents, questions, training data, an adapter and a finished comparison."""
    root = tmp_path_factory.mktemp("place")
    corpus = Path(str(files("lorag") / "corpus"))
    (root / "notes").mkdir()
    for name in ("warranty.md", "contacts.md"):
        shutil.copy(corpus / "docs" / name, root / "notes")
    asked = (corpus / "questions.jsonl").read_text().splitlines()
    known = [line for line in asked if set(json.loads(line)["doc_ids"]) <= {"warranty.md", "contacts.md"}]
    (root / "questions.jsonl").write_text("\n".join(known) + "\n")
    rows = [
        {"messages": [{"role": "user", "content": f"Ask {n}"}, {"role": "assistant", "content": HOSTILE}]}
        for n in range(60)
    ]
    lines = [json.dumps(row) for row in rows]
    lines[6] = '{"messages": [{"role": "user"}]}'
    (root / "train.jsonl").write_text("\n".join(lines) + "\n")
    write_adapter(root / ".lorag" / "adapters" / "support")
    write_run(root / ".lorag" / "runs" / "first")
    return root


@pytest.fixture(scope="module")
def page(root: Path, open_page: Callable[[Path], Page]) -> Page:
    return open_page(root)
