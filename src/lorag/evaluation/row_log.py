"""The record of every asked question: everything needed to score and audit it again without the models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from lorag.errors import DataError, InputError
from lorag.files import LineLog
from lorag.types import Answer, Chunk, Hit, Message, Usage, json_fields

Phase = Literal["before", "after"]
RowKey = tuple[str, str, str]
"""Phase, arm and question of a row."""
_RENAMED = {"gold context": "base with gold passages"}
"""Arms that earlier versions recorded under another name."""


def key_of(field: str) -> str:
    """The key of a field in ``rows.jsonl`` and ``result.json``: a phase is a ``moment`` there."""
    return "moment" if field == "phase" else field


def recorded_fields(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Fields of a value, for ``asdict``, by their keys in the files of a run."""
    return json_fields((key_of(field), value) for field, value in pairs)


@dataclass(frozen=True, slots=True)
class Row:
    """One answer of one arm; ``phase`` is the side of the documents' update on which it was asked."""

    phase: Phase
    arm: str
    example_id: str
    answer: Answer
    found: tuple[Hit, ...] = ()
    """What a search for the question and its answer found, where the prompt had no passage: to check the answer by."""

    @property
    def key(self) -> RowKey:
        """What makes a row unique in a log."""
        return self.phase, self.arm, self.example_id

    def to_json(self) -> dict[str, Any]:
        """A JSON object with every field, the answer's passages and prompt included; ``found`` where there is any."""
        fields = asdict(self, dict_factory=recorded_fields)
        return fields if self.found else {key: value for key, value in fields.items() if key != "found"}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Row:
        """The row that ``to_json`` wrote. Raises ``InputError`` for any other object."""
        try:
            phase = value[key_of("phase")]
            if phase not in get_args(Phase):
                raise ValueError(f"moment {phase!r}")
            arm = _RENAMED.get(value["arm"], value["arm"])
            return cls(phase, arm, value["example_id"], _answer(value["answer"]), _hits(value.get("found", ())))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"not a recorded answer ({type(error).__name__}: {error}); it was written by another version or by "
                "hand: start a new run folder"
            ) from error


class RowLog:
    """The rows in a file, which is read once and only ever appended to."""

    def __init__(self, path: Path) -> None:
        """Opens ``path`` as ``LineLog`` does. Raises ``DataError`` with the number of an entry that is not a row."""
        self._log = LineLog(path)
        self.rows: dict[RowKey, Row] = {}
        """By ``Row.key``; of rows with equal keys the first."""
        for number, value in enumerate(self._log.rows, start=1):
            try:
                row = Row.from_json(value)
            except InputError as error:
                raise DataError(path, str(error), number) from error
            self.rows.setdefault(row.key, row)

    def append(self, rows: Sequence[Row]) -> None:
        """Adds the rows, as they will be read; they are on the disk when this returns."""
        recorded = [row.to_json() for row in rows]
        kept = {row.key: row for row in map(Row.from_json, recorded)}
        self._log.append(recorded)
        self.rows |= kept

    def hold(self, rows: Sequence[Row]) -> None:
        """Adds rows for this process alone: whoever opens the file again does not find them."""
        self.rows |= {row.key: row for row in rows}


def _hits(values: Iterable[Mapping[str, Any]]) -> tuple[Hit, ...]:
    return tuple(Hit(Chunk(**value["chunk"]), value["score"], value["via"]) for value in values)


def _answer(value: Mapping[str, Any]) -> Answer:
    fields = dict(value)
    fields["prompt"] = tuple(Message(**message) for message in value["prompt"])
    fields["sources"] = _hits(value["sources"])
    fields["usage"] = Usage(**value["usage"])
    fields["guarded"] = tuple(value.get("guarded", ()))
    return Answer(**fields)
