"""The record of one asked question: everything needed to score and audit it again without the models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lorag.errors import InputError
from lorag.types import Answer, Chunk, Hit, Message, Usage, json_fields

Moment = Literal["before", "after"]
_RENAMED = {"gold context": "base with gold passages"}
"""Arms that earlier versions recorded under another name."""


@dataclass(frozen=True, slots=True)
class Row:
    """One answer of one arm; ``moment`` says on which side of the documents' update it was asked."""

    moment: Moment
    arm: str
    example_id: str
    answer: Answer

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes a row unique in a log."""
        return self.moment, self.arm, self.example_id

    def to_json(self) -> dict[str, Any]:
        """A JSON object with every field, the answer's passages and prompt included."""
        return asdict(self, dict_factory=json_fields)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Row:
        """The row that ``to_json`` wrote. Raises ``InputError`` for any other object."""
        try:
            if value["moment"] not in ("before", "after"):
                raise ValueError(f"moment {value['moment']!r}")
            arm = _RENAMED.get(value["arm"], value["arm"])
            return cls(value["moment"], arm, value["example_id"], _answer(value["answer"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"not a recorded answer ({type(error).__name__}: {error}); it was written by another version or by "
                "hand: start a new run directory"
            ) from error


def _answer(value: Mapping[str, Any]) -> Answer:
    fields = dict(value)
    fields["prompt"] = tuple(Message(**message) for message in value["prompt"])
    fields["sources"] = tuple(
        Hit(Chunk(**source["chunk"]), source["score"], source["via"]) for source in value["sources"]
    )
    fields["usage"] = Usage(**value["usage"])
    fields["guarded"] = tuple(value.get("guarded", ()))
    return Answer(**fields)
