"""What a parser hands back."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from lorag.errors import DataError
from lorag.types import Attributes, Place

HIDDEN_SHEETS = "has hidden sheets, which were read too"
"""A note, in front of the names of the sheets."""
_BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True)
class Parsed:
    """The text of a file as Markdown, the title that it gives itself, and its pages, slides or sheets.

    ``notes`` say what is not in the text though it is in the file, or is there by a guess; each begins in lower case
    and makes a sentence after the file's name. ``meta`` is what else the file says of itself.
    """

    text: str
    title: str = ""
    places: tuple[Place, ...] = ()
    notes: tuple[str, ...] = ()
    meta: Attributes = ()


class NoTextError(DataError):
    """A file that can be read and holds nothing that a document is made of."""


def raising(limit: str) -> str:
    """What to raise for a file that exceeds a limit of ``LoadSettings``, for messages."""
    return f"raise LoadSettings.{limit} or the environment variable LORAG_{limit.upper()}"


def counted(notes: Mapping[str, int]) -> tuple[str, ...]:
    """The notes with the numbers of what each is about, which ``{s}`` and ``{were}`` in it follow; none for 0."""
    words = {True: {"s": "", "were": "was"}, False: {"s": "s", "were": "were"}}
    return tuple(f"has {count} {note.format(**words[count == 1])}" for note, count in notes.items() if count)


def attributes_of(values: Mapping[str, object], used: Collection[str]) -> Attributes:
    """The keys of ``values`` that are not ``used``, with what they hold as text."""
    found = (pair for key, value in values.items() if key not in used for pair in _pairs(key, value))
    return tuple(dict.fromkeys(found))


def _pairs(key: str, value: object) -> Iterator[tuple[str, str]]:
    """``value`` as text under ``key``: each of a list, each of an object under ``key.name``, and no null."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _pairs(f"{key}.{name}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _pairs(key, inner)
    elif value is not None:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        # Half a surrogate pair is no character and cannot be stored.
        yield key.encode(errors="replace").decode(), text.encode(errors="replace").decode()


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
