"""What an answer states, one claim after the other."""

from __future__ import annotations

import re

from lorag.evaluation.answers.matching.reading import read
from lorag.evaluation.answers.matching.refusals import declines

_CLAUSE = re.compile(
    r"[,;]\s+(?=(?:which|who|whose|where|and|but|while|whereas|so|because|although|welche[rs]?|und|aber|weil|wobei"
    r"|et|mais|qui|y|pero|e|ma)\s)|;\s+",
    re.IGNORECASE,
)
"""Where a sentence begins another claim."""
_MARKUP = re.compile(r"[*_`#>]+|\[\d+(?:,\s?\d+)*\]|^\s*[-•]\s+", re.MULTILINE)
_STANCE = re.compile(
    r"^\W*(?:yes|no|ja|nein|oui|non|si|sim|nao|da|nee|да|нет|はい|いいえ|是的?|不是|네|아니요)(?:[,.!:]+\s*|$)",
    re.IGNORECASE,
)
_FEWEST_WORDS = 4
"""Words below which a sentence without a figure is no claim where it stands behind another, such as a signature."""


def assertions(text: str) -> list[str]:
    """The claims of an answer in order: its sentences, and clauses that go on to something else.

    Left out are questions, refusals, a bare yes or no, and, beside other sentences, exclamations and the few words of a
    signature.
    """
    return [claim for sentence in statements(text) for claim in clauses(sentence)]


def statements(text: str) -> list[str]:
    """The sentences of an answer that claim something; see ``assertions`` for those left out."""
    sentences = [_STANCE.sub("", sentence).strip() for sentence in _sentences(_MARKUP.sub("", text))]
    stated = [each for each in sentences if each.strip(" .!") and not each.endswith("?") and not declines(each)]
    calm = [each for each in stated if not each.endswith("!")] or stated
    return [each for place, each in enumerate(calm) if not place or _tells(each)]


def clauses(sentence: str) -> list[str]:
    """The claims of one sentence."""
    return [clause.strip() for clause in _CLAUSE.split(sentence) if read(clause).words or _figures(clause)]


def _sentences(text: str) -> list[str]:
    reading = read(text)
    begins = (0, *reading.sentences)
    ends = (*reading.sentences, len(reading.text))
    return [reading.text[begin:end].strip() for begin, end in zip(begins, ends, strict=True)]


def _tells(sentence: str) -> bool:
    return len(read(sentence).words) >= _FEWEST_WORDS or _figures(sentence)


def _figures(text: str) -> bool:
    return bool(read(text).quantities)
