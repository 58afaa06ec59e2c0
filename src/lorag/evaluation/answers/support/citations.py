"""Whether the passages that an answer cites, as in "It lasts 19 months [2].", support what it states."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lorag.evaluation.answers.support.assertions import statements
from lorag.evaluation.answers.support.standing import support
from lorag.types import Chunk

_NUMBERS = r"\[\d{1,2}(?:\s?[,;]\s?\d{1,2})*\]"
_CITED = re.compile(rf"\s*({_NUMBERS})")
_BEHIND = re.compile(rf"([.!?。])((?:\s*{_NUMBERS})+)")
"""Citations that stand behind the end of their sentence."""
_FIRST = 0xE100
"""The private-use character that stands for a citation of 0 while sentences are parted."""
_MARK = re.compile(f"[{chr(_FIRST)}-{chr(_FIRST + 99)}]")


@dataclass(frozen=True, slots=True)
class Citations:
    """How well an answer cites, as shares from 0 to 1."""

    precision: float
    """Of its citations, those whose passage supports a claim of the sentence where they stand."""
    recall: float
    """Of its sentences that claim something, those whose claims are all supported by the passages that they cite."""


def cites(text: str) -> bool:
    """Whether a text holds anything in the form of a citation."""
    return _CITED.search(text) is not None


def citations(text: str, question: str, sources: Sequence[Chunk], granted: Sequence[str] = ()) -> Citations | None:
    """How well an answer cites ``sources``, which are numbered from 1; None where no sentence of it cites anything.

    A number that no source has supports nothing. ``granted`` is as for ``support``.
    """
    precise: list[bool] = []
    whole: list[bool] = []
    for place, marked in enumerate(statements(_marked(text))):
        sentence = _MARK.sub("", marked)
        numbers = dict.fromkeys(ord(mark) - _FIRST for mark in _MARK.findall(marked))
        cited = [sources[number - 1] for number in numbers if 1 <= number <= len(sources)]

        asked = (sentence, question, granted, place > 0)
        if claims := _supported(cited, *asked):
            whole.append(all(claims))
            precise += [any(_supported([passage], *asked)) for passage in cited]
            precise += [False] * (len(numbers) - len(cited))
    return Citations(fmean(precise), fmean(whole)) if precise else None


def _supported(
    passages: Sequence[Chunk], sentence: str, question: str, granted: Sequence[str], further: bool
) -> list[bool]:
    """Which claims of a sentence the passages support."""
    claims = support(sentence, question, passages, granted, further=further)
    return [claim.standing == "supported" for claim in claims]


def _marked(text: str) -> str:
    """``text`` with each citation as one character, before the end of its sentence."""
    moved = _BEHIND.sub(r"\2\1", text)
    return _CITED.sub(lambda found: "".join(chr(_FIRST + int(n)) for n in re.findall(r"\d+", found[1])), moved)
