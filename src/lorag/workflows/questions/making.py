"""Make test questions from documents, for a comparison where nobody has any.

The sections of the documents are parted by chance, always the same way: test questions ask about one half, and training
data that is made for such questions leaves these sections out. Questions are dealt out over documents and kinds. What
answers a question stands in its evidence and not in the question itself; a question that two places answer otherwise is
left out. A model, where one is named, writes questions beside the rules, and every question with an answer is put to it
with its evidence: those that it answers otherwise are left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
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
from lorag.workflows.questions.document_facts import Fact, Kind, capitalised, document_facts, section_spans
from lorag.workflows.questions.near_misses import NearMisses
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
    names = capitalised(read)
    every = [fact for document in read for fact in document_facts(document, names)]
    found = _found(every, read, engine, log, seed, progress)
    clear = _unambiguous(found)
    by_id = {document.id: document for document in read}
    fair = [fact for fact in clear if not _given_away(fact)]
    fair += _unambiguous(two_document_facts(fair, every, by_id))
    pool = fair if engine is None else choose(fair, 2 * count, seed)
    sound = pool if engine is None else _answered(engine, pool, by_id, progress)
    chosen = choose([*sound, *_near_misses(sound, read, 4 * count)], count, seed)
    if not chosen:
        raise InputError(
            f"no question came from {len(read)} document{'s' * (len(read) != 1)}: rules find tables, `key: value` lines"
            " and plain English sentences; name a model that writes questions with --with, or bring your own"
        )
    rows = [_row(fact, number, by_id) for number, fact in enumerate(chosen, start=1)]
    write_whole(target, "".join(dump(row) + "\n" for row in rows))
    if log is not None:
        log.path.unlink()
    return MadeQuestions(
        str(target),
        tuple(read_examples(target)),
        len(read),
        len({name for fact in chosen for name in fact.documents}),
        len(found),
        len(found) - len(clear),
        len(clear) - len(fair),
        len(pool) - len(sound),
    )


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
    tested = sections_to_ask(documents, seed)
    kept = [fact for fact in every if fact.section in tested[fact.document_id]]
    return kept if model is None else [*kept, *_written(documents, tested, model, log, progress)]


def _near_misses(facts: Sequence[Fact], documents: Sequence[Document], most: int) -> list[Fact]:
    """What is asked about values, of some facts, asked past the documents."""
    near = NearMisses(documents)
    asked = sorted((f for f in facts if f.kind in ("short", "number")), key=lambda fact: draw(f"near {fact.question}"))
    return _unambiguous([miss for fact in asked[:most] if (miss := near.of(fact)) is not None])


def sections_to_ask(documents: Sequence[Document], seed: int = 0) -> dict[str, frozenset[Span]]:
    """The sections that test questions ask about, by document: half of each, rounded up in every second document."""
    found = {}
    for place, document in enumerate(sorted(documents, key=lambda document: draw(f"{seed} {document.id}"))):
        spans = section_spans(document)
        half = (len(spans) + 1 - place % 2) // 2
        found[document.id] = frozenset(sorted(spans, key=lambda span: draw(f"{seed} {document.id} {span[0]}"))[:half])
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
    within = [(chunk, span) for chunk in chunks for span in tested[chunk.document_id] if _holds(span, chunk.start)]
    made = synthesize([chunk for chunk, _ in within], model, ask_from, rules=False, log=log, progress=progress)
    found = []
    for pair in made.pairs:
        spans = [span for span in tested[pair.document_id] if _holds(span, pair.start)]
        long = len(pair.answer.split()) > _LONGEST_VALUE
        kind: Kind = "sentence" if long else "number" if has_number(pair.answer) else "short"
        if spans:
            where = (pair.document_id, pair.start, pair.end, spans[0])
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


def _evidence(documents: Mapping[str, Document], fact: Fact) -> Chunk:
    """The section of a fact as a passage; of two documents, both sections in one."""
    document = documents[fact.document_id]
    text = "\n\n".join(documents[part.document_id].text[slice(*part.section)] for part in fact.parts)
    start = fact.section[0]
    return Chunk(document.id, document.version, start, start + len(text), text, document.title)


def choose(facts: Sequence[Fact], count: int, seed: int) -> list[Fact]:
    """At most ``count`` facts of different places, dealt out over kinds by ``SHARES`` and over documents evenly.

    As many yes-no questions are answered by yes as by no. Which facts, and their order, depends on the seed alone.
    """
    groups: dict[tuple[Kind, tuple[str, ...]], list[Fact]] = {}
    for fact in sorted(facts, key=lambda fact: draw(f"{seed} {fact.question}")):
        groups.setdefault((fact.kind, fact.answers if fact.kind == "yes-no" else ()), []).append(fact)
    shares = {key: SHARES[key[0]] / (2 if key[0] == "yes-no" else 1) for key in groups}
    taken, room = (
        dict.fromkeys(groups, 0),
        {key: math.ceil(_MOST_OF_A_KIND * share * count) for key, share in shares.items()},
    )
    asked: Counter[str] = Counter()
    chosen: list[Fact] = []
    used: dict[tuple[str, int, int], set[tuple[str, ...]]] = {}
    while groups and len(chosen) < count:
        key = min(groups, key=lambda key: ((taken[key] + 1) / shares[key], key))
        left = [fact for fact in groups[key] if _adds(fact, used.get(_place(fact), set()))]
        if not left or taken[key] >= room[key]:
            del groups[key]
            continue
        fact = min(left, key=lambda fact: asked[fact.document_id])
        groups[key] = [other for other in left if other is not fact]
        used.setdefault(_place(fact), set()).add(fact.answers)
        asked[fact.document_id] += 1
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
