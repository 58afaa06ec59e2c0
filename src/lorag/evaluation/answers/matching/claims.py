"""Whether an answer stands by what it mentions: negated, given up, or one candidate among several."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lorag.evaluation.answers.matching.quantities import Quantity
from lorag.evaluation.answers.matching.reading import Reading
from lorag.evaluation.answers.matching.values import same_value
from lorag.evaluation.answers.matching.words import FUNCTION_WORDS, stems

NEGATION = re.compile(
    r"\b(?:not|never|no|none|cannot|neither|nor|without|nothing|nobody|except|unlike|rather than|instead of)\b|n't\b"
    r"|\b(?:nicht|kein\w{0,2}|nie|niemals|weder|ohne|statt|pas|jamais|aucune?|sans|nunca|jamas|ningun[oa]?|sin)\b"
    r"|\b(?:nem|nao|non(?!-)|mai|nessun\w?|senza|niet|geen|nooit|bez|ne|inte|не|нет|никогда|без|ни)\b"
    r"|不|没|沒|未|非|ない|ません|않|아[니닙닌]|없|ไม่",
    re.IGNORECASE,
)
_NO_DENIAL = re.compile(
    r"\b(?:not|n't|nicht|no|pas)\s(?:only|just|merely|simply|necessarily|later than|earlier than|more than|less than"
    r"|fewer than|longer than|exceed|doubt|matter|nur|mehr als|weniger als|spater als|solo|seulement)\b"
    r"|\b(?:not|n't|nicht|no|pas)\s(?:be )?(?:\w+ )?(?:until|before|bis|vor|exceed|uberschreiten|(?:fall|drop) below)\b"
    r"|(?:\b(?:not|cannot|nicht|pas|no)|n't)\b[^.;]{0,40}\b(?:without|ohne|sans|sin|senza)\b"
    r"|\bno\.? ?\d|\bno(?:netheless)?\b(?=,)|\b(?:without (?:a )?doubt|no one but|nothing but|none other than)\b",
    re.IGNORECASE,
)
"""Denials of something else than what follows: "not only", "no more than", "not before"."""
_DENIED_AFTER = re.compile(
    r"^[^.,;!?\n]{0,12}\b(?:(?:is|are|was|were|do|does|did)(?: not|n't)|is (?:wrong|incorrect|false|untrue)"
    r"|(?:ist|sind|war|waren|stimmt) (?:es )?(?:nicht|falsch)|n'est pas|ne sont pas|no es|no son)\b"
    r"|^[^。!?\n]{0,4}(?:ではありません|ではない|じゃない|でない|이 아[니닙닌]|가 아[니닙닌]|不是|不对|не )",
    re.IGNORECASE,
)
_OR = re.compile(
    r"(?<![\w/])(?:or|oder|ou|o|или|lub|nebo|eller)(?![\w/])|或者?|还是|または|もしくは|혹은|또는|(?<=\w)/(?=\w)",
    re.IGNORECASE,
)
_ALIAS = re.compile(
    r"\b(?:also|known as|called|aka|a\.k\.a|i\.e|formerly|alias|auch|genannt|aussi|tambien)\b", re.IGNORECASE
)
_HEDGE = re.compile(
    r"\b(?:maybe|perhaps|possibly|probably|might|could be|may be|either|not sure|unsure|i guess|i think|vielleicht"
    r"|eventuell|entweder|peut-etre|soit|quizas|tal vez|forse|talvez)\b|可能|也许|かもしれ|어쩌면",
    re.IGNORECASE,
)
_LISTED = re.compile(r",(?!\d)|\b\d[.)]\s|;|\n|、|\b(?:and|or|und|et|y)\b|•")
_SCOPE = 60
"""Characters within which a negation reaches what follows it in its clause."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Known:
    """What is no rival to a reference: words by their stems, and figures."""

    stems: frozenset[str]
    asked: frozenset[str]
    """The stems of the question's words."""
    figures: tuple[Quantity, ...]

    def word(self, fold: str) -> bool:
        """Whether a word stands in a reference."""
        return any(stem in self.stems for stem in stems(fold))

    def given(self, fold: str) -> bool:
        """Whether a word stands in a reference or in the question."""
        return any(stem in self.stems or stem in self.asked for stem in stems(fold))

    def figure(self, quantity: Quantity) -> bool:
        """Whether a figure stands in a reference."""
        return any(same_value(one, quantity) or _converted(one, quantity) for one in self.figures)


def _converted(one: Quantity, other: Quantity) -> bool:
    """Whether a figure is another in other units, roughly: 5 km and 3.1 miles."""
    if one.kind != "number" or other.kind != "number" or one.dimension != other.dimension or one.size == other.size:
        return False
    first, second = one.values[0] * one.size, other.values[0] * other.size
    return abs(first - second) * 30 <= abs(first)


def denied(reading: Reading, span: Span) -> bool:
    """Whether the text denies what stands at ``span``: "not 30 days", "30 days is wrong", "二年ではありません"."""
    start, end = span
    clause = reading.clause(start)
    begin = max(reading.clauses[clause - 1] if clause else 0, start - _SCOPE)
    before = _NO_DENIAL.sub(" ", reading.text[begin:start])
    bounded = any(figure.bound and figure.start <= start < figure.end for figure in reading.quantities)
    return (not bounded and NEGATION.search(before) is not None) or _DENIED_AFTER.match(
        reading.text[end : end + 40]
    ) is not None


def negative(text: str) -> bool:
    """Whether a canonical text denies anything."""
    return NEGATION.search(_NO_DENIAL.sub(" ", text)) is not None


def among_rivals(reading: Reading, span: Span, known: Known) -> bool:
    """Whether what stands at ``span`` is one of several candidates: "30 or 60 days", "Paris, London or Rome".

    Another name after "also known as", and a second lower-case word in a longer answer ("edge or rim"), is no rival.
    """
    number = reading.sentence(span[0])
    begin = reading.sentences[number - 1] if number else 0
    end = reading.sentences[number] if number < len(reading.sentences) else len(reading.text)
    sentence = reading.text[begin:end]
    if _ALIAS.search(sentence):
        return False
    hedges = len(_HEDGE.findall(sentence))
    if hedges > 1:
        return True
    figure = any(q.start <= span[0] < q.end for q in reading.quantities)
    for match in _OR.finditer(reading.text, max(begin, span[0] - 60), min(end, span[1] + 60)):
        left, right = (span[1], match.start()) if match.start() >= span[1] else (match.end(), span[0])
        if right < left or re.search(r"[()]|\b(?:is|are|was|were|ist|sind)\b", reading.text[left:right]):
            continue
        side = (
            (match.end(), match.end() + 40)
            if match.start() >= span[1]
            else (max(begin, match.start() - 40), match.start())
        )
        if figure and any(side[0] <= q.start < side[1] and not known.figure(q) for q in reading.quantities):
            return True
        if not figure and _rival_words(
            reading, side, match.start() >= span[1], known, hedges > 0 or _is_bare(reading, known)
        ):
            return True
    return not _ALIAS.search(reading.text) and _is_list(reading, span, known, figure)


def _rival_words(reading: Reading, side: Span, behind: bool, known: Known, any_case: bool) -> bool:
    """Whether the words next to an "or" name something else."""
    words = [word for word in reading.words if side[0] <= word.start < side[1]]
    nearest = (words if behind else words[::-1])[:3]
    content = [word for word in nearest if word.fold not in FUNCTION_WORDS]
    if not content or any(known.word(word.fold) for word in content):
        return False
    return any_case or content[0].capital


def _is_bare(reading: Reading, known: Known) -> bool:
    """Whether the answer is little more than its candidates."""
    new = [word for word in reading.words if word.fold not in FUNCTION_WORDS and word.fold not in known.asked]
    return len(new) <= 3


def _is_list(reading: Reading, span: Span, known: Known, figure: bool) -> bool:
    """Whether ``span`` stands in an answer that is a list of three or more short items, two of them unknown."""
    begin = reading.text.rfind(":") + 1
    if span[0] < begin:
        return False
    items = [item for item in _LISTED.split(reading.text[begin:]) if item.strip(" .-")]
    if len(items) < 3 or any(len(item.split()) > 3 for item in items):
        return False
    if figure:
        return sum(q.start >= begin and bool(q.dimension) and not known.figure(q) for q in reading.quantities) >= 2
    words = [[word for word in re.findall(r"\w+", item.casefold()) if not word.isdigit()] for item in items]
    return sum(bool(item) and not any(known.word(word) for word in item) for item in words) >= 2
