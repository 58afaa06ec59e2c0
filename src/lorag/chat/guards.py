"""A list of blocked words: a question that holds one is refused, in an answer it is masked.

Words are compared whole and in any case; a phrase may stand with other white space between its words. Not here:
meaning. Whoever writes a word in another way gets past a list.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TypeVar

from lorag.files import read_text

T = TypeVar("T")

_GAP = 3
"""Most characters of white space between two words of a phrase."""


class WordGuard:
    """Finds and masks the words of a list."""

    def __init__(self, words: Sequence[str]) -> None:
        """``words`` are words or phrases; without any, everything passes."""
        phrases = [word.split() for word in words]
        gap = rf"\s{{1,{_GAP}}}"
        forms = (gap.join(map(re.escape, phrase)) for phrase in sorted(phrases, key=len, reverse=True))
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(forms)})(?!\w)", re.IGNORECASE) if phrases else None
        self._reach = 1 + max((len("".join(phrase)) + _GAP * len(phrase) for phrase in phrases), default=0)

    def found(self, text: str) -> tuple[str, ...]:
        """The listed words in ``text``, as they stand there, each once."""
        return tuple(dict.fromkeys(self._pattern.findall(text))) if self._pattern else ()

    def masked(self, text: str) -> str:
        """``text`` with every character of a listed word as ``*``."""
        return self._pattern.sub(lambda match: "*" * len(match[0]), text) if self._pattern else text

    def masking(self, pieces: Generator[str, None, T]) -> Generator[str, None, T]:
        """The pieces masked; the end of what came is held back while it may still become a listed word."""
        if self._pattern is None:
            return (yield from pieces)
        text, shown = "", 0
        try:
            while True:
                text += next(pieces)
                settled = len(text) - self._reach
                if settled > shown:
                    yield self.masked(text)[shown:settled]
                    shown = settled
        except StopIteration as end:
            if rest := self.masked(text)[shown:]:
                yield rest
            return end.value  # type: ignore[no-any-return]
        finally:
            pieces.close()


def read_words(path: Path) -> tuple[str, ...]:
    """The words or phrases of a text file, one per line; blank lines are skipped."""
    return tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
