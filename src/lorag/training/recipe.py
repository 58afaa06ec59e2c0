"""What a recipe is: how a finetune is trained, and what it brought on wordings that it was not trained on.

Values and rules only; ``lorag.workflows.recipe_search`` trains by them. A recipe is never chosen on tested questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lorag.settings import RecipeSettings
from lorag.training.diagnosis import Diagnosis

RATES = (2e-4, 5e-4, 1e-3)
"""Learning rates that are tried for LoRA; the second is taken where there is no room to try (docs/finetuning.md)."""
FEWEST_UPDATES = 100
"""Updates below which a rung says nothing about a longer training."""
_CHOICE_SHARE = 1 / 3
"""Most of the budget that goes into choosing."""
_WANTED_PASSES = 3
"""Passes for which wordings are left out."""
_MOST_PASSES = 5
"""Passes after which held-out recall no longer rose in our measurements."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What a model knows, on facts in wordings that were not trained on; shares from 0 to 1, None where not asked."""

    facts: int
    recall: float
    """Right without sources."""
    reading: float | None
    """Right with the passage that answers among the sources."""
    general_loss: float
    """Mean cross entropy per token of general text, in nats."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One training of a ladder, and what it brought."""

    method: str
    learning_rate: float
    passes: int
    conversations: int
    updates: int
    seconds: float
    probed: Probed


@dataclass(frozen=True, slots=True)
class Strength:
    """A trained adapter at a share of its strength."""

    share: float
    probed: Probed


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a finetune was chosen, trained and set; everything that was tried, with its figures."""

    budget_minutes: float
    before: Probed
    """The base model."""
    rungs: tuple[Rung, ...]
    """Short trainings on a part of the documents, by which the learning rate was chosen; empty where the budget had no
    room for them."""
    final: Rung
    strengths: tuple[Strength, ...]
    """The strengths that were tried; the first is the whole one."""
    strength: float
    """The one that was taken."""
    diagnosis: Diagnosis
    """What is wrong with the facts that are still answered wrong."""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recipe:
        """What ``to_json`` wrote."""

        def rung(given: Mapping[str, Any]) -> Rung:
            return Rung(**{**given, "probed": Probed(**given["probed"])})

        return cls(
            value["budget_minutes"],
            Probed(**value["before"]),
            tuple(map(rung, value["rungs"])),
            rung(value["final"]),
            tuple(Strength(each["share"], Probed(**each["probed"])) for each in value["strengths"]),
            value["strength"],
            Diagnosis.from_json(value["diagnosis"]),
            tuple(value["notes"]),
        )

    def __str__(self) -> str:
        """What was chosen and what it brought, in one line."""
        final, taken = self.final, next(each.probed for each in self.strengths if each.share == self.strength)
        tried = f"best of {len(self.rungs)} rates" if self.rungs else "the default rate"
        scaled = f", at {self.strength:g} of its strength" if self.strength != 1 else ""
        passes = f"{final.passes} pass{'es' * (final.passes != 1)}"
        return (
            f"{final.method}, rate {final.learning_rate:g} ({tried}), {passes} over"
            f" {final.conversations} conversations in {final.seconds / 60:.0f} minutes{scaled}; of {taken.facts} facts"
            f" in wordings not trained on, {100 * self.before.recall:.0f} % right before, {100 * taken.recall:.0f} %"
            " after"
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a budget is spent."""

    passes: int
    conversations: int
    """Of those that are there; fewer where not even one pass over all of them fits."""
    rung_conversations: int
    """Conversations of each rung; 0 where there is no room for rungs."""


def fitting_wordings(seconds_per_pass: float, recipe: RecipeSettings) -> int:
    """In how many wordings facts may be trained on, one pass over one wording of each taking ``seconds_per_pass``.

    As many as leave time for enough passes, for choosing, and for rows with sources; at least one.
    """
    left = 60 * recipe.minutes * (1 - _CHOICE_SHARE)
    return max(1, min(recipe.wordings, int(left / (_WANTED_PASSES * max(seconds_per_pass, 1e-9)))))


def schedule(seconds_per_update: float, updates_per_pass: int, conversations: int, recipe: RecipeSettings) -> Schedule:
    """How many passes over how many conversations fit into the budget, and how large the rungs may be.

    Wordings teach more than passes, so conversations are left out only where one pass over all of them does not fit.
    """
    budget = 60 * recipe.minutes
    one_pass = max(seconds_per_update * updates_per_pass, 1e-9)
    rung_updates = int(_CHOICE_SHARE * budget / len(RATES) / seconds_per_update)
    if FEWEST_UPDATES <= rung_updates <= updates_per_pass * _MOST_PASSES / 2:
        budget *= 1 - _CHOICE_SHARE
    else:
        rung_updates = 0
    passes = min(int(budget / one_pass), _MOST_PASSES)
    fitting = conversations if passes else max(1, int(conversations * budget / one_pass))
    passes = max(1, passes)
    return Schedule(passes, fitting, int(rung_updates * conversations / max(updates_per_pass, 1) / passes))


def better(rungs: Sequence[Rung], before: Probed, recipe: RecipeSettings) -> Rung:
    """The rung with the highest recall among those that keep reading; of equals the one that forgets less."""

    def rank(rung: Rung) -> tuple[bool, float, float]:
        return keeps_reading(rung.probed, before, recipe), rung.probed.recall, -rung.probed.general_loss

    return max(rungs, key=rank)


def keeps_reading(now: Probed, before: Probed, recipe: RecipeSettings) -> bool:
    """Whether reading fell by no more than the limit."""
    return now.reading is None or before.reading is None or now.reading >= before.reading - recipe.most_reading_loss


def taken(strengths: Sequence[Strength], before: Probed, recipe: RecipeSettings) -> float:
    """The strength that forgets least without losing recall beyond the limit.

    Only those that keep reading are looked at; where none does, the one that reads best is taken.
    """
    reading = [each for each in strengths if keeps_reading(each.probed, before, recipe)]
    if not reading:
        return max(strengths, key=lambda each: (each.probed.reading or 0.0, each.share)).share
    best = max(each.probed.recall for each in reading)
    enough = [each for each in reading if each.probed.recall >= best - recipe.most_recall_loss]
    return min(enough, key=lambda each: each.probed.general_loss).share
