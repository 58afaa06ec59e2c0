"""Conversations become many wordings per fact, by rules and, if there is one, by a language model.

A model that learns a fact in one wording answers it in that wording; it has to see several. No wording that comes
out asks a question of the test, nearly asks it or holds it, whoever made it: given ones are left out as well.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from statistics import fmean

from lorag.errors import InputError
from lorag.interfaces import Progress, no_progress
from lorag.training.data.inspection import Plain, TestQuestions, contradictions
from lorag.training.data.qa_rules import RULES
from lorag.training.data.wordings.paraphrases import Wording, paraphrases, reversed_question, value_of
from lorag.training.data.wordings.question_parsing import is_english_question
from lorag.training.data.wordings.rewordings import Rewording, Taught, Writer, names_and_numbers, reword
from lorag.types import Conversation, Message

PLAIN_TEXT = "plain text"
SEVERAL_TURNS = "more than one question and answer"
NO_ENGLISH = "no question or request in English"
CONTRADICTING = "the same question has another answer elsewhere"
TESTED = "asks a test question, or nearly"
REPEATED = "asked before"
TOO_CLOSE = "too close to another wording"

_PROVEN, _UNPROVEN = "proven", "unproven"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s")
_NEAREST = 0.85
"""The share of common words above which a model's rewording adds nothing."""
_REVERSED_AT = 3
"""The place of a question from the value to the thing among the rules' wordings."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the conversations that were given, and of the wordings that were made."""

    given: int
    """Conversations that were given."""
    facts: int
    """Facts that get further wordings; conversations that teach the same count once."""
    by_rules: int
    by_model: int
    unproven: int
    """Rewordings of the model that were kept although no passage was at hand to prove them by."""
    unchanged: Mapping[str, int]
    """Given conversations that were kept without further wordings, by reason."""
    left_out: int
    """Given conversations that were left out, because they ask a test question, or nearly."""
    refused: Mapping[str, int]
    """New wordings that were refused, by reason."""
    stopped: str
    """Why the model stopped writing before it had seen every question; empty when it did not."""
    unwritten: int
    """Questions that the model was not asked to reword for that reason."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Conversations, the given ones in their order, each followed by its new wordings, and the counts behind them."""

    conversations: tuple[Conversation, ...]
    counts: Counts


@dataclass(frozen=True, slots=True)
class _Source:
    """A given conversation of one question, and the key that is equal for conversations of the same fact."""

    conversation: Conversation
    taught: Taught
    key: tuple[object, ...]

    def wording(self, question: str, answer: str) -> Conversation:
        """The conversation with another question and answer; an instruction before them stays."""
        turns = (*self.conversation.messages[:-2], Message("user", question), Message("assistant", answer))
        return Conversation(turns, self.conversation.evidence)


def augment(
    conversations: Sequence[Conversation],
    *,
    plain: Plain,
    exclude: Iterable[str] = (),
    wordings: int = 10,
    writer: Writer | None = None,
    progress: Progress = no_progress,
) -> Augmentation:
    """Up to ``wordings`` wordings of every fact, given ones counted, by rules and by ``writer``.

    ``plain`` brings a text into the form in which two texts count as the same words; nothing that comes out is near to
    a question in ``exclude`` in that form. Rules know English. Raises ``InputError`` for less than one wording.
    """
    if wordings < 1:
        raise InputError(f"wordings {wordings!r} is not valid; expected at least 1")
    tests = TestQuestions(exclude, plain)
    kept = [c for c in conversations if not tests.repeated_by(c)]
    unchanged: Counter[str] = Counter()
    sources: dict[int, _Source] = {}
    contradicting = set(contradictions(kept, plain))
    for row, conversation in enumerate(kept):
        reason = _why_unchanged(conversation, row in contradicting, writer is not None)
        if reason:
            unchanged[reason] += 1
        else:
            sources[row] = _source(conversation, plain)
    stopped = ""
    reworded: Mapping[Taught, Rewording] = {}
    if writer is not None and wordings > 1:
        asked = [source.taught for source in sources.values()]
        reworded, stopped = reword(asked, writer, max(2, wordings // 2), progress)
    new, made, refused = _all_new(sources, reworded, tests, plain, wordings, [c.question for c in kept])
    for rewording in reworded.values():
        refused.update(rewording.refused)
    counts = Counts(
        given=len(conversations),
        facts=len({source.key for source in sources.values()}),
        by_rules=made[RULES],
        by_model=made[_PROVEN] + made[_UNPROVEN],
        unproven=made[_UNPROVEN],
        unchanged=dict(unchanged.most_common()),
        left_out=len(conversations) - len(kept),
        refused=dict(refused.most_common()),
        stopped=stopped,
        unwritten=len({s.taught for s in sources.values()} - set(reworded)) if stopped else 0,
    )
    return Augmentation(tuple(each for row, c in enumerate(kept) for each in (c, *new.get(row, ()))), counts)


def wordings_per_fact(conversations: Sequence[Conversation]) -> float:
    """In how many conversations a fact is stated, on average; 1 where there is none.

    Those about the same documents that answer with one value, in their first sentence, state one fact. Questions that
    hold sources do not count: what stands there is read.
    """
    facts: Counter[tuple[tuple[str, ...], str]] = Counter()
    for conversation in conversations:
        if conversation.is_text or "\n" in conversation.question:
            continue
        answer = conversation.messages[-1].content
        value = value_of(conversation.question, _SENTENCE_END.split(answer, maxsplit=1)[0])
        facts[conversation.evidence, value[1] if value else answer] += 1
    return fmean(facts.values()) if facts else 1.0


def _why_unchanged(conversation: Conversation, contradicting: bool, has_writer: bool) -> str:
    if conversation.is_text:
        return PLAIN_TEXT
    roles = [message.role for message in conversation.messages]
    if roles not in (["user", "assistant"], ["system", "user", "assistant"]):
        return SEVERAL_TURNS
    if contradicting:
        return CONTRADICTING
    return "" if has_writer or is_english_question(conversation.question) else NO_ENGLISH


def _source(conversation: Conversation, plain: Plain) -> _Source:
    question, answer = conversation.question, conversation.messages[-1].content
    taught = Taught(question, answer, conversation.evidence)
    telling = bool(re.search(r"\d|\s(?!I\b)[A-Z]", answer))  # a yes or a refusal answers many questions
    about = frozenset(names_and_numbers(question)) if telling else frozenset({plain(question)})
    return _Source(conversation, taught, (plain(answer), conversation.evidence, about))


def _all_new(
    sources: Mapping[int, _Source],
    reworded: Mapping[Taught, Rewording],
    tests: TestQuestions,
    plain: Plain,
    wordings: int,
    given: Sequence[str],
) -> tuple[dict[int, list[Conversation]], Counter[str], Counter[str]]:
    """The new conversations by the row they are made from, their number by origin, and the refused by reason."""
    facts: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for row, source in sources.items():
        facts[source.key].append(row)
    backwards = _unambiguous(sources, plain)
    seen = {plain(question) for question in given}
    new: dict[int, list[Conversation]] = defaultdict(list)
    made: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for rows in facts.values():
        asked = [frozenset(plain(sources[row].taught.question).split()) for row in rows]
        lists = [_candidates(sources[row], backwards.get(row), reworded, wordings) for row in rows]
        turns = (pair for turn in zip_longest(*lists) for pair in zip(rows, turn, strict=True) if pair[1] is not None)
        for row, (question, answer, origin) in turns:
            if len(asked) >= wordings:
                break
            words = frozenset(plain(question).split())
            reason = _why_refused(question, words, origin, asked, seen, tests, plain)
            if reason:
                refused[reason] += 1
                continue
            asked.append(words)
            seen.add(plain(question))
            made[origin] += 1
            new[row].append(sources[row].wording(question, answer))
    return new, made, refused


def _why_refused(
    question: str,
    words: frozenset[str],
    origin: str,
    asked: Sequence[frozenset[str]],
    seen: set[str],
    tests: TestQuestions,
    plain: Plain,
) -> str:
    if tests.repeats(question):
        return TESTED
    if plain(question) in seen:
        return REPEATED
    if origin != RULES and any(len(words & other) > _NEAREST * len(words | other) for other in asked):
        return TOO_CLOSE
    return ""


def _candidates(
    source: _Source, backwards: Wording | None, reworded: Mapping[Taught, Rewording], wordings: int
) -> list[tuple[str, str, str]]:
    """Questions with answers and who made them: the best of the rules, the model's, the rest of the rules."""
    question, answer = source.taught.question, source.taught.answer
    ruled = paraphrases(question, answer, 2 * wordings)
    if backwards is not None:
        ruled.insert(_REVERSED_AT, backwards)
    rules = [(*wording, RULES) for wording in ruled]
    found = reworded.get(source.taught)
    if found is None:
        return rules
    answers = list(dict.fromkeys((answer, *(reply for _, reply in ruled[:1]))))
    origin = _PROVEN if found.proven else _UNPROVEN
    model = [(line, answers[i % len(answers)], origin) for i, line in enumerate(found.kept)]
    half = wordings // 2
    return [*rules[:half], *model, *rules[half:]]


def _unambiguous(sources: Mapping[int, _Source], plain: Plain) -> dict[int, Wording]:
    """Questions from the value to the thing, of those sources whose value no other source gives to another thing."""
    found = {
        row: backwards
        for row, source in sources.items()
        if (backwards := reversed_question(source.taught.question, source.taught.answer)) is not None
    }
    stated: dict[str, set[str]] = defaultdict(set)
    for question, statement in found.values():
        stated[plain(question)].add(plain(statement))
    return {row: backwards for row, backwards in found.items() if len(stated[plain(backwards[0])]) == 1}
