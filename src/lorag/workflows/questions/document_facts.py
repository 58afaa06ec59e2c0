"""What a document states, each with the question that asks for it and the characters that answer it.

Facts come from forms that leave no doubt: cells of tables, ``key: value`` lines, headings that ask, definitions, and
plain sentences. Rules know English; documents in another language give none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from lorag.documents.markdown_structure import headings
from lorag.training.data.qa_rules import (
    Section,
    defined,
    inside_a_sentence,
    key_lines,
    sections,
    sentences,
    table_cells,
    tidy,
    value_parts,
)
from lorag.training.data.wordings.english_words import (
    ADVERBS,
    FOREIGN,
    PREPOSITIONS,
    SUBORDINATORS,
    WH_WORDS,
    is_finite,
    is_participle,
    is_plural,
)
from lorag.training.data.wordings.sentence_questions import COUNT, sentence_questions
from lorag.types import Document
from lorag.workflows.questions.value_variants import DATE, changed_number, has_number

Kind = Literal["short", "number", "sentence", "yes-no", "two-document", "unanswerable"]

_EMPTY = re.compile(
    r"(?:n/?a|not (?:applicable|available|supported|specified)|none|unknown|tbd|unlimited|-|–|—)\.?", re.IGNORECASE
)
_UNCLEAR = re.compile(r"[|#<>*_`{}]|https?://|\.\.\.|…")
_DONE = re.compile(rf"(?P<done>[a-z]+) (?:on|in) (?P<value>{DATE})(?=[.,;]|$)")
_ASKS_A_VALUE = re.compile(
    r"(?P<wh>(?P<of_number>how (?:long|many|much|often|far|old)|when)|which|where|who)\b", re.IGNORECASE
)
_TIME = re.compile(r"\d|\b(?:hour|day|week|month|quarter|year|midnight|noon)s?\b|day\b")
_ANSWERED = re.compile(r"(?P<answer>Yes|No)\b[.,:]")
_APPARATUS = re.compile(
    r"\d|:|^[A-Z]{1,4}$|\b(?:doi|sha|licen[cs]e|e-?mail|fax|url|abstract|figure|fig|table|authors?)\b", re.IGNORECASE
)
"""Keys and subjects of which nobody asks what they are: Figure 2, DOI, authors' initials."""
_MOST_WORDS, _LONGEST_CELL, _LONGEST_TOPIC = 30, 8, 12
_FEWEST_TO_CUT = 4
"""Facts from which the only section that states any is cut in two."""
_THING = re.compile(r"\b[Tt]he ([a-z]+)\b")
_FEW = 50
"""Of so many documents, one at least mentions a thing that "the" is enough to name."""
_REFERS = re.compile(r"\b(?:same|similar|such|other|another|following|above|below)\b")
_INVERTED = re.compile(r"(?:Are|Were) an? ")
_CAPITAL = re.compile(r"(?<=[a-z,] )[A-Z][\w'-]+")
_COMMON = frozenset(["the", "of", "and", "is", "are", "in", "to", "a", "for", "with"])


@dataclass(frozen=True, slots=True)
class Fact:
    """A question, the references that answer it, and where in its document the answer stands."""

    question: str
    answers: tuple[str, ...]
    kind: Kind
    document_id: str
    start: int
    end: int
    section: tuple[int, int]
    """Where the section of the answer begins and ends, from heading to heading, or from there to a line between."""
    made_by: str = "rules"
    second: Fact | None = None
    """What another document states, where the question needs both."""
    paraphrases: tuple[str, ...] = ()
    """Other wordings of the question."""

    @property
    def parts(self) -> tuple[Fact, ...]:
        """Where the answer stands: the fact itself, and the second one."""
        return (self,) if self.second is None else (self, self.second)

    @property
    def documents(self) -> tuple[str, ...]:
        """The documents that it needs."""
        return tuple(part.document_id for part in self.parts)


def capitalised(documents: Sequence[Document]) -> frozenset[str]:
    """The words that keep their capital inside a sentence somewhere in the documents."""
    return frozenset(word for document in documents for word in _CAPITAL.findall(document.text))


def named_by_the(documents: Sequence[Document]) -> frozenset[str]:
    """The nouns that "the" precedes in enough of the documents for readers to know which thing is meant."""
    counted = Counter(noun for document in documents for noun in set(_THING.findall(document.text)))
    return frozenset(noun for noun, count in counted.items() if _FEW * count >= len(documents))


def is_english(text: str) -> bool:
    """Whether a text in Latin letters has no fewer of the commonest English words than of those of other languages."""
    letters = [c for c in text if c.isalpha()]
    words = re.findall(r"[^\W\d_]+", text.lower())
    foreign = sum(word in FOREIGN - {"is", "in"} for word in words)
    return 2 * sum(c < "ɐ" for c in letters) >= len(letters) and sum(word in _COMMON for word in words) >= foreign


def section_spans(document: Document) -> list[tuple[int, int]]:
    """The document from heading to heading; what stands above the first heading of a lower level is a section too."""
    starts = [0, *(heading.start for heading in headings(document.text) if heading.start and heading.level > 1)]
    return list(pairwise((*starts, len(document.text))))


def section_at(spans: Sequence[tuple[int, int]], place: int) -> tuple[int, int]:
    """The section in which a place lies."""
    return next(span for span in reversed(spans) if span[0] <= place)


def in_parts(document: Document, facts: Sequence[Fact]) -> list[Fact]:
    """The facts of a document, whose only section with facts is cut in two between lines, where it has enough of them.

    So such a document can be tested, and trained on.
    """
    if len({fact.section for fact in facts}) != 1 or len(facts) < _FEWEST_TO_CUT:
        return list(facts)
    start, end = facts[0].section
    lines = sorted(document.text.rfind("\n", 0, fact.start) + 1 for fact in facts)
    cuts = [at for at in lines[len(lines) // 2 :] if at > lines[0] and not any(f.start < at < f.end for f in facts)]
    if not cuts:
        return list(facts)
    return [replace(f, section=(start, cuts[0]) if f.start < cuts[0] else (cuts[0], end)) for f in facts]


def document_facts(document: Document, names: Collection[str], things: Collection[str] | None = None) -> list[Fact]:
    """Every fact that the rules find, in the order of the document; none of a document that is not in English.

    ``things`` are those that "the" is enough to name; None takes every thing for one.
    """
    if not is_english(document.text):
        return []
    spans = section_spans(document)
    found = []
    for question, answers, kind, start, end in _stated(document, names, things):
        asked = tidy(question)
        references = tuple(dict.fromkeys(tidy(answer).strip() for answer in answers))
        if len(asked.split()) <= _MOST_WORDS and all(references) and not _UNCLEAR.search(f"{asked} {references[0]}"):
            found.append(Fact(asked, references, kind, document.id, start, end, section_at(spans, start)))
    return found


_Stated = tuple[str, Sequence[str], Kind, int, int]


def _stated(document: Document, names: Collection[str], things: Collection[str] | None) -> Iterator[_Stated]:
    yield from _cells(document.text, names)
    for section in sections(document.text, document.title):
        if len(section.about.split()) > _LONGEST_TOPIC:
            continue
        for line in key_lines(document.text, section):
            yield from _line(line, section)
        yield from _asking_heading(document.text, section)
        for match in sentences(document.text, section):
            yield from _sentence(match, section, names, things)


def _cells(text: str, names: Collection[str]) -> Iterator[_Stated]:
    for cell in table_cells(text):
        answer, column, place = cell.text, cell.column, (cell.start, cell.end)
        named = column and cell.heading and "/" not in cell.heading
        if not named or _EMPTY.fullmatch(answer) or len(answer.split()) > _LONGEST_CELL:
            continue
        if column.split()[-1] in PREPOSITIONS:
            continue
        if (column.capitalize() in names or not column.islower()) and answer.lower() not in ("yes", "no"):
            name = column[:1].upper() + column[1:]
            yield f"What is given as “{name}” for the {cell.subject}?", [answer], _value_kind(answer), *place
            continue
        if answer.lower() in ("yes", "no"):
            yield f"Is “{column}” given as “yes” for the {cell.subject}?", [answer.lower()], "yes-no", *place
            continue
        counts = re.fullmatch(rf"\d+ {re.escape(column)}", answer)
        head = column.rsplit(" ", 1)[0] if is_participle(column.split()[-1]) else column
        be = "are" if is_plural(head) else "is"
        yield (
            f"{'How many' if counts else 'What'} {column} {be} listed for the {cell.subject}?",
            [answer],
            _value_kind(answer),
            *place,
        )
        others = [each for each in dict.fromkeys(cell.others) if each != answer and not _EMPTY.fullmatch(each)]
        for said, reply in ((answer, "yes"), *((other, "no") for other in others[:1])):
            yield (
                f"{be.capitalize()} {said} the {column} that {be} listed for the {cell.subject}?",
                [reply],
                "yes-no",
                *place,
            )


def _line(line: re.Match[str], section: Section) -> Iterator[_Stated]:
    """A line as its key's value, or as the parts that the value has."""
    key, value, begin = line["key"].strip("* "), line["value"].strip(), line.start("value")
    parts = value_parts(line)
    done = _DONE.match(value)
    if done and is_participle(done["done"]):
        yield f"When was {key} {done['done']}?", [done["value"]], "short", begin, begin + done.end()
        yield f"Was {key} {done['done']} on {done['value']}?", ["yes"], "yes-no", begin, begin + done.end()
        if other := changed_number(done["value"], line.string):
            yield f"Was {key} {done['done']} on {other}?", ["no"], "yes-no", begin, begin + done.end()
    for part in parts:
        name = inside_a_sentence(re.sub(r"\s*\([^)]*\)", "", part["name"]))
        answer = re.sub(r"\s*\([^)]*\)$", "", part["value"])
        wh = "When" if re.fullmatch(DATE, answer) else "What"
        if len(answer.split()) <= _LONGEST_CELL and not name.isupper() and ":" not in key:
            yield (
                f"{wh} is the {name} of {key}?",
                [answer],
                _value_kind(answer),
                begin + part.start(),
                begin + part.end(),
            )
    if is_participle(key.lower()):
        return
    if re.match(r"(?:an?|the)\s", value) and not parts:
        yield f"What is meant by {inside_a_sentence(key)}?", [value], "sentence", begin, line.end("value")
    elif section.about and not _APPARATUS.search(key) and not (parts or done) and len(value.split()) <= _LONGEST_CELL:
        yield f"{section.about}: what is given for {key}?", [value], _value_kind(value), begin, line.end("value")


def _asking_heading(text: str, section: Section) -> Iterator[_Stated]:
    """A heading that asks is answered by the first sentence below it, and by a value where it is the only one there."""
    if not section.name.endswith("?"):
        return
    body = text[section.start : section.end].lstrip()
    begin = section.end - len(body)
    question = f"{section.topic}: {inside_a_sentence(section.name)}"
    if answered := _ANSWERED.match(body):
        yield question, [answered["answer"].lower()], "yes-no", begin, begin + len(body.split("\n")[0])
        return
    asked = _ASKS_A_VALUE.match(section.name)
    if asked is None:
        return
    for match in sentences(text, section):
        counts = list(COUNT.finditer(match[0]))
        if asked["of_number"] and not counts and not (asked["wh"].lower() == "when" and _TIME.search(match[0])):
            continue
        value = [counts[0]["value"]] if asked["of_number"] and len(counts) == 1 else []
        yield question, [match[0], *value], "sentence", *match.span()
        return


def _sentence(
    match: re.Match[str], section: Section, names: Collection[str], things: Collection[str] | None
) -> Iterator[_Stated]:
    sentence, (start, end) = " ".join(match[0].split()), match.span()
    if (definition := defined(sentence)) and _can_be_defined(definition["subject"], definition["what"], names):
        named = definition["subject"].split()[0] in names or definition["subject"] in section.topic
        subject = definition["subject"] if named else inside_a_sentence(definition["subject"])
        asked = _with_topic(f"What {definition['verb']} {subject}?", section, names)
        yield asked, [sentence, definition["what"].rstrip(".")], "sentence", start, end
    for question in sentence_questions(sentence, names):
        thing = _THING.fullmatch(question.subject)
        unnamed = thing and things is not None and thing[1] not in things and thing[1] not in section.topic.lower()
        if unnamed or _REFERS.search(question.value) or _INVERTED.match(question.text):
            continue
        asked = _with_topic(question.text, section, names)
        if not question.yes_no:
            long = len(question.value.split()) > 3 and not has_number(question.value)
            yield asked, [question.value], "sentence" if long else _value_kind(question.value), start, end
        elif has_number(question.text) or len(question.text.split()) > 7:
            yield asked, ["yes"], "yes-no", start, end
            if other := changed_number(asked.removeprefix(section.about), match.string):
                prefix = section.about if asked.startswith(section.about) else ""
                yield f"{prefix}{other}", ["no"], "yes-no", start, end


def _can_be_defined(subject: str, what: str, names: Collection[str]) -> bool:
    """Whether a sentence defines a name or a common noun, regardless of the words before it."""
    words = subject.split()
    common = not words[0].endswith("ing") and words[0].lower() not in {
        "the",
        "our",
        "one",
        *SUBORDINATORS,
        *PREPOSITIONS,
        *ADVERBS,
        *WH_WORDS,
    }
    named = words[0] == "The" and any(word in names for word in words[1:])
    if {"such", "this", "these", "that", "those"} & set(words) or re.match(r"(?:Table|Figure|Fig)\b", subject):
        return False
    return bool(re.match(r"(?:an?|one of)\b", what)) and (common or named) and not any(map(is_finite, words))


def _with_topic(question: str, section: Section, names: Collection[str]) -> str:
    """The question, with what the section is about before it where it names nothing itself."""
    named = any(word.strip("?,'") in names or (word[:1].isupper() and at) for at, word in enumerate(question.split()))
    return question if named or not section.about else f"{section.about}: {question[:1].lower()}{question[1:]}"


def _value_kind(value: str) -> Kind:
    counted = has_number(value) and not re.search(r"[A-Za-z]+\d", value) and not re.fullmatch(DATE, value)
    return "number" if counted else "short"
