"""All answers of a report, by question: what was sent, what came back, and what decided its score.

A passage is kept once, whatever the number of answers that saw it, and so are instructions and worked examples: a page
of a thousand answers stays small.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lorag.evaluation.answers.support.standing import Support
from lorag.evaluation.results import CEILINGS, Comparison, compared
from lorag.evaluation.row_log import Row
from lorag.types import Chunk, Example, Prompt

MOST_QUESTIONS = 400
"""Questions on the page; ``result.json`` has all."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer; ``kind`` is "reference", "contradicted" or "not there" where it decided, else empty."""

    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One arm's answer to a question."""

    arm: str
    marks: tuple[str, ...]
    """What it can be found by: "right", "wrong" or "failed" first, then "refused" and "unsupported"."""
    pieces: tuple[Piece, ...]
    reasons: tuple[str, ...]
    """What decided its score, in sentences."""
    opening: int | None
    """The place in ``AnswerList.openings`` of what was sent before the last message; None where nothing was."""
    asked: str
    """The last message, in which passages stand by their numbers; empty where none was sent."""
    passages: tuple[int, ...]
    """Their places in ``AnswerList.passages``, in the order of the prompt."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the references that hold in the last phase, and the answers to it."""

    example: Example
    replies: tuple[Reply, ...]


@dataclass(frozen=True, slots=True)
class AnswerList:
    """The answers in the last phase; ``left_out`` questions have no room on the page."""

    asked: tuple[Asked, ...]
    left_out: int
    arms: tuple[str, ...]
    openings: tuple[Prompt, ...]
    """What prompts begin with: instructions, and worked examples."""
    passages: tuple[Chunk, ...]


def answer_list(comparison: Comparison) -> AnswerList:
    """The answers of the arms that are compared and of the ceilings, in the order of questions and of tables."""
    phase = comparison.phases[-1]
    present = comparison.at(phase)
    arms = (*compared(present), *(arm for arm in CEILINGS if arm in present))
    shown = [e.after_update() if phase == "after" else e for e in comparison.examples[:MOST_QUESTIONS]]
    rows = {
        (row.example_id, row.arm): (row, scores, claims)
        for row, scores, claims in zip(comparison.rows, comparison.scores, comparison.support, strict=True)
        if row.phase == phase
    }
    answers = [rows[example.id, arm][0].answer for example in shown for arm in arms]
    passages = tuple(dict.fromkeys(hit.chunk for answer in answers for hit in answer.sources))
    openings = tuple(dict.fromkeys(answer.prompt[:-1] for answer in answers if answer.prompt[:-1]))
    places: dict[object, int] = {kept: at for group in (passages, openings) for at, kept in enumerate(group)}
    asked = tuple(Asked(each, tuple(_reply(each, *rows[each.id, arm], places) for arm in arms)) for each in shown)
    return AnswerList(asked, len(comparison.examples) - len(shown), arms, openings, passages)


def _reply(
    example: Example,
    row: Row,
    scores: Mapping[str, float | None],
    claims: Sequence[Support],
    places: Mapping[object, int],
) -> Reply:
    answer = row.answer
    mark = "failed" if answer.error is not None else "right" if scores["correct"] else "wrong"
    doubts = [claim for claim in claims if claim.standing != "supported"]
    marks = [mark, *(["refused"] if scores["refused"] else []), *(["unsupported"] if scores.get("unsupported") else [])]
    given = [part for each in example.answers for part in each.split("\n") if mark == "right"]
    decided = [*((part, "reference") for part in given), *((claim.claim, claim.standing) for claim in doubts)]
    sent = answer.prompt[-1].content if answer.prompt else ""
    for number, hit in enumerate(answer.sources, start=1):
        sent = sent.replace(hit.chunk.text.strip(), f"⟨passage {number}⟩")
    return Reply(
        row.arm,
        tuple(marks),
        _pieces(answer.text or answer.error or "(empty)", decided),
        (*_reasons(example, mark, scores), *map(_doubt, doubts)),
        places.get(answer.prompt[:-1]),
        sent,
        tuple(places[hit.chunk] for hit in answer.sources),
    )


def _pieces(text: str, decided: Sequence[tuple[str, str]]) -> tuple[Piece, ...]:
    """``text`` cut where something that decided stands in it word for word; of what overlaps the first is taken."""
    spans: list[tuple[int, int, str]] = []
    for part, kind in decided:
        found = re.search(rf"(?<!\w){re.escape(part.strip())}(?!\w)", text, re.IGNORECASE) if part.strip() else None
        if found and all(found.start() >= end or found.end() <= start for start, end, _ in spans):
            spans.append((*found.span(), kind))
    pieces, at = [], 0
    for start, end, kind in sorted(spans):
        pieces += [Piece(text[at:start], ""), Piece(text[start:end], kind)]
        at = end
    return tuple(piece for piece in (*pieces, Piece(text[at:], "")) if piece.text)


def _reasons(example: Example, mark: str, scores: Mapping[str, float | None]) -> list[str]:
    """Why an answer counts as right or wrong."""
    if mark == "failed":
        return ["No answer came; that counts as wrong."]
    refused, right = scores["refused"], mark == "right"
    if not example.answers:
        return ["Refused, and the documents do not answer." if right else "Answered, though the documents do not."]
    if refused and not right:
        return ["Refused, though the documents answer."]
    reasons = ["Gives a reference." if right else "Gives no reference."]
    if right and not scores["correct_strict"]:
        reasons.append("By the strict comparison it is wrong.")
    if not right and scores["correct_lenient"]:
        reasons.append("By the lenient comparison it is right.")
    return reasons


def _doubt(claim: Support) -> str:
    if claim.standing == "contradicted":
        return f"Contradicted: “{claim.claim}” The passage: “{claim.sentence}”"
    return f"Not in the passages: “{claim.claim}”"
