"""What a recipe is: how a finetune is trained, and what it brought on wordings that it was not trained on.

Values and rules only; ``lorag.workflows.recipe_search`` trains by them. A recipe is never chosen on tested questions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorag.evaluation.statistics import wilson
from lorag.files import read_text
from lorag.settings import RecipeSettings
from lorag.training.diagnosis import Diagnosis

if TYPE_CHECKING:
    from lorag.training.methods import Learner

RECIPE = "recipe.json"
"""The file beside an adapter that says how it was chosen."""
RATES = (2e-4, 5e-4, 1e-3)
"""Learning rates that are tried for LoRA; the second is taken where there is no room to try (docs/finetuning.md)."""
FEWEST_UPDATES = 100
"""Updates below which a rung says nothing about a longer training."""
CHOICE_SHARE = 1 / 3
"""Most of the budget that goes into choosing."""
PLANNED_SHARE = 0.85
"""Share of the budget that is planned: a training estimated at 6.7 minutes took 8.0, with the questions after each pass
and what else is not estimated (docs/log.md). A plan for all of it would lose its last pass to ``TimeLimit``."""
_WANTED_PASSES = 3
"""Passes for which wordings are left out."""
_FEWEST_SHOWINGS = 10
"""How often a fact has to be shown, over all wordings and passes: after five showings one fact in eight was known,
after ten three to five (docs/finetuning.md), so half of the facts shown twice as often are more facts known."""
_FEWEST_WORDINGS = math.ceil(_FEWEST_SHOWINGS / _WANTED_PASSES)
"""Wordings of a fact that show it often enough in these passes."""
_MOST_PASSES = 5
"""Passes after which held-out recall no longer rose in our measurements."""
_SEEDS = 3
"""Trainings whose spread is worth measuring: that of two says next to nothing."""
_PATIENCE = 2
"""Passes without a rise after which a training has nothing more to teach."""


@dataclass(frozen=True, slots=True)
class Probing:
    """How a model is probed after each pass of its training."""

    recall: Callable[[Learner], float]
    """Share of the probed facts that it answers right, in wordings that it is not trained on."""
    before: float
    """That of the model that is trained."""

    def levels_off(self, recalls: Sequence[float]) -> bool:
        """Whether the last two passes brought no rise; while nothing was learned at all, the next one may."""
        best = max(recalls[:-_PATIENCE], default=0.0)
        return best > self.before and max(recalls[-_PATIENCE:]) <= best


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """The time that a training may take. Its first pass is always finished."""

    seconds: float
    later_share: float = 1.0
    """Time of a later pass as a share of the first one's."""

    def ends(self, spent: float, last_pass: float, *, was_first: bool) -> bool:
        """Whether another pass would end too late, after ``spent`` seconds of which the last pass took some."""
        return spent + last_pass * (self.later_share if was_first else 1.0) > self.seconds


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a learning curve: what was known after so many passes."""

    passes: int
    updates: int
    recall: float
    low: float
    """Lower end of the 95 % interval of the recall, over facts."""
    high: float
    """Upper end of that interval."""


def learning_curve(recalls: Sequence[float], updates: int, facts: int) -> tuple[Point, ...]:
    """The recall after each pass of a training of ``updates`` in all, with Wilson's intervals over ``facts``."""
    intervals = [wilson(recall, facts, 0.95) for recall in recalls]
    return tuple(
        Point(passes, updates * passes // len(recalls), recall, interval.low, interval.high)
        for passes, (recall, interval) in enumerate(zip(recalls, intervals, strict=True), start=1)
    )


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
    out_of_time: bool = False
    """Whether the budget ended it before its last pass."""


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
    curve: tuple[Point, ...] = ()
    """What was known after each pass of the final training. Empty in recipes of earlier versions."""
    identity: str = ""
    """Fingerprint of what it was chosen for; empty where the run that it belongs to has one."""

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
            tuple(Point(**each) for each in value.get("curve", ())),
            value.get("identity", ""),
        )

    def __str__(self) -> str:
        """What was chosen and what it brought, in one line."""
        final, taken = self.final, next(each.probed for each in self.strengths if each.share == self.strength)
        rates = len(comparable(self.rungs))
        tried = f"best of {rates} rates" if rates else "no other was tried"
        scaled = f", at {self.strength:g} of its strength" if self.strength != 1 else ""
        brought = (
            f"of {taken.facts} facts in wordings not trained on, {100 * self.before.recall:.0f} % right before,"
            f" {100 * taken.recall:.0f} % after"
            if taken.facts
            else "no wording could be held back, so no fact was probed, and the passes come from the budget alone"
        )
        return (
            f"{final.method}, rate {final.learning_rate:g} ({tried}), {passes_of(final.passes)} over"
            f" {final.conversations} conversations in {final.seconds / 60:.0f} minutes{scaled}; {brought}"
        )


def read_recipe(folder: Path) -> Recipe | None:
    """How the adapter in ``folder`` was chosen; None where it was not."""
    path = folder / RECIPE
    return Recipe.from_json(json.loads(read_text(path))) if path.is_file() else None


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a budget is spent."""

    passes: int
    conversations: int
    """Of those that are there; fewer where not even one pass over all of them fits."""
    rung_conversations: int
    """Conversations of each rung; 0 where there is no room for rungs."""
    minutes: float
    """All trainings together, as estimated."""
    pass_minutes: float
    """One pass over all conversations that are there, as estimated."""

    def __str__(self) -> str:
        """What will be trained, in one line."""
        size = self.rung_conversations
        rungs = f"{len(RATES)} short trainings on {size} conversations each, then " if size else ""
        what = f"{passes_of(self.passes)} over {self.conversations} conversations"
        return f"{rungs}{what}, about {self.minutes:.1f} minutes"


def passes_of(count: int) -> str:
    """Their number with its word."""
    return f"{count} pass{'es' * (count != 1)}"


def fitting_wordings(seconds_per_pass: float, recipe: RecipeSettings, given: float = 1.0) -> int:
    """In how many wordings each conversation may be trained on, one pass over all of them taking ``seconds_per_pass``.

    As many as leave time for enough passes, for choosing, and for rows with sources; but as many as show a fact often
    enough in these passes, for which ``schedule`` leaves facts out. A fact is stated in ``given`` conversations, on
    average: what these show already needs no further wording.
    """
    left = 60 * recipe.minutes * (1 - CHOICE_SHARE)
    fewest, most = max(1, int(_FEWEST_WORDINGS / given)), math.ceil(recipe.wordings / given)
    return min(most, max(fewest, int(left / (_WANTED_PASSES * max(seconds_per_pass, 1e-9)))))


def fitting_conversations(count: int, seconds_per_pass: float, recipe: RecipeSettings, given: float) -> int:
    """How many of ``count`` conversations the budget has room for at most; a pass over all takes ``seconds_per_pass``.

    A fact is stated in ``given`` of them, on average. ``schedule`` decides how many are trained on, once wordings and
    rows with sources are known; both take time that is not counted here.
    """
    passes = recipe.passes or max(1.0, min(_MOST_PASSES, _FEWEST_SHOWINGS / given))
    return max(1, min(count, int(count * 60 * recipe.minutes / (passes * max(seconds_per_pass, 1e-9)))))


def fills(seconds_per_pass: float, recipe: RecipeSettings, given: float) -> bool:
    """Whether to show each fact often enough takes all of the time that is not for choosing.

    It is stated in ``given`` of the conversations, on average.
    """
    passes = max(_WANTED_PASSES, _FEWEST_SHOWINGS / given)
    return passes * seconds_per_pass > 60 * recipe.minutes * (1 - CHOICE_SHARE)


def schedule(
    seconds_per_update: float,
    updates_per_pass: int,
    conversations: int,
    recipe: RecipeSettings,
    *,
    wordings: float = _FEWEST_SHOWINGS,
    chooses_rate: bool = True,
) -> Schedule:
    """How many passes over how many conversations fit into the budget, and how large the rungs may be.

    Each fact is shown in so many ``wordings``, on average. Conversations are left out where the passes that show a fact
    often enough do not fit over all of them, or as many passes as ``recipe`` fixes.
    """
    budget = PLANNED_SHARE * 60 * recipe.minutes
    one_pass = max(seconds_per_update * updates_per_pass, 1e-9)
    rung_updates = int(CHOICE_SHARE * budget / len(RATES) / seconds_per_update)
    if chooses_rate and FEWEST_UPDATES <= rung_updates <= updates_per_pass * _MOST_PASSES / 2:
        budget *= 1 - CHOICE_SHARE
    else:
        rung_updates = 0
    fewest = math.ceil(_FEWEST_SHOWINGS / wordings)
    passes = recipe.passes or min(_MOST_PASSES, max(fewest, int(budget / one_pass)))
    fitting = max(1, min(conversations, int(conversations * budget / (passes * one_pass) + 1e-6)))
    training = passes * one_pass * fitting / conversations
    rung = int(rung_updates * conversations / max(updates_per_pass, 1) / passes)
    minutes = (training + len(RATES) * rung_updates * seconds_per_update) / 60
    return Schedule(passes, fitting, rung, minutes, one_pass / 60)


def seconds_left(recipe: RecipeSettings, spent: float, share: float = 1.0) -> float | None:
    """What a ``share`` of the budget leaves for a training after ``spent`` seconds; None where passes are fixed."""
    return 60 * share * recipe.minutes - spent if recipe.passes is None else None


def seeds_within(settings: RecipeSettings, recipe: Recipe) -> int:
    """How many trainings, each with another seed, the budget has room for after the first one: 3 or 1."""
    left = seconds_left(settings, sum(rung.seconds for rung in (*recipe.rungs, recipe.final)), PLANNED_SHARE)
    return _SEEDS if left is not None and (_SEEDS - 1) * recipe.final.seconds <= left else 1


def comparable(rungs: Sequence[Rung]) -> Sequence[Rung]:
    """The rungs that had all of their passes; none where there are not two of them to compare."""
    whole = [rung for rung in rungs if not rung.out_of_time]
    return whole if len(whole) > 1 else []


def better(rungs: Sequence[Rung], before: Probed, recipe: RecipeSettings) -> Rung:
    """The rung with the highest recall among those that keep reading; of equals the one that forgets less."""

    def rank(rung: Rung) -> tuple[bool, float, float]:
        return keeps_reading(rung.probed, before, recipe), rung.probed.recall, -rung.probed.general_loss

    return max(rungs, key=rank)


def keeps_reading(now: Probed, before: Probed, recipe: RecipeSettings) -> bool:
    """Whether reading did not clearly fall by more than the limit."""
    if now.reading is None or before.reading is None:
        return True
    return not _is_clear(before.reading - now.reading, recipe.most_reading_loss, now.facts)


def taken(strengths: Sequence[Strength], before: Probed, recipe: RecipeSettings) -> float:
    """The strongest within the limit on forgetting that does not clearly lose recall; else the one that forgets least.

    Only those that keep reading are looked at; where none does, the one that reads best is taken. Few facts are probed:
    a strength that loses none of them may lose many others, so it is not lowered further than the limit asks.
    """
    reading = [each for each in strengths if keeps_reading(each.probed, before, recipe)]
    if not reading:
        return max(strengths, key=lambda each: (each.probed.reading or 0.0, each.share)).share
    best = max(each.probed.recall for each in reading)
    enough = [
        each for each in reading if not _is_clear(best - each.probed.recall, recipe.most_recall_loss, each.probed.facts)
    ]
    most = before.general_loss + recipe.most_forgetting
    within = [each.share for each in enough if each.probed.general_loss <= most]
    return max(within) if within else min(enough, key=lambda each: each.probed.general_loss).share


def _is_clear(fall: float, limit: float, facts: int) -> bool:
    """Whether a share of ``facts`` fell by more than ``limit`` and the standard error of so many facts lost.

    One fact of 16 is six points: without the error it would decide alone.
    """
    return fall - math.sqrt(max(fall, 0.0) / max(facts, 1)) > limit
