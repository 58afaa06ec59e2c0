"""Other wordings of made questions: nobody is asked them, and nothing that is near to one may be trained on.

Forms of made questions have wordings of their own, such as "Which weight is given for the P2?" for "What weight is
listed for the P2?"; other questions are worded by the rules for training data, where their parts are clear. A wording
has all names and figures of its question, no answer, and at most four fifths of the words of any other wording of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from lorag.evaluation.answers.metrics import contains
from lorag.files import draw
from lorag.training.data.inspection import TestQuestions
from lorag.training.data.wordings.english_words import (
    AUXILIARIES,
    DETERMINERS,
    PREDICATE_ADJECTIVES,
    PREPOSITIONS,
    WH_WORDS,
)
from lorag.training.data.wordings.paraphrases import in_other_grammar
from lorag.training.data.wordings.question_parsing import Asked, parse_question
from lorag.training.data.wordings.rewordings import names_and_numbers
from lorag.training.data.wordings.statements import capital, inside
from lorag.workflows.questions.document_facts import Fact
from lorag.workflows.synthesize import plain_words

_MOST = 2
"""Wordings of a question beside the one that is asked."""
_TELL, _KNOW = "Can you tell me {}?", "I would like to know {}."
_FORMS = (
    (
        r"What (?P<column>.+?) (?P<be>is|are) listed for the (?P<thing>.+)\?",
        ("Which {column} {be} given for the {thing}?", _KNOW.format("the {column} that {be} listed for the {thing}")),
    ),
    (
        r"How many (?P<column>.+?) are listed for the (?P<thing>.+)\?",
        ("What number of {column} is given for the {thing}?", _TELL.format("how many {column} the {thing} has")),
    ),
    (
        r"What is given as “(?P<column>.+)” for the (?P<thing>.+)\?",
        ("Which “{column}” is listed for the {thing}?", _KNOW.format("what is given as “{column}” for the {thing}")),
    ),
    (
        r"Is “(?P<column>.+)” given as “yes” for the (?P<thing>.+)\?",
        (
            "Does the {thing} have a “yes” under “{column}”?",
            _TELL.format("whether “{column}” is given as “yes” for the {thing}"),
        ),
    ),
    (
        r"(?P<be>Is|Are) (?P<value>.+) the (?P<column>.+?) that (?:is|are) listed for the (?P<thing>.+)\?",
        (
            "{be} the {column} of the {thing} given as {value}?",
            _TELL.format("whether the {column} listed for the {thing} {small_be} {value}"),
        ),
    ),
    (
        r"What is meant by (?P<what>.+)\?",
        ("What does “{what}” mean?", _TELL.format("what is meant by {what}")),
    ),
    (
        r"What is given for (?P<key>.+)\?",
        ("Which entry is there for {key}?", _TELL.format("what is given for {key}")),
    ),
    (
        r"Which (?P<asked>(?:was [a-z]+ \w+|has the .+)), (?P<one>.+) or (?P<other>.+)\?",
        ("Which of {one} and {other} {asked}?", _TELL.format("which {asked}, {one} or {other}")),
    ),
)
_TOPIC = re.compile(r"(?P<topic>.+): (?P<core>(?P<first>[a-z]+) .+\?)")
_UNKNOWN = "unknown"
"""Stands for the answer that a question of this kind lacks."""


def reworded(facts: Sequence[Fact], taken: Collection[str]) -> list[Fact]:
    """The facts, each with at most two other wordings of its question; none is one of the questions ``taken``."""
    used = {*map(plain_words, taken), *(plain_words(fact.question) for fact in facts)}
    found = []
    for fact in facts:
        kept: list[str] = []
        for wording in _wordings(fact):
            plain = plain_words(wording)
            if len(kept) < _MOST and plain not in used and _asks_the_same(wording, fact, kept):
                used.add(plain)
                kept.append(wording)
        found.append(replace(fact, paraphrases=tuple(kept)))
    return found


def _asks_the_same(wording: str, fact: Fact, kept: Sequence[str]) -> bool:
    """Whether a wording has what the question names and no further answer, and is near to no other wording of it."""
    added = [answer for answer in fact.answers if not contains(fact.question, [answer])]
    given_away = fact.kind != "yes-no" and contains(wording, added)
    is_near = TestQuestions([fact.question, *kept], plain_words).nearly_asks(wording)
    named = names_and_numbers(fact.question) - DETERMINERS
    return not given_away and not is_near and named <= names_and_numbers(f"- {wording}")


def _wordings(fact: Fact) -> Iterator[str]:
    """The question in other words, with its topic in front where it has one."""
    match = _TOPIC.fullmatch(fact.question)
    if match is None or match["first"] not in WH_WORDS | AUXILIARIES | PREPOSITIONS:
        yield from _of_core(fact.question, fact)
        return
    for wording in _of_core(capital(match["core"]), fact):
        small = wording if wording.startswith("I ") else wording[:1].lower() + wording[1:]
        yield f"{match['topic']}: {small}"


def _of_core(question: str, fact: Fact) -> Iterator[str]:
    for form, wordings in _FORMS:
        if match := re.fullmatch(form, question):
            parts = {**match.groupdict(), "small_be": match.groupdict().get("be", "").lower()}
            yield from (wording.format(**parts) for wording in wordings)
            return
    asked = parse_question(question)
    if asked is None or asked.context:
        return
    if asked.form == "thing" and fact.kind == "sentence":
        yield from _of_definition(asked)
    elif asked.form == "yes-no" and asked.predicate in ("verb", "participle") and asked.verb.islower():
        yield f"Is it true that {inside(asked.clause.removeprefix('whether '))}?"
        yield _TELL.format(asked.clause)
    elif _is_clear(asked):
        yield from _by_grammar(question, asked, fact)


def _of_definition(asked: Asked) -> Iterator[str]:
    what = inside(asked.subject)
    if what.split()[0] in PREDICATE_ADJECTIVES:
        return
    yield _TELL.format(f"what {what} {asked.verb}")
    yield _KNOW.format(f"what {what} {asked.verb}") if what.startswith("the ") else f"What is meant by {what}?"


def _is_clear(asked: Asked) -> bool:
    """Whether subject and verb can be put into another order without doubt."""
    if asked.form == "doer":
        return bool(asked.tail)
    if asked.form == "thing" or asked.predicate == "none":
        return asked.form == "thing" or asked.wh in ("when", "where") or asked.wh.startswith("how")
    return asked.form == "inverted" and asked.predicate in ("verb", "participle")


def _by_grammar(question: str, asked: Asked, fact: Fact) -> Iterator[str]:
    """Direct questions in other words first, then one request and another, in an order drawn by the question."""
    done = asked.verb.split()
    if asked.wh == "by whom" and len(done) == 2 and done[1].endswith("ed"):
        yield " ".join(part for part in ("Who", done[1], asked.subject, asked.tail) if part) + "?"
    found = in_other_grammar(question, fact.answers[0] if fact.answers else _UNKNOWN)
    direct = [each for each in found if each.split()[0].lower() in WH_WORDS | PREPOSITIONS and ". " not in each]
    yield from direct[:1]
    requests = [each for each in found if each.startswith((_TELL[:10], _KNOW[:10]))]
    yield from sorted(requests, key=lambda each: draw(f"worded {each}"))
