"""A Ray cluster of two workers makes the index that one process makes, also where a worker or the driver is killed."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing

import psutil
import pytest
from typer.testing import CliRunner

from lorag.cli.commands import app
from lorag.retrieval.backends.lance_store import LanceStore

FILES, ROWS = 12, 200
RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
RAY |= {"RAY_agent_register_timeout_ms": "300000"}  # a busy machine fails no test


@pytest.fixture(scope="module")
def needs_ray():
    pytest.importorskip("ray", reason="Ray is not installed; pip install 'lorag[ray]'")


@pytest.fixture(scope="module")
def head(needs_ray):
    """The process of a cluster of two workers, with its address."""
    folder = tempfile.mkdtemp(prefix="ray")  # sockets lie in it, whose paths must be short
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--temp-dir={folder}"]
    start += ["--port=0", "--num-cpus=2", "--include-dashboard=false", "--node-ip-address=127.0.0.1"]
    process = subprocess.Popen(start, env=os.environ | RAY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    yield process, next(found[1] for line in process.stdout if (found := re.search(r"--address='([\d.:]+)'", line)))
    process.terminate()
    process.communicate()
    shutil.rmtree(folder)


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:02}.md").write_text(f"# Part {number}\n\nThe part {number} weighs {number} kg.\n")
    rows = [{"doc_id": f"row {number}", "doc": f"Row {number} is short."} for number in range(ROWS)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    return folder


@pytest.fixture
def places(tmp_path, bge_folder):
    """For a name, a cache of vectors of its own, beside the models of the session."""

    def place(name):
        cache = tmp_path / name
        cache.mkdir()
        (cache / "models").symlink_to(bge_folder.parent)
        return {"LORAG_CACHE": str(cache)}

    return place


@pytest.fixture
def started():
    """Start ``lorag index``; none of the processes outlives the test."""
    with ExitStack() as processes:

        def start(docs, store, environment, *options):
            command = [sys.executable, "-m", "lorag", "index", docs, "--store", store, "--json", *options]
            run = subprocess.Popen(command, env=os.environ | RAY | environment, stdout=subprocess.PIPE, text=True)
            processes.enter_context(run)
            processes.callback(run.kill)
            return run

        yield start


def report_of(process):
    printed, _ = process.communicate()
    assert process.returncode == 1  # one file is broken
    return json.loads(printed)


def cached_vectors(environment):
    try:
        with closing(sqlite3.connect(f"file:{environment['LORAG_CACHE']}/vectors.sqlite?mode=ro", uri=True)) as file:
            return file.execute("SELECT count(*) FROM vectors").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def until(found, process):
    """What ``found`` returns once that is something, while ``process`` runs."""
    while process.poll() is None:
        if result := found():
            return result
        time.sleep(0.005)
    raise AssertionError("the run ended first")


def command_of(process):
    """Its command line; empty once it has ended, also while its parent has not collected it."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def manifest(store):
    """The statements that make it, but for the number that its generations begin with, which is drawn."""
    with closing(sqlite3.connect(store / "manifest.sqlite")) as file:
        return [line for line in file.iterdump() if '"state" VALUES' not in line]


def rows(store):
    table = LanceStore(store / "store", 384, 50_000)._table.search().to_arrow()
    return table.select(["id", "search_text", "vector"]).sort_by("id")


def test_the_index_is_that_of_one_process_whichever_worker_is_killed(docs, tmp_path, places, head, started):
    process, address = head
    alone, spread = tmp_path / "alone", tmp_path / "spread"
    expected = report_of(started(docs, alone, places("a")))
    run = started(docs, spread, places("b"), "--ray", address)

    def working(stage):
        def find():
            workers = psutil.Process(process.pid).children(recursive=True)
            return next((worker for worker in workers if command_of(worker)[:1] == [f"ray::{stage}"]), None)

        return find

    for stage in ("_read", "_embed"):
        until(working(stage), run).kill()
    assert report_of(run) == expected
    assert manifest(spread) == manifest(alone)
    assert rows(spread) == rows(alone)


def test_what_a_killed_driver_had_got_back_is_not_embedded_again(docs, tmp_path, places, needs_ray, started):
    environment, store = places("c"), tmp_path / "index"
    run = started(docs, store, environment, "--ray", "local")
    until(lambda: cached_vectors(environment), run)
    run.kill()
    run.wait()
    kept = cached_vectors(environment)
    report = report_of(started(docs, store, environment))
    assert (report["added"], report["from_cache"]) == (FILES + ROWS, kept)
    assert kept < cached_vectors(environment) == report["chunks"]


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:1", "no Ray cluster at 127.0.0.1:1 ([Errno 111] Connection refused); start one with `ray start"),
        (
            "ray://127.0.0.1:1",
            "'ray://127.0.0.1:1' is not the address of a Ray cluster; expected local, auto",
        ),
        ("here", "'here' is not the address of a Ray cluster"),
    ],
)
def test_an_address_without_a_cluster_is_one_line(docs, address, told):
    shown = CliRunner().invoke(app, ["index", str(docs), "--ray", address])
    assert (shown.exit_code, shown.stderr.count("\n")) == (2, 1)
    assert told in shown.stderr


def test_without_the_option_ray_is_not_imported(docs, tmp_path, places, started):
    (tmp_path / "ray.py").write_text("raise SystemExit(77)")
    environment = places("d") | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    report_of(started(docs, tmp_path / "index", environment))
    trapped = started(docs, tmp_path / "index", environment, "--ray", "local")
    trapped.communicate()
    assert trapped.returncode == 77
