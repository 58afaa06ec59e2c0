"""Synthetic comparisons: questions over documents, and arms whose right answers are given by a pattern."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from lorag.evaluation.comparison import BASE, EVIDENCE, Comparison, compare_rows
from lorag.evaluation.row_log import Phase, Row
from lorag.settings import REFUSAL, VerdictSettings
from lorag.types import Answer, Chunk, Example, Hit, Message, Usage

Pattern = Callable[[int], bool]


@dataclass(frozen=True)
class Synthetic:
    """``n`` questions over 40 documents; every fifth is changed by the update when ``updated``."""

    n: int
    unanswerable: Pattern = lambda i: False
    updated: bool = False

    def example(self, i: int) -> Example:
        answers = () if self.unanswerable(i) else (f"value{i}",)
        changed = self.updated and i % 5 == 0 and bool(answers)
        return Example(
            id=f"q{i}",
            question=f"What is entry {i}?",
            answers=answers,
            evidence=(f"doc{i % 40}",),
            answers_after=(f"fresh{i}",) if changed else answers if self.updated else None,
        )

    def examples(self) -> list[Example]:
        return [self.example(i) for i in range(self.n)]

    def rows(self, phase: Phase, arm: str, right: Pattern) -> list[Row]:
        """Answers that are right exactly where ``right`` says so; those that retrieve always have the passage."""
        return [Row(phase, arm, f"q{i}", self.answer(phase, arm, i, right(i))) for i in range(self.n)]

    def answer(self, phase: Phase, arm: str, i: int, right: bool) -> Answer:
        example = self.example(i)
        references = example.after_update().answers if phase == "after" else example.answers
        text = (references[0] if right else f"something else {i}") if references else REFUSAL if right else "maybe 7"
        chunk = Chunk(f"doc{i % 40}", "v", 0, 11, "passage one", "Entries")
        return Answer(
            text=f"It is {text}." if references else text,
            prompt=(Message("user", example.question),),
            sources=(Hit(chunk, 0.5, "hybrid"),) if arm in ("retrieval", "both", EVIDENCE) else (),
            usage=Usage(200, 8, 0.01, 0.2 + i / 1000),
            refused=text == REFUSAL,
        )


@pytest.fixture(scope="session")
def synthetic() -> type[Synthetic]:
    return Synthetic


@pytest.fixture
def compare() -> Callable[..., Comparison]:
    """``compare(world, base=..., retrieval=..., ...)``: patterns by arm; ``after={...}`` adds the second phase."""

    def run(
        world: Synthetic,
        patterns: Mapping[str, Pattern],
        after: Mapping[str, Pattern] | None = None,
        ceiling: Pattern | None = lambda i: i % 10 != 9,
        **options: Any,
    ) -> Comparison:
        rows = []
        phases: dict[Phase, Mapping[str, Pattern]] = {"before": patterns, "after": after or {}}
        for phase, arms in phases.items():
            for arm, right in arms.items():
                rows += world.rows(phase, arm, right)
            if arms and ceiling is not None:
                rows += world.rows(phase, EVIDENCE, ceiling)
        assert BASE in patterns
        settings = options.pop("settings", VerdictSettings(draws=400))
        return compare_rows(rows, world.examples(), settings=settings, **options)

    return run
