"""Questions that an English sentence answers, made by moving its words: "X was founded in 1988": "When was X founded?"

Only plain sentences are asked about: a subject, one finite verb that is listed, and what follows. Where one of these is
not clear from the words, nothing is asked.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace

from lorag.training.data.wordings.english_words import (
    ADVERBS,
    AUXILIARIES,
    BASES,
    BE,
    DETERMINERS,
    DO,
    HAVE,
    MODALS,
    MONTHS,
    NOUNS_TOO,
    PREPOSITIONS,
    PRONOUNS,
    SUBORDINATORS,
    UNITS_OF_TIME,
    WH_WORDS,
    is_finite,
    is_participle,
    past,
    third_person,
    word_set,
)
from lorag.training.data.wordings.statements import capital

_FEWEST_WORDS, _MOST_WORDS, _LONGEST_SUBJECT = 3, 28, 7
_VAGUE = PRONOUNS | word_set(
    "this that these those all both each one other others such many most some several few what his her their its our my"
    " your no nothing nobody none whoever whatever everyone everything another"
)
"""Words at the beginning of a subject that say nothing without the sentences before it."""
_POINTING_BACK = word_set(
    "this that these those it they them he him himself itself themselves she his her its also otherwise therefore thus"
    " hence meanwhile however instead such so then here there above below former latter same afterwards we us our you"
    " your again still even"
    " instead such so then here there above below former latter same afterwards we us our you your again still even"
)
"""Words that make a sentence depend on those before it."""
_NOT_VERBS = word_set("used set left")
_WITH_OBJECT = word_set(
    "accept carry charge comprise contain cover display emit include lack lead measure need offer own produce provide"
    " receive require store supply support use"
)
"""Verbs of which can be asked what the subject does to what."""
_MONTH = "(?:" + "|".join(month.capitalize() for month in sorted(MONTHS)) + ")"
_DATE = (
    rf"\d{{4}}-\d\d-\d\d|\d{{1,2}} {_MONTH} \d{{4}}|{_MONTH} \d{{1,2}} \d{{4}}|{_MONTH} \d{{4}}"
    r"|(?:1\d|20)\d\d(?![\w-]|[.,]\d)"
)
_NUMBER = r"\d[\d.,]*\d|\d|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
_UNIT = (
    r"(?:%|percent|per cent|people|mm|cm|km|kg|m|g|l|V|A|W|kW|MW|Hz|MB|GB|TB|bar"
    r"|(?:[a-z]+ )?(?!is |was |has )[a-z]{3,}s)"
)
_WHEN = re.compile(rf"(?:^| )(?:in|on) (?P<value>{_DATE})(?= |$)")
_WHERE = re.compile(r"(?:^| )in (?!Fig|Table|Section|Appendix|Chapter)(?P<value>[A-Z][\w'-]+(?: [A-Z][\w'-]+)*)(?= |$)")
_BY_WHOM = re.compile(r"(?:^| )by (?P<value>[A-Z][\w'-]+(?: (?:of |de |van |von )?[A-Z][\w'.-]+)+)(?= |$)")
_ABOUT = r"(?:(?:about|around|at least|at most|up to|approximately|almost|nearly|over|only) )?"
COUNT = re.compile(
    rf"(?:^|(?<= ))(?:(?P<before>for|within|after|every|until|by|at|to) )?{_ABOUT}"
    rf"(?P<value>(?P<number>{_NUMBER}) (?P<unit>{_UNIT}))(?= |$)"
)
"""A number with its unit, as ``value``, and the preposition before it."""
_AFTER_A_COUNT = PREPOSITIONS | {"a", "an", "each"}
_OPENING_DATE = re.compile(rf"(?:In|On) (?P<value>{_DATE}),? (?P<rest>\S.*)", re.DOTALL)
_ENUMERATED = re.compile(
    r" and (?:in|on) [^,]*,|, (?:\S+ ){1,3}(?:and|or) |, (?:\S+ ){0,2}\S+, |, (?:and|or) (?:\S+ ?){1,3}$"
)
"""A comma that belongs to a list, so that no clause ends there."""
_PRICE = re.compile(r"cost (?P<value>(?:EUR|USD|GBP|CHF|[$€£]) ?\d[\d.,]*)(?= |$)")
_BASE_OF = {past(base): base for base in sorted(BASES)} | {third_person(base): base for base in BASES}


@dataclass(frozen=True, slots=True)
class SentenceQuestion:
    """A question and the words of the sentence that answer it; a yes-no question is answered by all of it: yes."""

    text: str
    value: str
    yes_no: bool = False
    subject: str = ""
    """The subject of the sentence, where it is asked about as it stands there."""


@dataclass(frozen=True, slots=True)
class _Clause:
    """A clause ready to be asked: ``auxiliary subject rest``."""

    subject: str
    auxiliary: str
    rest: str
    """What stays behind the subject, with the verb in the form that it has there."""
    verb_words: int
    """Words of the verb at the beginning of ``rest``."""


def sentence_questions(sentence: str, names: Container[str] = ()) -> list[SentenceQuestion]:
    """What a sentence answers, the questions for its values first, then its clauses as yes-no questions.

    ``names`` are words that keep their capital inside a sentence. None for a sentence that is not plain English.
    """
    if dated := _OPENING_DATE.fullmatch(" ".join(sentence.split())):
        found = _clauses(capital(dated["rest"]), names)[:1]
        asked = [(clause, f"When {clause.auxiliary} {clause.subject} {clause.rest}?") for clause in found]
        return [SentenceQuestion(text, dated["value"]) for clause, text in asked if not _WHEN.search(clause.rest)]
    clauses = _clauses(sentence, names)
    return [
        *(replace(question, subject=clause.subject) for clause in clauses for question in _asked(clause)),
        *(
            SentenceQuestion(f"{capital(clause.auxiliary)} {clause.subject} {clause.rest}?", "", True, clause.subject)
            for clause in clauses
            if len(clause.rest.split()) > 2
        ),
    ]


def _asked(clause: _Clause) -> Iterator[SentenceQuestion]:
    yield from _placed(clause)
    auxiliary, subject, rest = clause.auxiliary, clause.subject, clause.rest
    if price := _PRICE.match(rest):
        yield SentenceQuestion(f"How much {auxiliary} {subject} cost{rest[price.end() :]}?", price["value"])
    counts = list(COUNT.finditer(rest))
    if len(counts) == 1:
        yield from _counted(clause, counts[0])
    verb, _, thing = rest.partition(" ")
    words = thing.split()
    if auxiliary in DO and verb in _WITH_OBJECT and 2 < len(words) < 9 and words[0] in ("a", "an", "the"):
        yield SentenceQuestion(f"What {auxiliary} {subject} {verb}?", thing)


def _placed(clause: _Clause) -> Iterator[SentenceQuestion]:
    """Questions for when, where and by whom, each where the clause has one such phrase."""
    auxiliary, subject, rest = clause.auxiliary, clause.subject, clause.rest
    for pattern, word in ((_WHEN, "When"), (_WHERE, "Where"), (_BY_WHOM, "By whom")):
        found = list(pattern.finditer(rest))
        passive = auxiliary in BE and clause.verb_words == 1
        if len(found) != 1 or (word != "When" and not passive) or (word == "By whom" and rest.count("by ") > 1):
            continue
        value, after = found[0]["value"], rest[found[0].end() :].split()
        left = [*rest[: found[0].start()].split(), *after]
        unclear = set(left) & (SUBORDINATORS | {"and", "or", "later"}) or (
            word == "Where" and value.split()[0] in _MONTH
        )
        if unclear or len(left) < clause.verb_words or not {*after[:1]} <= PREPOSITIONS:
            continue
        yield SentenceQuestion(" ".join([word, auxiliary, subject, *left]) + "?", value)


def _counted(clause: _Clause, count: re.Match[str]) -> Iterator[SentenceQuestion]:
    """The question for a number with its unit: after a preposition, directly after the verb, or after a form of be."""
    auxiliary, subject, rest = clause.auxiliary, clause.subject, clause.rest
    unit, introduced = count["unit"], count["before"] or ""
    before, after = rest[: count.start()].split(), rest[count.end() :].split()
    asked = "what percentage" if unit in ("%", "percent", "per cent") else f"how many {unit}"
    if introduced and after[:1] == ["of"]:
        asked, after = f"{asked} {' '.join(after)}", []
    range_or_list = re.fullmatch(_NUMBER, before[-1]) if before else None
    if range_or_list or set(before) & (SUBORDINATORS | {"and", "or"}) or {*after[:1]} & {"and", "or", "of", "to"}:
        return
    left, in_time = " ".join([*before, *after]), unit.split()[-1] in UNITS_OF_TIME
    if introduced == "every" and in_time:
        yield SentenceQuestion(f"How often {auxiliary} {subject} {left}?", f"every {count['value']}")
    elif introduced and not (in_time and introduced in ("at", "by")):
        wh = "For how long" if introduced == "for" and in_time else capital(f"{introduced} {asked}")
        yield SentenceQuestion(f"{wh} {auxiliary} {subject} {left}?", count["value"])
    elif not introduced and not before and auxiliary in BE and not after:
        yield SentenceQuestion(f"What {auxiliary} {subject}?", count["value"])
    elif not introduced and len(before) == clause.verb_words > 0 and len(unit) > 1 and {*after[:1]} <= _AFTER_A_COUNT:
        yield SentenceQuestion(f"{capital(asked)} {auxiliary} {subject} {left}?", count["value"])


def _clauses(sentence: str, names: Container[str]) -> list[_Clause]:
    """The clauses of a sentence up to its first comma: its subject with each of its verbs."""
    flat = " ".join(sentence.split()).rstrip(".!")
    if _ENUMERATED.search(flat):
        return []
    if re.search(r"[:;()\"“”?*_`<>|–—\[\]#]| - |n't|n’t", flat) or not flat[:1].isupper():
        return []
    words = flat.split(", ", 1)[0].split()
    low = [word.lower() for word in words]
    if (
        not _FEWEST_WORDS <= len(words) <= _MOST_WORDS
        or low[0] in _VAGUE | PREPOSITIONS | SUBORDINATORS | ADVERBS | WH_WORDS
        or low[0].endswith(("ly", "ing"))
        or set(low) & (_POINTING_BACK | {"not", "no", "cannot"})
    ):
        return []
    after_auxiliary = AUXILIARIES | ADVERBS | {"be", "been", "being"}
    verbs = [
        i
        for i in range(1, len(words))
        if is_finite(words[i]) and words[i] not in _NOT_VERBS and low[i - 1] not in after_auxiliary
    ]
    if not verbs or not _is_subject(words[: verbs[0]], words[verbs[0]], names):
        return []
    place = verbs[0]
    later = [i for i in verbs if i > place and low[i - 1] in ("and", "or", "but")]
    joined = [i for i in verbs if i not in later and {"and", "or", "but"} & set(low[place:i])]
    doubtful = [i for i in verbs[1:] if i not in later and (i < place + 4 or words[i] in AUXILIARIES)]
    if joined or (words[place] not in AUXILIARIES and doubtful):
        return []
    is_name = low[0] not in DETERMINERS and (_bare(words[0]) in names or words[1][:1].isupper())
    named = words[0] if is_name else _small(words[0])
    subject = " ".join([named, *words[1:place]])
    ends = [*(i - 1 for i in later), len(words)]
    starts = [place, *later]
    if later and set(low[place : later[0]]) & (SUBORDINATORS - {"after", "before", "once", "since"}):
        return []
    made = [_inverted(subject, words[start], words[start + 1 : end]) for start, end in zip(starts, ends, strict=True)]
    return [clause for clause in made if clause is not None]


def _is_subject(words: Sequence[str], verb: str, names: Container[str]) -> bool:
    """Whether ``words`` before ``verb`` are a subject beyond doubt."""
    low = [word.lower() for word in words]
    allowed = PREPOSITIONS if verb in AUXILIARIES else {"of"}
    known = low[0] in DETERMINERS or words[0] in names or (len(words) > 1 and words[1][:1].isupper())
    return (
        len(words) <= _LONGEST_SUBJECT
        and not set(low) & (SUBORDINATORS - PREPOSITIONS | WH_WORDS | {"and", "or", "to"})
        and set(low) & PREPOSITIONS <= allowed
        and low[-1] not in PREPOSITIONS | DETERMINERS | PRONOUNS
        and (verb in AUXILIARIES or known or _BASE_OF.get(verb) not in NOUNS_TOO)
        and (verb in AUXILIARIES or known or len(words) == 1)
    )


def _inverted(subject: str, verb: str, rest: Sequence[str]) -> _Clause | None:
    """The auxiliary that goes before the subject, and what stays behind it."""
    if not rest:
        return None
    if verb in BE | MODALS or (verb in HAVE and (is_participle(rest[0]) or rest[0] == "been")):
        if verb in BE and rest[0] in PREPOSITIONS | {"being", "to"} - {"in", "at", "on"}:
            return None
        held = 1 + (verb in MODALS and rest[0] in ("be", "have")) if is_participle(rest[0]) or verb in MODALS else 0
        return _Clause(subject, verb, " ".join(rest), held)
    base = "have" if verb in HAVE else _BASE_OF.get(verb)
    if verb in DO or base is None:
        return None
    auxiliary = "do" if verb == base else "does" if verb == third_person(base) else "did"
    return _Clause(subject, auxiliary, " ".join([base, *rest]), 1)


def _bare(name: str) -> str:
    """A name without the ending of a possessive."""
    return re.sub(r"['’]s?$", "", name)


def _small(word: str) -> str:
    return word if word.isupper() and word != "A" else word[:1].lower() + word[1:]
