"""Made questions are known by their rows: who made them, and which sections they ask about.

Training data that is made for them leaves these sections out, so that nothing of what is tested was learned from the
same sentences by the same rules.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from lorag.evaluation.examples import makers
from lorag.training.data.qa_synthesis import Synthesis
from lorag.types import Example

Span = tuple[int, int]


def asked_sections(examples: Iterable[Example]) -> dict[str, set[Span]]:
    """The sections that made questions ask about, by document; questions of other origin name none."""
    found: dict[str, set[Span]] = {}
    for example in examples:
        sections = json.loads(example.meta.get("sections") or f"[{example.meta.get('section', '')}]")
        for document_id, (start, end) in zip(example.evidence, sections, strict=False):
            found.setdefault(document_id, set()).add((start, end))
    return found


def lies_in(document_id: str, start: int, end: int, sections: Mapping[str, Iterable[Span]]) -> bool:
    """Whether characters of a document are in one of the sections."""
    return any(start < last and first < end for first, last in sections.get(document_id, ()))


def apart_from(made: Synthesis, tested: Sequence[Example]) -> Synthesis:
    """The pairs that are about no section that a made question asks about."""
    sections = asked_sections(tested)
    pairs = tuple(pair for pair in made.pairs if not lies_in(pair.document_id, pair.start, pair.end, sections))
    return replace(made, pairs=pairs)


def made_notes(tested: Sequence[Example]) -> tuple[str, ...]:
    """What training could not be given because of made questions; none where people brought some of them."""
    if not makers(tested):
        return ()
    return (
        "Training data made from the documents leaves out the sections that made questions ask about: the finetune"
        " shows what it generalises to, not what it can be taught. Your own questions, with paraphrases, show that.",
    )
