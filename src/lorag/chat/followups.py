"""What is searched for when a question leans on the ones before it ("And how heavy is it?").

A rule, not a model: a leaning question is searched for together with the question it leans on. A small model that
rewrites it costs seconds and finds less (docs/log.md). The words of the rule are English; in another language a
question is searched for as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lorag.types import Message

_REACH = 3
"""Most earlier questions taken along."""
_REFERRING = re.compile(
    r"\b(?:it|its|they|them|their|he|him|his|she|her|this|that|these|those|one|ones|there|then)\b"
    r"|\bthe (?:same|rest|others?|former|latter|first|second|last)\b"
    r"|^(?:and|but|or|so|why|else|otherwise|(?:what|how) about|what (?:if|happens))\b",
    re.IGNORECASE,
)
_PLAIN = re.compile(
    r"an?|the|is|are|was|were|be|do|does|did|can|could|may|must|should|would|will|have|has|had|how|what|when|where|which"
    r"|who|whom|whose|why|long|much|many|often|far|fast|of|for|to|in|on|at|by|with|from|and|or|but|not|i|we|you|my|our"
    r"|your|if|as|any|there"
)
"""Words that ask without saying of what."""
_NAMED = re.compile(r"\s\w*[A-Z0-9]")
"""A name or a number after the first word."""


def search_query(question: str, history: Sequence[Message]) -> str:
    """``question``, after the earlier questions that it leans on, up to one that stands alone."""
    asked = [turn.content for turn in history if turn.role == "user"][-_REACH:]
    query = [question]
    while asked and not stands_alone(query[0]):
        query.insert(0, asked.pop())
    return " ".join(query)


def stands_alone(question: str) -> bool:
    """Whether a question names what it asks about.

    No word of it points back, and it holds a name, or three telling words; two where there is no "the" (the holes:
    which?).
    """
    if _REFERRING.search(question.strip()):
        return False
    words = re.findall(r"\w+", question.lower())
    telling = [word for word in words if not _PLAIN.fullmatch(word)]
    return bool(_NAMED.search(question.strip())) or len(telling) >= (3 if "the" in words else 2)
