"""Asks a judge model about the claims that the rule leaves open, each once, and keeps its judgements in the run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from lorag.errors import DataError
from lorag.evaluation.answers.support.judge import Asked, Reading, pairs_to_score, reading_of
from lorag.files import LineLog
from lorag.interfaces import LanguageModel, Likelihoods, Progress
from lorag.types import Sampling

_WORDS = 40
"""Tokens that a prompt holds beside passage, question and claim, about."""
_IN_WORDS = Sampling(max_tokens=8)
_YES_NO = re.compile(r"\W*(?P<said>yes|no)\b", re.IGNORECASE)


def readings_of(
    judge: str, asked: Sequence[Asked], log: LineLog, load: Callable[[], LanguageModel], progress: Progress
) -> dict[Asked, Reading]:
    """What the judge makes of each claim; those of which it made no judgement are missing.

    ``progress`` reports the cost before the first claim is judged. Claims that the same judge has judged in ``log`` are
    not asked again; if none is left, the model is not loaded.
    """
    known = _recorded(log, judge)
    todo = [each for each in asked if each.key not in known]
    if todo:
        model = load()
        stage, done = f"judging claims by {judge}", 0
        progress(stage, done, len(todo), cost(model, todo))
        for _, group in groupby(todo, key=lambda each: each.question):
            together = list(group)
            found = judged(model, together)
            log.append([_row(judge, each, reading) for each, reading in zip(together, found, strict=True)])
            known |= {each.key: reading for each, reading in zip(together, found, strict=True)}
            done += len(together)
            progress(stage, done, len(todo))
    return {each: reading for each in asked if (reading := known[each.key]) is not None}


def judged(model: LanguageModel, asked: Sequence[Asked]) -> list[Reading | None]:
    """A reading of each claim, in order, None where the model makes no judgement.

    A model that gives likelihoods reads what prompts share once; of any other, yes or no in words is asked.
    """
    if not isinstance(model, Likelihoods):
        replies = model.generate([each.support_prompt for each in asked], _IN_WORDS)
        return [_in_words(reply.text) for reply in replies]
    pairs = [pairs_to_score(each) for each in asked]
    scored = iter(model.likelihoods([pair for each in pairs for pair in each]))
    return [reading_of([next(scored) for _ in each]) for each in pairs]


def cost(model: LanguageModel, asked: Sequence[Asked]) -> str:
    """What judging takes, in words."""
    passages = [(each.question, each.passage) for each in asked]
    read = set(passages) if isinstance(model, Likelihoods) else passages
    tokens = sum(model.count_tokens(passage) for _, passage in read)
    tokens += sum(model.count_tokens(f"{each.question} {each.before} {each.claim}") + _WORDS for each in asked)
    return f"{len(asked)} claims, about {tokens:,} tokens"


def unusable_note(judge: str, asked: Sequence[Asked], missing: int) -> list[str]:
    """What to say of claims without a judgement, if there are any."""
    if not missing:
        return []
    return [
        f"The judge {judge} gave no judgement of {missing} of {len(asked)} claims; the rule's verdict on them stands."
    ]


def _in_words(reply: str) -> Reading | None:
    found = _YES_NO.match(reply)
    return None if found is None else Reading(says_yes=found["said"].lower() == "yes")


def _row(judge: str, asked: Asked, reading: Reading | None) -> dict[str, Any]:
    return {"judge": judge, "asked": asked.key, "reading": None if reading is None else asdict(reading)}


def _recorded(log: LineLog, judge: str) -> dict[str, Reading | None]:
    found: dict[str, Reading | None] = {}
    try:
        for row in log.rows:
            if row["judge"] == judge:
                made = row["reading"]
                found[row["asked"]] = None if made is None else Reading(tuple(made["likelihoods"]), made["says_yes"])
    except (KeyError, TypeError) as error:
        raise DataError(log.path, "holds judgements of another version; delete it to judge again") from error
    return found
