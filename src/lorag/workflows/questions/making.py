"""Make test questions from documents, for a comparison where nobody has any.

The sections of the documents are parted by chance, always the same way: test questions ask about one half of those that
state facts, and training data that is made for such questions leaves these sections out. Questions are dealt out over
documents and kinds. What answers a question stands in its evidence and not in the question itself; a question that two
places answer otherwise is left out. A model, where one is named, writes questions beside the rules, and every question
with an answer is put to it with its evidence: those that it answers otherwise are left out, and so are other wordings.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from lorag import build
from lorag.documents.chunking import split
from lorag.documents.load import load_documents
from lorag.errors import InputError
from lorag.evaluation.answers.metrics import NewContentRecall, contains
from lorag.evaluation.examples import read_examples
from lorag.files import LineLog, draw, dump, fingerprint, jsonl_target, require_writable, write_whole
from lorag.interfaces import LanguageModel, Progress, no_progress
from lorag.settings import ChunkSettings
from lorag.training.data.qa_synthesis import synthesize
from lorag.types import Chunk, Document, Example, Sampling
from lorag.workflows.questions.apart import Span
from lorag.workflows.questions.document_facts import (
    Fact,
    Kind,
    capitalised,
    document_facts,
    in_parts,
    named_by_the,
    section_at,
    section_spans,
)
from lorag.workflows.questions.near_misses import NearMisses
from lorag.workflows.questions.other_wordings import reworded
from lorag.workflows.questions.two_documents import two_document_facts
from lorag.workflows.questions.value_variants import has_number, variants
from lorag.workflows.synthesize import NO_MODEL, ask_from, plain_words

QUESTIONS = 100
"""Questions made unless another number is asked for."""
SHARES: Mapping[Kind, float] = {
    "short": 0.3,
    "number": 0.25,
    "sentence": 0.1,
    "yes-no": 0.15,
    "two-document": 0.1,
    "unanswerable": 0.2,
}
"""How many of the questions are of each kind, as far as the documents have them."""
_MOST_OF_A_KIND = 2.5
"""How many times its share a kind may have where the documents lack others."""
_MORE_FOR_A_DOCUMENT = 1.5
"""How many times its share a kind may have as long as it asks about documents that nothing else asks about."""
_LONGEST_VALUE = 6
"""Words of the longest answer of a model that is no sentence."""
_SLICE = 40


@dataclass(frozen=True, slots=True)
class MadeQuestions:
    """The questions that were made, in the order of the file."""

    out: str
    examples: tuple[Example, ...]
    documents: int
    asked_about: int
    """Documents that a question asks about."""
    candidates: int
    """Questions that were found before any was left out."""
    ambiguous: int
    """Left out because two places answer them otherwise."""
    given_away: int
    """Left out because the question holds the answer."""
    unread: int
    """Left out because the model, given the evidence, answers otherwise."""
    without_facts: int
    """Documents in which nothing was found that can be asked."""
    kept_for_training: int
    """Documents whose facts are all in sections that no test question asks about."""

    @property
    def not_asked(self) -> int:
        """Documents with facts to test that no question asks about: these were left out, or others were enough."""
        return self.documents - self.asked_about - self.without_facts - self.kept_for_training

    @property
    def paraphrases(self) -> int:
        """Other wordings of the questions, of all of them together."""
        return sum(len(example.paraphrases) for example in self.examples)

    @property
    def kinds(self) -> dict[str, int]:
        """The number of questions of each kind."""
        counted = Counter(example.meta["kind"] for example in self.examples)
        return {kind: counted[kind] for kind in get_args(Kind) if counted[kind]}


def make_questions(
    documents: Path | str,
    out: Path | str,
    *,
    count: int = QUESTIONS,
    model: str | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> MadeQuestions:
    """At most ``count`` questions about the documents, written to ``out``, a ``qa.jsonl``.

    ``model`` writes and reads besides the rules; None or ``none`` leaves it to rules alone. Raises ``InputError`` and
    its kind for documents that cannot be read, and where no question can be made. If killed, call it again to resume.
    """
    target = jsonl_target(out)
    if count < 1:
        raise InputError(f"cannot make {count!r} questions, expected at least 1")
    read = load_documents(documents).require_all().documents
    require_writable(target.absolute().parent)
    engine = None if model in (None, NO_MODEL) else build.language_model(model, progress=progress)
    log = _log(target, read, engine, seed) if engine is not None else None
    every = _every_fact(read)
    found = _found(every, read, engine, log, seed, progress)
    clear = _unambiguous(found)
    tested, stated = ({fact.document_id for fact in facts} for facts in (found, (*every, *found)))
    by_id = {document.id: document for document in read}
    own = [fact for fact in clear if not _given_away(fact)]
    fair = [*own, *_unambiguous(two_document_facts(own, every, by_id))]
    pool = fair if engine is None else choose(fair, 2 * count, seed)
    sound = pool if engine is None else _answered(engine, pool, by_id, progress)
    chosen = choose([*sound, *_near_misses(sound, read, 4 * count)], count, seed)
    if not chosen:
        raise InputError(
            f"no question came from {len(read)} document{'s' * (len(read) != 1)}: rules find tables, `key: value` lines"
            " and plain English sentences; name a model that writes questions with --with, or bring your own"
        )
    worded = reworded(chosen, [fact.question for fact in (*every, *found)])
    worded = worded if engine is None else _proven_wordings(engine, worded, by_id, progress)
    rows = [_row(fact, number, by_id) for number, fact in enumerate(worded, start=1)]
    write_whole(target, "".join(dump(row) + "\n" for row in rows))
    if log is not None:
        log.path.unlink()
    return MadeQuestions(
        str(target),
        tuple(read_examples(target)),
        len(read),
        len(asked := {name for fact in chosen if fact.answers for name in fact.documents}),
        len(found) + len(fair) - len(own),
        len(found) - len(clear),
        len(clear) - len(own),
        len(pool) - len(sound),
        len(by_id.keys() - stated - asked),
        len(stated - tested - asked),
    )


def _every_fact(documents: Sequence[Document]) -> list[Fact]:
    names, things = capitalised(documents), named_by_the(documents)
    return [fact for document in documents for fact in in_parts(document, document_facts(document, names, things))]


def _log(target: Path, documents: Sequence[Document], model: LanguageModel, seed: int) -> LineLog:
    """What a model wrote so far of the same documents; it vanishes with the finished file."""
    identity = fingerprint([[[d.id, d.version] for d in documents], model.name, seed])
    return LineLog(target.with_name(f".{target.stem}.{identity}.part.jsonl"))


def _found(
    every: Sequence[Fact],
    documents: Sequence[Document],
    model: LanguageModel | None,
    log: LineLog | None,
    seed: int,
    progress: Progress,
) -> list[Fact]:
    """Everything that can be asked of one document about the sections that are tested."""
    tested = sections_to_ask(documents, every, seed)
    kept = [fact for fact in every if fact.section in tested[fact.document_id]]
    return kept if model is None else [*kept, *_written(documents, tested, model, log, progress)]


def _near_misses(facts: Sequence[Fact], documents: Sequence[Document], most: int) -> list[Fact]:
    """What is asked about values, of some facts, asked past the documents."""
    near = NearMisses(documents)
    asked = sorted((f for f in facts if f.kind in ("short", "number")), key=lambda fact: draw(f"near {fact.question}"))
    return _unambiguous([miss for fact in asked[:most] if (miss := near.of(fact)) is not None])


def sections_to_ask(documents: Sequence[Document], facts: Sequence[Fact], seed: int = 0) -> dict[str, frozenset[Span]]:
    """The sections that test questions ask about, by document: half of those with ``facts``, and half of the others.

    Of an odd number, one more than half is taken in every second document.
    """
    stating: dict[str, set[Span]] = {document.id: set() for document in documents}
    for fact in facts:
        stating[fact.document_id].add(fact.section)
    found: dict[str, frozenset[Span]] = {document.id: frozenset() for document in documents}
    for are_stating in (True, False):
        rounded_up = True
        for document in sorted(documents, key=lambda document: draw(f"{seed} {document.id}")):
            own = stating[document.id]
            others = [
                (a, b) for a, b in section_spans(document) if not any(a < end and start < b for start, end in own)
            ]
            spans = sorted(own if are_stating else others)
            half = (len(spans) + rounded_up) // 2
            rounded_up ^= len(spans) % 2 == 1
            found[document.id] |= set(sorted(spans, key=lambda span: draw(f"{seed} {document.id} {span[0]}"))[:half])
    return found


def _written(
    documents: Sequence[Document],
    tested: Mapping[str, Collection[Span]],
    model: LanguageModel,
    log: LineLog | None,
    progress: Progress,
) -> list[Fact]:
    """What the model asks about the sections that are tested, proven by its own answers from the passage."""
    chunks = [c for d in documents for c in split(d, ChunkSettings().max_tokens, model.count_tokens)]
    within = [chunk for chunk in chunks if any(a < chunk.end and chunk.start < b for a, b in tested[chunk.document_id])]
    made = synthesize(within, model, ask_from, rules=False, log=log, progress=progress)
    found = []
    for pair in made.pairs:
        spans = [span for span in tested[pair.document_id] if _holds(span, pair.start)]
        long = len(pair.answer.split()) > _LONGEST_VALUE
        kind: Kind = "sentence" if long else "number" if has_number(pair.answer) else "short"
        if spans:
            section = (spans[0][0], max(spans[0][1], pair.end))
            where = (pair.document_id, pair.start, pair.end, section)
            found.append(Fact(pair.question, (pair.answer,), kind, *where, pair.origin))
    return found


def _holds(span: Span, place: int) -> bool:
    return span[0] <= place < span[1]


def _unambiguous(facts: Sequence[Fact]) -> list[Fact]:
    """One fact for each question, where all who ask it give the same answer."""
    said: dict[str, set[tuple[str, ...]]] = {}
    for fact in facts:
        said.setdefault(plain_words(fact.question), set()).add(tuple(map(plain_words, fact.answers)))
    first = {plain_words(fact.question): fact for fact in reversed(facts)}
    return [fact for question, fact in reversed(first.items()) if len(said[question]) == 1]


def _given_away(fact: Fact) -> bool:
    """Whether the question holds a reference, so that it can be answered without the documents."""
    return fact.kind != "yes-no" and any(contains(fact.question, [answer]) for answer in fact.answers)


def _answered(
    model: LanguageModel, facts: Sequence[Fact], documents: Mapping[str, Document], progress: Progress
) -> list[Fact]:
    """The facts that the model gives when it is asked with their sections as its source."""
    examples = [Example(str(number), f.question, variants(f.answers[0], f.question)) for number, f in enumerate(facts)]
    is_right, kept = NewContentRecall.fit(examples).is_right, []
    for start in range(0, len(facts), _SLICE):
        part = list(zip(facts, examples, strict=True))[start : start + _SLICE]
        prompts = [ask_from(fact.question, _evidence(documents, fact)) for fact, _ in part]
        replies = model.generate(prompts, Sampling(max_tokens=48))
        for (fact, example), reply in zip(part, replies, strict=True):
            if is_right(reply.text, fact.question, (*example.answers, *fact.answers)):
                kept.append(fact)
        progress("reading made questions", min(start + _SLICE, len(facts)), len(facts))
    return kept


def _proven_wordings(
    model: LanguageModel, facts: Sequence[Fact], documents: Mapping[str, Document], progress: Progress
) -> list[Fact]:
    """The facts, without the wordings that the model answers otherwise; where nothing is answered, all are kept."""
    worded = [replace(fact, question=each) for fact in facts if fact.answers for each in fact.paraphrases]
    proven = {fact.question for fact in _answered(model, worded, documents, progress)}
    return [
        replace(fact, paraphrases=tuple(each for each in fact.paraphrases if not fact.answers or each in proven))
        for fact in facts
    ]


def _evidence(documents: Mapping[str, Document], fact: Fact) -> Chunk:
    """The section of a fact as a passage; of two documents, both sections in one."""
    document = documents[fact.document_id]
    spans = [section_at(section_spans(documents[part.document_id]), part.start) for part in fact.parts]
    text = "\n\n".join(documents[p.document_id].text[slice(*span)] for p, span in zip(fact.parts, spans, strict=True))
    start = spans[0][0]
    return Chunk(document.id, document.version, start, start + len(text), text, document.title)


def choose(facts: Sequence[Fact], count: int, seed: int) -> list[Fact]:
    """At most ``count`` facts of different places, dealt out over kinds by ``SHARES`` and over documents evenly.

    Of documents asked about equally often, those with the fewest facts come first. As many yes-no questions are
    answered by yes as by no. Which facts, and their order, depends on the seed alone.
    """
    groups: dict[tuple[Kind, tuple[str, ...]], list[Fact]] = {}
    for fact in sorted(facts, key=lambda fact: draw(f"{seed} {fact.question}")):
        groups.setdefault((fact.kind, fact.answers if fact.kind == "yes-no" else ()), []).append(fact)
    shares = {key: SHARES[key[0]] / (2 if key[0] == "yes-no" else 1) for key in groups}
    taken, room = (
        dict.fromkeys(groups, 0),
        {key: math.ceil(_MOST_OF_A_KIND * share * count) for key, share in shares.items()},
    )
    stated = Counter(fact.document_id for fact in facts)
    having = {key: {f.document_id for f in group if f.answers} for key, group in groups.items()}
    unasked = set().union(*having.values())
    asked: Counter[tuple[str, bool]] = Counter()
    chosen: list[Fact] = []
    used: dict[tuple[str, int, int], set[tuple[str, ...]]] = {}
    while groups and len(chosen) < count:
        dearer = {key: 1 if having[key] & unasked else _MORE_FOR_A_DOCUMENT for key in groups}
        key = min(groups, key=lambda key: ((taken[key] + 1) / shares[key] * dearer[key], key))
        left = [fact for fact in groups[key] if _adds(fact, used.get(_place(fact), set()))]
        if not left or taken[key] >= room[key]:
            del groups[key]
            continue
        fact = min(left, key=lambda f: (asked[f.document_id, bool(f.answers)], stated[f.document_id]))
        groups[key] = [other for other in left if other is not fact]
        used.setdefault(_place(fact), set()).add(fact.answers)
        asked.update((name, bool(fact.answers)) for name in fact.documents)
        unasked -= set(fact.documents) if fact.answers else set()
        taken[key] += 1
        chosen.append(fact)
    return sorted(chosen, key=lambda fact: draw(f"{seed} order {fact.question}"))


def _place(fact: Fact) -> tuple[str, int, int]:
    return fact.document_id, fact.start, fact.end


def _adds(fact: Fact, answered: Collection[tuple[str, ...]]) -> bool:
    """Whether a fact asks for more than the questions about its place, whose answers are ``answered``, have asked."""
    told = {answer for answers in answered for answer in answers} & {"yes", "no"}
    return fact.answers not in answered and not (told or (answered and fact.kind == "yes-no"))


def _row(fact: Fact, number: int, documents: Mapping[str, Document]) -> dict[str, object]:
    """A line of the file: a question with all ways to write its answer, and where that stands."""
    made: dict[str, object] = {
        "id": f"made-{number}",
        "question": fact.question,
        **({"paraphrases": list(fact.paraphrases)} if fact.paraphrases else {}),
        "kind": fact.kind,
        "made_by": fact.made_by,
    }
    if fact.kind == "unanswerable":
        return {**made, "answers": [], "doc_ids": [], "status": "unanswerable", "near": fact.document_id}
    as_said = fact.kind in ("sentence", "yes-no")
    answers = [each for answer in fact.answers for each in ((answer,) if as_said else variants(answer, fact.question))]
    made |= {"answers": answers, "doc_ids": list(fact.documents)}
    spans = [[part.start, part.end] for part in fact.parts]
    sections = [list(part.section) for part in fact.parts]
    evidence = [documents[part.document_id].text[part.start : part.end] for part in fact.parts]
    if fact.second is None:
        return {**made, "span": spans[0], "section": sections[0], "evidence": evidence[0]}
    return {**made, "spans": spans, "sections": sections, "evidence": evidence}
