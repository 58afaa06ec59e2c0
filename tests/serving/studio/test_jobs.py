"""Comparisons as processes of their own: started, watched, stopped, resumed, and found again by another server."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from lorag.llm.engines.scripted import ScriptedModel
from lorag.serving.studio.jobs import job_of
from lorag.workspace import Run

RUN = ".lorag/runs/quick"


def until(page, *states, run=RUN):
    """The run once it is in one of the states."""
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        found = page.get("run", run=run)
        if found["state"] in states:
            return found
        time.sleep(0.1)
    raise AssertionError(f"still {found['state']}: {found['lines']}")


def job_in(folder):
    job = job_of(Run(folder))
    assert job is not None
    return job


@pytest.fixture
def started(page, endpoint):
    """Starts a comparison of a remote model, which needs no training; it is ended with the test."""
    model = endpoint(ScriptedModel(lambda prompt: "It lasts 28 months."))
    begun = []

    def start(called, server=page, **given):
        form = {"documents": "notes", "questions": "questions.jsonl", "model": model.name, "limit": "4", "name": called}
        status, said = server.send("POST", "runs", form | given)
        if status == 201:
            begun.append(Run(page.place.root / said["run"]))
        return status, said

    yield start
    for run in begun:
        job = job_of(run)
        if job is not None and job.process is not None:
            os.killpg(job.pid, signal.SIGKILL)


def test_a_comparison_is_started_watched_and_ends_with_a_report(page, started):
    status, said = started("quick")
    assert (status, said) == (201, {"run": RUN})
    assert started("quick") == (409, page.send("POST", "runs", {"name": "quick"})[1])
    status, said = started("other")
    assert (status, said["error"]["code"]) == (429, "busy")
    assert page.send("POST", "run/resume", {"run": RUN})[0] == 409
    done = until(page, "finished", "failed")
    assert done["state"] == "finished", done["lines"]
    assert any(stage["stage"].startswith("asking base") for stage in done["stages"])
    assert all(stage["done"] == stage["total"] for stage in done["stages"] if stage["stage"].startswith("asking"))
    rows = page.get("run/rows", run=RUN)["rows"]
    assert {row["text"] for row in rows} == {"It lasts 28 months."}
    assert not any(row["question"].startswith("contact-") for row in rows)
    assert page.raw("GET", f"/studio/run/report?run={RUN.replace('/', '%2F')}")[0] == 200


def test_a_job_that_has_ended_leaves_no_zombie(page, started):
    assert started("brief")[0] == 201
    until(page, "finished", "failed", run=".lorag/runs/brief")
    ended = job_in(page.place.root / ".lorag/runs/brief").pid
    ends = time.monotonic() + 10
    while psutil.pid_exists(ended):
        assert time.monotonic() < ends, psutil.Process(ended).status()
        time.sleep(0.05)


@pytest.fixture
def command(page):
    """Starts `lorag studio` in the folder of the page, as a process of its own."""
    running: list[subprocess.Popen[str]] = []

    def start():
        asked = [sys.executable, "-m", "lorag", "studio", str(page.place.root), "--port", "0"]
        process = subprocess.Popen(asked, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
        assert address is not None
        return process, replace(page, port=int(address[1]))

    yield start
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_killed_server_leaves_its_comparison_running_and_another_one_stops_and_resumes_it(started, command, page):
    name = ".lorag/runs/left"
    process, first = command()
    assert started("left", server=first)[0] == 201
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert job_in(page.place.root / name).process is not None
    _, second = command()
    assert second.get("run", run=name)["state"] == "running"
    assert second.send("POST", "run/resume", {"run": name})[0] == 409
    assert second.send("POST", "run/stop", {"run": name}) == (200, {"state": "stopped"})
    assert job_in(page.place.root / name).process is None
    assert second.send("POST", "run/stop", {"run": name})[0] == 409
    assert second.get("run", run=name)["can_resume"]
    job = Run(page.place.root / name).folder / "job" / "job.json"
    kept = json.loads(job.read_text())
    earlier = [argument for argument in kept["arguments"] if not argument.startswith("--out=")]
    job.write_text(json.dumps({**kept, "arguments": earlier}))  # as an earlier version left it
    assert second.send("POST", "run/resume", {"run": name}) == (200, {"state": "running"})
    assert job_in(page.place.root / name).arguments == (*earlier, f"--out={job.parent.parent}")


def test_a_comparison_that_cannot_begin_fails_with_its_reason(page, started):
    assert started("wrong", questions="train.jsonl")[0] == 201
    failed = until(page, "failed", "finished", run=".lorag/runs/wrong")
    assert failed["state"] == "failed"
    assert failed["lines"][-1].startswith("error: ")
    assert "train.jsonl" in failed["lines"][-1]


@pytest.mark.parametrize(
    "given",
    [
        {"documents": "../elsewhere"},
        {"documents": ""},
        {"questions": "/etc/passwd"},
        {"name": "../out"},
        {"name": "--help"},
        {"limit": "4; rm"},
        {"model": ["a"]},
        {"train": "gone.jsonl"},
    ],
)
def test_a_wrong_form_starts_nothing(page, started, given):
    kept = sorted((page.place.root / ".lorag" / "runs").iterdir())
    assert started("new", **given)[0] == 400
    assert sorted((page.place.root / ".lorag" / "runs").iterdir()) == kept


def test_another_process_of_the_same_id_is_not_taken_for_the_job(page):
    folder = page.place.root / ".lorag" / "runs" / "old" / "job"
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps({"arguments": ["compare"], "pid": os.getpid(), "started": 1.0}))
    assert page.get("run", run=".lorag/runs/old")["state"] == "failed"
    assert page.send("POST", "run/stop", {"run": ".lorag/runs/old"})[0] == 409
