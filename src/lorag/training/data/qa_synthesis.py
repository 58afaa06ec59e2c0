"""Training conversations made from documents alone: by rule, by the language model that is at hand, or by both.

A model writes questions with answers copied from the passage, asks each of them again in other words, and answers
both from the passage; what it then answers otherwise is refused. Every pair names the characters that answer it, and
everything proposed and refused is counted, because a finetune is only as good as these pairs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lorag.errors import InputError
from lorag.files import LineLog
from lorag.interfaces import LanguageModel, Progress, no_progress
from lorag.training.data.qa_rules import Pair, rule_pairs
from lorag.training.data.wordings.english_words import bare_words
from lorag.types import Chunk, Conversation, Message, Prompt, Sampling

_PAIRS = 3
"""Questions that the model writes about a passage."""
_WRITE = (
    f"Write {_PAIRS} different questions that the passage answers. Each answer must be a few words copied from the"
    " passage. Each question must name what it asks about. Use this form:\nQ: question\nA: answer"
)
_REWORD = "Ask this question in other words. Keep its meaning and its names. Write only the question.\n\n{question}"
_PAIR = re.compile(r"^[\W\d]*Q\d*[.:]\s*(?P<question>.+?\?)\s*^[\W\d]*A\d*[.:]\s*(?P<answer>.+?)\s*$", re.MULTILINE)
_SLICE = 20
"""Passages written about at a time; what they gave is on the disk before the next ones."""

Ask = Callable[[str, Chunk], Prompt]
"""The prompt that asks a question with a passage as its source."""


@dataclass(frozen=True, slots=True)
class Synthesis:
    """Pairs made, in the order of their passages, and the counts behind them."""

    pairs: tuple[Pair, ...]
    passages: int
    proposed: int
    """Pairs that rules made, and that the model wrote in the asked form or in other words."""
    unsupported: int
    """Refused because the answer does not stand in the passage, or stands in the question."""
    unanswerable: int
    """Refused because the model, given the passage, answers the question otherwise."""
    repeated: int
    """Refused because the question was there before, or is one of the excluded ones."""

    @property
    def conversations(self) -> tuple[Conversation, ...]:
        """The pairs as training conversations."""
        return tuple(conversation(pair) for pair in self.pairs)

    def require_pairs(self) -> Synthesis:
        """The synthesis itself. Raises ``InputError`` when nothing usable came of it."""
        if not self.pairs:
            raise InputError(
                f"no usable question came from {self.passages} passages ({self.proposed} proposed); give your own"
                " training data, or a larger model"
            )
        return self


def conversation(pair: Pair) -> Conversation:
    """A pair as a training conversation."""
    turns = (Message("user", pair.question), Message("assistant", pair.answer))
    return Conversation(turns, (pair.document_id,))


def synthesize(
    chunks: Sequence[Chunk],
    model: LanguageModel | None,
    ask: Ask,
    *,
    rules: bool = True,
    exclude: Iterable[str] = (),
    writes_about: Sequence[Chunk] | None = None,
    log: LineLog | None = None,
    progress: Progress = no_progress,
) -> Synthesis:
    """Pairs about every chunk, by ``rules`` and by ``model``; questions in ``exclude`` are never among them.

    Where ``writes_about`` is given, the model writes about these chunks alone.

    ``log`` keeps what the model wrote about each passage, so that the same call resumes after a kill.
    """
    asked = chunks if writes_about is None else writes_about
    written = _all_written(asked, model, ask, log, progress) if model is not None else {}
    seen = {bare_words(question) for question in exclude}
    kept: list[Pair] = []
    counts = {"proposed": 0, "unsupported": 0, "unanswerable": 0, "repeated": 0}
    for chunk in chunks:
        ruled = rule_pairs(chunk) if rules else []
        found = written.get(chunk.id, _Written((), 0, 0, 0))
        counts["proposed"] += len(ruled) + found.proposed
        counts["unsupported"] += found.unsupported
        counts["unanswerable"] += found.unanswerable
        for pair in (*ruled, *found.pairs):
            if bare_words(pair.question) in seen:
                counts["repeated"] += 1
            else:
                seen.add(bare_words(pair.question))
                kept.append(pair)
    return Synthesis(tuple(kept), len(chunks), **counts)


@dataclass(frozen=True, slots=True)
class _Written:
    """What a model wrote about one passage."""

    pairs: tuple[Pair, ...]
    proposed: int
    unsupported: int
    unanswerable: int


@dataclass(frozen=True, slots=True)
class _Proposal:
    """A question and answer about the chunk at ``place``; ``span`` is where the answer stands, if it does."""

    place: int
    question: str
    answer: str
    span: tuple[int, int] | None

    def pair(self, chunk: Chunk, origin: str) -> Pair:
        """The pair, once its answer was found."""
        start, end = self.span or (chunk.start, chunk.end)
        return Pair(self.question, self.answer, chunk.document_id, start, end, origin)


def _all_written(
    chunks: Sequence[Chunk], model: LanguageModel, ask: Ask, log: LineLog | None, progress: Progress
) -> Mapping[str, _Written]:
    """What the model wrote about each chunk, by its id; what ``log`` holds is not asked for again."""
    written = {row["passage"]: _from_row(row) for row in log.rows} if log is not None else {}
    missing = [chunk for chunk in chunks if chunk.id not in written]
    for start in range(0, len(missing), _SLICE):
        part = missing[start : start + _SLICE]
        new = dict(zip((chunk.id for chunk in part), _write(part, model, ask), strict=True))
        if log is not None:
            log.append([{"passage": name, **asdict(found)} for name, found in new.items()])
        written |= new
        progress("writing training questions", len(chunks) - len(missing) + start + len(part), len(chunks))
    return written


def _from_row(row: Mapping[str, Any]) -> _Written:
    fields = {key: value for key, value in row.items() if key != "passage"}
    return _Written(**{**fields, "pairs": tuple(Pair(**pair) for pair in row["pairs"])})


def _write(chunks: Sequence[Chunk], model: LanguageModel, ask: Ask) -> list[_Written]:
    """What the model writes about each chunk: questions, other wordings of them, and its own answers as their test."""
    texts = model.generate([_prompt(chunk) for chunk in chunks], Sampling(max_tokens=40 * _PAIRS))
    first = [
        _Proposal(place, question, answer, _span(question, answer, chunk))
        for place, (chunk, text) in enumerate(zip(chunks, texts, strict=True))
        for question, answer in _parse(text.text)
    ]
    proposed = [*first, *_reworded([each for each in first if each.span is not None], chunks, model)]
    tested = [each for each in proposed if each.span is not None]
    replies = model.generate([ask(each.question, chunks[each.place]) for each in tested], Sampling(max_tokens=48))
    answered = [each for each, reply in zip(tested, replies, strict=True) if agrees(reply.text, each.answer)]

    def of(place: int, proposals: Sequence[_Proposal]) -> list[_Proposal]:
        return [each for each in proposals if each.place == place]

    return [
        _Written(
            pairs=tuple(each.pair(chunk, model.name) for each in of(place, answered)),
            proposed=len(of(place, proposed)),
            unsupported=len(of(place, proposed)) - len(of(place, tested)),
            unanswerable=len(of(place, tested)) - len(of(place, answered)),
        )
        for place, chunk in enumerate(chunks)
    ]


def _reworded(proposals: Sequence[_Proposal], chunks: Sequence[Chunk], model: LanguageModel) -> list[_Proposal]:
    """The proposals asked in other words, as far as the model writes a question."""
    asked = [(Message("user", _REWORD.format(question=each.question)),) for each in proposals]
    others = []
    for each, other in zip(proposals, model.generate(asked, Sampling(max_tokens=48)), strict=True):
        question = other.text.strip().split("\n")[0].strip(' "')
        if question.endswith("?"):
            span = _span(question, each.answer, chunks[each.place])
            others.append(_Proposal(each.place, question, each.answer, span))
    return others


def _prompt(chunk: Chunk) -> Prompt:
    passage = "\n".join(part for part in (chunk.heading, chunk.table_header, chunk.text.strip()) if part)
    return (Message("user", f"Passage:\n{passage}\n\n{_WRITE}"),)


def _parse(text: str) -> Iterator[tuple[str, str]]:
    for match in _PAIR.finditer(text):
        yield match["question"].strip(), match["answer"].strip().strip('"')


def _span(question: str, answer: str, chunk: Chunk) -> tuple[int, int] | None:
    """Where in its document the answer stands word for word; None where it does not, or stands in the question."""
    words = re.findall(r"\w+", answer)
    if not words or f" {bare_words(answer)} " in f" {bare_words(question)} ":
        return None
    found = re.search(r"\b" + r"\W+".join(map(re.escape, words)) + r"\b", chunk.text, re.IGNORECASE)
    return None if found is None else (chunk.start + found.start(), chunk.start + found.end())


def agrees(reply: str, answer: str) -> bool:
    """Whether a reply says the answer: one of them holds the other, or at least half of its words in a row."""
    said, expected = bare_words(reply), bare_words(answer)
    if f" {expected} " in f" {said} ":
        return True
    return f" {said} " in f" {expected} " and 2 * len(said.split()) >= len(expected.split())
