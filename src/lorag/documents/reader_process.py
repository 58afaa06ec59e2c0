"""Files are read in a process of their own: one that takes too long, grows too large or crashes costs one file.

The process stays for the next file, so that reading many small ones is about as quick as without it. It is asked and
answers in lines of JSON; nothing that a file made of it is run here.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from lorag.documents.parsers.parsed import raising
from lorag.errors import DataError, OperationError
from lorag.settings import LoadSettings
from lorag.types import Document, Place

Found = tuple[list[Document], tuple[str, ...]]
"""The documents of a file and the notes on it."""
Read = Callable[[Path, str, LoadSettings], Found]
"""What reads a file, which it knows by its source; raises ``DataError``."""
_CODE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from lorag.documents.load import read_file
from lorag.documents.reader_process import serve
serve(read_file)
"""
_FILES = 1000
"""After so many a process makes way for a new one: libraries keep a little of every file."""
PROCESSES = 2
"""How many read side by side, and wait for more."""
_GRACE_SECONDS = 5
_MORE: ContextVar[float] = ContextVar("more", default=0.0)
"""Seconds that ``take_longer`` adds."""


def read_apart(path: Path, source: str, settings: LoadSettings, seconds: float, longest: float | None = None) -> Found:
    """What ``read_file`` gives for a file, in so many ``seconds`` and within the other limits of ``settings``.

    A file for which ``take_longer`` is called has ``longest`` seconds. Raises ``DataError`` for what is wrong with it,
    and for whatever exceeds a limit, with the setting to raise.
    """
    process = _take(settings)
    try:
        answer = process.ask(path, source, seconds, longest or seconds)
    finally:
        process.put_back()
    if "problem" in answer:
        raise DataError(path, answer["problem"], answer["line"])
    return [_document(fields) for fields in answer["documents"]], tuple(answer["notes"])


def _document(fields: dict[str, Any]) -> Document:
    places = tuple(Place(**place) for place in fields.pop("places"))
    meta = tuple((name, value) for name, value in fields.pop("meta"))
    return Document(**fields, places=places, meta=meta)


class _Process:
    """A process that reads files under ``settings``, one after the other."""

    def __init__(self, settings: LoadSettings) -> None:
        self.settings, self.owner, self.asked = settings, os.getpid(), 0
        self.is_sound = True
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-c", _CODE, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is for whoever waits
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._questions, self._answers = self._process.stdin, self._process.stdout
        with suppress(BrokenPipeError):
            self._send(asdict(settings))
        if not self._answers.readline():  # it says when it is ready, so that its start counts for no file
            self.end()
            raise OperationError(
                f"{sys.executable} could not be started to read files; check that it can run `import lorag`"
            )

    def ask(self, path: Path, source: str, seconds: float, longest: float) -> dict[str, Any]:
        """The answer, or the problem that there is none."""
        self.is_sound, self.asked = False, self.asked + 1
        timer = threading.Timer(longest, self._kill)
        timer.start()
        try:
            with suppress(BrokenPipeError):
                asked = {"path": os.fspath(path.absolute()), "source": source}
                self._send({**asked, "seconds": seconds, "longest": longest})
            line = self._answers.readline()
        finally:
            in_time = timer.is_alive()
            timer.cancel()
        if line.endswith(b"\n"):
            answer: dict[str, Any] = json.loads(line)
            self.is_sound = not answer.pop("spent", False)
            return answer
        self._kill()
        if in_time and self._process.wait() == -getattr(signal, "SIGALRM", 0):
            in_time, longest = False, seconds  # the process saw to it itself
        reason = "ended the program that read it" if in_time else f"was not read within {longest:g} seconds"
        todo = "remove it, save it again" + ("" if in_time else f", or {raising('max_seconds')}")
        return {"problem": f"{reason}; {todo}", "line": None}

    def runs(self) -> bool:
        """Whether it was not ended from outside."""
        return self._process.poll() is None

    def put_back(self) -> None:
        """Keeps the process for the next file, or ends it."""
        if self.is_sound and self.asked < _FILES and len(_idle) < PROCESSES:
            _idle.append(self)
        else:
            self.end()

    def end(self) -> None:
        """Ends the process, whatever it does."""
        self._kill()
        self._process.communicate()

    def _kill(self) -> None:
        """Kills the process and what it started."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _send(self, value: object) -> None:
        self._questions.write(json.dumps(value).encode() + b"\n")
        self._questions.flush()


_idle: list[_Process] = []


def _take(settings: LoadSettings) -> _Process:
    """A process that waits for files under these settings, or a new one. A forked child leaves its parent's alone."""
    with suppress(IndexError):
        while True:
            process = _idle.pop()
            if process.owner == os.getpid() and process.settings == settings and process.runs():
                return process
            if process.owner == os.getpid():
                process.end()
    return _Process(settings)


@atexit.register
def _end_all() -> None:
    while _idle:
        process = _idle.pop()
        if process.owner == os.getpid():
            process.end()


def serve(read: Read) -> None:
    """Reads the files that the standard input names until it ends. What libraries print goes nowhere."""
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    settings = LoadSettings(**json.loads(questions.readline()))
    _limit_memory(settings.max_memory_bytes)
    _answer(answers, {})
    for line in questions:
        asked = json.loads(line)
        seconds, more = asked["seconds"], asked["longest"] - asked["seconds"]
        _MORE.set(more)
        with suppress(AttributeError, ValueError):  # of Windows; a parent that was killed leaves nobody to stop this
            signal.setitimer(signal.ITIMER_REAL, seconds if more else seconds + _GRACE_SECONDS)
        _answer(answers, _read(read, Path(asked["path"]), asked["source"], settings))
        with suppress(AttributeError):
            signal.setitimer(signal.ITIMER_REAL, 0)


def take_longer() -> None:
    """Gives the file that this process reads the longer of its two times, for work that is slow by nature."""
    if more := _MORE.get():
        _MORE.set(0.0)
        with suppress(AttributeError):
            left, _ = signal.getitimer(signal.ITIMER_REAL)
            signal.setitimer(signal.ITIMER_REAL, left + more + _GRACE_SECONDS)


def _answer(answers: BinaryIO, value: dict[str, Any]) -> None:
    try:
        line = json.dumps(value).encode()
    except MemoryError:
        line = json.dumps(_out_of_memory()).encode()
    answers.write(line + b"\n")
    answers.flush()


def _read(read: Read, path: Path, source: str, settings: LoadSettings) -> dict[str, Any]:
    try:
        documents, notes = read(path, source, settings)
    except DataError as error:
        return {"problem": error.message, "line": error.line}
    except MemoryError:
        return _out_of_memory()
    characters = sum(len(document.text) for document in documents)
    if characters > settings.max_characters:
        problem = (
            f"holds {characters:,} characters of text, expected at most {settings.max_characters:,}; split it, or"
            f" {raising('max_characters')}"
        )
        return {"problem": problem, "line": None}
    return {"documents": [asdict(document) for document in documents], "notes": notes}


def _out_of_memory() -> dict[str, Any]:
    problem = f"takes too much memory to read; split it, or {raising('max_memory_bytes')}"
    return {"problem": problem, "line": None, "spent": True}


def _limit_memory(most: int) -> None:
    """Lets this process allocate so much and no more, where the system can hold it to that."""
    with suppress(ImportError, AttributeError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))
