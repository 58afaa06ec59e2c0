"""The prompt of each arm, chosen before anything is asked, on questions that are not tested.

Worked examples come from the user's own conversations, with the passages that answer them; where there are none that
give no tested answer away, from a few neutral ones. All arms with sources choose among the same prompts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorag.chat.bot import ChatBot, answer_together
from lorag.chat.kept_prompt import KeptPrompt, text_source
from lorag.chat.prompts import WorkedExample
from lorag.evaluation.answers.metrics import contains, normalise
from lorag.evaluation.answers.style import Style
from lorag.evaluation.examples import not_to_be_taught
from lorag.evaluation.prompt_choice import (
    Form,
    PromptChoice,
    choose_prompt,
    choose_room,
    planned_answers,
    trial_questions,
)
from lorag.files import draw, write_whole
from lorag.interfaces import LanguageModel, Progress, Retriever
from lorag.settings import CompareSettings, PromptSettings
from lorag.training.data.inspection import TestQuestions
from lorag.types import Answer, Example, LinearProbe
from lorag.workflows.comparing.sourced import Sourced

WITH_SOURCES = (
    PromptSettings(),
    PromptSettings(question_first=True),
    PromptSettings(examples=3),
    PromptSettings(examples=3, refused_example=True),
    PromptSettings(offer_refusal=False, examples=3),
)
"""What an arm with sources chooses among."""
WITHOUT_SOURCES = (
    PromptSettings(),
    PromptSettings(examples=3),
    PromptSettings(examples=3, refused_example=True),
    PromptSettings(offer_refusal=False, examples=3),
)
"""What an arm without sources chooses among."""

_MOST_SHOWN = max(prompt.examples for prompt in WITH_SOURCES)
_LARK = "The Lark minibus has 14 seats, two of them foldable. The Heron coach has 48."
_NEUTRAL = tuple(
    WorkedExample(question, (text_source(text),), reply)
    for question, text, reply in (
        (
            "When does the reading room of the Alder library close on Fridays?",
            "Alder library. The reading room is open from 9 am to 6 pm; on Fridays it closes at 4 pm.",
            "The reading room of the Alder library closes at 4 pm on Fridays.",
        ),
        ("How many seats does the Lark minibus have?", _LARK, "The Lark minibus has 14 seats."),
        (
            "Who looks after the rose garden at Tilden Park?",
            "Tilden Park: the rose garden is looked after by Maud Ferris, the ponds by the anglers' club.",
            "Maud Ferris looks after the rose garden at Tilden Park.",
        ),
    )
)
"""Examples that have nothing to do with anybody's documents."""
_NEUTRAL_REFUSED = "What does a ticket for the Heron coach cost?"


@dataclass(frozen=True, slots=True)
class Shown:
    """Worked examples to choose from: answered ones, best first, and refused ones; ``own`` if they are the user's."""

    answered: tuple[WorkedExample, ...]
    refused: tuple[WorkedExample, ...]
    own: bool
    given: tuple[WorkedExample, ...] = ()
    """Shown as they are by every prompt, where there are any."""

    @property
    def preferred(self) -> tuple[PromptSettings, ...]:
        """What an arm with sources chooses among, in the order in which prompts are preferred.

        Examples of the user's own come first: of two sets of documents the model read 15 points more with them, on a
        third one it read no less within noise (docs/log.md). Neutral ones come behind the default.
        """
        return tuple(sorted(WITH_SOURCES, key=lambda prompt: self.own and prompt != PromptSettings(examples=3)))

    def under(self, prompt: PromptSettings) -> tuple[WorkedExample, ...]:
        """The examples that ``prompt`` shows, the refused one before the last."""
        if self.given:
            return self.given
        answered = self.answered[: prompt.examples]
        refused = self.refused[: int(prompt.refused_example)]
        return (*answered[:-1], *refused, *answered[-1:])


@dataclass(frozen=True, slots=True)
class Prompting:
    """How an arm is asked: its prompt and the examples in it."""

    choice: PromptChoice
    examples: tuple[WorkedExample, ...] = ()
    probe: LinearProbe | None = None
    """What keeps the model of the arm from answering, if anything does."""

    def __str__(self) -> str:
        """The prompt, and the probe, in one line."""
        return f"{self.choice}; {self.probe}" if self.probe is not None else str(self.choice)

    def bot(
        self, model: LanguageModel, retriever: Retriever | None, settings: CompareSettings, gated: bool = False
    ) -> ChatBot:
        """A chatbot that asks so."""
        chat = KeptPrompt(self.choice.prompt, context_tokens=self.choice.room).applied(settings.chat)
        return ChatBot(model, retriever, chat, settings.retrieval.k, gated=gated, examples=self.examples)


def gives_away(tested: Sequence[Example]) -> Callable[[WorkedExample], bool]:
    """Whether a worked example states an answer to a tested question, before or after the update, or nearly asks it.

    The neutral ones do not, even where a number in them is an answer.
    """
    references = [answer for example in tested for answer in (*example.answers, *(example.answers_after or ()))]
    near = TestQuestions(not_to_be_taught(tested), normalise).repeats
    return lambda given: given not in _NEUTRAL and (near(given.question) or contains(given.reply, references) > 0)


def worked_examples(sourced: Sequence[Sourced], tested: Sequence[Example], refusal: str) -> Shown:
    """Examples from conversations, of different documents, each with the one passage that answers it.

    With all of their sources they cost half as many tokens again and brought no further answer (docs/log.md).

    None states an answer to a tested question, before or after the update, or asks nearly what the test asks.
    Neutral examples take the place of those that are missing.
    """
    is_told = gives_away(tested)
    answered: list[WorkedExample] = []
    refused: list[WorkedExample] = []
    documents: set[str] = set()
    for each in sorted(sourced, key=lambda each: draw(f"shown {each.conversation.question}")):
        reply = refusal if each.refused else each.conversation.messages[-1].content
        example = WorkedExample(each.conversation.question, each.best, reply)
        if not each.best or is_told(example):
            continue
        if each.refused:
            refused.append(example)
        elif not documents & set(each.conversation.evidence):
            documents |= set(each.conversation.evidence)
            answered.append(example)
    own = len(answered) >= _MOST_SHOWN
    return Shown(
        tuple(answered) if own else _NEUTRAL,
        tuple(refused) or (WorkedExample(_NEUTRAL_REFUSED, (text_source(_LARK),), refusal),),
        own,
    )


def trials(
    examples: Sequence[Example], tested: Sequence[Example], sourced: Sequence[Sourced], shown: Shown, limit: int
) -> list[Example]:
    """Questions to choose prompts on: those of the file that are not tested, else the given conversations.

    None of them is shown as an example, is near a tested question, or has an answer that an example states.
    """
    asked = {example.id for example in tested}
    used = shown.under(PromptSettings(examples=_MOST_SHOWN, refused_example=True))
    shown_questions = {example.question for example in used}
    stated = " \n ".join(example.reply for example in used)
    near = TestQuestions(not_to_be_taught(tested), normalise).repeats
    own = [
        example
        for example in examples
        if example.id not in asked and not near(example.question) and not contains(stated, example.answers)
    ]
    if len(own) < limit:
        own += [
            as_example(each)
            for each in sourced
            if each.conversation.question not in shown_questions and not near(each.conversation.question)
        ]
    return trial_questions(own, limit)


def chosen_prompt(
    name: str,
    candidates: Sequence[Form],
    shown: Shown,
    questions: Sequence[Example],
    bot: Callable[[Prompting], ChatBot],
    path: Path,
    progress: Progress,
    style: Style | None = None,
    rooms: Callable[[], Sequence[int]] = tuple,
) -> Prompting:
    """The prompt of the arms ``name``, chosen now or found in ``path``, where it is kept.

    ``rooms`` for sources are tried under the best of the ``candidates``, where these were tried.
    """
    if not path.is_file():
        done, total = 0, planned_answers(len(candidates), len(questions))

        def ask(parts: Mapping[Form, Sequence[Example]]) -> dict[Form, Sequence[Answer]]:
            nonlocal done, total
            bots = [bot(_asking(form, shown)) for form in parts]
            questions = [[example.question for example in part] for part in parts.values()]
            answers = answer_together(list(zip(bots, questions, strict=True)))
            done += sum(map(len, questions))
            total = max(done, total)
            progress(f"choosing the prompt of {name}", done, total)
            return dict(zip(parts, answers, strict=True))

        choice = choose_prompt(candidates, questions, ask, style)
        if choice.tried:
            choice = choose_room(choice, rooms(), questions, ask, style)
        asked = bot(_asking(choice.form, shown))
        kept = KeptPrompt(choice.prompt, asked.examples, asked.settings.context_tokens)
        write_whole(path, json.dumps({**choice.to_json(), **kept.to_json()}, indent=1))
    found = json.loads(path.read_text())
    return Prompting(PromptChoice.from_json(found), KeptPrompt.from_json(found).examples)


def _asking(form: Form, shown: Shown) -> Prompting:
    return Prompting(PromptChoice.of(form), shown.under(form.prompt))


def as_example(each: Sourced) -> Example:
    """The conversation as a question, with its answer; without one where it is refused."""
    reply = each.conversation.messages[-1].content
    answers = () if each.refused else (reply,)
    return Example(each.conversation.question, each.conversation.question, answers, each.conversation.evidence)
