"""The finetuned arms of a comparison: trained on what was brought, with further seeds, and following an update."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from lorag import build
from lorag.chat.prompts import without_examples
from lorag.errors import InputError
from lorag.evaluation.results import BOTH, FINETUNED, FINETUNED_EVIDENCE
from lorag.evaluation.row_log import Phase, RowLog
from lorag.files import write_whole
from lorag.interfaces import LanguageModel
from lorag.llm.engines.completion_cache import CachedModel
from lorag.llm.engines.transformers import TransformersModel
from lorag.settings import CompareSettings, PromptSettings, RecipeSettings
from lorag.training.adapter import MANIFEST, Adapter, read_adapter
from lorag.training.data.conversations import write_conversations
from lorag.training.data.qa_rules import GAP
from lorag.training.recipe import Recipe, seeds_within
from lorag.types import Conversation, Example, Message
from lorag.workflows.comparing.arm_prompts import Trial, finetuned_forms
from lorag.workflows.comparing.asking import Arm, Scene, ask_arms, recall
from lorag.workflows.comparing.facts import recipe_notes, training_facts, training_notes
from lorag.workflows.comparing.following import UPDATE_SHARE, First, follow
from lorag.workflows.comparing.inputs import Inputs
from lorag.workflows.comparing.prompt_trials import Prompting
from lorag.workflows.comparing.sourced import with_sources, within
from lorag.workflows.comparing.training_data import (
    TrainingData,
    affordable,
    brought,
    fill_the_budget,
    held_out,
    synthesised_conversations,
    training_data,
    untaught,
    widened,
)
from lorag.workflows.finetuning.adapter_training import measure_again, train_adapter
from lorag.workflows.finetuning.own_probes import lesson
from lorag.workflows.finetuning.strength import attached, set_strength, weaker
from lorag.workflows.recipe_search import (
    Probe,
    Training,
    general_loss,
    probes_of,
    train_alike,
    train_best,
    trained_on,
)
from lorag.workspace import Run

NOT_FINETUNED = "Finetuning was not measured, alone or with retrieval:"
"""Beginning of the note that gives the reason where no finetuned arm was asked."""
_WEAKER = (0.5, 0.25)
"""Shares of the finetune's strength at which sources are read as well, the better one first: reading needs less of what
was trained than answering from memory does (docs/log.md)."""


@dataclass(frozen=True, slots=True)
class Finetuned:
    """The finetune of a comparison and its arms."""

    engine: TransformersModel
    models: tuple[TransformersModel, ...]
    """What was trained of ``engine``, at each strength that is asked."""
    arms: dict[str, Arm]
    facts: dict[str, str]
    notes: list[str]
    first: First
    """How it was made."""
    further: dict[Run, Adapter]
    """Trainings with other seeds, by the part of the run that keeps them."""


def train_finetuned(
    own: TrainingData | None, inputs: Inputs, retrieval: Prompting, trial: Trial, engine: LanguageModel
) -> Finetuned | str:
    """The finetune of a comparison, trained now or found in its run, and the prompts of its arms.

    Where nothing could be trained on, a note that gives the reason.
    """
    scene = trial.scene
    if not isinstance(engine, TransformersModel):
        raise TypeError(f"{engine.name} has no weights to train")
    trained = _trained_prompt(retrieval, scene.settings)
    recipe_settings = _first_recipe(inputs, scene.settings)
    data = _data(own, inputs, trained, recipe_settings, trial, engine)
    if not data.conversations:
        return f"{NOT_FINETUNED} there was nothing to train on. {data.origin}"
    data, adapter, recipe = _adapter(data, inputs, trained, recipe_settings, trial, engine)
    first = First(brought(scene.run, own), adapter, recipe, trained)
    if scene.settings.seeds is None and recipe is not None and recipe_settings is not None:
        for part in scene.run.further(seeds_within(recipe_settings, recipe)):
            scene.further.setdefault(part, RowLog(part.rows))
    further = _further(first, data, engine, scene)
    model = build.finetuned_model(engine, adapter)
    cached = scene.cached(model)
    forms = finetuned_forms(trained, retrieval)
    alone = trial.prompting("finetuned", forms, cached, None)
    both = _reading(first, forms, cached, trial, engine, retrieval.choice.room)
    reading, read = model, cached
    if (share := both.choice.strength) != 1:
        weaker_one = _at(share, adapter, scene.run, engine)
        if not (is_measured := scene.run.reading_loss.is_file()):
            trained_by = replace(scene.settings.finetune, **first.settings)
            given = (engine, weaker_one, data.conversations, trained_by, scene.progress, inputs.control)
            weaker_one = measure_again(*given)
        reading = build.finetuned_model(engine, weaker_one)
        read = scene.cached(reading)
        if not is_measured:
            write_whole(scene.run.reading_loss, json.dumps({"general_loss": general_loss(reading)}))
    reader = trial.reader("both", read, both)
    facts = {"prompt of finetuned": str(alone.choice), "prompt of both": str(reader.prompting)}
    facts |= training_facts(engine, model, adapter, scene.settings.finetune, recipe)
    return Finetuned(
        engine,
        (model, reading),
        # The ceiling last, so that no other arm's answers come from its batches.
        {FINETUNED: Arm(cached, alone), BOTH: reader, FINETUNED_EVIDENCE: reader},
        facts,
        [data.origin, *training_notes(adapter), *recipe_notes(recipe)],
        first,
        further,
    )


def _reading(
    first: First,
    forms: Sequence[PromptSettings],
    whole: CachedModel,
    trial: Trial,
    engine: TransformersModel,
    room: int | None,
) -> Prompting:
    """How the finetune is asked with sources, in the ``room`` that retrieval has: its prompt, and its strength.

    That stays whole where the training was set by hand, or what was trained is no difference to published weights.
    """
    scene, spec = trial.scene, first.adapter.spec
    is_tried = first.recipe is not None and spec.fits_published_base and not spec.is_whole_model
    with ExitStack() as stack:

        @cache
        def at(share: float) -> CachedModel:
            return scene.cached(stack.enter_context(weaker(engine, first.adapter, share)))

        tried = {share: partial(at, share) for share in _WEAKER if is_tried}
        return trial.prompting("both", forms, whole, scene.knowledge, tried, room)


def _at(share: float, adapter: Adapter, run: Run, engine: TransformersModel) -> Adapter:
    """The finetune ``adapter`` at a share of its strength, kept in its ``run``."""
    if share == 1:
        return adapter
    if not (run.reading_adapter / MANIFEST).is_file():
        set_strength(engine, Path(adapter.folder), run.reading_adapter, share)
    return read_adapter(run.reading_adapter)


def _further(first: First, data: TrainingData, engine: TransformersModel, scene: Scene) -> dict[Run, Adapter]:
    """Trainings as the first one, each with another seed, by the part of the run that keeps them."""
    finetune = replace(scene.settings.finetune, **first.settings)
    return {
        part: train_alike(
            engine,
            data.conversations,
            part.adapter,
            replace(finetune, seed=finetune.seed + further),
            first.strength,
            first.prompt,
            scene.progress,
        )
        for further, part in enumerate(scene.further, start=1)
    }


def ask_further(phase: Phase, examples: Sequence[Example], finetuned: Finetuned, trial: Trial) -> None:
    """Asks the further trainings as the first one, each into the log of its part."""
    engine = finetuned.engine
    for part, adapter in finetuned.further.items():
        scene = replace(trial.scene, log=trial.scene.further[part])
        for name in (FINETUNED, BOTH):
            prompting, is_read = finetuned.arms[name].prompting, name == BOTH
            with attached(engine, _at(prompting.choice.strength, adapter, part, engine)) as model:
                cached = scene.cached(model)
                arms = {name: trial.reader(name, cached, prompting, part) if is_read else Arm(cached, prompting)}
                recall(arms, scene)
                ask_arms(phase, examples, arms, scene)


def ask_following(finetuned: Finetuned, inputs: Inputs, scene: Scene) -> Sequence[str]:
    """Asks the finetunes that follow the update, without sources; returns notes about them."""
    for model in finetuned.models:
        if model.adapter is not None:
            finetuned.engine.weights.detach(model.adapter)
    followed = follow(finetuned.first, inputs, finetuned.engine, scene)
    examples = [example.after_update() for example in inputs.tested]
    for name, adapter in followed.adapters.items():
        with attached(finetuned.engine, adapter) as model:
            arms = {name: Arm(scene.cached(model), finetuned.arms[FINETUNED].prompting)}
            recall(arms, scene)
            ask_arms("after", examples, arms, scene)
    scene.run.write_update_seconds({name: adapter.seconds for name, adapter in followed.adapters.items()})
    return followed.notes


def _trained_prompt(retrieval: Prompting, settings: CompareSettings) -> PromptSettings:
    """What the finetuned arms are trained under: the prompt of retrieval without examples.

    A refusal is offered, so that it is learned, unless the prompt was set by hand.
    """
    prompt = without_examples(retrieval.choice.prompt)
    return replace(prompt, offer_refusal=True) if settings.prompt_questions else prompt


def _first_recipe(inputs: Inputs, settings: CompareSettings) -> RecipeSettings | None:
    """How the training before the update is chosen; None where it is set by hand."""
    if settings.recipe is None or inputs.update is None:
        return settings.recipe
    return replace(settings.recipe, minutes=settings.recipe.minutes * (1 - UPDATE_SHARE))


def _data(
    own: TrainingData | None,
    inputs: Inputs,
    prompt: PromptSettings,
    recipe: RecipeSettings | None,
    trial: Trial,
    engine: TransformersModel,
) -> TrainingData:
    """The conversations to train on, made now or found in the run; none, and the reason, where nothing teaches."""
    scene = trial.scene
    run, settings = scene.run, scene.settings
    if not run.training_facts.is_file():
        kept = own or _synthesised(prompt, recipe, inputs, scene, engine)
        wordings = 1
        if recipe is not None and kept.conversations:
            probed = {" ".join(example.evidence) for example in trial.questions}
            kept, wordings = affordable(kept, probed, prompt, engine, settings, recipe)
        write_conversations(run.brought, kept.conversations)
        if own is None and recipe is not None and not any(e.answers and e.evidence for e in trial.questions):
            write_whole(run.probes, json.dumps(_made_probes(kept, recipe)))
        own = held_out(widened(kept, wordings, inputs.tested), _asked(trial))
    return training_data(own or TrainingData((), ""), scene.knowledge, engine, prompt, run, settings)


def _made_probes(made: TrainingData, recipe: RecipeSettings) -> list[tuple[Any, ...]]:
    """Facts of conversations that were made from documents, to be asked in wordings that are not trained on.

    A sentence with a gap asks nothing.
    """
    asking = [conversation for conversation in made.conversations if GAP not in conversation.question]
    return [(e.id, e.question, e.answers, e.evidence) for e in lesson(asking, recipe.probed_facts).probes]


def _asked(trial: Trial) -> list[Example]:
    """The questions by which the training is chosen: those of the trial, and those that the run keeps for it."""
    kept = trial.scene.run.probes
    made = json.loads(kept.read_text()) if kept.is_file() else []
    probes = [Example(name, asked, tuple(answers), tuple(evidence)) for name, asked, answers, evidence in made]
    return [*trial.questions, *probes]


def _adapter(
    data: TrainingData,
    inputs: Inputs,
    prompt: PromptSettings,
    recipe: RecipeSettings | None,
    trial: Trial,
    engine: TransformersModel,
) -> tuple[TrainingData, Adapter, Recipe | None]:
    """What was trained on, the adapter and how it was chosen; made now or found in the run."""
    scene = trial.scene
    run, settings, progress = scene.run, scene.settings, scene.progress
    if recipe is not None:
        probes = probes_of(_probes(_asked(trial), data.conversations, scene, engine), prompt, settings)
        shared = (run.adapter, settings.finetune, recipe, inputs.control, progress)
        training = Training(engine, data.conversations, probes, *shared)
        adapter, chosen = train_best(training)
        return replace(data, conversations=tuple(trained_on(training, chosen))), adapter, chosen
    if (run.adapter / MANIFEST).is_file():
        return data, read_adapter(run.adapter), None
    given = (run.adapter, settings.finetune, progress, inputs.control)
    return data, train_adapter(engine, data.conversations, *given, prompt=prompt), None


def _synthesised(
    prompt: PromptSettings, recipe: RecipeSettings | None, inputs: Inputs, scene: Scene, engine: TransformersModel
) -> TrainingData:
    """Conversations made from the documents, by the model too as far as the budget has room for more.

    None where none can be made, and the reason.
    """
    given = (scene.knowledge, engine, inputs.tested, scene.run, scene.settings, scene.progress)
    enough = partial(fill_the_budget, prompt=prompt, engine=engine, settings=scene.settings, recipe=recipe)
    try:
        return synthesised_conversations(*given, enough=enough)
    except InputError as error:
        return TrainingData((), f"No training data was given, and {error}.")


def _probes(
    asked: Sequence[Example], trained: Sequence[Conversation], scene: Scene, engine: LanguageModel
) -> list[Probe]:
    """What is ``asked``, has an answer and is not trained on, with passages that hold the answer."""
    settings, refusal = scene.settings, scene.settings.chat.response_template
    probed = {e.question: e for e in untaught(asked, trained) if e.answers and e.evidence}
    conversations = [
        Conversation((Message("user", question), Message("assistant", example.answers[0])), example.evidence)
        for question, example in probed.items()
    ]
    fit = within(engine.count_tokens, settings.chat.context_tokens)
    found = with_sources(conversations, scene.knowledge, settings.retrieval.k, fit, refusal)
    return [Probe(probed[each.conversation.question], each.sources) for each in found]
