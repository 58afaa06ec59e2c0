"""What the prompts of a comparison are chosen by: the user's examples, and questions that are not tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from lorag.chat.prompts import fitting_sources, question_prompt
from lorag.evaluation.answers.metrics import NewContentRecall
from lorag.evaluation.answers.style import Style
from lorag.evaluation.prompt_choice import FEWEST_QUESTIONS, Form
from lorag.files import draw
from lorag.interfaces import LanguageModel
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import PromptSettings
from lorag.types import Example
from lorag.workflows.comparing.asking import Scene
from lorag.workflows.comparing.inputs import Inputs
from lorag.workflows.comparing.prompt_trials import Prompting, Shown, chosen_prompt, trials, worked_examples
from lorag.workflows.comparing.sourced import with_sources, within
from lorag.workflows.comparing.training_data import TrainingData

_MOST_LOOKED_AT = 400
"""Conversations among which worked examples are looked for."""
_WIDER = (2, 3)
"""Rooms for sources that may be tried, in times of the one that is set."""
_WORTH_TRYING = 2
"""Questions of the trial whose answering passage has to come into the prompt with the first wider room."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What the prompt of each arm is chosen by."""

    shown: Shown
    questions: list[Example]
    scene: Scene
    style: Style | None = None
    """What answers should look like, where it was declared."""

    def prompting(
        self,
        arm: str,
        candidates: Sequence[PromptSettings],
        model: LanguageModel,
        knowledge: Knowledge | None,
        weaker: Mapping[float, Callable[[], LanguageModel]] | None = None,
        room: int | None = None,
        wider: Callable[[], Sequence[int]] = tuple,
    ) -> Prompting:
        """The prompt of an arm, chosen among ``candidates``; the one set by hand where none is to be chosen.

        With ``weaker`` also the strength of its finetune: ``model`` is tried at these shares of it as well. Of those
        that do as well within noise, the one that is named first is taken. ``room`` is that for sources, where it is
        not the one that is set; ``wider`` ones are tried under the best prompt.
        """
        settings = self.scene.settings
        given = candidates if settings.prompt_questions else (settings.chat.prompt,)
        at: dict[float, Callable[[], LanguageModel]] = {1.0: lambda: model}
        if len(self.questions) >= FEWEST_QUESTIONS:
            at = {**(weaker or {}), **at}
        gated = settings.retrieval.leaves_out and knowledge is not None
        return chosen_prompt(
            arm,
            [Form(prompt, strength, room) for strength in at for prompt in given],
            self.shown,
            self.questions,
            lambda prompting: prompting.bot(at[prompting.choice.strength](), knowledge, settings, gated),
            self.scene.run.prompts / f"{arm}.json",
            self.scene.progress,
            self.style,
            wider,
        )

    def retrieval(self, model: LanguageModel) -> Prompting:
        """The prompt of the arm that answers from what is retrieved, and its room for sources."""
        wider = partial(self.wider_rooms, model)
        return self.prompting("retrieval", self.shown.preferred, model, self.scene.knowledge, wider=wider)

    def wider_rooms(self, model: LanguageModel) -> tuple[int, ...]:
        """Rooms for sources that are worth trying, in tokens: each brings the passage that answers into more prompts.

        If it fits without, more sources cost seconds and gain nothing (docs/log.md). None takes more than half of what
        the context of ``model`` leaves beside a question: worked examples need the rest.
        """
        chat, k = self.scene.settings.chat, self.scene.settings.retrieval.k
        asked = [example for example in self.questions if example.answers]
        if not asked:
            return ()
        holds = NewContentRecall.fit(asked).holds
        found = self.scene.knowledge.retrieve([example.question for example in asked], k)
        longest = max((example.question for example in asked), key=len)
        left = model.room(question_prompt(longest, (), chat.response_template), chat.sampling)

        def answered(room: int) -> int:
            fitting = [fitting_sources(hits, model.count_tokens, room) for hits in found]
            return sum(
                any(holds(hit.chunk.text, each.question, each.answers) for hit in hits)
                for each, hits in zip(asked, fitting, strict=True)
            )

        wider, most = [], answered(chat.context_tokens) + _WORTH_TRYING - 1
        for room in (factor * chat.context_tokens for factor in _WIDER):
            if (left is None or 2 * room <= left) and (now := answered(room)) > most:
                wider.append(room)
                most = now
        return tuple(wider)


def finetuned_forms(trained: PromptSettings, retrieval: Prompting) -> tuple[PromptSettings, ...]:
    """The prompts to try on a finetune that was trained under ``trained``.

    It, the same after worked examples, and the same without the offer to refuse: some finetunes refuse too much.
    """
    shown = replace(trained, examples=retrieval.choice.prompt.examples or 3)
    return tuple(dict.fromkeys((trained, shown, replace(trained, offer_refusal=False))))


def trial_of(own: TrainingData | None, inputs: Inputs, scene: Scene, engine: LanguageModel) -> Trial:
    """What prompts are chosen by: worked examples, and questions that are not tested."""
    settings = scene.settings
    conversations = sorted(own.conversations if own else (), key=lambda c: (c.is_text, draw(f"trial {c.question}")))
    fit = within(engine.count_tokens, settings.chat.context_tokens)
    refusal = settings.chat.response_template
    sourced = with_sources(conversations[:_MOST_LOOKED_AT], scene.knowledge, settings.retrieval.k, fit, refusal)
    shown = worked_examples(sourced, inputs.tested, refusal)
    if inputs.prompt is not None:
        shown = replace(shown, given=inputs.prompt.examples)
    recipe = settings.recipe
    limit = settings.prompt_questions or (recipe.probed_facts if recipe else 0)  # the recipe is chosen on them as well
    return Trial(shown, trials(inputs.examples, inputs.tested, sourced, shown, limit), scene, inputs.style)
