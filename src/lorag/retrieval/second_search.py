"""A second search for questions that need two documents, of which only the first names the second.

"In which city is the company that made the pump?" describes the company. Its name stands in the passage about the pump,
which the first search finds; with this name, the second search finds the passage about the company.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from lorag.documents.chunking import searched_text
from lorag.types import Hit

_KEPT, _LAST_PLACE = 3, 5
"""The first search keeps places 1 to 3; the second search fills those up to 5."""
_FIRST_WORDS = 3
"""Words at the beginning of a question that begin no relative clause, such as "in which city"."""
_RELATIVE = {"which", "that", "who", "whose", "whom", "where"}
_NAME = re.compile(
    r"(?:[^\W\d_a-z][\w'\u2019\-]*\w|[A-Z0-9]+\d[\w.\-]*)"  # a capitalised word, or an identifier
    r"(?:(?: (?:of the|of|de|von|van|y))? (?:[^\W\d_a-z][\w'\u2019\-]*\w|\d[\w.\-]*))*"
)
_SENTENCE_START = re.compile(r"[.!?:|\n#>*-]\s*\Z")
_LOOK_BACK = 4
"""Characters before a word in which the end of a sentence, a cell or a list mark is looked for."""
_LEAST_LETTERS = 3
_NO_NAMES = """
the a an in on at of for to from by with and or as it he she they we you i his her its their this that these those there
when where which who what how if after before during while since until although though however also because but not no
one two some many most other each all both such between under over into than then so according only yet still even more
may can see new once another
"""
"""Words that begin or end no name, though a sentence or a title writes them with a capital."""
_NOT_IN_NAMES = frozenset(_NO_NAMES.split())


def asks_for_two(question: str) -> bool:
    """Whether an English question has a relative clause, and so may need a second document.

    Args:
        question: A question. In other languages the answer is nearly always no.

    Returns:
        True if which, that, who, whose, whom or where stands after the third word.
    """
    words = (word.strip(",?\"'").lower() for word in question.split()[_FIRST_WORDS:])
    return any(word in _RELATIVE for word in words)


def new_names(question: str, passage: str) -> list[str]:
    """The names in a passage that the question does not contain.

    A name is a run of capitalised words, such as "University of Utrecht", or an identifier, such as "HX-410". One
    capitalised word that begins a sentence counts only if the passage contains it twice.

    Args:
        question: A question.
        passage: The text of a passage, with its heading.

    Returns:
        Each name once, in the order of the passage.
    """
    asked, found = question.lower(), dict[str, None]()
    for match in _NAME.finditer(passage):
        name = _trimmed(match[0])
        if len(name) < _LEAST_LETTERS or not re.search(r"[^\W\d_]", name) or name.lower() in asked:
            continue
        before = passage[max(0, match.start() - _LOOK_BACK) : match.start()]
        begins = match.start() == 0 or _SENTENCE_START.search(before)
        if begins and re.fullmatch(r"[^\d ]+", name) and passage.count(name) == 1:
            continue
        found[name] = None
    return list(found)


def search_twice(
    queries: Sequence[str], k: int, search: Callable[[Sequence[str], int], list[list[Hit]]]
) -> list[list[Hit]]:
    """The hits of one search, and for questions with a relative clause the best two of a second one at places 4 and 5.

    The second search looks for the question and the names in its best passage. There is none for ``k`` below 4, where
    the first one found nothing, and where its best passage contains no new name.

    Args:
        queries: Questions, or other texts.
        k: Maximum number of passages for each of them.
        search: Finds the given number of passages for each text, the best first.

    Returns:
        At most ``k`` hits for each query, in its order, each on another chunk. Those of the second search are marked
        ``second`` and have its scores; what stood at their places moves down.
    """
    found = search(queries, k)
    longer: dict[int, str] = {}
    for row, (query, hits) in enumerate(zip(queries, found, strict=True)):
        if k > _KEPT and hits and asks_for_two(query) and (names := new_names(query, searched_text(hits[0].chunk))):
            longer[row] = " ".join((query, *names))
    if longer:
        for row, again in zip(longer, search(list(longer.values()), _LAST_PLACE), strict=True):
            found[row] = _placed(found[row], again, k)
    return found


def _placed(first: Sequence[Hit], second: Sequence[Hit], k: int) -> list[Hit]:
    """The best three of the first search, the best other hits of the second, and the rest of the first."""
    kept = first[:_KEPT]
    above = {hit.chunk.id for hit in kept}
    new = [replace(hit, via="second") for hit in second if hit.chunk.id not in above][: min(k, _LAST_PLACE) - _KEPT]
    above |= {hit.chunk.id for hit in new}
    return [*kept, *new, *(hit for hit in first[_KEPT:] if hit.chunk.id not in above)][:k]


def _trimmed(name: str) -> str:
    """``name`` without words at either end that belong to no name."""
    words = name.split(" ")
    while words and words[0].lower() in _NOT_IN_NAMES:
        words = words[1:]
    while words and words[-1].lower() in _NOT_IN_NAMES:
        words = words[:-1]
    return " ".join(words)
