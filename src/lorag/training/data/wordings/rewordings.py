"""Questions asked in other words by a language model, and which of these are kept.

A rewording is kept when it is a question or a request that holds the names and numbers of the first one, says
nothing of the answer, and, where the passage that holds the answer is at hand, the model answers it from there alike.
What is refused is counted by its reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lorag.errors import EndpointError
from lorag.files import LineLog
from lorag.interfaces import LanguageModel, Progress
from lorag.training.data.qa_synthesis import Ask, agrees
from lorag.training.data.wordings.english_words import bare_words
from lorag.training.data.wordings.paraphrases import value_of
from lorag.training.data.wordings.question_parsing import is_english_question, is_foreign
from lorag.types import Chunk, Message, Prompt, Sampling

NO_QUESTION = "no question or request of three words or more"
OTHER_NAMES = "other names or numbers than the question"
TOLD = "gives the answer away"
ANSWERED_OTHERWISE = "the model, given the passage, answers differently"

_INSTRUCTION = (
    "Write {count} different rewordings of the question, one per line. Keep its meaning, its names and its numbers."
    " Write nothing else.\n\nQuestion: {question}"
)
_EXAMPLES = (
    (
        "Where is the head office of Brask & Sohn?",
        "In which town does Brask & Sohn have its head office?\n"
        "Tell me the place from which Brask & Sohn is run.\n"
        "I want to visit the head office of Brask & Sohn. Where do I have to go?",
    ),
    (
        "How long may the cable of a T-40 be?",
        "What is the greatest length of cable for a T-40?\n"
        "I am laying a cable to a T-40. How far may it run?\n"
        "Up to which length can I order the T-40 with its cable?",
    ),
)
_TOKENS_EACH = 32
_SLICE = 20
"""Questions reworded at a time; what came of them is on the disk before the next ones."""
_MARK = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.):]|(?:Question|Rewording|Q)\s*\d*:)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Writer:
    """A model that rewords, and what its rewordings are proven by.

    ``ask`` makes the prompt of a question with its passage, ``chunks`` are the passages that are at hand. ``log``
    keeps what was written, so that a killed call resumes.
    """

    model: LanguageModel
    ask: Ask
    chunks: Sequence[Chunk] = ()
    log: LineLog | None = None


@dataclass(frozen=True, slots=True)
class Taught:
    """One question with its answer and the documents that hold it."""

    question: str
    answer: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewording:
    """What the model made of one question."""

    kept: tuple[str, ...]
    refused: Mapping[str, int]
    """Lines that were not kept, by reason."""
    proven: bool
    """Whether the model answered every one that was kept from the passage as given."""


def reword(
    taught: Sequence[Taught], writer: Writer, count: int, progress: Progress
) -> tuple[dict[Taught, Rewording], str]:
    """``count`` rewordings of each question, as many as stand the checks, and why the model stopped, if it did.

    A model at an address that stops answering ends the work: what came until then is returned with the reason, and
    the same call with the same log asks for the rest.
    """
    rows = writer.log.rows if writer.log is not None else ()
    logged = {(row["question"], row["answer"]): _from_row(row) for row in rows}
    done = {each: logged[each.question, each.answer] for each in taught if (each.question, each.answer) in logged}
    missing = [each for each in dict.fromkeys(taught) if each not in done]
    for start in range(0, len(missing), _SLICE):
        part = missing[start : start + _SLICE]
        try:
            new = _reword(part, writer, count)
        except EndpointError as error:
            return done, str(error)
        if writer.log is not None:
            pairs = zip(part, new, strict=True)
            writer.log.append([{"question": e.question, "answer": e.answer, **asdict(r)} for e, r in pairs])
        done |= dict(zip(part, new, strict=True))
        progress("rewording questions", len(done), len(set(taught)))
    return done, ""


def _from_row(row: Mapping[str, Any]) -> Rewording:
    return Rewording(tuple(row["kept"]), row["refused"], row["proven"])


def _reword(taught: Sequence[Taught], writer: Writer, count: int) -> list[Rewording]:
    """What the model makes of each question: lines, those that hold, and those that it answers as they should be."""
    prompts = [_prompt(each.question, count) for each in taught]
    texts = writer.model.generate(prompts, Sampling(max_tokens=_TOKENS_EACH * count))
    refused: list[Counter[str]] = [Counter() for _ in taught]
    held: list[tuple[int, str]] = []
    for place, (each, text) in enumerate(zip(taught, texts, strict=True)):
        for line in dict.fromkeys(_lines(text.text, whole=text.finish == "stop")):
            reason = why_refused(line, each.question, each.answer)
            if reason:
                refused[place][reason] += 1
            else:
                held.append((place, line))
    passages = [_passage(each, writer.chunks) for each in taught]
    tested = [(place, line, passage) for place, line in held if (passage := passages[place]) is not None]
    asked = [writer.ask(line, passage) for _, line, passage in tested]
    replies = writer.model.generate(asked, Sampling(max_tokens=48)) if asked else []
    wrong = {
        (place, line)
        for (place, line, _), reply in zip(tested, replies, strict=True)
        if not agrees(reply.text, _reference(taught[place]))
    }
    for place, _ in wrong:
        refused[place][ANSWERED_OTHERWISE] += 1
    return [
        Rewording(
            tuple(line for at, line in held if at == place and (place, line) not in wrong),
            dict(refused[place]),
            passages[place] is not None,
        )
        for place in range(len(taught))
    ]


def _prompt(question: str, count: int) -> Prompt:
    turns = []
    for example, rewordings in _EXAMPLES:
        turns.append(Message("user", _INSTRUCTION.format(count=len(rewordings.split("\n")), question=example)))
        turns.append(Message("assistant", rewordings))
    return (*turns, Message("user", _INSTRUCTION.format(count=count, question=question)))


def _lines(text: str, whole: bool) -> list[str]:
    """The lines of a text without numbers, bullets and quotation marks; an unfinished last one is left out."""
    lines = text.strip().split("\n")
    bare = (_MARK.sub("", line).strip(" \t\"'“”") for line in (lines if whole else lines[:-1]))
    return [" ".join(line.split()) for line in bare if line]


def why_refused(wording: str, question: str, answer: str) -> str:
    """Why a wording cannot stand for a question with this answer; empty when it can."""
    english = is_english_question(question)
    asks = is_english_question(wording) if english else wording.endswith("?")
    if len(wording.split()) < 3 or not wording.endswith(("?", ".", "!", "…")) or not asks:
        return NO_QUESTION
    if english and is_foreign(wording):
        return NO_QUESTION
    if names_and_numbers(question) - _words(wording) or names_and_numbers(wording) - _words(question):
        return OTHER_NAMES
    told = f" {bare_words(_reference(Taught(question, answer)))} "
    shown, asked = (told in f" {bare_words(text)} " for text in (wording, question))
    return TOLD if told.strip() and shown and not asked else ""


def names_and_numbers(text: str) -> set[str]:
    """Capitalised words that do not begin a sentence, and words with digits, in small letters."""
    found = set()
    begins = True
    for word in text.split():
        bare = _bare(word)
        if any(c.isdigit() for c in bare) or (bare[:1].isupper() and not begins and bare != "I" and bare[:2] != "I'"):
            found.add(bare.lower())
        begins = word.endswith((".", "!", "?", ":", "…"))
    return found


def _words(text: str) -> set[str]:
    return {_bare(word).lower() for word in text.split()}


def _bare(word: str) -> str:
    """A word without the punctuation around it and without a possessive ending."""
    return re.sub(r"(?:['’]s|['’])$", "", word.strip(".,:;!?\"“”()…'’"))


def _passage(taught: Taught, chunks: Sequence[Chunk]) -> Chunk | None:
    """The passage of the evidence that holds the answer, and most words of the question; None where none does."""
    expected = f" {bare_words(_reference(taught))} "
    holding = [c for c in chunks if c.document_id in taught.evidence and expected in f" {bare_words(c.text)} "]
    asked = set(bare_words(taught.question).split())
    return max(holding, key=lambda chunk: len(asked & set(bare_words(chunk.text).split())), default=None)


def _reference(taught: Taught) -> str:
    """What an answer must hold to be right: the value of a sentence where it can be seen, else the whole answer."""
    value = value_of(taught.question, taught.answer)
    return taught.answer if value is None else value[1]
