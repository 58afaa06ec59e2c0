"""Questions and answers made from the form of a passage, without a language model.

What a document says by its form can be asked by rule: the cells of a table by their row and column, ``key: value``
lines, headings that ask, sentences that define, and the figures and names of any other sentence as gaps to be filled.
Rules know English only; a passage in another language yields its tables, its lines and its gaps in English frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from lorag.documents.markdown_structure import headings, tables
from lorag.types import Chunk

_SENTENCE = re.compile(r"[^\s|#>*-](?:[^\n]|\n(?![\n|#>*-]))*?(?:[.!?](?=\s|\Z)|(?=\n[\n|#>*-])|\Z)")
_LINE = re.compile(
    r"^(?:[-*+]\s+)?(?P<key>\*\*[^|:\n*]{1,60}\*\*|[^\s|#*:]\S*(?: [^\s|:]+){0,3}):(?:\*\*)?\s+(?P<value>\S.*)$",
    re.MULTILINE,
)
_PART = re.compile(r"(?:^|(?<=\. ))(?P<name>[A-Z][^.:\n]{2,40}): (?P<value>[^\s].*?)(?=\.(?:\s|$)|$)")
_DEFINITION = re.compile(r"(?P<subject>[A-Z][^.,;:|]{1,50}?) (?P<verb>is|are) (?P<what>(?:an?|the|one|our|any)\b.{8,})")
_POINTING = re.compile(
    r"(?:all|both|each|he|here|it|one|she|that|there|these|they|this|those|what|which|who)\b", re.IGNORECASE
)
_UNITLESS = "and|as|at|before|by|for|from|if|in|is|of|on|or|per|so|than|that|the|then|to|were|was|which|with"
_GAP = re.compile(
    r"(?<![\w.-])(?:(?:EUR|USD|GBP|CHF)\s|[$€£])?\d[\d.,:/-]*(?<![.,:/-])"
    rf"(?:\s?%|\s(?!(?:{_UNITLESS})\b)(?:[a-zµ°][a-zA-Z]{{0,11}}|[A-Z]{{1,3}})\b)?"
    r"|\b[A-Z][\w'-]+(?:\s[A-Z][\w'-]+)+"
)
_GAPS_A_SENTENCE = 2
_CELL = re.compile(r"(?<!\\)\|")
_YES_NO = frozenset({"yes", "no", "true", "false", "-", "–", "—", ""})
_CELL_QUESTIONS = (
    "What is the {column} of {row}?",
    "{row}: what is given as {column}?",
    "Name the {column} for {row}.",
)

GAP = "___"
"""What stands in a sentence for the figure or name that is asked for."""
RULES = "rules"
"""The origin of pairs that no model wrote."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A question and its answer; from ``start`` to ``end`` of its document stands what answers it."""

    question: str
    answer: str
    document_id: str
    start: int
    end: int
    origin: str
    """Who made it: ``RULES``, or the name of a model."""


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a passage under one heading; ``topic`` is the document's title, ``name`` the nearest heading."""

    start: int
    end: int
    topic: str
    name: str

    @property
    def about(self) -> str:
        """What one has to know to understand a sentence of it."""
        alone = self.name in ("", self.topic) or self.name.endswith("?")
        return self.topic if alone else f"{self.topic}, {self.name}"


def rule_pairs(chunk: Chunk) -> list[Pair]:
    """What can be asked about a passage by its form, several wordings a fact, in the order of the passage."""
    added = _header(chunk.table_header)
    text = added + chunk.text
    shift = chunk.start - len(added)

    def pair(question: str, answer: str, start: int, end: int) -> Pair:
        return Pair(
            tidy(question), tidy(answer), chunk.document_id, max(chunk.start, start + shift), end + shift, "rules"
        )

    found = [pair(*cell) for cell in _cells(text)]
    for section in sections(text, chunk.heading):
        found += [pair(*prose) for prose in _prose(text, section)]
    return found


_Asked = tuple[str, str, int, int]
"""Question, answer, and where in the text the answer stands."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table that is not empty, by the names of its row and column; its row is ``text[start:end]``."""

    heading: str
    """What the rows are: the name of the first column, as it stands inside a sentence."""
    row: str
    column: str
    text: str
    others: tuple[str, ...]
    """What the other rows have in this column."""
    start: int
    end: int

    @property
    def subject(self) -> str:
        """The row with what it is: "code E07"."""
        return self.row if self.heading.lower() in self.row.lower() else f"{self.heading} {self.row}"


def table_cells(text: str) -> Iterator[Cell]:
    """Every cell of every table but those of the first columns, which name the rows."""
    for table in tables(text):
        columns = _split(table.header)
        ends = (*table.rows[1:], table.end) if table.rows else ()
        rows = [_split(text[start:end]) for start, end in zip(table.rows, ends, strict=True)]
        for number, (row, start, end) in enumerate(zip(rows, table.rows, ends, strict=True)):
            if len(row) != len(columns) or not row[0]:
                continue
            stop = start + len(text[start:end].rstrip())
            for place, cell in list(enumerate(row))[1:]:
                others = tuple(each[place] for at, each in enumerate(rows) if at != number and len(each) == len(row))
                if cell.lower() not in _YES_NO - {"yes", "no"}:
                    yield Cell(
                        inside_a_sentence(columns[0]),
                        row[0],
                        inside_a_sentence(columns[place]),
                        cell,
                        others,
                        start,
                        stop,
                    )


def _cells(text: str) -> Iterator[_Asked]:
    """Every cell of every table, asked by its row and column, and its row, asked by a cell that no other row has."""
    for cell in table_cells(text):
        sentence = f"The {cell.column} of {cell.subject} is {cell.text}."
        for number, wording in enumerate(_CELL_QUESTIONS):
            question = wording.format(column=cell.column, row=cell.subject)
            yield question, sentence if number == 1 else cell.text, cell.start, cell.end
        if cell.text not in cell.others and cell.text.lower() not in _YES_NO:
            yield f"Which {cell.heading} has the {cell.column} {cell.text}?", cell.row, cell.start, cell.end


def _prose(text: str, section: Section) -> Iterator[_Asked]:
    """Questions about everything in a section but its tables."""
    for line in key_lines(text, section):
        yield from _line(line, section)
    found = sentences(text, section)
    if found and section.name.endswith("?"):
        first = found[0]
        yield section.name, first[0], *first.span()
        yield f"{section.topic}: {section.name}", first[0], *first.span()
    for match in found:
        if definition := defined(match[0]):
            yield f"What {definition['verb']} {inside_a_sentence(definition['subject'])}?", match[0], *match.span()
        gaps = [gap for gap in _GAP.finditer(match[0]) if gap.start()]  # a sentence begins with a capital anyway
        for gap in gaps[:_GAPS_A_SENTENCE]:
            asked = f"{match[0][: gap.start()]}{GAP}{match[0][gap.end() :]}"
            begin, end = match.start() + gap.start(), match.start() + gap.end()
            yield f"{section.about}: what belongs into the gap? {asked}", gap[0], begin, end


def key_lines(text: str, section: Section) -> list[re.Match[str]]:
    """The lines of a section outside of tables that give a ``value`` for a ``key``."""
    inside = [(table.start, table.end) for table in tables(text)]
    return [m for m in _LINE.finditer(text, section.start, section.end) if not _within(m.start(), inside)]


def value_parts(line: re.Match[str]) -> list[re.Match[str]]:
    """The parts of the value of a key line that have a ``name`` and a ``value`` of their own."""
    return list(_PART.finditer(line["value"]))


def sentences(text: str, section: Section) -> list[re.Match[str]]:
    """The sentences of a section of more than three words, outside of tables and key lines."""
    inside = [(table.start, table.end) for table in tables(text)]
    inside += [match.span() for match in key_lines(text, section)]
    return [
        match
        for match in _SENTENCE.finditer(text, section.start, section.end)
        if not _within(match.start(), inside) and match[0][-1] in ".!" and len(match[0].split()) > 3
    ]


def defined(sentence: str) -> re.Match[str] | None:
    """The ``subject`` that a sentence defines, with the ``verb`` and ``what`` it is; None where it defines none."""
    found = _DEFINITION.match(sentence)
    return None if found is None or _POINTING.match(found["subject"]) else found


def _line(line: re.Match[str], section: Section) -> Iterator[_Asked]:
    """What stands after a key, asked in two wordings; a key that is explained is a term."""
    key, value = line["key"].strip("* "), line["value"].strip()
    place = line.span("value")
    if re.match(r"(?:an?|the)\s", value):
        yield f"What is meant by {key}?", value, *place
        yield f"{section.topic}: what does the word {key} mean?", f"{key[:1].upper()}{key[1:]} means {value}", *place
    else:
        yield f"{section.about}: what is given for {key}?", value, *place
        yield f"What do the documents say about {key} ({section.topic})?", f"{key}: {value}", *place
        for part in value_parts(line):
            start, end = (line.start("value") + edge for edge in part.span("value"))
            yield f"What is the {inside_a_sentence(part['name'])} of {key}?", part["value"], start, end
            yield (
                f"{key}: {inside_a_sentence(part['name'])}?",
                f"The {inside_a_sentence(part['name'])} of {key} is {part['value']}.",
                start,
                end,
            )


def sections(text: str, path: str = "") -> list[Section]:
    """The passage, cut at its headings; above the first one it belongs to the end of ``path``."""
    names = path.split(" > ")
    inner = headings(text)
    begins = [(0, names[-1]), *((heading.start, heading.title) for heading in inner)]
    sections = []
    for (start, name), (end, _) in pairwise((*begins, (len(text), ""))):
        body = text.find("\n", start) + 1 if start or text.lstrip().startswith("#") else start
        sections.append(Section(body if start < body <= end else start, end, names[0] or name, name))
    return sections


def _header(header: str) -> str:
    """A table's header with the line below it, for rows that stand alone."""
    return f"{header}\n|{' --- |' * len(_split(header))}\n" if header else ""


def _split(line: str) -> list[str]:
    bare = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip().replace("\\|", "|") for cell in _CELL.split(bare)]


def _within(position: int, stretches: list[tuple[int, int]]) -> bool:
    return any(start <= position < end for start, end in stretches)


def inside_a_sentence(name: str) -> str:
    """A name as it stands inside a sentence: small at its beginning, unless it goes on in capitals or figures."""
    words = name.split(" ", 1)
    if words[0].lower() in ("the", "a", "an"):
        return name[:1].lower() + name[1:]
    plain = words[0][1:].islower() or len(words[0]) == 1
    return name[:1].lower() + name[1:] if plain and not (len(words) > 1 and words[1][:1].isupper()) else name


def tidy(text: str) -> str:
    """Text on one line, without the marks of emphasis and links."""
    bare = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(bare.replace("**", "").replace("`", "").split())
