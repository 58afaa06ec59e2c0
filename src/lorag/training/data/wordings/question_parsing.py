"""An English question taken apart: what is asked, about which subject, with which verb, and what stands around it.

Parsing is cautious: where a split of subject and verb is not clear from the words alone, there is none, and the
question can only be repeated as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from lorag.training.data.wordings.english_words import (
    ADVERBS,
    AUXILIARIES,
    BASES,
    BE,
    DETERMINERS,
    DO,
    FOREIGN,
    HAVE,
    MODALS,
    NOUNS_TOO,
    PARTICLES,
    PREDICATE_ADJECTIVES,
    PREPOSITIONS,
    PRONOUNS,
    SUBORDINATORS,
    WH_WORDS,
    is_finite,
    is_participle,
    past,
    third_person,
)

Form = Literal["thing", "doer", "inverted", "yes-no"]
_REQUEST = re.compile(
    r"(?:please,? )?(?:(?:can|could|would|will) you (?:please )?(?:tell me|give me|name|state)|do you know|tell me"
    r"|give me|give|name|state|quote|i (?:would like|need|want) to know"
    r"|i'd like to know|i need(?! to\b))(?: please)?:? (?P<what>\S.*)",
    re.IGNORECASE,
)
_CUT = re.compile(r"(?:(?<=[.!?;:,])|(?<=, and)|(?<=, but)) (?=\S)")
_SECOND_QUESTION = re.compile(
    rf"[?!]\s|;|\b(?:and|or),? (?:{'|'.join(sorted(WH_WORDS - {'who', 'which', 'that'}))})\b", re.IGNORECASE
)
_ENGLISH = WH_WORDS | {"the", "of", "is", "are", "was", "were", "and", "with", "for", "from", "this", "does", "did"}
_FEWEST_WORDS, _MOST_WORDS = 3, 40
_LONGEST_NOUN = 6
_HEAVY = 9
"""Words of a subject after which a verb at the end comes too late."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as its parts; joined in the order of a statement they read ``wh subject verb tail``.

    ``form`` is ``thing`` for "What is X?" (``subject`` is X, ``verb`` a form of be), ``doer`` where what is asked for
    is the subject ("Who founded X?": ``tail`` is "founded X"), ``inverted`` for questions with the verb or a part of
    it before the subject, ``yes-no`` for such questions without a question word.
    """

    form: Form
    context: str
    """What stands before the question: whole sentences, or a clause with its comma."""
    wh: str
    """The question word with its preposition and noun: "in which town", "how many users", "whether"."""
    preposition: str
    noun: str
    """What a which, what, whose, how many or how much counts or chooses from; the adjective of another how."""
    auxiliary: str
    subject: str
    verb: str
    """The finite verb as it stands in a statement: "reaches", "was first released", "must be held"."""
    tail: str
    predicate: Literal["verb", "participle", "adjective", "none"]
    rest: str
    """Everything after the auxiliary, as it was asked."""

    @property
    def clause(self) -> str:
        """The question as a part of a sentence: "how long the warranty lasts"."""
        return " ".join(part for part in (self.wh, self.subject, self.verb, self.tail) if part)

    @property
    def word(self) -> str:
        """The question word alone: "what", "how"."""
        return next((word for word in self.wh.split() if word in WH_WORDS), self.wh)


@dataclass(frozen=True, slots=True)
class Requested:
    """A request: ``what`` is the thing asked for ("the price of X"), or a clause ("when X was made")."""

    what: str
    is_clause: bool


def parse_question(text: str) -> Asked | None:
    """The parts of the question at the end of a text; None where they are not clear."""
    flat = _flat(text)
    if not flat.endswith("?") or len(flat.split()) > _MOST_WORDS or is_foreign(flat):
        return None
    for cut in (0, *(match.end() for match in _CUT.finditer(flat))):
        asked = flat[cut:].rstrip("?").strip()
        if _SECOND_QUESTION.search(asked) or re.search(r"[.!] [A-Z]", asked):
            continue
        found = _parsed(asked.split(), flat[:cut].strip())
        if found is not None:
            return found
    return None


def parse_request(text: str) -> Requested | None:
    """The request in a text; None where it is none, or its object is unclear."""
    flat = " ".join(text.split())
    match = _REQUEST.fullmatch(flat.rstrip(".?!"))
    if match is None or is_foreign(flat) or re.search(r"[.!?;] ", flat):
        return None
    what = match["what"]
    words = what.lower().split()
    if words[0] in WH_WORDS | {"whether"} or (words[0] in PREPOSITIONS and len(words) > 1 and words[1] in WH_WORDS):
        inverted = words[0] in WH_WORDS and len(words) > 2 and words[1] in DO
        return None if inverted or _SECOND_QUESTION.search(what) else Requested(_small(what), True)
    return Requested(_small(what), False) if is_definite(what) and "," not in what else None


def is_english_question(text: str) -> bool:
    """Whether a text of three words or more begins, or a part of it does, as English questions and requests do."""
    flat = _flat(text)
    if is_foreign(flat) or len(flat.split()) < _FEWEST_WORDS:
        return False
    if _REQUEST.match(flat):
        return True
    if flat.endswith("?") and len(_ENGLISH & set(flat.lower().rstrip("?").split())) > 1:
        return True
    parts = [part.lower().split() for part in _CUT.split(flat)]
    return flat.endswith("?") and any(
        bool(WH_WORDS & set(part[:4]))
        or (part[0] in AUXILIARIES and bool((DETERMINERS | PREPOSITIONS | PRONOUNS) & set(part[1:])))
        for part in parts
        if part
    )


def is_foreign(text: str) -> bool:
    """Whether a text holds words of another language than English, or hardly a Latin letter."""
    letters = [c for c in text if c.isalpha()]
    latin = sum(c < "ɐ" for c in letters)
    return bool(FOREIGN & set(re.findall(r"[^\W\d_]+", text))) or 2 * latin < len(letters)


def is_definite(phrase: str) -> bool:
    """Whether a phrase names one thing: the price of X, its price, X's price."""
    words = phrase.split()
    return words[0].lower() in ("the", "its", "my", "our", "your", "his", "her", "their") or any(
        word.endswith(("'s", "s'", "’s")) for word in words[:4]
    )


def _flat(text: str) -> str:
    """The text on one line; what begins as a question and ends without a mark gets its question mark."""
    flat = " ".join(text.split())
    first = flat.split(" ", 1)[0].lower()
    return f"{flat}?" if first in WH_WORDS and flat[-1:].isalnum() else flat


def _parsed(words: Sequence[str], context: str) -> Asked | None:
    low = [word.lower().strip(",") for word in words]
    if context.split()[:1] and context.split()[0].lower() in WH_WORDS - {"when", "where"}:
        return None
    if len(low) > 2 and low[0] in AUXILIARIES and context[-1:] not in (",", "d", "t"):
        return _inverted("yes-no", context, "whether", "", "", words)
    start = next((i for i, word in enumerate(low[:4]) if word in WH_WORDS), None)
    if start is None or any(word not in PREPOSITIONS | {"and"} for word in low[:start]) or "n't" in " ".join(low):
        return None
    preposition = " ".join(low[:start])
    wh = low[start]
    place = next((i for i in range(start + 1, len(low)) if low[i] in AUXILIARIES), len(low))
    named = list(words[start + 1 : place])
    turn = next((i for i, word in enumerate(named) if _subordinates(word.lower(), wh, preposition)), None)
    if place == len(low) or turn is not None:
        late = any(word in DO for word in low[place:]) and turn is not None
        return None if preposition or late else _doer(context, words, start, turn)
    if any(word.endswith(",") for word in words[start:place]):
        return None
    if wh in ("who", "whom", "when", "where", "why") and named:
        return _doer(context, words, start, None) if wh == "who" else None
    if named and wh != "how" and any(is_finite(word.lower()) and word.islower() for word in named[:-1]):
        return None
    question = " ".join([*low[:start], wh, *named])
    noun = " ".join(named[1:] if wh == "how" and named[:1] and named[0].lower() in ("many", "much") else named)
    after = low[place + 1 :]
    if not after:
        return None
    counted = wh == "how" and bool(named) and named[0] in ("many", "much")
    chooses = not preposition and (counted or wh in ("who", "what", "which", "whose"))
    if chooses and low[place] not in DO and _follows(low[place], words[place + 1 :], wh, bool(named)):
        tail = " ".join(words[place:])
        return Asked(
            "doer", context, question, "", noun, low[place], "", "", tail, "none", " ".join(words[place + 1 :])
        )
    return _inverted("inverted", context, question, preposition, noun, words[place:])


def _subordinates(word: str, wh: str, preposition: str) -> bool:
    return word in SUBORDINATORS and not ((wh == "how" or preposition) and word in ("after", "before", "since"))


def _doer(context: str, words: Sequence[str], start: int, turn: int | None) -> Asked | None:
    """A question for the subject, with no auxiliary of its own: "Who founded X", "Which city hosts X"."""
    wh, after = words[start].lower(), [word.lower() for word in words[start + 1 :]]
    if wh not in ("who", "what", "which", "whose", "how") or not after:
        return None
    verb = next((i for i, word in enumerate(after[:turn]) if is_finite(word) and words[start + 1 + i].islower()), None)
    if wh == "who" or (wh == "what" and after[0].endswith("ed")):
        verb = 0
    if wh == "how" and after[0] not in ("many", "much"):
        return None
    least = {"which": 1, "whose": 1, "how": 2}.get(wh, 0)
    if verb is None or not least <= verb <= _LONGEST_NOUN:
        whole = " ".join([wh, *words[start + 1 :]])
        return Asked("doer", context, whole, "", "", "", "", "", "", "none", "")
    while verb > max(least, 1) and (after[verb - 1].endswith("ly") or after[verb - 1] in ADVERBS):
        verb -= 1
    named = words[start + 1 : start + 1 + verb]
    noun = " ".join(named[1:] if wh == "how" else named)
    tail = " ".join(words[start + 1 + verb :])
    return Asked("doer", context, " ".join([wh, *named]), "", noun, "", "", "", tail, "none", tail)


def _follows(auxiliary: str, rest: Sequence[str], wh: str, named: bool) -> bool:
    """Whether the words after an auxiliary are its predicate, so that what is asked for is the subject."""
    first = rest[0].lower()
    if auxiliary in MODALS:
        return first in BASES or first in ("be", "not", "have") or first in ADVERBS
    if auxiliary in HAVE:
        return is_participle(first) or first in ("been", "not")
    if first in PREPOSITIONS | {"not"} or first in PREDICATE_ADJECTIVES or (is_participle(first) and rest[0].islower()):
        return True
    if (first in ADVERBS or first.endswith("ly")) and len(rest) > 1:
        return is_participle(rest[1].lower())
    chosen = wh == "which" and named and first in ("the", "a", "an")
    return chosen and _predicate_after_be(rest) is None and rest[-1].lower() not in PREPOSITIONS


def _inverted(form: Form, context: str, wh: str, preposition: str, noun: str, words: Sequence[str]) -> Asked | None:
    """A question whose auxiliary stands before its subject: the verb is looked for, and both are put in order."""
    auxiliary, rest = words[0].lower(), list(words[1:])
    if "not" in rest or (noun and "how" not in wh.split() and auxiliary in BE and rest[0] in ("a", "an", "one")):
        return None
    plain_what = wh in ("what", "who")
    found = _split(auxiliary, rest, plain_what)
    if found is None:
        return None
    subject, verb, tail, predicate = found
    if (
        not subject
        or subject.endswith("ly")
        or (len(subject.split()) > _HEAVY and predicate == "none" and not plain_what)
    ):
        return None
    if predicate == "none":
        unclear = any(word in PREPOSITIONS - {"of", "for"} for word in subject.split())
        if "," in subject or (not plain_what and (unclear or (noun and not preposition and not wh.startswith("how")))):
            return None
        if wh.startswith(("how much ", "how many ")):
            return None
        if form == "yes-no" or subject.split()[-1].lower() in PREPOSITIONS:
            return None
        form = "thing" if plain_what else form
    return Asked(form, context, wh, preposition, noun, auxiliary, subject, verb, tail, predicate, " ".join(rest))


_Split = tuple[str, str, str, Literal["verb", "participle", "adjective", "none"]]


def _split(auxiliary: str, rest: list[str], plain_what: bool) -> _Split | None:
    """Subject, verb as in a statement, what follows it, and what the verb is made with."""
    if auxiliary in BE:
        return _split_be(auxiliary, rest, plain_what)
    if auxiliary in HAVE:
        place = _participle(rest)
        unclear = rest[0].endswith("ly") or rest[0] in ADVERBS
        return None if place is None or unclear else _joined(auxiliary, rest, place, "participle")
    if auxiliary == "do":
        place = _verb(rest)
        if place is None:
            return None
        return _cut(rest, place, rest[place], "verb")
    if auxiliary in DO:
        place = _verb(rest)
        if place is None or _second_verb(rest[place + 1 :]):
            return None
        inflected = third_person(rest[place]) if auxiliary == "does" else past(rest[place])
        return _cut(rest, place, inflected, "verb")
    place = next((i for i, word in enumerate(rest) if i and word in ("be", "have")), None)
    if place is None:
        place = _verb(rest)
        return None if place is None else _joined(auxiliary, rest, place, "verb")
    if place + 1 < len(rest) and is_participle(rest[place + 1]):
        subject, verb, tail, _ = _joined(auxiliary, rest, place + 1, "participle")
        bare = subject.removesuffix(" be").removesuffix(" have")
        return bare, verb.replace(auxiliary, f"{auxiliary} {rest[place]}", 1), tail, "participle"
    return _joined(auxiliary, rest, place, "adjective" if place + 1 < len(rest) else "verb")


def _split_be(auxiliary: str, rest: list[str], plain_what: bool) -> _Split | None:
    if rest[0].lower() in PRONOUNS:
        return _joined(auxiliary, rest, 1, "adjective" if len(rest) > 1 else "none")
    place = _predicate_after_be(rest)
    if place == -1 and plain_what and not (is_participle(rest[-1]) or rest[-1] in PREPOSITIONS | PREDICATE_ADJECTIVES):
        place = None  # "the longest vented cable available for X": one noun phrase
    if place == -1:
        return None
    if rest[-1].lower() == "like" and len(rest) > 1:
        return _joined(auxiliary, rest, len(rest) - 1, "adjective")
    stranded = rest[-1].lower() in PREPOSITIONS
    if plain_what and stranded and len(rest) > 2 and is_participle(rest[-2]):
        return _joined(auxiliary, rest, len(rest) - 2, "participle")
    if plain_what:
        named = place is not None and rest[place] in ("called", "named", "considered", "known")
        if stranded and place is None:
            simple = len(rest) > 1 and not any(word.lower() in PREPOSITIONS | DETERMINERS for word in rest[1:-1])
            return _joined(auxiliary, rest, len(rest) - 1, "adjective") if simple else None
        if place is None or not (stranded or named or place == len(rest) - 1):
            doing = rest[-1].endswith("ing") and len(rest) > 1 and rest[-2].lower() not in DETERMINERS
            return None if doing else (" ".join(rest), auxiliary, "", "none")
    if place is None:
        return " ".join(rest), auxiliary, "", "none"
    return _joined(auxiliary, rest, place, "participle" if is_participle(rest[place]) else "adjective")


def _predicate_after_be(rest: Sequence[str]) -> int | None:
    """Where the participle or adjective after the subject stands; None where there is none, -1 where it is unclear."""
    places = [
        i
        for i, word in enumerate(rest)
        if i and (is_participle(word) or word in PREDICATE_ADJECTIVES) and not _attributive(rest, i)
    ]
    if not places:
        return None
    between = [word.lower().strip(",") for word in rest[places[0] : places[1]]] if len(places) > 1 else []
    if len(places) > 1 and not any(word in PREPOSITIONS | SUBORDINATORS | {"and", "or"} for word in between):
        return -1
    if len(places) > 1 and is_participle(rest[-1]) and not _attributive(rest, len(rest) - 1):
        return -1
    early = [word.lower() for word in rest[: places[0]]]
    return -1 if any(word in SUBORDINATORS for word in early) else places[0]


def _attributive(rest: Sequence[str], place: int) -> bool:
    """Whether a word stands before a noun: after an article or a preposition, an adverb aside."""
    before = [word.lower() for word in rest[:place]]
    while before and (before[-1].endswith("ly") or before[-1] in ("most", "more", "very", "well", "best")):
        before.pop()
    return not before or before[-1].strip(",") in DETERMINERS | PREPOSITIONS or before[-1].endswith(("'s", "’s", "s'"))


def _participle(rest: Sequence[str]) -> int | None:
    if rest[0].lower() in PRONOUNS and len(rest) > 1 and (is_participle(rest[1]) or rest[1] == "been"):
        return 1
    places = [
        i for i, word in enumerate(rest) if i and (is_participle(word) or word == "been") and not _attributive(rest, i)
    ]
    return places[0] if places else None


def _verb(rest: Sequence[str]) -> int | None:
    """Where the verb stands after the subject, in the form it has after do, does or did; None where it is unclear."""
    if rest[0].lower() in PRONOUNS:
        place = next((i for i, word in enumerate(rest) if i and word not in ADVERBS and not word.endswith("ly")), None)
        return place if place is not None and rest[place] in BASES else None
    end = next((i for i, word in enumerate(rest) if i and word.lower() in SUBORDINATORS), len(rest))
    end = next((i for i in range(end) if rest[i].endswith(",")), end - 1) + 1
    places = [i for i in range(1, min(end, len(rest))) if rest[i] in BASES and not _no_verb(rest, i)]
    clear = [place for place in places if rest[place] not in NOUNS_TOO]
    runs: list[int] = []
    for place in places:
        if runs and runs[-1] == place - 1:
            runs[-1] = place
        else:
            runs.append(place)
    chosen = clear[0] if clear else (runs[0] if len(runs) == 1 else None)
    if chosen is None:
        return None
    if rest[chosen] in NOUNS_TOO and chosen + 1 < len(rest) and not _can_follow_a_verb(rest[chosen + 1]):
        return None
    return chosen


def _no_verb(rest: Sequence[str], place: int) -> bool:
    """Whether what looks like a verb is a noun here, or an infinitive."""
    before = rest[place - 1].lower()
    return (
        before in DETERMINERS | PREPOSITIONS | {"and", "or"}
        or before.endswith(("'s", "’s", "s'"))
        or (rest[place] in NOUNS_TOO and place + 1 < len(rest) and rest[place + 1] == "of")
    )


def _can_follow_a_verb(word: str) -> bool:
    low = word.lower()
    return (
        low in DETERMINERS | PREPOSITIONS | SUBORDINATORS | ADVERBS | PRONOUNS | {"per", "me", "us", "him", "them"}
        or not word.islower()
        or low.endswith("ly")
    )


def _second_verb(tail: Sequence[str]) -> bool:
    """Whether a second verb depends on the same does or did: "start and end"."""
    return any(one.lower() in ("and", "or") and other in BASES for one, other in pairwise(tail))


def _joined(
    auxiliary: str, rest: list[str], place: int, kind: Literal["verb", "participle", "adjective", "none"]
) -> _Split:
    """The auxiliary put between the subject and the word at ``place``; adverbs stay before that word."""
    begin = place
    while begin > 1 and (rest[begin - 1] in ADVERBS or rest[begin - 1].endswith("ly")):
        begin -= 1
    if kind == "adjective":
        return " ".join(rest[:begin]), auxiliary, " ".join(rest[begin:]), kind
    subject, verb, tail, _ = _cut(rest, place, rest[place] if place < len(rest) else "", kind)
    moved = " ".join(rest[begin:place])
    return " ".join(rest[:begin]) or subject, " ".join(p for p in (auxiliary, moved, verb) if p), tail, kind


def _cut(
    rest: Sequence[str], place: int, verb: str, kind: Literal["verb", "participle", "adjective", "none"]
) -> _Split:
    """Subject before, tail after; a particle goes with the verb ("comes out", "reaches out from")."""
    end = place + 1
    alone = end + 1 == len(rest) and rest[place] in ("come", "came")
    particles = PARTICLES if alone else PARTICLES - {"in", "on"}
    if (
        kind == "verb"
        and end < len(rest)
        and rest[end] in particles
        and (end + 1 == len(rest) or rest[end + 1].lower() in PREPOSITIONS)
    ):
        verb, end = f"{verb} {rest[end]}", end + 1
    return " ".join(rest[:place]), verb, " ".join(rest[end:]), kind


def _small(text: str) -> str:
    return text[:1].lower() + text[1:] if text.split()[0].lower() in DETERMINERS | WH_WORDS | PREPOSITIONS else text
