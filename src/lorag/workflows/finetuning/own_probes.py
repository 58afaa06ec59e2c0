"""What user conversations are probed by, where there are no documents: facts in wordings that are kept from training.

Where a fact is stated in several wordings, one of them is held out. A fact in one wording is asked in another one that
rules make of it, the one that keeps least of the given one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lorag.chat.prompts import is_refusal
from lorag.files import draw
from lorag.settings import REFUSAL
from lorag.training.data.holdout import taught
from lorag.training.data.inspection import TestQuestions, contradictions
from lorag.training.data.wordings.augmentation import augment
from lorag.training.data.wordings.paraphrases import paraphrases, value_of
from lorag.types import Conversation, Example
from lorag.workflows.synthesize import plain_words

_TRIED = 12
"""Wordings by rules among which the one to ask in is chosen."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is trained on, and the questions by which it is seen what was learned."""

    conversations: tuple[Conversation, ...]
    """Those of a fact that names no documents name the fact as their evidence, so that they stay together."""
    probes: tuple[Example, ...]
    """The wordings that are not trained on."""
    facts: int
    """Facts in one question and answer, probed or not."""

    def widened(self, wordings: int) -> Lesson:
        """The lesson in up to ``wordings`` wordings a fact, made by rules; none that rules add repeats a probe."""
        made = augment(self.conversations, plain=plain_words, wordings=wordings)
        probes, given = TestQuestions((probe.question for probe in self.probes), plain_words), set(self.conversations)
        trained = tuple(each for each in made.conversations if each in given or not probes.repeats(each.question))
        return replace(self, conversations=trained)


def lesson(conversations: Sequence[Conversation], most: int) -> Lesson:
    """The conversations without the held-out wordings, of at most ``most`` facts; no probe where none fits.

    Facts that are given in several wordings come first. A refusal is no fact, and what is answered in two ways neither.
    """
    facts = _facts(conversations)
    probes: list[Example] = []
    kept_back: set[int] = set()
    for name in sorted(facts, key=lambda name: (len(facts[name]) == 1, draw(f"probe {name}"))):
        if len(probes) == most:
            break
        rows = [row for same in facts[name].values() for row in same]
        given = conversations[rows[0]]
        if len(facts[name]) > 1:
            asked = min(facts[name], key=lambda question: draw(f"{name} {question}"))
            kept_back.update(facts[name][asked])
            given = conversations[facts[name][asked][0]]
            question: str | None = given.question
        else:
            question = _reworded(given)
        if question is not None:
            probes.append(Example(name, question, _references(given), given.evidence or (name,)))
    named = {row: name for name, wordings in facts.items() for rows in wordings.values() for row in rows}
    learned = tuple(
        conversation if conversation.evidence or row not in named else replace(conversation, evidence=(named[row],))
        for row, conversation in enumerate(conversations)
        if row not in kept_back
    )
    return Lesson(learned, tuple(probes), len(facts))


def _facts(conversations: Sequence[Conversation]) -> dict[str, dict[str, list[int]]]:
    """For each fact, by a name of its own, the rows that ask it by the words they ask in."""
    unclear = set(contradictions(conversations, plain_words))
    names: dict[str, str] = {}
    facts: dict[str, dict[str, list[int]]] = {}
    for row, conversation in enumerate(conversations):
        plain = [message for message in conversation.messages if message.role != "system"]
        if len(plain) != 2 or row in unclear or is_refusal(plain[1].content, REFUSAL):
            continue
        name = names.setdefault(taught(conversation) or conversation.question, conversation.question)
        facts.setdefault(name, {}).setdefault(plain_words(conversation.question), []).append(row)
    return facts


def _reworded(conversation: Conversation) -> str | None:
    """The question in the wording by rules that keeps least of it; None where rules know none."""
    asked = plain_words(conversation.question)

    def likeness(question: str) -> tuple[bool, int]:
        other = plain_words(question)
        return asked in other, len(set(asked.split()).intersection(other.split()))

    made = paraphrases(conversation.question, conversation.messages[-1].content, _TRIED)
    return min((question for question, _ in made if "…" not in question), key=likeness, default=None)


def _references(conversation: Conversation) -> tuple[str, ...]:
    """What a right answer holds: the whole answer, or the value that it states."""
    answer = conversation.messages[-1].content
    value = value_of(conversation.question, answer)
    return (answer,) if value is None else (answer, value[1])
