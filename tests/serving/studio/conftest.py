"""A page that really runs: a folder of its own, a server that listens, and models that answer from a script."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import psutil
import pytest

from listening import listening
from lorag.serving.studio.jobs import Job
from lorag.serving.studio.studio_app import studio_application
from lorag.serving.studio.workplace import Workplace
from lorag.workspace import Run
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from studio_window import chromium

    with chromium() as running:
        yield running


@pytest.fixture
def window(browser: Any, page: Page) -> Iterator[Any]:
    from studio_window import Window

    context = browser.new_context(viewport={"width": 1280, "height": 800})
    window = Window(context.new_page(), page.url)
    yield window
    context.close()
    assert window.problems == []


@pytest.fixture
def job(page: Page) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Begins a job in a folder that has trained once and trains again; its process does nothing else."""
    with ExitStack() as ending:

        def begin(folder: str, note: str = "loss 1.00") -> subprocess.Popen[bytes]:
            run = Run(page.place.root / folder)
            (run.folder / "job").mkdir(parents=True)
            ending.callback(shutil.rmtree, run.folder)
            (run.folder / "run.json").write_text("{}")
            process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
            ending.callback(process.wait)
            ending.callback(process.kill)
            now = time.time()
            arguments = ("models", "path", "--out=elsewhere")
            kept = Job(arguments, process.pid, psutil.Process(process.pid).create_time())
            (run.folder / "job" / "job.json").write_text(json.dumps(asdict(kept)))
            losses: dict[str, Any] = {"stage": "finetuning" if note.startswith("loss") else "reading", "note": note}
            losses["losses"] = [3.0, 2.0, 1.0] if note.startswith("loss") else []
            stages = [
                {**losses, "done": 3, "total": 3, "begun": now - 90, "at": now - 60},
                {**losses, "done": 1, "total": 3, "begun": now - 60, "at": now},
            ]
            (run.folder / "job" / "progress.json").write_text(json.dumps(stages))
            return process

        yield begin
