"""Where things lie: the workspace of a project, and the folder of one comparison.

A workspace is ``.lorag/`` in the current folder: its index, its adapters, and the settings that were found best for
them. A run folder belongs to one comparison;
its ``run.json`` names everything that decides the result, so that a run is resumed only as what it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from lorag.errors import DataError, InputError, RunMismatchError
from lorag.files import LineLog, read_text, require_writable, write_whole
from lorag.settings import ChunkSettings, RetrievalSettings

S = TypeVar("S", ChunkSettings, RetrievalSettings)

DEFAULT = Path(".lorag")


@dataclass(frozen=True, slots=True)
class Chosen:
    """How documents are cut and passages found in a workspace; what was never chosen is the default."""

    chunks: ChunkSettings = field(default_factory=ChunkSettings)
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)


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

    @property
    def settings(self) -> Path:
        """What `lorag tune` and `lorag calibrate` chose, as JSON: only what differs from the defaults."""
        return self.root / "settings.json"

    @property
    def prompt(self) -> Path:
        """The prompt that `lorag tune` chose for a model, as JSON (``lorag.chat.kept_prompt``)."""
        return self.root / "prompt.json"

    def chosen(self) -> Chosen:
        """The settings of this workspace. Raises ``DataError`` for a file that holds others than Lorag knows."""
        given = _read_object(self.settings) if self.settings.is_file() else {}
        for name in given.keys() - {"chunks", "retrieval"}:
            raise DataError(self.settings, f"unknown key {name!r}, expected 'chunks' and 'retrieval'; remove it")
        return Chosen(
            _settings(self.settings, ChunkSettings, given.get("chunks", {})),
            _settings(self.settings, RetrievalSettings, given.get("retrieval", {})),
        )

    def choose(self, chosen: Chosen) -> None:
        """Makes these the settings of this workspace."""
        parts = {"chunks": _changed(chosen.chunks), "retrieval": _changed(chosen.retrieval)}
        self.root.mkdir(parents=True, exist_ok=True)
        write_whole(self.settings, json.dumps(parts, indent=2) + "\n")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_text(path))
    except ValueError as error:
        raise DataError(
            path, f"is not valid JSON ({error}); repair it, or delete it to go back to the defaults"
        ) from error
    if not isinstance(value, dict):
        raise DataError(path, "is not a JSON object; delete it to go back to the defaults")
    return value


def _settings(path: Path, kind: type[S], given: object) -> S:
    """``given`` as settings of that kind, with the defaults for what is not in it."""
    known = {each.name for each in fields(kind)}
    if not isinstance(given, dict) or not given.keys() <= known:
        unknown = sorted(given.keys() - known) if isinstance(given, dict) else given
        raise DataError(path, f"{unknown!r} is not a {kind.__name__}, expected some of {', '.join(sorted(known))}")
    try:
        return kind(**given)
    except (InputError, TypeError) as error:
        raise DataError(path, f"{error}; correct it, or delete the file to go back to the defaults") from error


def _changed(settings: ChunkSettings | RetrievalSettings) -> dict[str, Any]:
    """What differs from the defaults."""
    default = asdict(type(settings)())
    return {name: value for name, value in asdict(settings).items() if value != default[name]}


@dataclass(frozen=True, slots=True)
class Run:
    """The folder of one comparison and the places in it."""

    folder: Path
    earlier: Path | None = None
    """The folder of a run from which answers are taken."""

    @classmethod
    def open(cls, folder: Path, identity: Mapping[str, str], earlier: Path | None = None) -> Run:
        """The run in ``folder``, begun or resumed. What the ``earlier`` run asked in the same way is not asked again.

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
                    " or give the same again to resume it; a new run with --against this folder asks only what differs"
                )
        else:
            write_whole(path, json.dumps(dict(identity), indent=2, sort_keys=True))
        return cls(folder, earlier)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps other processes from this run; raises ``InputError`` where one is at it."""
        from filelock import FileLock, Timeout

        try:
            lock = FileLock(self.folder / "run.lock").acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"another process is working on the run in {str(self.folder)!r}; wait for it to end, or choose another"
                " folder with --out"
            ) from error
        with lock:
            yield

    @property
    def index(self) -> Path:
        """The index over the documents of this run."""
        return self.folder / "index"

    @property
    def adapter(self) -> Path:
        """The adapter trained for this run."""
        return self.folder / "adapter"

    @property
    def reading_adapter(self) -> Path:
        """The same at the strength at which it reads sources; only where that is not its whole strength."""
        return self.folder / "adapter-both"

    @property
    def reading_loss(self) -> Path:
        """The loss of that adapter on general text, as JSON."""
        return self.reading_adapter / "general_loss.json"

    @property
    def options(self) -> Path:
        """The options of the command that repeats this run, as TOML."""
        return self.folder / "run.toml"

    @property
    def given_prompt(self) -> Path:
        """The prompt under which every arm was to be asked, as JSON; only where one was given."""
        return self.folder / "prompt.json"

    def part(self, name: str) -> Run:
        """The folder of a training beside the first one, with the same places in it."""
        return Run(self.folder / name)

    def further(self, seeds: int | None) -> list[Run]:
        """The parts for all trainings but the first of ``seeds``; None: the parts that there are."""
        count = len([*self.folder.glob("seed-*")]) if seeds is None else seeds - 1
        return [self.part(f"seed-{number}") for number in range(1, count + 1)]

    @property
    def training(self) -> Path:
        """The conversations the adapter is trained on, as JSONL."""
        return self.folder / "train.jsonl"

    @property
    def brought(self) -> Path:
        """The conversations that those are made from, in the wordings that were brought or synthesised."""
        return self.folder / "brought.jsonl"

    @property
    def probes(self) -> Path:
        """Facts of those conversations in wordings that are not trained on, as JSON; only with documents alone."""
        return self.folder / "probes.json"

    @property
    def prompts(self) -> Path:
        """The prompts that were tried, and chosen, for each kind of arm."""
        return self.folder / "prompts"

    @property
    def training_facts(self) -> Path:
        """What is to be said about those conversations, as JSON."""
        return self.folder / "train.json"

    @property
    def teaches_nothing(self) -> bool:
        """Whether nothing was found that an adapter could be trained on."""
        return self.training_facts.is_file() and not self.training.stat().st_size

    @property
    def result(self) -> Path:
        """Every row, score and figure, as JSON."""
        return self.folder / "result.json"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.folder / "report.html"

    def update_seconds(self) -> dict[str, float]:
        """What bringing each arm up to date took, as far as it was measured."""
        return self._kept("update.json")

    def write_update_seconds(self, seconds: Mapping[str, float]) -> None:
        """Keeps what bringing an arm up to date took; what was kept before stays."""
        self._keep("update.json", seconds)

    def waits(self) -> dict[str, list[list[float]]]:
        """Seconds to the first token and to the end of answers to questions asked one after another, by arm."""
        return self._kept("waits.json")

    def write_waits(self, seconds: Mapping[str, Sequence[Sequence[float]]]) -> None:
        """Keeps what ``waits`` returns; what was kept before stays."""
        self._keep("waits.json", seconds)

    def built(self) -> dict[str, float]:
        """What ``write_built`` kept: ``index_seconds`` and ``weights_bytes``, as far as they were measured."""
        return self._kept("built.json")

    def write_built(self, measured: Mapping[str, float]) -> None:
        """Keeps what building took; what was kept before stays."""
        self._keep("built.json", measured)

    def _kept(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        return json.loads(read_text(path)) if path.is_file() else {}

    def _keep(self, name: str, measured: Mapping[str, object]) -> None:
        write_whole(self.folder / name, json.dumps({**measured, **self._kept(name)}))

    @property
    def has_facts(self) -> bool:
        """Whether ``write_facts`` was called, which ends a run."""
        return (self.folder / "facts.json").is_file()

    def write_facts(self, facts: Mapping[str, str], notes: Sequence[str], not_finetuned: str | None) -> None:
        """Keeps what a report says of how its rows were made; ``not_finetuned`` as in ``Comparison``."""
        made = {"facts": dict(facts), "notes": list(notes), "not_finetuned": not_finetuned}
        write_whole(self.folder / "facts.json", json.dumps(made, indent=2))

    def read_facts(self) -> dict[str, Any]:
        """What ``write_facts`` kept: ``facts``, ``notes``, and unless an earlier version wrote it ``not_finetuned``."""
        kept: dict[str, Any] = json.loads(read_text(self.folder / "facts.json"))
        return kept

    @property
    def recipe(self) -> Path:
        """How the finetune was chosen, as JSON: with the adapter, or where earlier versions left it, beside it."""
        beside = self.folder / "adapter.recipe.json"
        return beside if beside.is_file() else self.adapter / "recipe.json"

    def tried(self) -> dict[str, Any]:
        """What was tried before the comparison, as JSON objects: ``prompts`` by arm, the ``recipe``, and ``reading``.

        The last is the loss at which "both" reads, in nats, where it has a strength of its own.
        """
        prompts = {path.stem: json.loads(read_text(path)) for path in sorted(self.prompts.glob("*.json"))}
        for each in prompts.values():
            (each.get("probe") or {}).pop("weights", None)  # a thousand numbers that nobody reads
        found = {"recipe": self.recipe, "reading": self.reading_loss}
        return {
            "prompts": prompts,
            **{name: json.loads(read_text(path)) for name, path in found.items() if path.is_file()},
        }

    def synthesis_log(self) -> LineLog:
        """What the model wrote about each passage, where training data had to be made."""
        return LineLog(self.folder / "synthesis.jsonl")

    def asked(self) -> LineLog:
        """What models answered, each answer as it arrived, by model and prompt."""
        return LineLog(self.folder / "asked.jsonl")

    def asked_earlier(self) -> LineLog | None:
        """That of the earlier run; None where there is none."""
        path = self.earlier / "asked.jsonl" if self.earlier is not None else None
        return LineLog(path) if path is not None and path.is_file() else None

    def asked_judge(self) -> LineLog:
        """What a judge on a server answered where the compared model is on this machine, whose tokens cost nothing."""
        return LineLog(self.folder / "asked-judge.jsonl")

    def judged(self) -> LineLog:
        """What judges said of the claims of answers."""
        return LineLog(self.folder / "judged.jsonl")

    @property
    def rows(self) -> Path:
        """The record of every question asked, as JSONL."""
        return self.folder / "rows.jsonl"
