"""A finetune on user conversations alone, its wordings, rate and passes chosen within a budget."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace

from lorag.files import write_whole
from lorag.settings import FinetuneSettings, RecipeSettings
from lorag.training.adapter import Adapter, read_adapter
from lorag.training.data.wordings.augmentation import wordings_per_fact
from lorag.training.recipe import fitting_wordings, passes_of, read_recipe, seconds_left
from lorag.types import Sampling
from lorag.workflows.finetuning.adapter_training import estimate_training, train_adapter
from lorag.workflows.finetuning.own_probes import Lesson, lesson
from lorag.workflows.recipe_search import Probe, Probes, Training, train_best

_TOKENS_MORE = 8
"""Tokens that an answer may have beyond those of the longest reference."""


def train_chosen(training: Training) -> Adapter:
    """The adapter that is trained best on ``training.conversations``, which are widened and probed as they allow.

    Where they teach nothing that can be asked in other words, a warning, and a training that nothing is chosen for.
    """
    found = read_recipe(training.out)
    if found is not None and found.identity == training.identity and not training.overwrite:
        return read_adapter(training.out)
    given = lesson(training.conversations, training.recipe.probed_facts)
    if not given.probes:
        return _unchosen(training)
    training = replace(training, conversations=given.conversations, probes=_probes(given, training))
    wordings = _wordings(training, given)
    data = given.widened(wordings)
    asked = f"{len(data.probes)} of them asked in wordings that are not trained on"
    origin = f"{data.facts} facts in up to {wordings} wording{'s' * (wordings != 1)}, {asked}; "
    return train_best(replace(training, conversations=data.conversations, origin=origin))[0]


def unchosen(settings: FinetuneSettings, recipe: RecipeSettings) -> FinetuneSettings:
    """What is trained by where nothing can be chosen: ``settings``, with the passes that ``recipe`` fixes."""
    return replace(settings, epochs=recipe.passes or settings.epochs)


def _unchosen(training: Training) -> Adapter:
    settings = unchosen(training.finetune, training.recipe)
    warnings.warn(
        "no question of these conversations can be asked in other words (one question and answer, in English, or the"
        f" same answer to several questions), so nothing is chosen; trained as without --auto: {settings}",
        stacklevel=3,
    )
    shared = (training.conversations, training.out, settings, training.progress, training.control)
    left = seconds_left(training.recipe, 0.0)
    adapter = train_adapter(training.engine, *shared, prompt=training.probes.prompt, most_seconds=left)
    if adapter.out_of_time:
        minutes, done = training.recipe.minutes, passes_of(adapter.epochs or 0)
        warnings.warn(
            f"the budget of {minutes:g} minutes ended the training after {done} of {settings.epochs}", stacklevel=3
        )
    return adapter


def _probes(given: Lesson, training: Training) -> Probes:
    longest = max(training.engine.count_tokens(probe.answers[0]) for probe in given.probes)
    probes = tuple(Probe(example, ()) for example in given.probes)
    return replace(training.probes, probes=probes, sampling=Sampling(max_tokens=longest + _TOKENS_MORE))


def _wordings(training: Training, given: Lesson) -> int:
    """In how many wordings the budget has room for each conversation: decided once, so that a killed choice resumes so.

    What was kept for another choice is thrown away.
    """
    path = training.kept / "wordings.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    if found.get("identity") != training.identity:
        shutil.rmtree(training.kept, ignore_errors=True)
        once = replace(training.finetune, epochs=1)
        seconds = estimate_training(training.engine, given.conversations, once).seconds
        wordings = fitting_wordings(seconds, training.recipe, wordings_per_fact(given.conversations))
        found = {"identity": training.identity, "wordings": wordings}
        write_whole(path, json.dumps(found))
    return int(found["wordings"])
