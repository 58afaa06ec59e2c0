"""Whether a text holds a reference: by value where it is a figure, by its words where it is not.

A short reference is held where one sentence has its figures, by value and with their sign and unit, and enough of the
words that it adds to the question, in any order and with any ending. Of a long one, enough must stand anywhere.
A reference may name alternatives ("A or B") or a list, all of whose items are needed ("A, B and C").
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache

from lorag.evaluation.answers.matching.claims import Known, Span, among_rivals, denied, negative
from lorag.evaluation.answers.matching.names import TITLES, acronym_places, asks_for_a_person, is_name, name_places
from lorag.evaluation.answers.matching.quantities import Quantity
from lorag.evaluation.answers.matching.reading import Reading, Word, read
from lorag.evaluation.answers.matching.units import units
from lorag.evaluation.answers.matching.values import same_value
from lorag.evaluation.answers.matching.words import FUNCTION_WORDS, UNSPACED, canonical, stems, tokens

LONG_REFERENCE = 8
"""Tokens after normalisation from which a reference counts as a sentence, whose exact wording nobody repeats."""

_LONGEST_LIST = 500
"""Characters from which a reference is no list of items."""
Weight = Callable[[str], float]


@dataclass(frozen=True, slots=True)
class Grade:
    """How near an answer must be to its reference."""

    name: str
    recall: float
    """Least share of a short reference's new words, by weight."""
    long_recall: float
    """The same of a long one."""
    exact: bool = False
    """Whether units must be given, figures not rounded, and names complete."""
    candidates: bool = False
    """Whether one of several candidates is enough."""


STRICT = Grade("strict", 0.99, 0.6, exact=True)
NORMAL = Grade("normal", 0.6, 0.4)
LENIENT = Grade("lenient", 0.4, 0.25, candidates=True)
PASSAGE = Grade("passage", 0.99, 0.35)
"""For passages: every word of a short reference, so that evidence is not found where only half of it stands.

What else a passage states, other figures and limits included, does not count against it.
"""


@dataclass(frozen=True, slots=True)
class _Item:
    """What of a reference, or of one item of its list, an answer must hold."""

    words: tuple[Word, ...]
    quantities: tuple[Quantity, ...]
    all_words: tuple[Word, ...]
    text: str


_EXPRESSION = re.compile(
    r"[=*^|\\∈∉]|[<>](?!=?\s?[\d.])|[A-Za-z\d]\s\+\s[A-Za-z\d]|\b[A-Za-z]\s?/\s?\d|\d\s/\s\d|\b[A-Za-z]\s-\s[A-Za-z\d]\b"
)
_PARENTHESIS = re.compile(r"(?:^|\s)\s*[(\[][^()\[\]]*[)\]]\s*")
_ALTERNATIVES = re.compile(r"\s(?:or|oder|ou|o|или)\s|(?<!\d)\s/\s|;\s")
_ITEMS = re.compile(
    r"\s*(?:,(?!\d)|[;\n、•])\s*(?:(?:and|und|et|y|e|en|и|&)\s+)?|\s+(?:and|und|et|&)\s+|(?<=[\u3040-\u9fff])[和と](?=[\u3040-\u9fff])"
)
_VERSION = re.compile(r"\bversions?\b|\brelease\b|\bpython\b|\bv\.?\s?\d", re.IGNORECASE)
_COPULA = re.compile(r"(?:です|でした|である|だ|입니다|이다)$")
_HOW_MANY = re.compile(
    r"\b(?:how many|wie viele|combien d[e']|cuant[oa]s|quant[ie]|quant[oa]s|hoeveel)\s?(\w+)", re.IGNORECASE
)
_BETWEEN = re.compile(r"\b(?:between|from|zwischen|von|entre|tra|fra|tussen|между)\b", re.IGNORECASE)
_SCALES = (("thousand", 3), ("million", 6), ("billion", 9))
_YES = re.compile(r"^\W*(?:yes|yeah|ja|oui|si|sim|да|はい|是的?|对|네|예)(?!\w|\s(?:or|oder|ou|o)\s)", re.IGNORECASE)
_NO = re.compile(
    r"^\W*(?:no|nope|nein|non|nao|nee|нет|いいえ|不是?|否|아니요|아니오)(?!\w|\s(?:or|oder|ou|o)\s)", re.IGNORECASE
)
_SAID_YES = re.compile(r"(?<!\w)(?:yes|ja|oui|si|sim)(?!\w)", re.IGNORECASE)
_SAID_NO = re.compile(r"(?<!\w)(?:no|nein|non|nao|nee)(?!\w)", re.IGNORECASE)
_NEEDED = frozenset(
    {"no", "not", "non", "never", "without", "only", "except", "nicht", "kein", "ohne", "nur", "pas", "sin"}
)
"""Words that no share of the others makes up for."""


def holds(text: str, question: str, reference: str, weight: Weight, grade: Grade = PASSAGE) -> bool:
    """Whether a passage has what ``reference`` needs, whatever else it says."""
    reading = read(text)
    return any(
        all(_places(item, reading, question, weight, grade) for item in items)
        for items in _variants(reference, question)
    )


def agrees(text: str, question: str, references: Sequence[str], weight: Weight, grade: Grade = NORMAL) -> bool:
    """Whether an answer gives one of ``references``: holds it, stands by it, and gives no other candidate beside it."""
    reading = read(text)
    if any(_identical(text, reference) for reference in references):
        return True
    return any(_agrees(reading, question, reference, references, weight, grade) for reference in references)


def _identical(text: str, reference: str) -> bool:
    """Whether an answer is the reference itself, in whatever Unicode spelling."""
    return text.strip() == reference.strip() or read(text).text == read(reference).text != ""


def _agrees(
    reading: Reading, question: str, reference: str, references: Sequence[str], weight: Weight, grade: Grade
) -> bool:
    wanted, given = _stance(read(reference).text), _stance(reading.text)
    if wanted is not None:
        return _same_stance(reading, question, reference, wanted, given, weight, grade)
    known = _known(question, tuple(references))
    asked_negative = negative(read(question).text) or negative(read(reference).text)

    def stands(span: Span) -> bool:
        if not asked_negative and denied(reading, span):
            return False
        return grade.candidates or not among_rivals(reading, span, known)

    for items in _variants(reference, question):
        places = [_places(item, reading, question, weight, grade) for item in items]
        if all(places) and all(any(stands(span) for span in spans) for spans in places):
            return True
    return False


def _stance(text: str) -> bool | None:
    """Yes, no, or None where a text begins with neither."""
    return True if _YES.match(text) else False if _NO.match(text) and not re.match(r"\W*no\.? \w", text, re.I) else None


def _same_stance(
    reading: Reading, question: str, reference: str, wanted: bool, given: bool | None, weight: Weight, grade: Grade
) -> bool:
    rest = (_YES if wanted else _NO).sub("", read(reference).text).strip(" ,.;:-—")
    if given is not None:
        return given == wanted and (not grade.exact or not rest or holds(reading.text, question, rest, weight, NORMAL))
    if rest:
        return holds(reading.text, question, rest, weight, grade) and negative(rest) == negative(reading.text)
    first = reading.text[: reading.sentences[0]] if reading.sentences else reading.text
    asked = {word.fold for word in read(question).words if word.fold not in FUNCTION_WORDS}
    said = [fold for fold in asked if read(first).find(fold)]
    if wanted and _SAID_YES.search(first) and not _SAID_NO.search(first):
        return True
    return bool(asked) and len(said) >= len(asked) / 2 and negative(first) != wanted


@lru_cache(maxsize=2**12)
def _known(question: str, references: tuple[str, ...]) -> Known:
    readings = [read(reference) for reference in references]
    words = frozenset(stem for reading in readings for word in reading.words for stem in stems(word.fold))
    asked = frozenset(stem for word in read(question).words for stem in stems(word.fold))
    return Known(words, asked, tuple(figure for reading in readings for figure in reading.quantities))


@lru_cache(maxsize=2**14)
def _variants(reference: str, question: str) -> tuple[tuple[_Item, ...], ...]:
    """The ways in which ``reference`` can be given, each the items that it needs."""
    texts = [reference]
    if "(" in reference and (bare := _PARENTHESIS.sub(" ", reference).strip()):
        texts.append(bare)
    if len(tokens(reference)) < 2 * LONG_REFERENCE:
        texts += [part for text in texts for part in _ALTERNATIVES.split(text) if part.strip() and part != text]
    found = [tuple(_item(part, question) for part in _items(text)) for text in dict.fromkeys(texts)]
    return tuple(
        items for items in found if all(item.words or item.quantities or _is_expression(item) for item in items)
    )


def _items(text: str) -> list[str]:
    """The items of a list, or ``text`` itself."""
    plain = read(text).text
    if len(plain) > _LONGEST_LIST:
        return [text]
    lines = [line for line in plain.splitlines() if line.strip()]
    if len(lines) > 1 and all(len(tokens(line)) < LONG_REFERENCE for line in lines):
        return lines
    inside = [(figure.start, figure.end) for figure in read(text).quantities]
    if any(start < match.start() < end for match in _ITEMS.finditer(plain) for start, end in inside):
        return [text]
    parts = [part for part in _ITEMS.split(plain) if part and part.strip(" .")]
    short = all(len(tokens(part)) <= 3 for part in parts)
    joined = re.search(r"\s(?:and|und|et|y|&)\s|\n|[和と]", plain) is not None
    return parts if short and (len(parts) > 2 or (len(parts) == 2 and joined)) else [text]


def _item(text: str, question: str) -> _Item:
    reading = read(text)
    content = [word for word in reading.words if word.fold not in FUNCTION_WORDS or word.acronym]
    content = [word for word in content if word.fold not in TITLES] or content or list(reading.words)
    asked = read(question)
    new = [word for word in content if not _asked(word, asked)]
    figures = [
        _unasked(q, question) for q in reading.quantities if not any(same_value(q, o, True) for o in asked.quantities)
    ]
    if not new and not figures:
        new, figures = content, list(reading.quantities)
    parts = [piece for word in new for piece in pieces(word)]
    return _Item(tuple(parts), tuple(dict.fromkeys(figures)), tuple(content), reading.text)


def _unasked(figure: Quantity, question: str) -> Quantity:
    """A date without the year where the question gives it."""
    year, *day = figure.values
    return replace(figure, values=(Decimal(0), *day)) if figure.kind == "date" and str(year) in question else figure


def _asked(word: Word, asked: Reading) -> bool:
    return bool(asked.find(word.fold)) if not UNSPACED.match(word.fold) else word.fold in asked.text


def pieces(word: Word) -> Iterator[Word]:
    """A word; of a long run without spaces its pairs of characters."""
    fold = _COPULA.sub("", word.fold) if UNSPACED.match(word.fold) else word.fold
    if not UNSPACED.match(word.fold) or len(fold) <= 4:
        yield Word(fold or word.fold, word.raw, word.start, word.end)
    else:
        for at in range(len(fold) - 1):
            yield Word(fold[at : at + 2], fold[at : at + 2], word.start + at, word.start + at + 2)


def _is_expression(item: _Item) -> bool:
    return _EXPRESSION.search(item.text) is not None


def _places(item: _Item, reading: Reading, question: str, weight: Weight, grade: Grade) -> list[Span]:
    """Where ``reading`` holds ``item``; empty where it does not."""
    if _is_expression(item):
        return _expression_places(item.text, reading)
    if len(tokens(item.text)) >= LONG_REFERENCE:
        return _long_places(item, reading, question, weight, grade)
    figures = [_figure_places(figure, item, reading, question, grade) for figure in item.quantities]
    if not all(figures):
        return []
    if not item.words:
        return [span for spans in figures for span in spans]
    words = _word_places(item, reading, question, weight, grade)
    if not figures or not words:
        return words
    sentences = {reading.sentence(start) for start, _ in words}
    near = {number + step for number in sentences for step in (-1, 0, 1)}
    return [span for spans in figures for span in spans if reading.sentence(span[0]) in near]


def _expression_places(text: str, reading: Reading) -> list[Span]:
    """Where a formula stands, spaces aside."""
    wanted = r"\s*".join(re.escape(character) for character in re.sub(r"\s+", "", text).rstrip("."))
    around = r"[\w*/^+=-]"
    return [match.span() for match in re.finditer(rf"(?<!{around}){wanted}(?!{around})", reading.text, re.IGNORECASE)]


def _figure_places(wanted: Quantity, item: _Item, reading: Reading, question: str, grade: Grade) -> list[Span]:
    if grade is PASSAGE:
        wanted = replace(wanted, bound="")
    scales = [Decimal(10) ** power for name, power in _SCALES if name in question.casefold()]
    versions = _VERSION.search(f"{question} {item.text} {reading.text}") is not None
    found = [
        (figure.start, figure.end)
        for figure in reading.quantities
        if same_value(wanted, figure, grade.exact, versions, scales)
        and _counts(wanted, figure, item, reading, question, grade)
    ]
    if not found and wanted.kind == "number":
        ranges = [figure for figure in reading.quantities if figure.kind == "range"]
        either = grade is PASSAGE or _BETWEEN.search(question) is not None
        return [(r.start, r.end) for r in ranges if _is_end(wanted, r, grade.exact, either)]
    if not found and wanted.kind == "range":
        ends = [_figure_places(end, item, reading, question, grade) for end in wanted.parts]
        return [span for spans in ends for span in spans] if all(ends) else []
    return found


def _is_end(wanted: Quantity, found: Quantity, exact: bool, either: bool) -> bool:
    """Whether a number is the end of a range that its bound names ("up to 20" of "10 to 20"), or ``either`` end."""
    ends = {"": (), ">": found.parts[:1], "<": found.parts[1:]}[wanted.bound]
    return any(same_value(replace(wanted, bound=""), end, exact) for end in (found.parts if either else ends))


def _counts(wanted: Quantity, figure: Quantity, item: _Item, reading: Reading, question: str, grade: Grade) -> bool:
    """Whether a figure may be ``wanted`` where only one of the two has a unit.

    "50" may be 50 %, but the "50" of "50 seats" may not; and "12 minutes" is no answer to "How many users?".
    """
    if figure.kind != "number" or not (figure.dimension or wanted.dimension):
        return True
    if figure.dimension:
        counted = _HOW_MANY.search(canonical(question))
        return bool(wanted.dimension) or counted is None or counted[1].casefold() in units()
    if grade.exact:
        return False
    after = next((word for word in reading.words if word.start >= figure.end), None)
    if after is None or reading.text[figure.end : after.start] not in (" ", "-") or after.fold in FUNCTION_WORDS:
        return True
    return bool(read(item.text).find(after.fold) or read(question).find(after.fold)) or after.capital


def _word_places(item: _Item, reading: Reading, question: str, weight: Weight, grade: Grade) -> list[Span]:
    """Where a sentence has enough of the words of ``item``; names, acronyms and compounds as people write them."""
    exact = grade.exact
    places = {word.fold: reading.find(word.fold) for word in item.words}
    total = math.fsum(weight(fold) for fold in places)
    by_sentence: dict[int, dict[str, int]] = {}
    for fold, numbers in places.items():
        for number in numbers:
            by_sentence.setdefault(reading.sentence(reading.words[number].start), {}).setdefault(fold, number)
    found = []
    for hits in by_sentence.values():
        enough = math.fsum(weight(fold) for fold in hits) >= grade.recall * total - 1e-9
        enough = enough and all(fold in hits for fold in places if fold in _NEEDED)
        if enough and (grade.candidates or not _replaced(item, hits, reading, question)):
            heaviest = max(hits, key=lambda fold: (weight(fold), fold))
            found.append(_span(reading.words[hits[heaviest]], heaviest))
    if found:
        return found
    if glued := _glued_places(item.all_words, reading):
        return glued
    numbers = []
    if not exact and is_name(item.all_words):
        numbers = name_places(item.all_words, reading, asks_for_a_person(question))
    if not exact and not numbers:
        numbers = acronym_places(item.all_words, reading)
    return [(reading.words[number].start, reading.words[number].end) for number in numbers]


def _span(word: Word, fold: str) -> Span:
    """Where ``fold`` stands in a word, which may be a whole run without spaces."""
    at = word.fold.find(fold) if UNSPACED.match(fold) else 0
    return (word.start + at, word.start + at + len(fold)) if UNSPACED.match(fold) else (word.start, word.end)


def _replaced(item: _Item, hits: Mapping[str, int], reading: Reading, question: str) -> bool:
    """Whether another word stands where one of ``item`` is missing: "blue outer seal" for "red outer seal"."""
    known = _known(question, (item.text,))
    for place, word in enumerate(item.words):
        if word.fold in hits:
            continue
        for neighbour, step in ((place + 1, -1), (place - 1, 1)):
            if not 0 <= neighbour < len(item.words) or item.words[neighbour].fold not in hits:
                continue
            number = hits[item.words[neighbour].fold]
            if 0 <= number + step < len(reading.words):
                here, there = sorted((number, number + step))
                other = reading.words[number + step]
                gap = reading.text[reading.words[here].end : reading.words[there].start]
                if gap in (" ", "-") and other.fold not in FUNCTION_WORDS and not known.given(other.fold):
                    return True
    return False


def _glued_places(words: Sequence[Word], reading: Reading) -> list[Span]:
    """Where the words stand joined or apart otherwise: "sea shells" and "seashells", "Wi-Fi" and "wifi"."""
    joined = "".join(word.fold for word in words)
    at = reading.joined.find(joined) if len(joined) > 3 else -1
    if at < 0 or at not in reading.joints:
        return []
    end = at + len(joined)
    if end not in reading.joints and not (reading.joined[end : end + 1] == "s" and end + 1 in reading.joints):
        return []
    place = 0
    for word in reading.words:
        if place + len(word.fold) > at:
            return [(word.start, word.end)]
        place += len(word.fold)
    return []


def _long_places(item: _Item, reading: Reading, question: str, weight: Weight, grade: Grade) -> list[Span]:
    """The whole text, where it has enough of a long reference, and no figure or denial that goes against it."""
    figures = [bool(_figure_places(figure, item, reading, question, grade)) for figure in item.quantities]
    folds = {word.fold for word in item.words}
    heaviest = max(map(weight, folds), default=0.0)  # a figure is worth at least as much
    worth = [max([heaviest, *map(weight, tokens(figure.text))]) for figure in item.quantities]
    total = math.fsum([*map(weight, sorted(folds)), *worth])
    found = math.fsum(weight(fold) for fold in sorted(folds) if reading.find(fold))
    found += math.fsum(one for one, held in zip(worth, figures, strict=True) if held)
    if not total or found < grade.long_recall * total - 1e-9:
        return []
    if grade is PASSAGE:
        return [(0, len(reading.text))]
    asked = read(question).quantities
    for figure, held in zip(item.quantities, figures, strict=True):
        rivals = [q for q in reading.quantities if q.kind == figure.kind and q.dimension == figure.dimension]
        strange = [q for q in rivals if not any(same_value(other, q, False) for other in (*item.quantities, *asked))]
        if not held and strange and sum(figures) * 2 < len(figures) + 1:
            return []
    return [(len(reading.text), len(reading.text))]
