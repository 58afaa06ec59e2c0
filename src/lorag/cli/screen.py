"""What the terminal shows: progress with time left on the error stream, results on the output stream."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import shlex
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from platformdirs import user_log_path
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from lorag.errors import InputError, LoragError
from lorag.files import DISK_FULL, disk_is_full, write_whole
from lorag.interfaces import LossNote, Progress, no_progress
from lorag.types import Hit

WRONG_INPUT, FAILED, UNFORESEEN = 2, 1, 70
_MOST_SAID = 300
"""Characters of an unforeseen error on the screen; all of it is in its file."""
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
_RECORD_SECONDS = 0.5
_QUIET = os.environ.get("RANK", "0") != "0"
"""Of several processes under ``torchrun`` the first one speaks."""
output = Console(soft_wrap=True, highlight=False, emoji=False, quiet=_QUIET, width=None if sys.stdout.isatty() else 110)
messages = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turns what libraries raise into one line and an exit code, and warnings into one line each.

    What nobody foresaw ends with the code 70, and its traceback in a file that the line names.
    """
    warnings.showwarning = _show_warning
    warnings.simplefilter("default", UserWarning)
    try:
        yield
    except InputError as error:
        _fail(str(error), WRONG_INPUT)
    except LoragError as error:
        _fail(str(error), FAILED)
    except KeyboardInterrupt:
        _fail("interrupted; nothing finished is lost, run the same command again to resume", FAILED)
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except Exception as error:  # noqa: BLE001 - whoever runs a command can do nothing with a traceback
        if disk_is_full(error):
            place = getattr(error, "filename", None)
            _fail(f"cannot write {str(place)!r}: {DISK_FULL}" if place else DISK_FULL, FAILED)
        said = " ".join(str(error).split())
        what = f"{type(error).__name__}: {said}" if said else type(error).__name__
        shown = what if len(what) <= _MOST_SAID else f"{what[:_MOST_SAID]}..."
        _fail(f"this should not have happened: {shown}; {_with_details(error)}", UNFORESEEN)


def _with_details(error: Exception) -> str:
    """Where the details of ``error`` were written, as the end of a message."""
    at = datetime.now().astimezone()
    facts = (f"lorag {version('lorag')}, Python {platform.python_version()}, {platform.platform()}", at.isoformat())
    text = "\n".join([*facts, shlex.join(sys.argv), "", *traceback.format_exception(error)])
    folders: list[Callable[[], Path | str]] = [partial(user_log_path, "lorag"), tempfile.gettempdir]
    for folder in folders:
        with suppress(LoragError, OSError, RuntimeError):  # there may be no home folder, and none for temporary files
            path = Path(folder()) / f"error-{at:%Y%m%d-%H%M%S}-{os.getpid()}.txt"
            write_whole(path, text)
            return f"please report it with the file {path}, and check its contents first"
    return "no file could be written with the details"


def keep_libraries_quiet() -> None:
    """Keeps what other libraries log off the screen; the log of ``lorag serve`` goes to the error stream."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger("lorag").addHandler(logging.StreamHandler())


def print_error(message: str) -> None:
    """A line on the error stream for what failed."""
    messages.print(Text.assemble(("error:", "red"), f" {message}"))


def _fail(message: str, code: int) -> None:
    print_error(message)
    raise typer.Exit(code)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if not issubclass(category, DeprecationWarning | FutureWarning):
        print_warning(str(message))


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A ``Progress`` drawn as one bar a stage, with time left; on a plain stream, one line a finished stage.

    Where the environment names a file in ``LORAG_PROGRESS``, the file holds all of it as JSON, for whoever watches.
    """
    watched = os.environ.get("LORAG_PROGRESS")
    record = _recorder(Path(watched)) if watched and not _QUIET else no_progress
    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Bars(*columns, console=messages, disable=not messages.is_terminal) as bars:
        tasks = {}

        def show(stage: str, done: int, total: int, note: str = "") -> None:
            record(stage, done, total, note)
            if not messages.is_terminal:
                if done in (0, total) and not _QUIET and (done or note):
                    messages.print(f"{stage}: {f'{total} done' if done else note}", markup=False)
                return
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, note="")
            bars.update(tasks[stage], completed=done, total=total, note=note)

        yield show


def _recorder(path: Path) -> Progress:
    """A ``Progress`` that keeps each stage in ``path``, with its beginning and latest change in seconds of the epoch.

    The file is a JSON list in the order of the stages, written at most twice a second but at the end of a stage. A
    stage of a training has its ``losses``; one that begins again, as every training does, is a further entry.
    """
    stages: list[dict[str, Any]] = []
    latest: dict[str, dict[str, Any]] = {}
    written = 0.0

    def record(stage: str, done: int, total: int, note: str = "") -> None:
        nonlocal written
        now, kept = time.time(), latest.get(stage)
        if kept is None or done < kept["done"]:
            kept = latest[stage] = {"stage": stage, "begun": now, "losses": []}
            stages.append(kept)
        kept |= {"done": done, "total": total, "note": note, "at": now}
        if isinstance(note, LossNote) and math.isfinite(note.loss):
            kept["losses"].append(note.loss)
        if done == total or now - written > _RECORD_SECONDS:
            written = now
            write_whole(path, json.dumps(stages))

    return record


def print_sources(hits: Sequence[Hit], *, texts: bool = False) -> None:
    """Sources, numbered as in a prompt: the document, where in it, the headings above, the score; or also the text."""
    for number, hit in enumerate(hits, start=1):
        chunk = hit.chunk
        place = f", {chunk.place}" if chunk.place else ""
        heading = f" - {chunk.heading}" if chunk.heading else ""
        score = f"{hit.score:.2f}, second search" if hit.via == "second" else f"{hit.score:.2f}"
        output.print(f"[{number}] {chunk.document_id}{place}{heading} ({score})", style="dim", markup=False)
        if texts:
            output.print(chunk.text.strip() + "\n", markup=False)


def print_pieces(pieces: Iterable[str]) -> None:
    """An answer as it comes, and the end of its line."""
    for piece in pieces:
        output.print(piece, end="", markup=False)
    output.print()


def print_warning(message: str) -> None:
    """A line on the error stream for what is worth knowing and stops nothing."""
    messages.print(Text.assemble(("warning:", "yellow"), f" {message}"))


def print_note(message: str) -> None:
    """A line on the error stream for a fact about what follows."""
    messages.print(message, markup=False)


def print_json(value: object) -> None:
    """One JSON document on the output stream."""
    if _QUIET:
        return
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """A table on the output stream; the first column to the left, the others to the right."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(Text(heading), justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    output.print(table)
