"""Letters of a page, each with its place, and what they make: pieces of lines, and texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""Left, bottom, right and top, in points."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A character with its box, which is as high as its font; blanks and line breaks may be ones that nobody drew."""

    sign: str
    box: Box
    is_drawn: bool = True

    @property
    def middle(self) -> tuple[float, float]:
        """The point in the middle of it."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a line, or a table with its rows: its letters by number, its box, and its text."""

    numbers: Sequence[int]
    box: Box
    text: str
    rows: list[list[str]] | None = None

    @property
    def middle(self) -> float:
        """How high the middle of it stands."""
        return (self.box[1] + self.box[3]) / 2

    @property
    def height(self) -> float:
        """How high it is."""
        return self.box[3] - self.box[1]


def text_of(letters: Sequence[Letter], numbers: Sequence[int]) -> str:
    """The letters with these numbers; where others stood between them, a line ends."""
    signs: list[str] = []
    for at, number in enumerate(numbers):
        if at and number != numbers[at - 1] + 1:
            signs.append("\n")
        signs.append(letters[number].sign)
    return "".join(signs).strip()


def pieces(letters: Sequence[Letter], without: set[int]) -> list[Part]:
    """The letters in lines, which also end at a gap as wide as a line is high."""
    runs: list[list[int]] = []
    before: Letter | None = None
    for number, letter in enumerate(letters):
        if number in without:
            before = None
        elif letter.is_drawn and not letter.sign.isspace():
            if before is None or not continues(before, letter):
                runs.append([])
            runs[-1].append(number)
            before = letter
        elif before is not None:
            runs[-1].append(number)
    return [Part(run, around(letters, run), text_of(letters, run)) for run in runs]


def continues(before: Letter, letter: Letter) -> bool:
    """Whether a letter stands in one line with the one before it, and near it."""
    (left, bottom, right, top), (other_left, other_bottom, other_right, other_top) = letter.box, before.box
    height = min(top - bottom, other_top - other_bottom)
    gap = max(left - other_right, other_left - right)
    return abs(bottom + top - other_bottom - other_top) <= height and gap <= height


def around(letters: Sequence[Letter], numbers: Iterable[int]) -> Box:
    """The box around the letters with these numbers."""
    boxes = [
        letters[number].box for number in numbers if letters[number].is_drawn and not letters[number].sign.isspace()
    ]
    lefts, bottoms, rights, tops = zip(*boxes, strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)
