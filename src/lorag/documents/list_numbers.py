"""Numbers that a word processor gives to headings and items, counted from the levels of its lists."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_PLACE = re.compile(r"%(\d)")
_ROMAN = {
    **{1000: "m", 900: "cm", 500: "d", 400: "cd", 100: "c", 90: "xc", 50: "l", 40: "xl", 10: "x", 9: "ix", 5: "v"},
    **{4: "iv", 1: "i"},
}
_MOST = 10_000
"""Above it a number is written in digits, whatever its kind."""


@dataclass(frozen=True, slots=True)
class Level:
    """A level of a list: the kind of its numbers as Open XML calls it, what is written around them, and the first one.

    In ``pattern``, ``%1`` stands for the number of the first level, ``%2`` for that of the second.
    """

    kind: str
    pattern: str
    start: int = 1


class ListNumbers:
    """Counts the items of lists in reading order."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[int, int]] = {}

    def following(self, name: str, levels: Mapping[int, Level], depth: int, first: int | None = None) -> str:
        """What stands before the next item of the list ``name`` at ``depth``, from 0; empty for a bullet.

        With ``first`` the item has that number whatever stood before it.
        """
        counts = self._counts.setdefault(name, {})
        for deeper in [each for each in counts if each > depth]:
            del counts[deeper]
        level = levels[depth]
        counts[depth] = counts.get(depth, level.start - 1) + 1 if first is None else first
        if level.kind in ("bullet", "none"):
            return ""

        def number(place: re.Match[str]) -> str:
            at = int(place[1]) - 1
            of = levels.get(at, level)
            return _written(counts.get(at, of.start), of.kind)

        return _PLACE.sub(number, level.pattern).strip()


def _written(number: int, kind: str) -> str:
    if not 0 < number < _MOST:
        return str(number)
    if kind.endswith("Letter"):
        text = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
    elif kind.endswith("Roman"):
        text = ""
        for value, signs in _ROMAN.items():
            text, number = text + signs * (number // value), number % value
    else:
        return f"{number:02}" if kind == "decimalZero" else str(number)
    return text.upper() if kind.startswith("upper") else text
