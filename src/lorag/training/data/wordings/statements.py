"""What a question and its short answer state together: "The warranty lasts 28 months."

A statement is built only where the question's parts say where the answer belongs; otherwise there is none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lorag.training.data.wordings.english_words import (
    BE,
    DETERMINERS,
    MONTHS,
    PARTICLES,
    PREPOSITIONS,
    SUBORDINATORS,
    UNITS_OF_LENGTH,
    UNITS_OF_TIME,
    is_finite,
    is_past,
    is_plural,
    word_set,
)
from lorag.training.data.wordings.question_parsing import Asked, is_definite

_SHORT = 5
"""Words of the longest answer that is taken for a value."""
_NO_VALUE = word_set("no not none unknown nothing never know known cannot sorry unanswerable")
_SELDOM_VERBS = word_set("can do may might will us plans works charges costs fees orders cost set cut")
"""Words inside a value that may be verbs and hardly are: Viana do Castelo, 2 May, shipping costs."""
_BARE = re.compile(r"[\d.,]*\d|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve", re.IGNORECASE)
_ISO = re.compile(r"\d{4}-\d\d-\d\d")
_PERIOD = re.compile(r"\d{3}0s\b|\d{1,2}(?:st|nd|rd|th) centur")
_SUPERLATIVE = re.compile(r"(is|was) the (\w+est|latest|last|first|best|most \w+)")
_WITH_ARTICLE = word_set(
    "act directive empire kingdom museum ocean palace plot revolution river sea treaty union university war wars"
)
_LASTING = word_set("last lasts lasted take takes took weigh weighs weighed run runs ran")
_EXTENTS = word_set("long wide deep tall thick")
_PLAIN_EXTENTS = word_set("high large big low small great")


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence that states an answer; ``stem`` is the sentence up to the answer, empty where that is too little."""

    text: str
    stem: str = ""


def is_value(answer: str) -> bool:
    """Whether an answer is a value, a few words without a verb, rather than a sentence, a yes or a refusal."""
    words = answer.rstrip(".").split()
    low = [word.lower() for word in words]
    if not 0 < len(words) <= _SHORT or re.search(r"[.;:!?] ", answer) or low[0] in ("yes", "yes,", "true", "false"):
        return False
    verb = any(is_finite(word) and word not in _SELDOM_VERBS for word in words[1:])
    ends_as_sentence = answer.endswith(".") and len(words) > 3
    return not verb and not ends_as_sentence and not _NO_VALUE & set(low) and not any(w.endswith("n't") for w in low)


def superlative(asked: Asked) -> str:
    """The thing that a question asks for by "Which N is the newest?": "the newest N"; empty for other questions."""
    match = _SUPERLATIVE.fullmatch(asked.tail) if asked.form == "doer" and asked.noun else None
    return f"the {match[2]} {asked.noun}" if match else ""


def statements(asked: Asked, answer: str) -> list[Statement]:
    """Sentences that state ``answer``, the plainest first; none where the answer or the question does not allow it."""
    if asked.context.endswith((".", "!", ";", ":")):
        return []
    said = answer.strip().rstrip(".")
    if answer.endswith(".") and " " in said and said[1:].islower() and not any(c.isdigit() for c in said):
        said = said.lower()  # "Water level gauges.": the capital is that of a sentence, not of a name
    if asked.form == "yes-no":
        return [_made(f"Yes, {asked.subject} {asked.verb}", asked.tail)] if said.lower() == "yes" else []
    if not is_value(answer) or asked.context or _lacks_article(said):
        return []
    value = f"the {said}" if _PERIOD.match(said) else inside(said)
    if asked.form == "thing":
        return _about_a_thing(asked, asked.subject, asked.verb, value)
    if asked.form == "doer":
        return _by_a_doer(asked, value)
    return _inverted(asked, value)


def _lacks_article(value: str) -> bool:
    """Whether a value of several words wants an article that it does not have: "Amboise plot", "atmospheric engine"."""
    words = value.split()
    if len(words) < 2 or words[0].lower() in DETERMINERS | PREPOSITIONS or any(c.isdigit() for c in value):
        return False
    return (words[-1].islower() and not is_plural(value)) or words[-1].lower() in _WITH_ARTICLE


def inside(text: str) -> str:
    """A text as it stands inside a sentence: an article or preposition at its beginning in small letters."""
    first = text.split()[0] if text.split() else ""
    return text[:1].lower() + text[1:] if first.lower() in DETERMINERS | PREPOSITIONS else text


def capital(text: str) -> str:
    """A text as it begins a sentence."""
    return text[:1].upper() + text[1:]


def time_preposition(value: str) -> str | None:
    """The preposition before a point in time ("on", "in", "at"), empty where it has one; None where it is no time."""
    low = value.lower()
    words = low.replace(",", "").split()
    if words[0] in PREPOSITIONS:
        return ""
    if re.fullmatch(r"(?:1\d|20)\d\d(?: (?:bc|ad|bce|ce))?", low) or re.search(r"\d{3}0s|centur(?:y|ies)\b", low):
        return "in" if words[0] not in ("early", "late", "mid") else "in the"
    if _ISO.fullmatch(low) or (set(words) & MONTHS and any(re.fullmatch(r"\d{1,2}(?:st|nd|rd|th)?", w) for w in words)):
        return "on"
    if set(words) & MONTHS and len(words) <= 2:
        return "in"
    return "at" if re.fullmatch(r"\d{1,2}[:.]\d\d(?: ?[ap]\.?m\.?)?|noon|midnight", low) else None


def is_duration(value: str) -> bool:
    """Whether a value is a length of time: 28 months."""
    words = value.lower().split()
    return len(words) > 1 and words[-1] in UNITS_OF_TIME and (_BARE.fullmatch(words[0]) is not None or len(words) == 2)


def is_length(value: str) -> bool:
    """Whether a value is a length in space: 45 m."""
    words = value.lower().split()
    return len(words) == 2 and words[1] in UNITS_OF_LENGTH


def _about_a_thing(asked: Asked, thing: str, verb: str, value: str) -> list[Statement]:
    made = [_made(thing, verb, value, stem=f"{thing} {verb}")]
    named = value[:1].isupper() or value[:1].isdigit()
    agrees = is_plural(value) == (verb in ("are", "were")) or value[:1].isdigit()
    if named and agrees and is_definite(thing) and verb in ("is", "was") and len(thing.split()) <= 8:
        made.append(_made(value, verb, thing))
    return made


def _by_a_doer(asked: Asked, value: str) -> list[Statement]:
    newest = superlative(asked)
    if newest:
        return _about_a_thing(asked, newest, asked.tail.split()[0], value)
    if not asked.tail:
        return []
    first, rest = asked.tail.split()[0], asked.tail.split()[1:]
    many = is_plural(value) or " and " in value
    if asked.wh.startswith("how"):
        counted = f"{value} {asked.noun}" if _BARE.fullmatch(value) else value
        fits = asked.wh.startswith("how many") and (value[:1].isdigit() or counted != value)
        return [_made(counted, asked.tail)] if fits and value.lower() not in ("1", "one") else []
    made = []
    if asked.word in ("which", "what") and asked.noun and not value.startswith("the "):
        plural = is_plural(asked.noun)
        verb = ("were" if plural else "was") if is_past(first) else ("are" if plural else "is")
        thing = f"the {asked.noun} that {asked.tail}"
        made.append(_made(thing, verb, value, stem=f"{thing} {verb}"))
    past_tense = not first.endswith("s")  # the past of all verbs but "was" is the same for one and for many
    fitting = first if not many or past_tense else {"is": "are", "was": "were", "has": "have"}.get(first, "")
    fitting = "" if not many and first in ("are", "were", "have") else fitting
    is_name = not value.split()[0].islower() or not asked.noun or value.startswith("the ")
    if fitting and is_name:
        made.append(_made(value, fitting, *rest))
    return made


def _inverted(asked: Asked, value: str) -> list[Statement]:
    word = asked.word
    if asked.preposition:
        if value.isalpha() and value.islower():
            return []
        if asked.noun.split()[-1:] in (["interval"], ["intervals"], ["distance"]):
            return []  # "at 15 minutes": what is meant is an interval of that length
        own = value.split()[0].lower() in PREPOSITIONS - {"over", "under"}
        return _with_adverbial(asked, value if own else f"{asked.preposition} {value}")
    if word == "when":
        before = time_preposition(value)
        return [] if before is None else _with_adverbial(asked, f"{before} {value}".strip())
    if word == "where":
        placed = value.split()[0].lower() in PREPOSITIONS
        based = asked.verb.split()[-1] in ("located", "based", "born", "situated", "headquartered", "held")
        if not placed and not (based and value[:1].isupper()):
            return []
        return _with_adverbial(asked, value if placed else f"in {value}")
    if word == "how":
        return _extent(asked, value)
    if word in ("what", "which") and asked.noun and asked.predicate in ("verb", "participle"):
        verb = "was" if _is_past(asked) else "is"
        if is_plural(asked.noun):
            verb = {"was": "were", "is": "are"}[verb]
        thing = f"the {asked.noun} that {asked.subject} {asked.verb} {asked.tail}".strip()
        if (
            asked.noun.split()[0] in ("year", "century", "day", "date", "time")
            or value.startswith("the ")
            or "," in thing
        ):
            return []
        return [_made(thing, verb, value, stem=f"{thing} {verb}")]
    return _as_object(asked, value) if word in ("what", "who", "whom") else []


def _is_past(asked: Asked) -> bool:
    return asked.auxiliary in ("did", "was", "were", "had")


def _as_object(asked: Asked, value: str) -> list[Statement]:
    """The answer as the object of the verb: directly behind it, or behind the preposition that was left at the end."""
    tail = asked.tail.split()
    if value.isalpha() and value.islower() and not is_plural(value):
        return []  # "Watt added condenser" wants an article, "the gate is called gate" none; it cannot be seen which
    if len(tail) == 1 and (tail[0] in PREPOSITIONS or asked.predicate == "adjective"):
        head = f"{asked.subject} {asked.verb} {asked.tail}"
        return [_made(head, value, stem=head)] if tail[0] in PREPOSITIONS else []
    if asked.predicate in ("verb", "participle") and _starts_apart(tail) and asked.rest.split()[-1] != "do":
        head = f"{asked.subject} {asked.verb}"
        return [_made(head, value, asked.tail, stem=head)]
    return []


def _with_adverbial(asked: Asked, phrase: str) -> list[Statement]:
    """The answer with its preposition: behind a participle, else at the end where nothing comes between."""
    tail = asked.tail.split()
    head = f"{asked.subject} {asked.verb}"
    if tail and tail[0] in PARTICLES - {"in", "on"} | {"who", "which", "that"}:
        return []
    if not tail:
        return [_made(head, phrase, stem=f"{head} {phrase.split()[0]}" if phrase.split()[0] in PREPOSITIONS else head)]
    clause = any(word.lower() in SUBORDINATORS | {"to"} or word.endswith(",") for word in tail)
    if asked.predicate == "participle" and _starts_apart(tail) and tail[0] not in ("by", "as", "into", "with", "of"):
        return [_made(head, phrase, asked.tail)]
    if clause or (asked.predicate == "verb" and any(word in PREPOSITIONS - {"of"} for word in tail)):
        return []
    whole = f"{head} {asked.tail} {phrase.split()[0]}"
    return [_made(head, asked.tail, phrase, stem=whole if phrase.split()[0] in PREPOSITIONS else "")]


def _extent(asked: Asked, value: str) -> list[Statement]:
    """Answers to how much, how many, how long, how often, and how with an adjective."""
    what, tail = asked.wh.removeprefix("how").strip(), asked.tail.split()
    head = f"{asked.subject} {asked.verb}"
    if what.split()[:1] and what.split()[0] in ("many", "much"):
        counted = f"{value} {asked.noun}" if what.startswith("many ") and _BARE.fullmatch(value) else value
        if asked.noun.startswith("of "):
            counted = f"{value} {asked.noun}"
        fits = asked.predicate == "verb" and _starts_apart(tail)
        return [_made(head, counted, asked.tail, stem=head)] if fits else []
    if asked.predicate == "none" and asked.auxiliary in BE:
        return _measured(asked, what, value)
    if what == "far" and asked.predicate == "verb" and _starts_apart(tail):
        return [_made(head, value, asked.tail, stem=head)]
    if what == "long" and is_duration(value):
        if asked.predicate == "verb" and asked.verb.split()[-1] in _LASTING:
            return [_made(head, value, asked.tail, stem=head)] if _starts_apart(tail) else []
        if asked.predicate == "adjective" and asked.tail:
            return [_made(head, asked.tail.split()[0], f"for {value}", *asked.tail.split()[1:], stem="")]
        if asked.predicate != "verb" or (_starts_apart(tail) and not asked.verb.startswith(("need", "may be"))):
            return [_made(head, f"for {value}", asked.tail, stem=f"{head} for")] if _starts_apart(tail) else []
    if what == "long" and is_length(value) and asked.rest.endswith(" be"):
        return [_made(head, value, "long", stem=head)]
    if what == "often" and is_duration(value) and not tail:
        return [_made(head, f"every {value}", stem=f"{head} every")]
    return []


def _measured(asked: Asked, what: str, value: str) -> list[Statement]:
    """Answers to "How ADJECTIVE is X?"."""
    subject, verb = asked.subject, asked.verb
    if what in _PLAIN_EXTENTS or (what in ("far", "hot", "cold") and value[:1].isdigit()):
        return [_made(subject, verb, value, stem=f"{subject} {verb}")]
    if what in _EXTENTS and is_length(value):
        return [_made(subject, verb, value, what, stem=f"{subject} {verb}")]
    if what == "heavy":
        weighs = {"is": "weighs", "are": "weigh"}.get(verb, "weighed")
        return [_made(subject, weighs, value, stem=f"{subject} {weighs}")]
    if what == "expensive":
        costs = {"is": "costs", "are": "cost"}.get(verb, "cost")
        return [_made(subject, costs, value, stem=f"{subject} {costs}")]
    nouns = {"accurate": "accuracy", "old": "age", "fast": "speed"}
    if what in nouns and verb in ("is", "was"):
        head = f"the {nouns[what]} of {subject} {verb}"
        return [_made(head, value, stem=head)]
    return []


def _starts_apart(tail: Sequence[str]) -> bool:
    """Whether what follows a verb leaves room for an object or an adverbial before it."""
    return not tail or tail[0].lower() in PREPOSITIONS | SUBORDINATORS | {"per"}


def _made(*parts: str, stem: str = "") -> Statement:
    text = " ".join(part for part in parts if part)
    return Statement(
        f"{capital(text)}{'' if text.endswith('.') else '.'}", capital(stem) if len(stem.split()) > 2 else ""
    )
