"""The style a developer declares for answers, and how much of it an answer keeps.

Checks are mechanical and few. Style never enters correctness.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lorag.errors import DataError
from lorag.files import read_json

_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?![a-z])|\n+")


@dataclass(frozen=True, slots=True)
class Style:
    """What answers should look like; a check that is None (or empty) is not declared."""

    max_sentences: int | None = None
    """Most sentences: one ends at ``. ! ?`` before white space and no lower-case letter, and at a line break."""
    max_words: int | None = None
    """Most words, separated by white space."""
    ends_with: str | None = None
    """What the answer must end with, white space at the end aside."""
    avoid: tuple[str, ...] = ()
    """Words and phrases that must not occur, whatever their case; one check for the whole list."""

    def share(self, text: str) -> float | None:
        """The share of declared checks that ``text`` passes, from 0 to 1; None when none is declared."""
        checks = []
        if self.max_sentences is not None:
            checks.append(count_sentences(text) <= self.max_sentences)
        if self.max_words is not None:
            checks.append(len(text.split()) <= self.max_words)
        if self.ends_with is not None:
            checks.append(text.rstrip().endswith(self.ends_with.rstrip()))
        if self.avoid:
            checks.append(not any(_occurs(phrase, text) for phrase in self.avoid))
        return sum(checks) / len(checks) if checks else None


def count_sentences(text: str) -> int:
    """The number of sentences; abbreviations before a capital ("Dr. Ito") count as an end."""
    return sum(bool(piece.strip()) for piece in _SENTENCE_END.split(text))


def _occurs(phrase: str, text: str) -> bool:
    """Whether ``phrase`` occurs in ``text``, not as a part of a longer word."""
    before = r"(?<!\w)" if re.match(r"\w", phrase) else ""
    after = r"(?!\w)" if re.search(r"\w$", phrase) else ""
    return re.search(before + re.escape(phrase) + after, text, re.IGNORECASE) is not None


def read_style(path: Path) -> Style:
    """The style declared in a JSON file such as ``{"max_sentences": 2, "avoid": ["as an AI"]}``.

    Raises ``DataError`` for broken JSON, an unknown key (naming the nearest valid one), a wrong value, or a file
    that declares nothing.
    """
    declared = read_json(path)
    if not isinstance(declared, dict) or not declared:
        raise DataError(path, 'declares no style; expected a JSON object such as {"max_sentences": 2}')
    known = [field.name for field in fields(Style)]
    for key in declared:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise DataError(path, f"unknown key {key!r}, expected one of {', '.join(known)}; did you mean {near!r}?")
    return Style(**{key: _value(path, key, value) for key, value in declared.items()})


def _value(path: Path, key: str, value: Any) -> Any:
    if key in ("max_sentences", "max_words"):
        if type(value) is not int or value < 1:
            raise DataError(path, f"{key!r} is {value!r}, expected a whole number of at least 1")
        return value
    if key == "ends_with":
        if not isinstance(value, str) or not value.strip():
            raise DataError(path, f"{key!r} is {value!r}, expected the text that answers end with")
        return value
    if not isinstance(value, list) or not value or not all(isinstance(v, str) and v.strip() for v in value):
        raise DataError(path, f'{key!r} is {value!r}, expected a list of phrases such as ["as an AI"]')
    return tuple(value)
