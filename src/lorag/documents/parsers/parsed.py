"""What a parser hands back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lorag.types import Place

_BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True)
class Parsed:
    """The text of a file as Markdown, the title that it gives itself, and its pages, slides or sheets.

    ``notes`` say what is not in the text though it is in the file, or is there by a guess; each begins in lower case
    and makes a sentence after the file's name.
    """

    text: str
    title: str = ""
    places: tuple[Place, ...] = ()
    notes: tuple[str, ...] = ()


def blocks(parts: Iterable[str]) -> str:
    """The parts that hold a word, with blank lines between them."""
    return _BETWEEN.join(part.strip("\n") for part in parts if part.strip())


def in_places(parts: Iterable[tuple[str, str]]) -> tuple[str, tuple[Place, ...]]:
    """Texts with the names of their places become one text, and where in it each place begins; blank ones are left
    out.
    """
    text, places = "", []
    for name, part in parts:
        if part.strip():
            text += _BETWEEN if text else ""
            places.append(Place(len(text), name))
            text += part.strip("\n")
    return text, tuple(places)
