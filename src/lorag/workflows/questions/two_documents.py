"""Questions that need two documents: two things compared, or one thing described by what the other document states.

*Compared*: two documents answer "When was Go 1.24 released?" and "When was Ruby 3.4 released?" with dates: "Which was
released earlier, Go 1.24 or Ruby 3.4?". *Chained*: one document gives the P2's measuring range, another one its battery
life: "What battery life is listed for the model whose measuring range is listed as 15 m?".

One of the documents alone does not answer: it lacks what the other states, and of what a chain asks it gives several
things several values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from lorag.evaluation.answers.matching.quantities import Quantity
from lorag.evaluation.answers.matching.reading import read
from lorag.evaluation.answers.metrics import contains
from lorag.files import draw
from lorag.types import Document
from lorag.workflows.questions.document_facts import Fact
from lorag.workflows.synthesize import plain_words

_FORMS = (
    re.compile(r"What (?P<attribute>.+?) (?:is|are) listed for the (?P<thing>.+)\?"),
    re.compile(r"(?:What|When) is the (?P<attribute>.+?) of (?P<thing>[A-Z0-9].*)\?"),
    re.compile(r"When was (?P<thing>.+) (?P<done>[a-z]+)\?"),
)
_NAME = re.compile(r"(?:^|(?<= ))[A-Z0-9].*$")
"""The name in "model Ebbmark P2"."""
_WORDS = {"date": ("earlier", "later"), "time": ("shorter", "longer"), "": ("lower", "higher")}
"""How values are compared, by their kind or dimension: less, and more."""
_MOST_OF_A_DOCUMENT = 3
"""Questions of each form that a pair of documents gives."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A fact as one thing's value of an attribute."""

    fact: Fact
    attribute: str
    done: str
    """What was done to the thing, such as "released", where the value is its day; else empty."""
    thing: str
    name: str

    @property
    def kind_of_thing(self) -> str:
        """The words before the name, such as "model"; empty where there are none."""
        return self.thing.removesuffix(self.name).strip()

    @property
    def asked(self) -> tuple[str, str, str]:
        """What is asked, whatever of."""
        return self.attribute, self.done, self.kind_of_thing

    @property
    def value(self) -> str:
        return self.fact.answers[0]


def two_document_facts(facts: Sequence[Fact], every: Sequence[Fact], documents: Mapping[str, Document]) -> list[Fact]:
    """What can be asked of two documents at once, from ``facts`` of one; often nothing, and always the same.

    ``every`` fact of the documents, asked or not, tells whether a description fits one thing only.
    """
    texts = {name: document.text for name, document in documents.items()}
    known = sorted(_known(facts), key=lambda each: draw(f"two {each.fact.question}"))
    apart = [pair for alike in _by_asked(known).values() for pair in combinations(alike, 2) if _apart(*pair, texts)]
    compared = [made for one, other in apart for made in _compared(one, other)]
    return [*_few(compared), *_few(_chained(known, _by_asked(_known(every)), texts))]


def _known(facts: Iterable[Fact]) -> Iterator[_Known]:
    for fact in facts:
        found = next((match for form in _FORMS if (match := form.fullmatch(fact.question))), None)
        if found and fact.kind in ("short", "number") and (name := _NAME.search(found["thing"])):
            parts = found.groupdict()
            yield _Known(fact, parts.get("attribute", ""), parts.get("done", ""), found["thing"], name[0])


def _by_asked(known: Iterable[_Known]) -> dict[tuple[str, str, str], list[_Known]]:
    found: dict[tuple[str, str, str], list[_Known]] = {}
    for each in known:
        found.setdefault(each.asked, []).append(each)
    return found


def _apart(one: _Known, other: _Known, texts: Mapping[str, str]) -> bool:
    """Whether two facts are of two documents of which neither holds the other's value."""
    a, b = one.fact.document_id, other.fact.document_id
    return a != b and not contains(texts[a], [other.value]) and not contains(texts[b], [one.value])


def _compared(one: _Known, other: _Known) -> Iterator[Fact]:
    """Which of two things has less, or more; nothing where their values are not ordered."""
    first, second = _quantity(one.value), _quantity(other.value)
    if first is None or second is None or one.name == other.name:
        return
    if (first.kind, first.dimension) != (second.kind, second.dimension) or _size(first) == _size(second):
        return
    more = draw(f"more {one.name} {other.name}") < 0.5
    key = "date" if first.kind == "date" else first.dimension
    word = _WORDS.get(key, _WORDS[""])[more]
    asked = f"was {one.done} {word}" if one.done else f"has the {word} {one.attribute}"
    chosen = one if (_size(first) > _size(second)) == more else other
    answers = tuple(dict.fromkeys((chosen.name, chosen.thing)))
    yield _joined(one.fact, other.fact, f"Which {asked}, {_named(one)} or {_named(other)}?", answers)


def _named(known: _Known) -> str:
    return f"the {known.thing}" if known.kind_of_thing else known.name


def _quantity(value: str) -> Quantity | None:
    """The figure that a value is, a whole day where it is a date; None where it is more, or none."""
    found = read(value).quantities
    if len(found) != 1 or found[0].kind not in ("number", "date") or len(found[0].values) not in (1, 3):
        return None
    whole = found[0].kind == "number" or all(found[0].values)
    return found[0] if whole and len(found[0].text) >= len(value) - 1 else None


def _size(quantity: Quantity) -> tuple[object, ...]:
    return tuple(value * quantity.size for value in quantity.values)


def _chained(
    known: Iterable[_Known], by_asked: Mapping[tuple[str, str, str], Sequence[_Known]], texts: Mapping[str, str]
) -> Iterator[Fact]:
    """What one document gives of a thing that is described by what another one gives of it."""
    of_thing: dict[str, list[_Known]] = {}
    for each in known:
        if each.attribute and each.kind_of_thing:
            of_thing.setdefault(each.thing, []).append(each)
    for alike in of_thing.values():
        for describing, asked in ((a, b) for a in alike for b in alike if a.asked != b.asked):
            beside = [o for o in by_asked[asked.asked] if o.fact.document_id == asked.fact.document_id]
            values = {plain_words(o.value) for o in beside}
            same = [o for o in by_asked[describing.asked] if plain_words(o.value) == plain_words(describing.value)]
            if len(values) > 1 and len({o.thing for o in same}) == 1 and _apart(describing, asked, texts):
                described = f"{asked.kind_of_thing} whose {describing.attribute} is listed as {describing.value}"
                question = asked.fact.question.replace(asked.thing, described)
                yield _joined(asked.fact, describing.fact, question, asked.fact.answers)


def _joined(first: Fact, second: Fact, question: str, answers: tuple[str, ...]) -> Fact:
    return replace(first, question=question, answers=answers, kind="two-document", second=second)


def _few(facts: Iterable[Fact]) -> list[Fact]:
    """At most so many of each pair of documents, drawn always alike."""
    counted: dict[frozenset[str], int] = {}
    kept = []
    for fact in sorted(facts, key=lambda fact: draw(f"few {fact.question}")):
        pair = frozenset(fact.documents)
        counted[pair] = counted.get(pair, 0) + 1
        if counted[pair] <= _MOST_OF_A_DOCUMENT:
            kept.append(fact)
    return kept
