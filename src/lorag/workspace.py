"""Where things lie: the workspace of a project, and the folder of one comparison.

A workspace is ``.lorag/`` in the current folder: its index and its adapters. A run folder belongs to one comparison;
its ``run.json`` names everything that decides the result, so that a run is resumed only as what it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorag.errors import DataError, RunMismatchError
from lorag.files import LineLog, read_text, require_writable, write_whole

DEFAULT = Path(".lorag")


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder in which the commands of one project keep their things."""

    root: Path = DEFAULT

    @property
    def index(self) -> Path:
        """The index that ``lorag index`` writes and ``search``, ``ask`` and ``chat`` read."""
        return self.root / "index"

    @property
    def adapters(self) -> Path:
        """Where ``lorag finetune`` puts an adapter when no other place is named."""
        return self.root / "adapters"

    @property
    def runs(self) -> Path:
        """Where ``lorag compare`` puts a run when no other place is named."""
        return self.root / "runs"

    def require_index(self) -> Path:
        """The index folder. Raises ``DataError`` with the command that makes it when there is none."""
        if not (self.index / "manifest.sqlite").is_file():
            raise DataError(self.index, "there is no index yet; make one with `lorag index FOLDER`")
        return self.index


@dataclass(frozen=True, slots=True)
class Run:
    """The folder of one comparison and the places in it."""

    folder: Path

    @classmethod
    def open(cls, folder: Path, identity: Mapping[str, str]) -> Run:
        """The run in ``folder``, begun or resumed.

        ``identity`` names everything that decides the result. Raises ``RunMismatchError`` when the folder holds
        another run, naming what differs, and ``InputError`` when it cannot be written.
        """
        require_writable(folder)
        path = folder / "run.json"
        if path.is_file():
            try:
                found = json.loads(path.read_text())
            except ValueError as error:
                raise DataError(path, "is damaged; choose another folder with --out") from error
            differing = sorted(k for k in {*found, *identity} if found.get(k) != identity.get(k))
            if differing:
                raise RunMismatchError(
                    f"{str(folder)!r} holds a run with other {', '.join(differing)}; choose another folder with --out,"
                    " or give the same again to resume it"
                )
        else:
            write_whole(path, json.dumps(dict(identity), indent=2, sort_keys=True))
        return cls(folder)

    @property
    def index(self) -> Path:
        """The index over the documents of this run."""
        return self.folder / "index"

    @property
    def adapter(self) -> Path:
        """The adapter trained for this run."""
        return self.folder / "adapter"

    @property
    def training(self) -> Path:
        """The conversations the adapter is trained on, as JSONL."""
        return self.folder / "train.jsonl"

    @property
    def training_facts(self) -> Path:
        """What is to be said about those conversations, as JSON."""
        return self.folder / "train.json"

    @property
    def result(self) -> Path:
        """Every row, score and figure, as JSON."""
        return self.folder / "result.json"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.folder / "report.html"

    def write_facts(self, facts: Mapping[str, str], notes: Sequence[str]) -> None:
        """Keeps what a report says of how its rows were made."""
        write_whole(self.folder / "facts.json", json.dumps({"facts": dict(facts), "notes": list(notes)}, indent=2))

    def read_facts(self) -> dict[str, Any]:
        """What ``write_facts`` kept: ``facts`` and ``notes``."""
        kept: dict[str, Any] = json.loads(read_text(self.folder / "facts.json"))
        return kept

    def synthesis_log(self) -> LineLog:
        """What the model wrote about each passage, where training data had to be made."""
        return LineLog(self.folder / "synthesis.jsonl")

    def rows(self) -> LineLog:
        """The record of every question asked."""
        return LineLog(self.folder / "rows.jsonl")
