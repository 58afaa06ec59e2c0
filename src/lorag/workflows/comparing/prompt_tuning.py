"""The prompt of an assistant over documents: chosen on one half of the questions, its gain measured on the other.

Prompts are tried as a comparison tries them, then several rooms for sources under the best of them. The default is left
only where the gain over it is above zero at both ends of its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lorag.chat.bot import ChatBot, answer_together
from lorag.chat.kept_prompt import KeptPrompt
from lorag.evaluation.answers.metrics import Correct, NewContentRecall
from lorag.evaluation.answers.scoring import clusters
from lorag.evaluation.prompt_choice import Form, PromptChoice, TriedPrompt, trial_questions, tried_prompt
from lorag.evaluation.search.best_settings import significant
from lorag.evaluation.statistics import Difference, halves, paired_difference
from lorag.files import fingerprint
from lorag.interfaces import LanguageModel, Progress
from lorag.llm.engines.completion_cache import CachedModel
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import REFUSAL, ChatSettings, RetrievalSettings
from lorag.types import Answer, Conversation, Example, Message
from lorag.workflows.comparing.prompt_trials import Prompting, Shown, chosen_prompt, trials, worked_examples
from lorag.workflows.comparing.sourced import with_sources, within

ROOMS = (ChatSettings().context_tokens, 250, 800, 1200)
"""Tokens of sources that are tried; the first, the default, wins ties."""
_MOST_TRIED = 24
"""Questions on which prompts are tried."""
_MOST_MEASURED = 100
"""Questions on which the gain is measured: its interval then reaches about ten points to either side."""
_AT_A_TIME = 20


@dataclass(frozen=True, slots=True)
class TunedPrompt:
    """What was tried: the ``choice`` among prompts, ``rooms`` under the chosen one, and what did ``best`` of all.

    ``gain`` is that of the best over the default, on ``measured_on`` questions of the other half; None where the
    default was chosen.
    """

    choice: PromptChoice
    rooms: dict[int, TriedPrompt]
    best: KeptPrompt
    gain: Difference | None
    measured_on: int

    @property
    def kept(self) -> KeptPrompt:
        """The prompt to take: the best where its gain is significant, else the default."""
        if self.gain is not None and significant(self.gain):
            return self.best
        return KeptPrompt(model=self.best.model)


def tune_prompt(
    model: LanguageModel,
    knowledge: Knowledge,
    retrieval: RetrievalSettings,
    examples: Sequence[Example],
    folder: Path,
    progress: Progress,
) -> TunedPrompt:
    """The prompt under which ``model`` answers best from ``knowledge``; the choice is kept in ``folder``.

    Worked examples are questions of the first half, each with passages that answer it.
    """
    assistant = _Assistant(CachedModel(model), knowledge, retrieval, progress)
    correct = Correct(NewContentRecall.fit(examples))
    side = halves(clusters(examples))
    first, second = ([e for e, half in zip(examples, side, strict=True) if half == number] for number in (0, 1))
    shown = assistant.worked_examples(first, second)
    questions = trials(first, second, (), shown, _MOST_TRIED)
    decides = [model.name, [asdict(e) for e in examples], [chunk.id for chunk in knowledge.chunks()], asdict(retrieval)]
    path = folder / f"prompt-{fingerprint(decides)}.json"
    forms = [Form(prompt) for prompt in shown.preferred]
    chosen = chosen_prompt("retrieval", forms, shown, questions, assistant.trial, path, progress)
    best, rooms = KeptPrompt(model=model.name), {}
    if chosen.choice.tried:
        rooms = assistant.rooms(chosen, questions, correct)
        room = max(ROOMS, key=lambda room: rooms[room].rank)  # the first of those that are equal
        best = _kept(chosen, room, model.name)
    if best == KeptPrompt(model=model.name):
        return TunedPrompt(chosen.choice, rooms, best, None, 0)
    measured = trial_questions(second, _MOST_MEASURED)
    after, before = (
        [score.value or 0.0 for score in correct.score(measured, answers)]
        for answers in assistant.answers((best, KeptPrompt()), measured, "measuring the prompt")
    )
    gain = paired_difference(after, before, clusters(measured))
    return TunedPrompt(chosen.choice, rooms, best, gain, len(measured))


@dataclass(frozen=True, slots=True)
class _Assistant:
    """What is asked under one prompt after the other."""

    model: CachedModel
    knowledge: Knowledge
    retrieval: RetrievalSettings
    progress: Progress

    def worked_examples(self, given: Sequence[Example], tested: Sequence[Example]) -> Shown:
        """Worked examples among the ``given`` questions, which tell nothing of the ``tested``."""
        fit = within(self.model.count_tokens, ChatSettings().context_tokens)
        conversations = [
            Conversation((Message("user", e.question), Message("assistant", (*e.answers, REFUSAL)[0])), e.evidence)
            for e in given
        ]
        sourced = with_sources(conversations, self.knowledge, self.retrieval.k, fit, REFUSAL)
        return worked_examples(sourced, tested, REFUSAL)

    def trial(self, prompting: Prompting) -> ChatBot:
        """The chatbot that asks so, with the default room for sources."""
        return self.bot(_kept(prompting, ROOMS[0], self.model.name))

    def rooms(self, chosen: Prompting, questions: Sequence[Example], correct: Correct) -> dict[int, TriedPrompt]:
        """What the chosen prompt brings with each room for sources."""
        prompts = [_kept(chosen, room, self.model.name) for room in ROOMS]
        columns = self.answers(prompts, questions, "trying token limits for sources")
        return {
            room: tried_prompt(chosen.choice.form, questions, answers, correct)
            for room, answers in zip(ROOMS, columns, strict=True)
        }

    def answers(self, prompts: Sequence[KeptPrompt], asked: Sequence[Example], stage: str) -> list[list[Answer]]:
        """The answers to all questions under each prompt."""
        bots, columns = [self.bot(prompt) for prompt in prompts], [list[Answer]() for _ in prompts]
        for start in range(0, len(asked), _AT_A_TIME):
            part = [example.question for example in asked[start : start + _AT_A_TIME]]
            for column, answers in zip(columns, answer_together([(bot, part) for bot in bots]), strict=True):
                column += answers
            self.progress(stage, start + len(part), len(asked))
        return columns

    def bot(self, prompt: KeptPrompt) -> ChatBot:
        """The chatbot that asks under ``prompt``."""
        settings, k = prompt.applied(ChatSettings()), self.retrieval.k
        return ChatBot(
            self.model, self.knowledge, settings, k, gated=self.retrieval.leaves_out, examples=prompt.examples
        )


def _kept(prompting: Prompting, room: int, model: str) -> KeptPrompt:
    """The prompt with its room for sources, which is named where it is not the default."""
    return KeptPrompt(prompting.choice.prompt, prompting.examples, None if room == ROOMS[0] else room, model)
