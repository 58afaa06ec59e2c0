"""How a finetune follows an update of the documents: continued on what changed, or trained again from the base.

Retrieval follows by refreshing its index. Both trainings share what the first one left of the budget, continuing first
because it costs less; what does not fit is left out, with a note.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lorag.chat.prompts import as_served, is_refusal
from lorag.errors import InputError
from lorag.evaluation.answers.metrics import NewContentRecall
from lorag.evaluation.examples import status_of
from lorag.evaluation.results import CONTINUED, RETRAINED
from lorag.files import write_whole
from lorag.interfaces import LanguageModel
from lorag.llm.engines.transformers import TransformersModel
from lorag.settings import REPLAY_SHARE, FinetuneSettings, PromptSettings, RecipeSettings
from lorag.training.adapter import MANIFEST, Adapter, read_adapter, shape_of
from lorag.training.data.inspection import TestQuestions
from lorag.training.recipe import Recipe, passes_of
from lorag.types import Conversation, Document, Example
from lorag.workflows.comparing.asking import Scene
from lorag.workflows.comparing.inputs import Inputs
from lorag.workflows.comparing.training_data import (
    TrainingData,
    affordable_wordings,
    own_conversations,
    synthesised_conversations,
    training_data,
    widened,
)
from lorag.workflows.finetune import replay_sample
from lorag.workflows.finetuning.adapter_training import estimate_training, parent_of
from lorag.workflows.recipe_search import train_alike
from lorag.workflows.synthesize import plain_words

UPDATE_SHARE = 0.35
"""Share of the budget that the first training leaves for following an update."""
_CONTINUED_RATE = 0.5
"""Learning rate of a continued training, as a share of the first one's; with the whole, more of the old is lost."""
_BY_HAND = (
    "The finetune was not trained again after the update, because its training was set by hand; to measure how a"
    " finetune follows an update, give a budget instead (--budget)."
)
_WHOLE_MODEL = (
    "The finetune was not continued after the update: with the method full it is a whole model, and only adapters are"
    " continued."
)
_FEWEST_PASSES = 2
"""Of a continued training: one pass taught less than half as many of the new answers."""


@dataclass(frozen=True, slots=True)
class First:
    """The finetune as it was before the update."""

    data: TrainingData
    """The conversations that it was made from, in the wordings that were brought."""
    adapter: Adapter
    recipe: Recipe | None
    """How it was chosen; None where the training was set by hand."""
    prompt: PromptSettings

    @property
    def settings(self) -> dict[str, Any]:
        """How it was trained."""
        kept = self.adapter.settings
        names = ("learning_rate", "general_text_share", "epochs")
        chosen = {name: kept[name] for name in names if name in kept}
        passes = {"epochs": self.recipe.final.passes} if self.recipe is not None else {}
        return {**shape_of(self.adapter), **chosen, **passes}

    @property
    def strength(self) -> float:
        """The share of its strength that was taken."""
        return self.recipe.strength if self.recipe is not None else 1.0


@dataclass(frozen=True, slots=True)
class Followed:
    """The finetunes that follow the update, by arm, and notes about them."""

    adapters: dict[str, Adapter]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A training after the update."""

    arm: str
    fresh: TrainingData
    old: Sequence[Conversation] = ()
    """Conversations that still hold, of which a sample is replayed."""
    start: Adapter | None = None
    """The adapter that is continued; None begins from the base."""

    @property
    def replay_share(self) -> float:
        """The share of ``old`` in what is trained on."""
        return REPLAY_SHARE if self.start is not None else 0.0

    def training(self, settings: FinetuneSettings) -> tuple[FinetuneSettings, int]:
        """``settings`` of the first training, as this one takes them, and the fewest passes that are worth it."""
        if self.start is None:
            return settings, settings.epochs
        slower = replace(settings, learning_rate=settings.rate * _CONTINUED_RATE)
        return slower, min(settings.epochs, _FEWEST_PASSES)


def follow(first: First, inputs: Inputs, engine: TransformersModel, scene: Scene) -> Followed:
    """The finetunes that follow the update, trained now or found in the run; ``engine`` has no adapter attached.

    ``scene.knowledge`` is that of the updated documents. After a training that was set by hand there are none, and a
    note gives the reason.
    """
    recipe, settings = first.recipe, scene.settings.recipe
    if recipe is None or settings is None:
        return Followed({}, (_BY_HAND,))
    changed = _changed_conversations(inputs, engine, scene)
    refusal = scene.settings.chat.response_template
    kept = still_true(first.data.conversations, changed.conversations, inputs, refusal)
    every = replace(changed, conversations=(*kept, *changed.conversations))
    plans = [_Plan(RETRAINED, every)]
    adapters, notes = dict[str, Adapter](), [f"After the update: {changed.origin}"]
    if first.adapter.spec.is_whole_model:
        notes.append(_WHOLE_MODEL)
    else:
        plans.insert(0, _Plan(CONTINUED, changed, kept, first.adapter))
    left = 60 * settings.minutes - recipe.final.seconds - sum(rung.seconds for rung in recipe.rungs)
    for plan in plans:
        made = _made(plan, first, inputs, engine, scene, left)
        if isinstance(made, str):
            notes.append(made)
            continue
        left -= made.seconds
        _, fewest = plan.training(replace(scene.settings.finetune, **first.settings))
        is_enough = not made.out_of_time or (made.epochs or 0) >= fewest
        if made.out_of_time:
            done, planned = passes_of(made.epochs or 0), made.settings["epochs"]
            left_out = "" if is_enough else f" It is left out, because it needs {fewest} passes at least."
            notes.append(
                f"The budget ended the training of the {plan.arm} finetune after {done} of {planned}.{left_out}"
            )
        if is_enough:
            adapters[plan.arm] = made
    return Followed(adapters, tuple(notes))


def still_true(
    conversations: Sequence[Conversation], changed: Sequence[Conversation], inputs: Inputs, refusal: str
) -> list[Conversation]:
    """Those that hold after the update, ``changed`` being what is known of it.

    A conversation about a document that changed holds where the document still has its answer, a refusal where none of
    ``changed`` nearly asks its question; plain text of such a document does not, nor what ``changed`` asks as well: an
    old value may still stand in the document, as that of earlier times.
    """
    now = {document.id: document.text for document in inputs.update or ()}
    touched = _changed_documents(inputs)
    has_answer = NewContentRecall.fit([_example(conversation) for conversation in conversations]).holds
    answered = TestQuestions([conversation.opening for conversation in changed], plain_words)

    def holds(conversation: Conversation) -> bool:
        if answered.asks(conversation.opening):
            return False
        if not touched.intersection(conversation.evidence):
            return True
        if conversation.is_text:
            return False
        if is_refusal(conversation.messages[-1].content, refusal):
            return not answered.nearly_asks(conversation.question)
        example = _example(conversation)
        texts = [now[name] for name in conversation.evidence if name in now]
        return any(has_answer(text, example.question, example.answers) for text in texts)

    return [conversation for conversation in conversations if holds(conversation)]


def _example(conversation: Conversation) -> Example:
    reply = "" if conversation.is_text else conversation.messages[-1].content
    return Example(conversation.opening, conversation.opening, (reply,), conversation.evidence)


def _changed_documents(inputs: Inputs) -> set[str]:
    """Documents that the update changed, added or took away."""

    def versions(documents: Sequence[Document]) -> set[tuple[str, str]]:
        return {(document.id, document.version) for document in documents}

    return {name for name, _ in versions(inputs.documents) ^ versions(inputs.update or ())}


def _changed_conversations(inputs: Inputs, engine: LanguageModel, scene: Scene) -> TrainingData:
    """Conversations about what changed: given ones, other wordings of changed questions, or made from documents."""
    refusal = scene.settings.chat.response_template
    if inputs.update_training is not None:
        given, examples = inputs.update_training, ()
        found = own_conversations(given, examples, inputs.tested, refusal, "--train-update")
    else:
        now = [e.after_update() for e in inputs.examples if status_of(e) in ("changed", "new")]
        found = own_conversations(None, now, inputs.tested, refusal) if inputs.training is None else None
    if found is not None:
        return found
    documents = _changed_documents(inputs)
    part = scene.run.part(CONTINUED)
    try:
        return synthesised_conversations(
            scene.knowledge, engine, inputs.tested, part, scene.settings, scene.progress, documents
        )
    except InputError as error:
        return TrainingData((), f"nothing was made from the documents that changed: {error}.")


def _made(
    plan: _Plan, first: First, inputs: Inputs, engine: TransformersModel, scene: Scene, left: float
) -> Adapter | str:
    """The adapter of a plan; or why it was not trained within the ``left`` seconds."""
    part, settings = scene.run.part(plan.arm), scene.settings
    if (part.adapter / MANIFEST).is_file():
        return read_adapter(part.adapter)
    finetune, fewest = plan.training(replace(settings.finetune, **first.settings))
    if not plan.fresh.conversations:
        return f"The finetune was not {plan.arm} after the update: there is nothing to train on."
    data, replayed = _rows(plan, first, inputs, engine, scene, left)
    planned = part.folder / "plan.json"
    if not planned.is_file():
        write_whole(planned, json.dumps(_fitted(data, replayed, engine, finetune, fewest, left)))
    found = json.loads(planned.read_text())
    passes, replayed = found["passes"], replayed[: found["replayed"]]
    if passes < fewest:
        return (
            f"The finetune was not {plan.arm} after the update: that takes about {found['needed']:.1f} minutes, and"
            f" {found['left']:.1f} of the budget were left."
        )
    scene.progress(f"finetune: {plan.arm}", 0, 1, f"{passes_of(passes)} over {len(data)} conversations")
    return train_alike(
        engine,
        data,
        part.adapter,
        replace(finetune, epochs=passes),
        first.strength,
        first.prompt,
        scene.progress,
        replayed=replayed,
        parent=parent_of(plan.start) if plan.start is not None else None,
        most_seconds=left if settings.recipe is None or settings.recipe.passes is None else None,
    )


def _fitted(
    data: Sequence[Conversation],
    replayed: Sequence[Conversation],
    engine: TransformersModel,
    finetune: FinetuneSettings,
    fewest: int,
    left: float,
) -> dict[str, float]:
    """Passes and replayed conversations that fit into the ``left`` seconds, and the minutes of the ``fewest`` passes.

    Decided once: a resumed training keeps to it on a machine that is faster or slower now.
    """

    def one_pass() -> float:
        return estimate_training(engine, data, replace(finetune, epochs=1), replayed=replayed).seconds

    seconds = one_pass()
    if fewest * seconds > left:
        replayed = fewer(replayed, beside=len(data), share=left / (fewest * seconds))
        seconds = one_pass()
    passes = min(finetune.epochs, int(left / seconds))
    return {"passes": passes, "replayed": len(replayed), "needed": fewest * seconds / 60, "left": max(left, 0) / 60}


def fewer(replayed: Sequence[Conversation], beside: int, share: float) -> Sequence[Conversation]:
    """So many of ``replayed`` that with ``beside`` others they are ``share`` of all there are, but half at least.

    With fewer than half, a continued training forgets too much.
    """
    room = int(share * (beside + len(replayed))) - beside
    return replayed[: max(room, -(-len(replayed) // 2))]


def _rows(
    plan: _Plan, first: First, inputs: Inputs, engine: TransformersModel, scene: Scene, left: float
) -> tuple[Sequence[Conversation], Sequence[Conversation]]:
    """What is trained on, widened and with sources, and what is replayed; both as they are served."""
    settings, part = scene.settings, scene.run.part(plan.arm)
    fresh = plan.fresh
    if not part.training_facts.is_file():
        minutes = max(left, 1.0) * (1 - plan.replay_share) / 60
        recipe = replace(settings.recipe or RecipeSettings(), minutes=minutes)
        wordings = affordable_wordings(fresh, first.prompt, engine, settings, recipe)
        fresh = widened(fresh, wordings, inputs.tested)
    data = training_data(fresh, scene.knowledge, engine, first.prompt, part, settings)
    refusal = settings.chat.response_template
    old = [as_served(each, refusal, first.prompt) for each in plan.old]
    return data.conversations, replay_sample(old, data.conversations, plan.replay_share)
