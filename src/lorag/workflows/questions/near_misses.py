"""Questions that look like those the documents answer, and are not answered by them.

A code, version or other figure in a question is changed into one that stands nowhere in its document, and nowhere after
the same word in any other. Where there is none, a name is changed into one with the same last word ("Episcopal Church"
for "Protestant Church") that shares no section with the rest of the question.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from lorag.evaluation.answers.metrics import content_words
from lorag.files import draw
from lorag.types import Document
from lorag.workflows.questions.document_facts import Fact, section_spans

_CODE = re.compile(r"(?P<before>\S+) (?P<code>(?=[\w.-]*\d)[A-Za-z]*[\w.-]*\d\w*)(?![\w-]|\.\d|[.,/:]\d| [A-Z])")
_YEAR = re.compile(r"(?:1\d|20)\d\d")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][\w'-]+(?: [A-Z][\w'-]+)*")
_IN_TIME = ("in", "on", "since", "until", "by")
_MOST_STEPS = 40
_LONGEST_TOPIC = 6
"""Words of the longest topic before a question in which something is changed."""
_SHARED = 0.5
"""Share of a question's other words with which a section that holds the new name would come too near."""


class NearMisses:
    """What the documents hold, to be asked past."""

    def __init__(self, documents: Sequence[Document]) -> None:
        """Reads the codes, names and sections of all documents once."""
        self._texts = {document.id: document.text for document in documents}
        self._all = "\n".join(self._texts.values()).lower()
        self._names: list[str] = sorted(set(_NAME.findall(" ".join(self._texts.values()))))
        spans = [document.text[start:end] for document in documents for start, end in section_spans(document)]
        self._sections = [(text, content_words(text)) for text in spans]

    def of(self, fact: Fact) -> Fact | None:
        """The question of ``fact`` about something that no document knows; None where none can be made."""
        question = self._other_code(fact) or self._other_name(fact.question)
        return None if question is None else replace(fact, question=question, answers=(), kind="unanswerable")

    def _other_code(self, fact: Fact) -> str | None:
        found = [
            m
            for m in _CODE.finditer(fact.question, _begin(fact.question))
            if not (m["before"] in _IN_TIME and _YEAR.fullmatch(m["code"]))
        ]
        if not found:
            return None
        before, code = found[-1]["before"], found[-1]["code"]
        digits = list(re.finditer(r"\d+", code))[-1]
        own = set(re.findall(r"[\w.-]*\w", self._texts[fact.document_id].lower()))
        for step in range(1, _MOST_STEPS):
            number = str(int(digits[0]) + step).zfill(len(digits[0]))
            other = code[: digits.start()] + number + code[digits.end() :]
            if other.lower() not in own and f"{before} {other}".lower() not in self._all:
                return fact.question[: found[-1].start("code")] + other + fact.question[found[-1].end("code") :]
        return None

    def _other_name(self, question: str) -> str | None:
        names = [name for name in _NAME.finditer(question, _begin(question)) if " " in name[0]]
        if not names:
            return None
        name = names[-1]
        asked = content_words(question[: name.start()] + question[name.end() :])
        alike = [other for other in self._names if other.split()[-1] == name[0].split()[-1] and " " in other]
        for other in sorted(alike, key=lambda other: draw(f"{question} {other}")):
            if other not in question and name[0] not in other and asked and not self._comes_near(other, asked):
                return question[: name.start()] + other + question[name.end() :]
        return None

    def _comes_near(self, name: str, asked: Collection[str]) -> bool:
        return any(name in text and len(words & set(asked)) > _SHARED * len(asked) for text, words in self._sections)


def _begin(question: str) -> int:
    """Where a question begins to be changed: behind a long topic, that of a title and not of a thing."""
    topic, colon, _ = question.rpartition(": ")
    return len(topic + colon) if len(topic.split()) > _LONGEST_TOPIC else 0
