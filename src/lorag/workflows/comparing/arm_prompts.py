"""What the prompts of a comparison are chosen by: the user's examples, and questions that are not tested."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from lorag.chat.kept_prompt import read_prompt
from lorag.chat.prompts import fitting_sources, question_prompt
from lorag.evaluation.answers.metrics import NewContentRecall
from lorag.evaluation.answers.style import Style
from lorag.evaluation.prompt_choice import FEWEST_QUESTIONS, Form
from lorag.evaluation.results import RETRIEVAL
from lorag.files import draw, write_whole
from lorag.interfaces import HiddenStates, LanguageModel
from lorag.llm.decoding.answerability import fit_probe, probed_layer
from lorag.llm.engines.completion_cache import CachedModel
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import PromptSettings
from lorag.types import Example, LinearProbe
from lorag.workflows.comparing.asking import Arm, Scene
from lorag.workflows.comparing.inputs import Inputs
from lorag.workflows.comparing.prompt_trials import Prompting, Shown, as_example, chosen_prompt, trials, worked_examples
from lorag.workflows.comparing.sourced import with_and_without, with_sources, within
from lorag.workflows.comparing.training_data import TrainingData
from lorag.workspace import Run

_MOST_LOOKED_AT = 400
"""Conversations among which worked examples are looked for."""
_MOST_PROBED, _FEWEST_PROBED = 60, 24
"""Conversations that a probe is fitted to; with 144 it is little better (docs/log.md)."""
_WORTH_PROBING = 0.2
"""How much more often a probe must refuse without the answering passage than with it, as shares of held-out ones."""
_WIDER = (2, 3)
"""Rooms for sources that may be tried, in times of the one that is set."""
_NOT_CHOSEN = (
    f"No prompts were chosen: fewer than {FEWEST_QUESTIONS} untested questions were left to choose on. Each arm was"
    " asked with its first prompt; arms with sources may do better with another. To choose, supply more questions than"
    " --limit tests."
)
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
    answered: tuple[Example, ...] = ()
    """Conversations that a passage answers, which are not tested; a probe is fitted to some of them."""

    @property
    def can_choose(self) -> bool:
        """Whether there are questions enough to choose on."""
        return len(self.questions) >= FEWEST_QUESTIONS

    @property
    def notes(self) -> tuple[str, ...]:
        """The caveat that no prompt was chosen, where one should have been."""
        wanted = self.scene.settings.prompt_questions >= FEWEST_QUESTIONS
        return (_NOT_CHOSEN,) if wanted and not self.can_choose else ()

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
        if self.can_choose:
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

    def reader(self, arm: str, model: CachedModel, prompting: Prompting, run: Run | None = None) -> Arm:
        """An arm with sources. Its ``model`` gets a probe where some of the user's questions are to be refused.

        The probe is fitted now, or found beside the prompt in ``run``, which is a part of the run for further seeds.
        There is none for a model without hidden states or one that thinks or searches beams, with too few
        conversations, or where it would refuse too few of the questions that the sources do not answer.
        """
        engine, sampling, part = model.model, self.scene.settings.chat.sampling, run or self.scene.run
        if not isinstance(engine, HiddenStates) or sampling.num_beams > 1 or sampling.thinking != "off":
            return Arm(model, prompting)
        path, first = part.prompts / f"{arm}.json", self._kept(arm)
        if not (path.is_file() and "probe" in json.loads(path.read_text())):
            if not self._may_probe(arm, part):
                return Arm(model, prompting)
            probe = self._fitted(engine, prompting)
            write_whole(path, json.dumps({**first, "probe": asdict(probe) if probe is not None else None}, indent=1))
        probe = read_prompt(path).probe
        if probe is None:
            return Arm(model, prompting)
        return Arm(self.scene.cached(engine.probing(probe)), replace(prompting, probe=probe))

    def _kept(self, arm: str) -> dict[str, Any]:
        """The prompt of an arm as the run keeps it."""
        kept: dict[str, Any] = json.loads((self.scene.run.prompts / f"{arm}.json").read_text())
        return kept

    def _may_probe(self, arm: str, part: Run) -> bool:
        """Whether a probe may be fitted to an arm: all arms of a run are asked with one, or all without.

        That is decided before retrieval is first asked, and for further seeds with the first one.
        """
        if part != self.scene.run:
            return self._kept(arm).get("probe") is not None
        if arm != RETRIEVAL:
            return "probe" in self._kept(RETRIEVAL)
        return all(row.arm != arm for row in self.scene.log.rows.values())

    def _fitted(self, engine: HiddenStates, prompting: Prompting) -> LinearProbe | None:
        """A probe of ``engine`` as the arm asks it, if it is worth having."""
        settings, knowledge = self.scene.settings, self.scene.knowledge
        used = {e.question for e in self.questions} | {shown.question for shown in prompting.examples}
        fitted = [each for each in self.answered if each.question not in used][:_MOST_PROBED]
        asked = [each for each in self.questions if each.answers]
        if len(asked) == len(self.questions) or len(fitted) < _FEWEST_PROBED:
            return None
        self.scene.progress("fitting the probe", 0, 1, f"{len(fitted)} questions, with their passage and without")
        bot, k, layer = prompting.bot(engine, knowledge, settings), settings.retrieval.k, probed_layer(engine.layers)
        pairs = with_and_without(fitted, knowledge, k, bot.prepare)
        documents = ["".join(example.evidence) for example, *_ in pairs]
        if len(pairs) < _FEWEST_PROBED or len(set(documents)) < 2:
            return None
        untested = [prompt for _, prompt, _ in with_and_without(asked, knowledge, k, bot.prepare)]
        states = engine.states([*(prompt for _, *both in pairs for prompt in both), *untested], layer)
        both, untested_states = states[: 2 * len(pairs)], states[2 * len(pairs) :]
        probe = fit_probe(engine.name, layer, both[::2], both[1::2], documents, untested_states)
        self.scene.progress("fitting the probe", 1, 1, str(probe))
        return probe if probe.refused_unanswered - probe.refused_answered >= _WORTH_PROBING else None


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
    answered = tuple(as_example(e) for e in sourced if not e.refused) if settings.prompt_questions else ()
    questions = trials(inputs.examples, inputs.tested, sourced, shown, limit)
    return Trial(shown, questions, scene, inputs.style, answered)
