"""A Ray cluster of two workers makes the index, and gives the answers, of one process, also where one is killed."""

import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, redirect_stdout
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from conftest import TAUGHT
from lorag import build
from lorag.cli.commands import app
from lorag.errors import InputError
from lorag.retrieval.backends.lance_store import LanceStore
from lorag.settings import FinetuneSettings
from lorag.workflows.compare import _printing_here, compare
from lorag.workflows.finetuning.adapter_training import train_adapter
from lorag.workflows.index import index

FILES, ROWS = 12, 200
RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
# A busy machine fails no test: there Ray's workers, which are nice by default, would wait for minutes.
RAY |= {"RAY_agent_register_timeout_ms": "300000", "RAY_worker_niceness": "0"}


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
def second(head):
    """A second machine of the cluster, with one worker more."""
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={head[1]}", "--block", "--num-cpus=1"]
    process = subprocess.Popen(start, env=os.environ | RAY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    next(line for line in process.stdout if "Ray runtime started" in line)
    yield process
    process.terminate()
    process.communicate()


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


def answers_of(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {(row["arm"], row["example_id"]): row["answer"]["text"] for row in rows}


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

    for stage in ("read_document_file", "_embed"):
        until(working(stage), run).kill()
    assert report_of(run) == expected
    assert manifest(spread) == manifest(alone)
    assert rows(spread) == rows(alone)


def tables(url):
    """All rows of an index in PostgreSQL, but for the number that its generations begin with, which is the time."""
    psycopg = pytest.importorskip("psycopg")
    names = ("documents", "attributes", "made_with", "chunks", "texts", "totals")
    with psycopg.connect(url) as connection:
        found = {
            name: connection.execute(f"SELECT t::text FROM lorag.{name} t ORDER BY 1").fetchall() for name in names
        }
    assert len(found["texts"]) == FILES + ROWS
    return found


def test_postgresql_gets_what_one_process_writes(docs, places, head, started, database_url, postgres):
    index(docs, database_url)
    expected, (environment, name) = tables(database_url), (places("e"), "spread")
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    report = report_of(started(docs, postgres.get_uri(name), environment, "--ray", head[1]))
    assert (report["added"], cached_vectors(environment)) == (FILES + ROWS, FILES + ROWS)
    assert tables(postgres.get_uri(name)) == expected


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
def test_an_address_without_a_cluster_is_one_line(docs, case, address, told):
    compared = ["compare", "--documents", str(case.folder / "docs"), "--questions", str(case.folder / "qa.jsonl")]
    for command in (["index", str(docs)], [*compared, "--model", case.model, "--out", str(docs.parent / "run")]):
        refused_in_one_line([*command, "--ray", address], told)


def refused_in_one_line(command, told):
    shown = CliRunner().invoke(app, command)
    assert (shown.exit_code, shown.stderr.count("\n")) == (2, 1)
    assert told in shown.stderr


def test_without_the_option_ray_is_not_imported(docs, tmp_path, places, started):
    (tmp_path / "ray.py").write_text("raise SystemExit(77)")
    environment = places("d") | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    report_of(started(docs, tmp_path / "index", environment))
    trapped = started(docs, tmp_path / "index", environment, "--ray", "local")
    trapped.communicate()
    assert trapped.returncode == 77


def test_its_machines_answer_as_the_models_here_also_where_one_is_killed(head, second, tiny_adapter, case, tmp_path):
    whole, training = tmp_path / "whole", FinetuneSettings(method="full", learning_rate=1e-2, measure_forgetting=False)
    train_adapter(build.trainable_model(case.model, training), TAUGHT, whole, training)
    script = Path(__file__).parent / "answers_on_ray.py"
    machines = f"{head[0].pid},{second.pid}"
    command = [sys.executable, script, head[1], machines, case.model, tiny_adapter, whole, case.folder, tmp_path]
    environment = os.environ | RAY | {"LORAG_NUMBER_FORMAT": "float32"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["workers"] == [2, 2]
    assert found["there"] == found["here"]
    assert len({json.dumps(found["here"][name]) for name in ("base", "adapter", "whole", "probed")}) == 4
    assert found["here"]["probed"] == [""] * 5
    assert found["was killed"]
    assert found["again"]
    here, there = (answers_of(tmp_path / name / "rows.jsonl") for name in ("here", "there"))
    assert there == here


def test_a_served_model_is_not_spread(case):
    with pytest.raises(InputError, match=r"and openai:m@http://127\.0\.0\.1:1/v1 has one; leave out ray"):
        compare(case.folder / "docs", case.folder / "qa.jsonl", model="openai:m@http://127.0.0.1:1/v1", ray="local")


def test_first_results_go_where_the_call_prints_and_not_where_the_cluster_does():
    ours, of_ray = io.StringIO(), io.StringIO()
    with redirect_stdout(ours):
        shown = _printing_here(lambda first: sys.stdout.write("first results"))
        with redirect_stdout(of_ray):
            shown(None)  # type: ignore[arg-type]
    assert (ours.getvalue(), of_ray.getvalue()) == ("first results", "")
