"""Further wordings of a question and of its answer, made by rules on English, without a language model.

A question is taken apart and asked as people ask: as a request, indirectly, by the noun for what is measured, as a
sentence to complete. Where its parts are not clear it is only framed ("Quick question: ..."). An answer that is a
value is also given as a whole sentence; an answer that is a sentence stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorag.training.data.wordings.english_words import (
    AUXILIARIES,
    BE,
    DETERMINERS,
    MONTHS,
    PREPOSITIONS,
    SUBORDINATORS,
    WH_WORDS,
    bare_words,
    is_plural,
    word_set,
)
from lorag.training.data.wordings.question_parsing import (
    Asked,
    is_definite,
    is_english_question,
    parse_question,
    parse_request,
)
from lorag.training.data.wordings.statements import (
    Statement,
    capital,
    is_duration,
    is_length,
    is_value,
    statements,
    superlative,
    time_preposition,
)

Wording = tuple[str, str]
"""A question and its answer."""

_INDIRECT = (
    "Can you tell me {clause}?",
    "Tell me {clause}.",
    "I would like to know {clause}.",
    "Do you know {clause}?",
    "I need to know {clause}.",
    "Could you please tell me {clause}?",
    "I was wondering {clause}.",
)
_FRAMES = (
    "Quick question: {small}",
    "A customer asks: {question}",
    "Could you help me with this? {question}",
    "I would like to know: {small}",
    "Please answer this question: {question}",
    "One more question: {small}",
    "Hello! {question}",
    "Someone asked me this: {question}",
)
_REQUEST_FRAMES = ("Hello! {question}", "A customer writes: {question}", "Could you help me with this? {question}")
_OF = re.compile(r"the (?P<what>(?:(?!of\b)[\w-]+ ){0,2}[\w-]+) of (?P<whose>(?:an? |the )?[^,]+)", re.IGNORECASE)
_NOT_OWNED = word_set(
    "amount couple end form group kind king lack list lot majority member name number one pair part piece purpose queen"
    " rest result set share sort term type types use"
)
_MEASURES = {"heavy": "weight", "accurate": "accuracy", "old": "age", "large": "size", "expensive": "price"}
_LENGTHS = {
    "long": "length",
    "wide": "width",
    "deep": "depth",
    "tall": "height",
    "high": "height",
    "thick": "thickness",
}
_POINTS_IN_TIME = word_set("date day year time month century")
_NEVER_STRANDED = word_set("year century month decade period era time way order")
_VALUE = re.compile(r"(?:(?:EUR|USD|GBP|CHF) |[$€£])?\d[\d.,:/-]*(?: ?%)?")
_NAME = re.compile(r"\b[A-Z][\w'-]*(?: (?:(?:of|de|do|da|von|van) )?[A-Z][\w'-]*)*")
_LONGEST_CLAUSE, _LONGEST_THING = 24, 8
_NEXT_CLAUSE = re.compile(r", (?:and|because|but|so|unless|where|whether|which|while|who)\b")
_LONGEST_ANSWER = 30
_GRAMMATICAL_PER_FRAME = 4
_SPEAKERS = word_set("i we me us my our you your")


def paraphrases(question: str, answer: str, limit: int) -> list[Wording]:
    """At most ``limit`` other wordings of a question with its answer, the most useful first.

    None for a question that is not in English. No wording holds more or less than what was given.
    """
    if not is_english_question(question):
        return []
    asked = _asked(question, answer)
    stated = _stated(asked, answer) if asked is not None else []
    answers = [answer, *(statement.text for statement in stated)]
    found = list(_completions(question, answer, stated))
    wordings = _mixed(list(_grammatical(question, answer, asked)), list(_framed(question)))
    found[1:1] = [(wording, answers[i % len(answers)]) for i, wording in enumerate(wordings, start=1)]
    seen = {bare_words(question)}
    kept = []
    for wording, reply in found:
        if bare_words(wording) not in seen:
            seen.add(bare_words(wording))
            kept.append((wording, reply))
    return kept[:limit]


def in_other_grammar(question: str, answer: str) -> list[str]:
    """The question in other forms of English, the most useful first: no frame around it, and nothing to complete."""
    return list(_grammatical(question, answer, _asked(question, answer))) if is_english_question(question) else []


def _mixed(grammatical: list[str], framed: list[str]) -> list[str]:
    """Wordings in other grammar with a frame after every few of them, then the other frames."""
    mixed = []
    rest = iter(framed)
    for i, wording in enumerate(grammatical, start=1):
        mixed.append(wording)
        if i % _GRAMMATICAL_PER_FRAME == 0:
            mixed += [frame for frame in (next(rest, None),) if frame is not None]
    return [*mixed, *rest]


def reversed_question(question: str, answer: str) -> Wording | None:
    """A question from the value to what has it, with the sentence that states both; None for a value that says little.

    Whether the value is that of one thing only is for the caller to see.
    """
    asked = _asked(question, answer)
    if asked is None or not is_value(answer) or not _is_specific(answer):
        return None
    stated = [statement for statement in _stated(asked, answer) if statement.stem]
    value = answer.strip().rstrip(".")
    if not stated:
        return None
    if asked.form == "thing" and asked.wh == "who" and asked.verb in ("is", "was") and value[:1].isupper():
        return f"Who {asked.verb} {value}?", _value_first(asked, value) or stated[0].text
    owned = _OF.fullmatch(_thing(asked)) if asked.wh != "who" else None
    if owned is not None and asked.verb in ("is", "was") and _can_own(owned):
        has = "had" if asked.verb == "was" else "has"
        return f"What {has} {value} as its {owned['what']}?", stated[0].text
    dated = any(word in MONTHS for word in value.lower().split()) or re.fullmatch(r"\d{4}-\d\d-\d\d", value)
    if asked.form == "inverted" and asked.predicate in ("verb", "participle") and dated and "," not in asked.tail:
        phrase = stated[0].text.rstrip(".").removeprefix(capital(asked.subject)).strip()
        who = "Who" if asked.verb.split()[-1] in ("born", "died", "married", "elected", "appointed") else "What"
        plural = asked.verb.split()[0] in ("are", "were", "have") or asked.auxiliary == "do"
        return None if plural else (f"{who} {phrase}?", stated[0].text)
    return None


def value_of(question: str, answer: str) -> tuple[int, str] | None:
    """Where in an answer that is one sentence its value begins, and the value; None where it cannot be seen.

    It is the last number, else the last name of the sentence's first clause that the question does not hold.
    """
    if (
        not answer.endswith(".")
        or is_value(answer)
        or re.search(r"[.!?] ", answer)
        or len(answer.split()) > _LONGEST_ANSWER
    ):
        return None
    told = question.lower()
    clause = _NEXT_CLAUSE.split(answer, maxsplit=1)[0]
    for pattern, text in ((_VALUE, clause), (_VALUE, answer), (_NAME, clause)):
        new = [m for m in pattern.finditer(text) if m.start() and m[0].strip(".,:").lower() not in told]
        if new:
            return new[-1].start(), new[-1][0].rstrip(".,:")
    return None


def _asked(question: str, answer: str) -> Asked | None:
    """The question's parts; a request for a thing counts as the question what it is."""
    asked = parse_question(question)
    if asked is not None:
        return asked
    requested = parse_request(question)
    if requested is None or requested.is_clause:
        return None
    verb = "are" if is_plural(requested.what) else "is"
    return Asked("thing", "", "what", "", "", verb, requested.what, verb, "", "none", "")


def _stated(asked: Asked, answer: str) -> list[Statement]:
    """Statements that speak of the thing itself, not of who asks."""
    found = statements(asked, answer)
    return [s for s in found if not _SPEAKERS & set(re.findall(r"[a-z]+", s.text.lower()))]


def _completions(question: str, answer: str, stated: list[Statement]) -> Iterator[Wording]:
    stem = next((statement for statement in stated if statement.stem), None)
    if stem is not None:
        yield f"Complete: {stem.stem} …", stem.text
        return
    value = value_of(question, answer)
    if value is not None and len(answer[: value[0]].split()) >= 3:
        yield f"Complete: {answer[: value[0]].rstrip()} …", answer


def _grammatical(question: str, answer: str, asked: Asked | None) -> Iterator[str]:
    """The question in other forms of English; none where its parts are unknown."""
    requested = parse_request(question)
    if requested is not None and requested.is_clause:
        yield from (frame.format(clause=requested.what) for frame in _INDIRECT)
        return
    if asked is None:
        return
    about = _thing(asked)
    if about and is_definite(about) and asked.wh != "who":
        yield from _of_a_thing(about, asked.verb or "is", answer, direct=requested is not None or asked.form == "doer")
    other = _other_forms(asked, answer)
    indirect = iter(_indirect(asked))
    for wording in other:
        yield from (w for w in (next(indirect, None), wording) if w is not None)
    yield from indirect


def _thing(asked: Asked) -> str:
    """The thing that is asked for: "What is THE PRICE OF X?", "Which N is the newest?"; empty for other questions."""
    if asked.form == "thing":
        return asked.subject if not asked.context else ""
    return superlative(asked)


def _of_a_thing(thing: str, verb: str, answer: str, direct: bool) -> Iterator[str]:
    """Requests for a thing with a name of its own."""
    simple = len(thing.split()) <= _LONGEST_THING and not any(w in SUBORDINATORS for w in thing.lower().split())
    value = any(character.isdigit() for character in answer)
    if direct and (value or answer[:1].islower()):
        yield f"What {verb} {thing}?"
    yield f"Tell me {thing}."
    if simple:
        yield f"Can you tell me what {thing} {verb}?"
    owned = _OF.fullmatch(thing)
    if owned is not None and _can_own(owned):
        yield f"What {verb} {_possessive(owned['whose'])} {owned['what']}?"
    yield f"I need to know {thing}."
    if (
        owned is not None
        and value
        and _can_own(owned)
        and owned["what"].split()[-1] not in ("age", "birth", "death", "name")
    ):
        its = "their" if is_plural(owned["whose"]) else "its"
        yield f"I have a question about {owned['whose']}. What {verb} {its} {owned['what']}?"
    if owned is not None and _can_own(owned):
        bare = re.sub(r"^(?:an?|the) ", "", owned["whose"])
        yield f"{capital(bare)}: {owned['what']}?"
        yield f"For {owned['whose']}, what {verb} the {owned['what']}?"
    yield f"Please name {thing}." if not value else f"Please state {thing}."
    if simple:
        yield f"Do you know what {thing} {verb}?"
    yield f"Could you please tell me {thing}?"


def _can_own(owned: re.Match[str]) -> bool:
    whose = owned["whose"].split()
    return (
        len(whose) <= 4
        and not (PREPOSITIONS | SUBORDINATORS | {"and", "or"}) & {word.lower() for word in whose}
        and not _NOT_OWNED & set(owned["what"].lower().split())
        and (whose[0] in DETERMINERS or not whose[0].islower())
    )


def _possessive(name: str) -> str:
    return f"{name}'" if name.endswith("s") else f"{name}'s"


def _indirect(asked: Asked) -> list[str]:
    """The question as a clause in requests; what stood before it moves behind it, or stays in front."""
    thing = asked.form == "thing"
    if len(asked.clause.split()) > _LONGEST_CLAUSE or (
        thing and asked.wh == "what" and is_definite(asked.subject) and not asked.context
    ):
        return []
    heavy = len(asked.subject.split()) > _LONGEST_THING or any(w in SUBORDINATORS for w in asked.subject.split())
    if heavy and not asked.tail and asked.form != "doer" and len(asked.verb.split()) == 1:
        return []
    return [_in_context(asked, frame, asked.clause) for frame in _INDIRECT]


def _in_context(asked: Asked, frame: str, clause: str) -> str:
    before = asked.context
    if not before:
        return frame.format(clause=clause)
    first = before.split()[0].lower()
    if before.endswith(",") and (first in SUBORDINATORS | PREPOSITIONS or first == "assuming"):
        return frame.format(clause=f"{clause} {before[:1].lower()}{before[1:].rstrip(',')}")
    wording = frame.format(clause=clause)
    joined = before.endswith((",", ";", ":", "and", "but")) and not wording.startswith("I ")
    return f"{before} {wording[:1].lower()}{wording[1:]}" if joined else f"{before} {wording}"


def _other_forms(asked: Asked, answer: str) -> Iterator[str]:
    """Direct questions in other words, where no more than the question word or its noun changes."""
    if asked.context:
        return
    value = answer.strip().rstrip(".")
    behind = f"{asked.auxiliary} {asked.rest}"
    if asked.form == "thing" and asked.wh == "who":
        named = bool(_NAME.fullmatch(value)) and asked.verb in ("is", "was") and is_definite(asked.subject)
        if named:
            yield f"What {asked.verb} the name of {asked.subject}?"
            yield f"Name {asked.subject}."
        return
    if asked.word in ("which", "what") and asked.noun and (asked.word == "which" or asked.form == "inverted"):
        swapped = {"which": "what", "what": "which"}[asked.word]
        question = " ".join(swapped if word == asked.word else word for word in asked.wh.split())
        yield f"{capital(question)} {asked.tail if asked.form == 'doer' else behind}?"
    if asked.form == "doer":
        if asked.wh == "who" and asked.tail and not asked.auxiliary and not asked.tail.split()[0].endswith("s"):
            yield f"Who was it that {asked.tail}?"
        if asked.wh.startswith("how many ") and asked.auxiliary in BE:
            yield f"What number of {asked.noun} {asked.tail}?"
        return
    if asked.form == "inverted":
        yield from _other_inverted(asked, value, behind)


def _other_inverted(asked: Asked, value: str, behind: str) -> Iterator[str]:
    yield from _by_preposition(asked, behind)
    yield from _by_time(asked, value, behind)
    if asked.wh == "where" and asked.verb.split()[-1] == "located" and not asked.tail and asked.auxiliary == "is":
        yield f"What is the location of {asked.subject}?"
    if asked.wh.startswith("how many ") and asked.noun:
        yield f"What number of {asked.noun} {behind}?"
    what = asked.wh.removeprefix("how").strip()
    if asked.predicate == "none" and asked.auxiliary in ("is", "was"):
        noun = _LENGTHS.get(what) if is_length(value) else _MEASURES.get(what)
        if noun is not None and (what != "large" or value[:1].isdigit()):
            yield f"What {asked.auxiliary} the {noun} of {asked.subject}?"
    yield from _cost_and_weight(asked)
    measured = asked.word == "how" and (what not in ("old", "tall", "") or asked.preposition == "by")
    subject = asked.subject.split()
    if (measured or asked.wh == "what") and value[:1].isdigit() and subject[0].lower() in ("the", "a", "an"):
        it = "they" if is_plural(asked.subject) else "it"
        rest = asked.rest.replace(asked.subject, it, 1)
        yield f"I have a question about {asked.subject}. {capital(asked.wh)} {asked.auxiliary} {rest}?"


def _by_preposition(asked: Asked, behind: str) -> Iterator[str]:
    """On what date: when. In which town is X: which town is X in."""
    if asked.preposition in ("on", "in", "at") and asked.noun in _POINTS_IN_TIME:
        yield f"When {behind}?"
    if asked.preposition in ("until", "since") and asked.noun in _POINTS_IN_TIME:
        yield f"{capital(asked.preposition)} when {behind}?"
    named = asked.preposition in ("from", "to", "with", "in") and bool(asked.noun)
    if named and not asked.tail and asked.predicate == "verb" and asked.noun.split()[-1] not in _NEVER_STRANDED:
        yield f"{capital(asked.wh.removeprefix(asked.preposition).strip())} {behind} {asked.preposition}?"


def _by_time(asked: Asked, value: str, behind: str) -> Iterator[str]:
    """Other words for how long, how often and when."""
    if asked.wh == "for how long":
        yield f"How long {behind}?"
    taking = asked.verb.split()[-1] in ("takes", "take", "took", "need", "needs", "needed")
    if asked.wh == "how long" and is_duration(value) and not taking:
        yield f"For how long {behind}?"
    if asked.wh == "how often" and is_duration(value) and asked.predicate == "participle":
        yield f"At what intervals {behind}?"
    if asked.wh == "when":
        kind = time_preposition(value)
        if kind == "on":
            yield f"On what date {behind}?"
        elif kind == "in" and re.fullmatch(r"\d{4}", value):
            yield f"In what year {behind}?"


def _cost_and_weight(asked: Asked) -> Iterator[str]:
    """How much X weighs, what X weighs, what the weight of X is; the same for what X costs."""
    if asked.wh == "how heavy" and asked.auxiliary in BE:
        do = {"is": "does", "are": "do"}.get(asked.auxiliary, "did")
        yield f"How much {do} {asked.subject} weigh?"
        yield f"What {do} {asked.subject} weigh?"
    verb = asked.verb.split()[-1]
    noun = {"costs": "price", "weighs": "weight"}.get(verb)
    if noun is not None and asked.wh in ("how much", "what") and asked.auxiliary == "does":
        other = "what" if asked.wh == "how much" else "how much"
        yield f"{capital(other)} {asked.auxiliary} {asked.rest}?"
        yield f"What is the {noun} of {asked.subject}{f' {asked.tail}' if asked.tail else ''}?"


def _framed(question: str) -> Iterator[str]:
    """The question as it is, in sentences that fit any."""
    flat = " ".join(question.split())
    if not flat.endswith("?"):
        if parse_request(flat) is not None:
            yield from (frame.format(question=flat) for frame in _REQUEST_FRAMES)
            return
        flat = f"{flat}?"
    if re.search(r"[.!?] ", flat):
        yield from (frame.format(question=flat) for frame in _REQUEST_FRAMES)
        return
    first = flat.split()[0].lower()
    small = flat[:1].lower() + flat[1:] if first in WH_WORDS | AUXILIARIES | PREPOSITIONS else flat
    yield from (frame.format(question=flat, small=small) for frame in _FRAMES)


def _is_specific(answer: str) -> bool:
    """Whether a value says enough to ask by it: a name, a date, a number of some length or with its unit."""
    value = answer.strip().rstrip(".")
    digits = sum(character.isdigit() for character in value)
    if not digits:
        return bool(re.search(r"[A-Z]", value)) and len(value) > 2
    return digits >= 4 or bool(re.search(r"\d.*[^\W\d]|[^\W\d].*\d|\d[.,]\d", value))


def _value_first(asked: Asked, value: str) -> str:
    return f"{capital(value)} {asked.verb} {asked.subject}." if is_definite(asked.subject) else ""
