"""Names of people and bodies as people write them: initials, titles, nicknames, the family name alone, acronyms."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lorag.evaluation.answers.matching.reading import Reading, Word
from lorag.evaluation.answers.matching.words import FUNCTION_WORDS

_TITLES = """
sir lord lady dame mr mrs ms miss dr prof professor saint st king queen emperor prince princess president captain
general colonel major pope jr sr junior senior herr frau monsieur madame senor senora signor signora
"""
TITLES = frozenset(_TITLES.split())
_NICKNAMES = """
alexander alex sasha | andrew andy drew | anthony tony | benjamin ben | charles charlie chuck | christopher chris
christine chris | daniel dan danny | david dave | donald don | edward ed eddie ted ned | elizabeth liz beth betty lizzie
frances fran | francis frank | frederick fred freddie | gerald gerry jerry | henry harry hank | james jim jimmy jamie
jennifer jen jenny | john jack johnny jon | joseph joe | katherine catherine kate kathy cathy katie | kenneth ken
lawrence larry | leonard len | margaret maggie peggy | matthew matt | michael mike mick | nicholas nick
patrick pat paddy | patricia pat | peter pete | philip phil | rebecca becky | richard dick rick rich
robert bob bobby rob robbie bert | ronald ron | samuel sam | stephen steven steve | susan sue | theodore ted teddy
thomas tom tommy | timothy tim | victoria vicky | vincent vince | walter walt | william bill billy will willie
"""
_GIVEN: dict[str, frozenset[str]] = {}
for _group in re.split(r"[|\n]", _NICKNAMES):
    for _name in _group.split():
        _GIVEN[_name] = _GIVEN.get(_name, frozenset()) | frozenset(_group.split())

_WHO = re.compile(
    r"\b(?:who|whose|whom|wer|wem|wessen|qui|quien|quienes|chi|quem|wie heet|кто)\b|谁|誰|누가|누구"
    r"|\b(?:which|what|name the)\b[^?]{0,60}\b(?:actor|actress|author|artist|singer|painter|composer|writer|poet|player"
    r"|president|minister|king|queen|director|presenter|scientist|physicist|engineer|inventor|founder|person|man|woman"
    r"|mathematician|footballer|musician|comedian|politician|explorer|chef|architect|designer|philosopher|general)\b",
    re.IGNORECASE,
)


def asks_for_a_person(question: str) -> bool:
    """Whether the answer to ``question`` is a person."""
    return _WHO.search(question) is not None


def same_given_name(one: str, other: str) -> bool:
    """Whether two folded given names may be one: Bill and William."""
    return other in _GIVEN.get(one, ())


def is_name(words: Sequence[Word]) -> bool:
    """Whether these words may be the full name of a person: two to five, all written with a capital."""
    return (
        2 <= len(words) <= 5
        and all(word.capital for word in words)
        and not any(w.fold in FUNCTION_WORDS for w in words)
    )


def name_places(name: Sequence[Word], reading: Reading, person: bool) -> list[int]:
    """The words of ``reading`` that are the family name of ``name``, where what stands around them fits it.

    Given names before it may be nicknames, initials, or missing where ``person``; another given name or initial does
    not fit, nor does a further capitalised word behind a family name that stands alone.
    """
    given, family = name[:-1], name[-1]
    found = []
    for place in reading.find(family.fold):
        before = _given_names(reading, place)
        if not before:
            if person and reading.words[place].capital and not _goes_on(reading, place):
                found.append(place)
        elif _fits(before, given):
            found.append(place)
    return found


def _given_names(reading: Reading, place: int) -> list[Word]:
    """The capitalised words straight before a word, titles left out."""
    found: list[Word] = []
    for number in range(place - 1, max(-1, place - 5), -1):
        word, after = reading.words[number], reading.words[number + 1]
        gap = reading.text[word.end : after.start]
        if not re.fullmatch(r"[.]? |-|\.", gap) or not word.capital or word.fold in FUNCTION_WORDS:
            break
        if word.fold not in TITLES:
            found.insert(0, word)
    return found


def _goes_on(reading: Reading, place: int) -> bool:
    if place + 1 == len(reading.words):
        return False
    word, after = reading.words[place], reading.words[place + 1]
    apart = reading.text[word.end : after.start] != " " or word.raw.endswith("'s")
    return not apart and after.capital and after.fold not in TITLES


def _fits(before: Sequence[Word], given: Sequence[Word]) -> bool:
    """Whether the given names found agree with those wanted: at least one in common, none of them another."""
    matched = [any(_agrees(one.fold, other.fold) for other in given) for one in before]
    if all(matched):
        return True
    first = _agrees(before[0].fold, given[0].fold)
    return first and len(before) > len(given) and all(len(word.fold) > 1 for word in before)


def _agrees(one: str, other: str) -> bool:
    if one == other or same_given_name(one, other):
        return True
    return (len(one) == 1 or len(other) == 1) and one[0] == other[0]


def acronym_places(words: Sequence[Word], reading: Reading) -> list[int]:
    """The words of ``reading`` that abbreviate ``words``, or, where these are an acronym, begin its long form."""
    if len(words) == 1:
        return _long_forms(words[0], reading) if words[0].acronym and len(words[0].fold) < 7 else []
    letters = "".join(word.fold[0] for word in words if word.fold not in FUNCTION_WORDS)
    if len(letters) < 2 or not all(word.capital for word in words if word.fold not in FUNCTION_WORDS):
        return []
    return [n for n, word in enumerate(reading.words) if word.acronym and word.fold == letters]


def _long_forms(acronym: Word, reading: Reading) -> list[int]:
    found = []
    for place, word in enumerate(reading.words):
        if not (word.capital and word.fold[0] == acronym.fold[0]) or word.fold == acronym.fold:
            continue
        letters, number = "", place
        while number < len(reading.words) and len(letters) < len(acronym.fold):
            current = reading.words[number]
            if current.fold not in FUNCTION_WORDS:
                if not current.capital:
                    break
                letters += current.fold[0]
            number += 1
        if letters == acronym.fold:
            found.append(place)
    return found
