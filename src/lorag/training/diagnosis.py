"""Why a finetuned model answers a fact wrong: it was not stored, not found in other words, or lost beside a passage.

After Allen-Zhu and Li 2023 (arXiv:2309.14316, 2309.14402): a model may store what it was trained on and still not find
it by another question, or only in one direction. Each case has another remedy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

_SHOWN = 2
"""Questions that are named in a line."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One fact in four ways: whether each was answered right, None where it could not be asked so."""

    question: str
    """In a wording that was not trained on."""
    trained: bool | None
    """In a wording that was trained on."""
    held_out: bool
    """In the wording of ``question``, without sources."""
    reversed: bool | None
    """From the value to the subject."""
    with_passage: bool | None
    """With the passage that answers among the sources."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Facts by what is wrong with them; a fact may stand in several lists."""

    facts: int
    not_stored: tuple[str, ...]
    """Wrong in a wording that was trained on."""
    not_extractable: tuple[str, ...]
    """Right in a trained wording, wrong in another."""
    one_way: tuple[str, ...]
    """Right from the subject to the value, wrong the other way."""
    lost_with_passage: tuple[str, ...]
    """Right without sources, wrong with the passage that answers."""

    @property
    def lines(self) -> tuple[str, ...]:
        """One sentence per finding, with its remedy; empty if nothing is wrong."""
        findings = (
            (self.not_stored, "were not stored: wrong even in a trained wording", "more passes or a higher rate"),
            (self.not_extractable, "are stored but not found in other words", "more wordings of each fact"),
            (self.one_way, "are known one way only", "wordings from the value to the subject"),
            (self.lost_with_passage, "are lost when the passage is there", "more rows with sources, a lower rate"),
        )
        return tuple(
            f"Of {self.facts} facts that were asked, {len(questions)} {what} ({'; '.join(questions[:_SHOWN])})."
            f" Remedy: {remedy}."
            for questions, what, remedy in findings
            if questions
        )

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as JSON takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Diagnosis:
        """What ``to_json`` wrote."""
        facts, *lists = (value[each.name] for each in fields(cls))
        return cls(facts, *map(tuple, lists))


def diagnose(asked: Sequence[Asked]) -> Diagnosis:
    """What is wrong with each of the facts."""

    def those(wrong: Sequence[bool]) -> tuple[str, ...]:
        return tuple(each.question for each, is_wrong in zip(asked, wrong, strict=True) if is_wrong)

    return Diagnosis(
        len(asked),
        those([each.trained is False and not each.held_out for each in asked]),
        those([each.trained is True and not each.held_out for each in asked]),
        those([each.held_out and each.reversed is False for each in asked]),
        those([each.held_out and each.with_passage is False for each in asked]),
    )
