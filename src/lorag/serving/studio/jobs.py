"""Comparisons and readings of the folder as processes of their own: closing the page or ending the server stops none.

All that is known of a job lies in ``job/`` of its folder, so that another server finds it again: who runs it and
since when (``job.json``), what it printed (``output.log``; ``printed.json`` with ``--json``), and how far it is
(``progress.json``).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psutil
from filelock import FileLock, Timeout

from lorag.files import write_whole
from lorag.serving.http_errors import HttpError
from lorag.workspace import Run

State = Literal["running", "finished", "stopped", "failed", "unfinished"]
"""``unfinished``: begun by a command in a terminal, which may still run it."""
_SECONDS_TO_END = 10
_CLOCK_SECONDS = 5
"""What setting the clock right may move the start of a process by."""
_TAIL_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class Job:
    """A process that was started for a run: its id and the time of its start, which no other process shares."""

    arguments: tuple[str, ...]
    """Those of ``lorag``."""
    pid: int
    started: float
    stopped: bool = False
    """Whether it was stopped from the page."""

    @property
    def process(self) -> psutil.Process | None:
        """The process, while it runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _CLOCK_SECONDS
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except psutil.Error:
            pass
        return None

    def option(self, name: str) -> str | None:
        """What follows ``--name=`` in its arguments."""
        given = [a.partition("=")[2] for a in self.arguments if a.startswith(f"--{name}=")]
        return given[0] if given else None


def job_of(run: Run) -> Job | None:
    """The latest job of a run; None for one that was begun in a terminal."""
    kept = _kept(run, "job.json")
    try:
        return Job(**{**kept, "arguments": tuple(kept["arguments"])})
    except (TypeError, KeyError):
        return None


def state_of(run: Run) -> State:
    """How a run stands."""
    job = job_of(run)
    if job is not None and job.process is not None:
        return "running"
    if run.result.is_file() and (job is None or run.result.stat().st_mtime >= job.started):
        return "finished"
    if printed_by(run) is not None:
        return "finished"
    if job is None:
        return "unfinished"
    return "stopped" if job.stopped else "failed"


def progress_of(run: Run) -> list[dict[str, Any]]:
    """The stages of the latest job, in order, as ``lorag`` keeps them where ``LORAG_PROGRESS`` names a file."""
    return _kept(run, "progress.json") or []


def printed_by(run: Run) -> dict[str, Any] | None:
    """The result that the latest job printed, where it was called with ``--json``; None before its end."""
    printed: dict[str, Any] | None = _kept(run, "printed.json")
    return printed


def _kept(run: Run, name: str) -> Any:
    """What a JSON file of the latest job holds; None where there is none, or it is not whole yet."""
    try:
        return json.loads((run.folder / "job" / name).read_text())
    except (OSError, ValueError):
        return None


def last_lines(run: Run, most: int = 40) -> list[str]:
    """What the latest job printed last."""
    try:
        with (run.folder / "job" / "output.log").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()[-most:]
    except OSError:
        return []


@dataclass(frozen=True, slots=True)
class Jobs:
    """Starts and stops the jobs of the page that works in ``root``."""

    root: Path

    def start(self, run: Run, arguments: Sequence[str], others: Sequence[Run] = (), store: str | None = None) -> Job:
        """Begins or resumes ``run`` with these arguments of ``lorag``, whose index lies in ``store``.

        Raises ``HttpError``: 409 while a job of this run is there, 429 while one of the ``others`` is.
        """
        lock = self.root / ".lorag" / "jobs.lock"
        lock.parent.mkdir(exist_ok=True)
        try:
            with FileLock(lock, timeout=0):
                if state_of(run) == "running":
                    raise HttpError(409, "this is running already; wait for its end, or stop it")
                if any(state_of(other) == "running" for other in others):
                    raise HttpError(429, "another comparison is running; stop it, or wait for its end", code="busy")
                return self._started(run, arguments, store)
        except Timeout as error:
            raise HttpError(429, "another job is being started; try again", code="busy") from error

    def _started(self, run: Run, arguments: Sequence[str], store: str | None) -> Job:
        folder = run.folder / "job"
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("progress.json", "printed.json", "output.log"):
            (folder / name).unlink(missing_ok=True)
        printed = "printed.json" if "--json" in arguments else "output.log"
        own = {"LORAG_PROGRESS": str(folder / "progress.json"), "PYTHONUNBUFFERED": "1"}
        with (folder / "output.log").open("ab") as log, (folder / printed).open("ab") as out:
            child = subprocess.Popen(
                [sys.executable, "-m", "lorag", *arguments],
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={**os.environ, **own, **({"LORAG_STORE": store} if store is not None else {})},
                start_new_session=True,
            )
        job = Job(tuple(arguments), child.pid, psutil.Process(child.pid).create_time())
        threading.Thread(target=child.wait, daemon=True).start()  # leaves no zombie
        write_whole(folder / "job.json", json.dumps(asdict(job)))
        return job

    def stop(self, run: Run) -> None:
        """Ends the job of ``run`` and all that it started; raises ``HttpError`` where none runs."""
        job = job_of(run)
        if job is None or job.process is None:
            raise HttpError(409, "this is not running")
        write_whole(run.folder / "job" / "job.json", json.dumps(asdict(replace(job, stopped=True))))
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(job.pid, number)
            ends = time.monotonic() + _SECONDS_TO_END
            while job.process is not None and time.monotonic() < ends:
                time.sleep(0.05)
            if job.process is None:
                return
