"""What the rooms of the page share: one folder, and the files in it that they may name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import Request

from lorag.documents.load import SUFFIXES
from lorag.errors import InputError
from lorag.serving.admission import require_json
from lorag.serving.http_errors import HttpError
from lorag.serving.routes import read_body
from lorag.workspace import Run, Workspace

MOST_BYTES = 1_000_000
"""Largest request but for uploads."""
_BINARY = "application/octet-stream"
_DEPTH, _MOST_LISTED = 4, 500
_PASSED_OVER = {"node_modules", "venv", "__pycache__", "site-packages"}
ROWS = (".jsonl", ".json", ".csv", ".tsv")
"""Suffixes of files of questions, conversations and other rows."""


@dataclass(frozen=True, slots=True)
class Files:
    """What of a folder can be chosen on the page, as paths below it."""

    folders: tuple[str, ...]
    """Folders that hold documents."""
    rows: tuple[str, ...]
    """Files of questions, conversations and other rows."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """The folder ``root`` that the page works in; ``uploads`` is where documents go that are dropped into it."""

    root: Path
    uploads: Path
    workspace: Workspace = field(init=False)

    def __post_init__(self) -> None:
        """Finds the workspace in the folder."""
        object.__setattr__(self, "workspace", Workspace(self.root / ".lorag"))

    @classmethod
    def of(cls, root: Path, uploads: str) -> Workplace:
        """The workplace in ``root``, with uploads in a folder of it. Raises ``InputError`` for any other folder."""
        if not root.is_dir():
            raise InputError(f"{str(root)!r} is not a folder; name the one to work in")
        root = root.resolve()
        into = (root / uploads).resolve()
        if into == root or not into.is_relative_to(root):
            raise InputError(
                f"--documents {uploads!r} is not a folder inside {str(root)!r}; use a name such as 'documents'"
            )
        return cls(root, into)

    def inside(self, given: str, what: str) -> Path:
        """The path below ``root`` that ``given`` names. Raises ``HttpError`` for one outside, and for none."""
        missing = HttpError(400, f"{what} {given[:80]!r} does not exist; reload the page", what)
        try:
            path = (self.root / given.replace("\0", "")).resolve()
        except RuntimeError as error:  # a link that leads to itself
            raise missing from error
        if not given or "\0" in given or not path.is_relative_to(self.root):
            raise HttpError(400, f"{what} {given[:80]!r} is outside the folder of this page; choose a file in it", what)
        if not _holds(Path.exists, path):
            raise missing
        return path

    def named(self, path: Path) -> str:
        """``path`` as the page names it."""
        return path.relative_to(self.root).as_posix()

    def files(self) -> Files:
        """Up to 500 folders of documents and 500 files of rows, hidden ones left out."""
        folders, rows = [], []
        for parent, names in _folders(self.root):
            if any(Path(name).suffix.lower() in SUFFIXES for name in names) and parent != self.root:
                folders.append(self.named(parent))
            rows += [self.named(parent / name) for name in names if Path(name).suffix.lower() in ROWS]
        return Files(tuple(folders[:_MOST_LISTED]), tuple(rows[:_MOST_LISTED]))

    def run(self, given: str) -> Run:
        """The run of that name. Raises ``HttpError`` where there is none."""
        runs = {self.named(run.folder): run for run in self.runs()}
        if given not in runs:
            raise HttpError(404, f"there is no run {given[:80]!r} in this folder; reload the list", "run")
        return runs[given]

    def runs(self) -> list[Run]:
        """The folders of comparisons: in the workspace, and in ``root`` itself."""
        places = (self.workspace.runs, self.workspace.root, self.root)
        found = [folder for place in places for folder in _listed(place)]
        return [
            Run(folder)
            for folder in found
            if _holds(Path.is_file, folder / "run.json") or _holds(Path.is_dir, folder / "job")
        ]

    @property
    def reading(self) -> Run:
        """The job that reads the folder of uploads."""
        return Run(self.workspace.root / "jobs" / "reading")

    def adapters(self) -> list[Path]:
        """The folders of adapters: of ``lorag finetune``, and of the runs."""
        found = (*_listed(self.workspace.adapters), *(run.adapter for run in self.runs()))
        return [path for path in found if _holds(Path.is_file, path / "lorag.json")]


def _holds(look: Callable[[Path], bool], path: Path) -> bool:
    """Whether ``look`` holds of ``path``; False where nobody may look, or where the name is too long."""
    try:
        return look(path)
    except OSError:
        return False


def _listed(folder: Path) -> list[Path]:
    """What lies in ``folder``, sorted; nothing where there is no such folder, or where it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder down to a depth, with the names of its files, sorted."""
    for parent, folders, names in os.walk(root):
        here = Path(parent)
        deep = len(here.relative_to(root).parts) >= _DEPTH
        kept = [] if deep else [name for name in folders if not name.startswith(".") and name not in _PASSED_OVER]
        folders[:] = sorted(name for name in kept if not _holds(Path.is_file, here / name / "run.json"))
        yield here, sorted(name for name in names if not name.startswith("."))


def require_binary(request: Request) -> None:
    """Raises ``HttpError`` for another content type than that of a file: forms of any page may send those."""
    if request.headers.get("content-type") != _BINARY:
        raise HttpError(415, f"send the file with `Content-Type: {_BINARY}`")


async def json_body(request: Request) -> dict[str, Any]:
    """The fields of a request. Raises ``HttpError`` for another content type than JSON, and for no object."""
    require_json(request.headers)
    try:
        given = json.loads(await read_body(request, MOST_BYTES))
    except (ValueError, RecursionError) as error:
        raise HttpError(400, f"the body is not valid JSON: {error}") from error
    if not isinstance(given, dict):
        raise HttpError(400, f"the body is a JSON {type(given).__name__}, expected an object")
    return given


def text_of(given: Mapping[str, Any], name: str) -> str:
    """The field as a text without white space around it; empty where it is missing. Raises ``HttpError``."""
    value = given.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or not value.isprintable() or len(value) > 1000:
        raise HttpError(400, f"{name} is not a line of text; expected up to 1,000 characters", name)
    return value.strip()
