"""A text as a comparison reads it: its figures as values, its words with their place in sentences and clauses."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from lorag.evaluation.answers.matching.quantities import Quantity, quantities
from lorag.evaluation.answers.matching.words import UNSPACED, UNSPACED_RANGES, canonical, stems

_LETTER = rf"[^\W\d_{UNSPACED_RANGES}]"
_WORD = re.compile(
    r"(?<![\w-])(?:AB|[A-Z])[+-](?![\w+-])"  # a grade, a blood group
    rf"|{_LETTER}+(?![\w.@+#:/'])"  # most words; the rest is for words with signs in them
    r"|(?<![\w/])(?:\w+://|~?/|\.{1,2}/)[\w./@%~+#?=&-]*[\w/]"  # an address or a path
    r"|(?<![\w-])--?[A-Za-z][\w-]*"  # an option of a command
    r"|(?<!\w)[#@][A-Za-z_]\w*"  # a channel, a handle
    r"|(?<![\w.+-])[\w.+-]+@[\w-]+\.[\w.-]*\w"
    r"|(?<![\w.])\.[A-Za-z]\w+|[A-Za-z]\w*(?:\+\+|\#)(?!\w)"  # .NET, C++, C#
    r"|(?:(?<!\w)[A-Za-z]\.){2,}[A-Za-z]?\b"  # U.S.
    rf"|(?P<unspaced>[{UNSPACED_RANGES}]+)"
    rf"|(?=\w*\d)\w+(?:\.\d+)+\w*|[^\W{UNSPACED_RANGES}]+(?:'[^\W\d_]+)?"
)
_ELIDED = re.compile(r"^(?:[ldjnsctm]|qu)'(?=\w{2})")
_SENTENCE_END = re.compile(r"[.!?](?=[\"')\]]*(?:\s|$))|(?<=[\u3040-\u9fff])[!?]|[。\n]|;(?=\s)")
_CLAUSE_END = re.compile(
    r",(?!\d)|[:()\u2014、]|\s-\s"
    r"|\b(?:but|although|though|while|whereas|however|because|since|aber|sondern|weil|mais|sino|pero|sondern|но)\b"
    r"|但|而是|しかし|が、",
    re.IGNORECASE,
)
_VERSION = re.compile(r"^v(?=\d)")
_FOOTNOTE = re.compile(r"(?<=[a-z]{4})\d{1,2}$")
"""The number of a note glued to a word."""
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|Mr|Mrs|Ms|Dr|St|Prof|Jr|Sr|No|vs|Inc|Ltd|Co|Mt|ca|cf|Nr|bzw|e\.g|i\.e)$"
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word, folded, and where it stands in the canonical text."""

    fold: str
    raw: str
    start: int
    end: int

    @property
    def capital(self) -> bool:
        """Whether it is written with a capital."""
        return self.raw[:1].isupper()

    @property
    def acronym(self) -> bool:
        """Whether it is written in capitals only."""
        return len(self.fold) > 1 and self.raw.isupper()


@dataclass(frozen=True)
class Reading:
    """A text taken apart once."""

    text: str
    words: tuple[Word, ...]
    """Every word that is no part of a figure."""
    quantities: tuple[Quantity, ...]
    sentences: tuple[int, ...]
    """Where sentences end."""
    clauses: tuple[int, ...]
    """Where clauses end, sentences included."""

    @cached_property
    def places(self) -> Mapping[str, Sequence[int]]:
        """The words in which each stem stands, by their number."""
        found: dict[str, list[int]] = {}
        for number, word in enumerate(self.words):
            for stem in stems(_FOOTNOTE.sub("", word.fold)) if word.fold[-1].isdigit() else ():
                found.setdefault(stem, []).append(number)
            for stem in stems(word.fold.lstrip("#@")):
                found.setdefault(stem, []).append(number)
            if word.fold[0] in "#@":
                found.setdefault(word.fold, []).append(number)
        return found

    @cached_property
    def joined(self) -> str:
        """The words without spaces between them, for compounds written apart."""
        return "".join(word.fold for word in self.words)

    @cached_property
    def joints(self) -> frozenset[int]:
        """Places in ``joined`` where a word begins or ends."""
        places, at = {0}, 0
        for word in self.words:
            at += len(word.fold)
            places.add(at)
        return frozenset(places)

    def find(self, fold: str) -> Sequence[int]:
        """The numbers of the words that are ``fold``, endings aside."""
        if UNSPACED.match(fold):
            return [number for number, word in enumerate(self.words) if fold in word.fold]
        return sorted({number for stem in stems(fold) for number in self.places.get(stem, ())})

    def sentence(self, place: int) -> int:
        """The number of the sentence at a place of the text."""
        return bisect_right(self.sentences, place)

    def clause(self, place: int) -> int:
        """The number of the clause at a place of the text."""
        return bisect_right(self.clauses, place)


@lru_cache(maxsize=2**14)
def read(text: str) -> Reading:
    """``text`` taken apart; the same text is taken apart once."""
    plain = canonical(text).strip()
    figures = quantities(plain)
    spans = [(figure.start, figure.end) for figure in figures]
    words, next_span = [], 0
    for match in _WORD.finditer(plain):
        while next_span < len(spans) and spans[next_span][1] <= match.start():
            next_span += 1
        if next_span < len(spans) and match.start() < spans[next_span][1] and spans[next_span][0] < match.end():
            if match["unspaced"]:
                words += _around(match, spans[next_span])
            continue
        fold = _fold(match[0])
        if fold:
            words.append(Word(fold, match[0], match.start(), match.end()))
    sentences = tuple(end.end() for end in _SENTENCE_END.finditer(plain) if not _abbreviated(plain, end))
    clauses = tuple(sorted({*sentences, *(end.end() for end in _CLAUSE_END.finditer(plain))}))
    return Reading(plain, tuple(words), figures, sentences, clauses)


def _around(match: re.Match[str], span: tuple[int, int]) -> list[Word]:
    """What of an unspaced run stands before and behind a figure in it."""
    pieces = [(match.start(), min(span[0], match.end())), (max(span[1], match.start()), match.end())]
    text = match.string
    return [Word(text[a:b], text[a:b], a, b) for a, b in pieces if a < b]


def _abbreviated(text: str, end: re.Match[str]) -> bool:
    return end[0] == "." and _ABBREVIATION.search(text[max(0, end.start() - 6) : end.start()]) is not None


def _fold(raw: str) -> str:
    if raw.isalpha():
        return raw.casefold()
    if not raw[0].isalnum() or "@" in raw or raw.endswith(("+", "-", "#")) or "://" in raw:
        return raw.casefold()
    fold = _ELIDED.sub("", raw.casefold()).removesuffix("'s").replace("'", "").replace("_", "")
    return fold.replace(".", "") if fold.replace(".", "").isalpha() else _VERSION.sub("", fold)
