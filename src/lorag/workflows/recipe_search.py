"""The best finetune that a budget allows, and what was tried for it.

First the base model is probed; then, where the budget has room, short trainings on a part of the documents choose the
learning rate; then all of the data is trained on; then, where the model forgot too much or reads worse, weaker versions
of what was trained are tried, which takes no training. Probes are questions in wordings that were not trained on,
without sources and with them, and general text. Every training that ended is kept in the run, so that a killed run
resumes.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from lorag.chat.prompts import question_prompt
from lorag.evaluation.answers.matching.words import FUNCTION_WORDS
from lorag.evaluation.answers.metrics import NewContentRecall, contains
from lorag.files import draw, fingerprint, folder_whole, write_whole
from lorag.interfaces import LanguageModel, Progress, no_progress
from lorag.llm.engines.transformers import TransformersModel
from lorag.settings import REFUSAL, CompareSettings, FinetuneSettings, PromptSettings, RecipeSettings
from lorag.training.adapter import MANIFEST, Adapter, Parent, read_adapter
from lorag.training.control_questions import MultipleChoice
from lorag.training.data.wordings.augmentation import wordings_per_fact
from lorag.training.data.wordings.paraphrases import reversed_question
from lorag.training.diagnosis import Asked, Diagnosis, diagnose
from lorag.training.forgetting import general_losses
from lorag.training.recipe import (
    CHOICE_SHARE,
    RATES,
    RECIPE,
    Probed,
    Probing,
    Recipe,
    Rung,
    Schedule,
    Strength,
    better,
    comparable,
    keeps_reading,
    learning_curve,
    passes_of,
    read_recipe,
    schedule,
    seconds_left,
    taken,
)
from lorag.types import Conversation, Example, Hit, Sampling
from lorag.workflows.finetuning.adapter_training import estimate_training, measure_again, train_adapter
from lorag.workflows.finetuning.strength import attached, set_strength
from lorag.workflows.synthesize import plain_words

if TYPE_CHECKING:
    from lorag.training.methods import Learner

_STAGE = "choosing the finetune"
_FINAL = "final"
"""The folder of the last training, until its strength is set."""
_STRENGTHS = (0.75, 0.5)
"""Shares of the strength of what was trained that are tried beside the whole."""
_TRAINED_LAYERS = 0.5
"""Share of the layers that are trained: the upper half learned as many facts as all of them, in half of the time."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A fact in a wording that is not trained on, and sources with the passage that answers it, if there are any."""

    example: Example
    sources: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Probes:
    """The probes, and how they are asked."""

    probes: tuple[Probe, ...]
    prompt: PromptSettings = field(default_factory=PromptSettings)
    refusal: str = REFUSAL
    sampling: Sampling = field(default_factory=Sampling)

    def of(self, model: TransformersModel, documents: set[str] | None = None) -> Probed:
        """What ``model`` knows of the probed facts, of all or of those of some documents."""
        asked = self.probes if documents is None else self.about(documents)
        sourced = [(p.example, p.sources) for p in asked if p.sources]
        read = self._right(model, sourced) if len(sourced) == len(asked) else None
        return Probed(len(asked), self._recall(model, asked), fmean(read) if read else None, general_loss(model))

    def probing(self, engine: TransformersModel, before: float) -> Probing:
        """How what is trained of ``engine`` is asked after each pass, ``before`` being the recall of the base."""
        return Probing(lambda learning: self._recall(_being_trained(engine, learning), self.probes), before)

    def about(self, documents: set[str]) -> tuple[Probe, ...]:
        """The probes whose facts stand in ``documents``."""
        return tuple(probe for probe in self.probes if documents.intersection(probe.example.evidence))

    def diagnosis(self, model: TransformersModel, conversations: Sequence[Conversation]) -> Diagnosis:
        """What is wrong with the probed facts after a training on ``conversations``."""
        examples = [probe.example for probe in self.probes]
        trained = [_in_trained_wording(example, conversations, examples) for example in examples]
        backwards = [_backwards(example) for example in examples]
        right = [
            self._right(model, asked)
            for asked in (
                [(example, ()) for example in examples],
                [(probe.example, probe.sources) for probe in self.probes if probe.sources],
                [(example, ()) for example in trained if example],
                [(example, ()) for example in backwards if example],
            )
        ]
        held_out, reading, by_training, by_value = map(iter, right)
        return diagnose(
            [
                Asked(
                    probe.example.question,
                    next(by_training) if one else None,
                    next(held_out),
                    next(by_value) if other else None,
                    next(reading) if probe.sources else None,
                )
                for probe, one, other in zip(self.probes, trained, backwards, strict=True)
            ]
        )

    def _recall(self, model: LanguageModel, asked: Sequence[Probe]) -> float:
        return fmean(self._right(model, [(probe.example, ()) for probe in asked]) or [0.0])

    def _right(self, model: LanguageModel, asked: Sequence[tuple[Example, tuple[Hit, ...]]]) -> list[bool]:
        """Whether each question is answered right with its sources."""
        is_right = NewContentRecall.fit([probe.example for probe in self.probes]).is_right
        prompts = [question_prompt(e.question, sources, self.refusal, self.prompt) for e, sources in asked]
        replies = model.generate(prompts, self.sampling) if prompts else []
        return [is_right(reply.text, e.question, e.answers) for (e, _), reply in zip(asked, replies, strict=True)]


def _in_trained_wording(
    example: Example, conversations: Sequence[Conversation], known: Sequence[Example]
) -> Example | None:
    """The fact in the nearest wording that was trained on: of a conversation about its documents with its answer.

    A question that is nearer to another of the ``known`` facts, whose value the reply states too, asks for that one.
    """
    nearest: dict[str, float] = {}
    for conversation in conversations:
        plain = [m for m in conversation.messages if m.role != "system"]
        about = set(example.evidence).intersection(conversation.evidence)
        if about and len(plain) == 2 and "\n" not in plain[0].content and contains(plain[1].content, example.answers):
            asked, reply = (message.content for message in plain)
            near = _nearness(asked, example.question)
            if not any(_nearness(asked, each.question) > near and contains(reply, each.answers) for each in known):
                nearest[asked] = near
    return replace(example, question=max(nearest, key=nearest.__getitem__)) if nearest else None


def _nearness(question: str, other: str) -> float:
    """The share of telling words that two questions have in common, 0 to 1."""
    one, two = (set(plain_words(each).split()) - FUNCTION_WORDS for each in (question, other))
    return len(one & two) / max(len(one | two), 1)


def _backwards(example: Example) -> Example | None:
    """The question from the value to the subject, where rules know how to ask it; right is what names the subject."""
    asked = reversed_question(example.question, example.answers[0])
    return replace(example, question=asked[0], answers=(asked[1],)) if asked else None


@dataclass(frozen=True, slots=True)
class Training:
    """What is trained on, where, and how it is probed."""

    engine: TransformersModel
    conversations: Sequence[Conversation]
    probes: Probes
    out: Path
    finetune: FinetuneSettings
    recipe: RecipeSettings
    control: Sequence[MultipleChoice] = ()
    progress: Progress = no_progress
    origin: str = ""
    """What is trained on, for people; a part of a sentence."""
    identity: str = ""
    """Fingerprint of everything that decides the result; empty where the folder belongs to a run that has one."""
    overwrite: bool = False
    """Whether an adapter that was chosen for the same before is chosen and trained again."""

    @property
    def kept(self) -> Path:
        """Where trainings that ended are kept until the adapter is there."""
        return self.out.with_name(f"{self.out.name}.rungs")

    def at_strength(self, share: float) -> Path:
        """Where the final adapter is kept at a share of its strength."""
        return self.kept / (_FINAL if share == 1 else f"strength-{share:g}")


def train_best(training: Training) -> tuple[Adapter, Recipe]:
    """The adapter in ``training.out`` and how it was chosen; both are found there if they were made before.

    Raises as ``lorag.training.finetuning.train`` does.
    """
    left = training.out.with_name(f"{training.out.name}.recipe.json")  # by earlier versions
    if left.is_file() and training.out.is_dir():
        left.replace(training.out / RECIPE)
    recipe = read_recipe(training.out)
    if recipe is None or recipe.identity != training.identity or training.overwrite:
        training.kept.mkdir(parents=True, exist_ok=True)
        recipe = _train_best(training)
        with folder_whole(training.out) as temporary:
            shutil.copytree(training.at_strength(recipe.strength), temporary, dirs_exist_ok=True)
            (temporary / RECIPE).write_text(json.dumps(recipe.to_json(), indent=1))
        shutil.rmtree(training.kept, ignore_errors=True)
    return read_adapter(training.out), recipe


def _train_best(training: Training) -> Recipe:
    """Everything that is tried, in order; the adapter lies whole in ``training.kept`` when this returns."""
    recipe, finetune = training.recipe, _defaults(training.finetune)
    plan = _planned(training, finetune)
    finetune = replace(finetune, epochs=plan.passes)
    training, notes = _affordable(training, plan)
    data, trainings = training.conversations, 1 + (len(RATES) if plan.rung_conversations else 0)
    training.progress(_STAGE, 0, trainings, f"{training.origin}{plan} of {recipe.minutes:g}")
    before = training.probes.of(training.engine)
    rungs = _rungs(training, finetune, plan.rung_conversations)
    if compared := comparable(rungs):
        finetune = replace(finetune, learning_rate=better(compared, before, recipe).learning_rate)
    probing = training.probes.probing(training.engine, before.recall) if before.facts else None
    left = seconds_left(recipe, sum(rung.seconds for rung in rungs))
    final = _rung(training, data, finetune, training.kept / _FINAL, None, left, probing)
    strengths = _strengths(training, before, final)
    strength = taken(strengths, before, recipe) if len(strengths) > 1 else 1.0
    trained = read_adapter(training.at_strength(strength))
    notes = (*notes, *_time_notes(rungs, final, plan, recipe))
    if strength != 1:
        trained = measure_again(training.engine, trained, data, finetune, training.progress, training.control)
    with attached(training.engine, trained) as model:
        diagnosis = training.probes.diagnosis(model, data)
    curve = learning_curve(trained.recalls, trained.steps, final.probed.facts)
    training.progress(_STAGE, trainings, trainings)
    tried = (tuple(rungs), final, strengths, strength)
    return Recipe(recipe.minutes, before, *tried, diagnosis, notes, curve, training.identity)


def _time_notes(rungs: Sequence[Rung], final: Rung, plan: Schedule, recipe: RecipeSettings) -> Iterator[str]:
    """What of the plan the budget had no time for."""
    if rungs and (tried := len(comparable(rungs))) < len(RATES):
        compared = f"only {tried} of {len(RATES)} rates" if tried else "no rates"
        yield f"The short trainings took longer than estimated, so {compared} were compared."
    if final.out_of_time:
        yield (
            f"The budget of {recipe.minutes:g} minutes ended the training after {passes_of(final.passes)} of"
            f" {plan.passes}: it took longer than estimated."
        )


def trained_on(training: Training, recipe: Recipe) -> Sequence[Conversation]:
    """The conversations of ``training`` that the final training of its ``recipe`` learned from."""
    count = recipe.final.conversations
    if count >= len(training.conversations):
        return training.conversations
    return of_documents(training.conversations, count, _probed_documents(training))


def _probed_documents(training: Training) -> set[str]:
    return {" ".join(probe.example.evidence) for probe in training.probes.probes}


def _affordable(training: Training, plan: Schedule) -> tuple[Training, tuple[str, ...]]:
    """The training on as many conversations as the budget has room for, and a note where these are not all."""
    count, minutes = len(training.conversations), training.recipe.minutes
    if plan.conversations >= count:
        return training, ()
    data = of_documents(training.conversations, plan.conversations, _probed_documents(training))
    about = training.probes.about({name for conversation in data for name in conversation.evidence})
    passes, needed = passes_of(plan.passes), math.ceil(plan.passes * plan.pass_minutes)
    note = (
        f"The budget of {minutes:g} minutes has no room for {passes} over all conversations, which would take {needed};"
        f" of {count}, {len(data)} were trained on, chosen by document."
    )
    return replace(training, conversations=data, probes=replace(training.probes, probes=about)), (note,)


def _planned(training: Training, finetune: FinetuneSettings) -> Schedule:
    """How the budget is spent, decided once: a resumed choice keeps to it on a machine that is faster or slower now."""
    path = training.kept / "schedule.json"
    form = [each.name for each in fields(Schedule)]
    identity = fingerprint([len(training.conversations), asdict(training.recipe), asdict(finetune), form])
    found = json.loads(path.read_text()) if path.is_file() else {}
    if found.get("identity") != identity:
        expected = estimate_training(training.engine, training.conversations, finetune)
        updates = -(-expected.updates // finetune.epochs)
        chooses = finetune.spec.rate_is_chosen and training.finetune.learning_rate is None
        count, pace = len(training.conversations), expected.seconds / expected.updates
        wordings = wordings_per_fact(training.conversations)
        fitted = partial(schedule, pace, updates, count, training.recipe, wordings=wordings)
        plan = fitted(chooses_rate=chooses)
        afforded, _ = _affordable(training, plan)
        if not _rung_part(afforded, plan.rung_conversations):  # their minutes are the training's then
            plan = fitted(chooses_rate=False)
        write_whole(path, json.dumps({"identity": identity, "schedule": asdict(plan)}))
        return plan
    return Schedule(**found["schedule"])


def _defaults(finetune: FinetuneSettings) -> FinetuneSettings:
    """The settings to begin with: of LoRA and its kinds the upper half of the layers, at the rate that learns facts."""
    if finetune.spec.trains != "low-rank layers" or finetune.spec.on_four_bits:
        return finetune
    rate = finetune.learning_rate or (RATES[1] if finetune.spec.rate_is_chosen else None)
    return replace(finetune, learning_rate=rate, trained_layers=min(finetune.trained_layers, _TRAINED_LAYERS))


def _rung_part(training: Training, size: int) -> list[Conversation]:
    """About ``size`` conversations of whole documents; none where too few of the probes are about these."""
    part = of_documents(training.conversations, size) if size else []
    about = training.probes.about({name for conversation in part for name in conversation.evidence})
    return part if about and 3 * len(about) >= len(training.probes.probes) else []


def _rungs(training: Training, finetune: FinetuneSettings, size: int) -> list[Rung]:
    """Trainings on about ``size`` conversations of whole documents, one for each rate; none where there is no room.

    Fewer where another one would end after the share of the budget that is for choosing.
    """
    rungs, part = list[Rung](), _rung_part(training, size)
    documents = {name for conversation in part for name in conversation.evidence}
    if not part:
        return []
    most = 60 * CHOICE_SHARE * training.recipe.minutes
    for rate in RATES:
        seconds = [rung.seconds for rung in rungs]
        if rungs and sum(seconds) + max(seconds) > most:
            break
        settings = replace(finetune, learning_rate=rate, measure_forgetting=False)
        left = seconds_left(training.recipe, sum(seconds), CHOICE_SHARE)
        rungs.append(_rung(training, part, settings, training.kept / f"rate-{rate:g}", documents, left))
    return rungs


def _rung(
    training: Training,
    data: Sequence[Conversation],
    settings: FinetuneSettings,
    out: Path,
    documents: set[str] | None,
    most_seconds: float | None = None,
    probing: Probing | None = None,
) -> Rung:
    """One training, made now or found in ``out``, and its probes; ``most_seconds`` as in ``train_adapter``.

    The file beside ``out`` names the training before it begins, so that a finished one is found though it was killed
    before it was probed.
    """
    done = out.with_name(f"{out.name}.probed.json")
    identity = fingerprint(
        [[[m.content if m.learned else [m.content] for m in c.messages] for c in data], asdict(settings)]
    )
    found = json.loads(done.read_text()) if done.is_file() else {}
    if found.get("identity") != identity:
        shutil.rmtree(out, ignore_errors=True)
    control = training.control if documents is None else ()
    shared = (settings, training.progress, control)
    if not (out / MANIFEST).is_file():
        found = {"identity": identity}
        write_whole(done, json.dumps(found))
        ask = partial(train_adapter, prompt=training.probes.prompt, probing=probing)
        adapter = ask(training.engine, data, out, *shared, most_seconds=most_seconds)
    elif (adapter := read_adapter(out)).served_loss is None:  # killed before it was loaded again
        adapter = measure_again(training.engine, adapter, data, *shared)
    if "probed" not in found:
        with attached(training.engine, adapter) as model:
            found["probed"] = asdict(training.probes.of(model, documents))
        write_whole(done, json.dumps(found))
    probed = Probed(**found["probed"])
    passes, size = adapter.epochs or len(adapter.recalls) or settings.epochs, adapter.conversations
    took = (adapter.steps, adapter.seconds)
    return Rung(settings.method, settings.rate, passes, size, *took, probed, adapter.out_of_time)


def _strengths(training: Training, before: Probed, final: Rung) -> tuple[Strength, ...]:
    """The finetune at its whole strength and, where it forgot too much or reads worse, at lower ones."""
    whole, recipe = Strength(1.0, final.probed), training.recipe
    forgets = final.probed.general_loss - before.general_loss > recipe.most_forgetting
    if not training.finetune.spec.fits_published_base or (not forgets and keeps_reading(final.probed, before, recipe)):
        return (whole,)
    return (whole, *(_at_strength(training, share) for share in _STRENGTHS))


def _at_strength(training: Training, share: float) -> Strength:
    folder = training.at_strength(share)
    set_strength(training.engine, training.kept / _FINAL, folder, share)
    with attached(training.engine, read_adapter(folder)) as model:
        return Strength(share, training.probes.of(model))


def train_alike(
    engine: TransformersModel,
    conversations: Sequence[Conversation],
    out: Path,
    settings: FinetuneSettings,
    strength: float,
    prompt: PromptSettings,
    progress: Progress,
    *,
    replayed: Sequence[Conversation] = (),
    parent: Parent | None = None,
    most_seconds: float | None = None,
) -> Adapter:
    """The adapter in ``out``, trained by settings that were chosen before and set to their strength, or found there.

    What continues a parent has the strength of that already. ``most_seconds``, and what is raised, are as in
    ``train_adapter``.
    """
    if (out / MANIFEST).is_file():
        return read_adapter(out)
    whole = out if parent is not None or strength == 1 else out.with_name(f"{out.name}.whole")
    if not (whole / MANIFEST).is_file():
        given = (engine, conversations, whole, settings, progress)
        begin = partial(train_adapter, replayed=replayed, parent=parent)
        adapter = begin(*given, prompt=prompt, most_seconds=most_seconds)
        if whole == out:
            return adapter
    weaker = out.with_name(f"{out.name}.weaker")
    set_strength(engine, whole, weaker, strength)
    measure_again(engine, read_adapter(weaker), conversations, settings, progress, replayed=replayed)
    weaker.replace(out)
    shutil.rmtree(whole)
    return read_adapter(out)


def of_documents(conversations: Sequence[Conversation], count: int, first: Collection[str] = ()) -> list[Conversation]:
    """About ``count`` conversations of whole documents, always the same; those without documents go one by one.

    The documents ``first`` come before the others.
    """
    groups: dict[str, list[Conversation]] = {}
    for conversation in conversations:
        groups.setdefault(conversation.origin, []).append(conversation)
    chosen: list[Conversation] = []
    for name in sorted(groups, key=lambda name: (name not in first, draw(f"rung {name}"))):
        if chosen and len(chosen) + len(groups[name]) > count:
            break
        chosen += groups[name]
    return chosen


def _being_trained(engine: TransformersModel, learning: Learner) -> TransformersModel:
    """``learning`` as it is now, as a model that answers; it shares the weights that are trained."""
    import torch

    with torch.inference_mode():
        virtual = learning.before(1)
    return TransformersModel(replace(engine.weights, model=learning.causal, adapted=None), virtual=virtual)


def general_loss(model: TransformersModel) -> float:
    """Mean cross entropy of general text per token, in nats."""
    with model.applied() as causal:
        return fmean(general_losses(causal, model.weights.tokenizer, lambda: model.before(1)))


def probes_of(sourced: Sequence[Probe], prompt: PromptSettings, settings: CompareSettings) -> Probes:
    """The probes of a comparison: at most as many as the recipe asks for, asked as its finetuned arms are.

    They are asked without thoughts, because training conversations have none and the budget has no time for them.
    """
    limit, sampling = settings.recipe.probed_facts if settings.recipe else 0, settings.chat.sampling
    chosen = sorted(sourced, key=lambda probe: draw(f"probe {probe.example.id}"))[:limit]
    asked = sampling if sampling.thinking == "off" else Sampling()
    return Probes(tuple(chosen), prompt, settings.chat.response_template, asked)
