"""Synthesize: a folder of documents becomes questions and answers to train on, and some to measure the training by.

Which documents are kept back is decided before anything is written about them, so that nothing of what is measured
was learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lorag import build
from lorag.chat.prompts import question_prompt
from lorag.documents.chunking import split
from lorag.documents.load import load_documents
from lorag.errors import InputError
from lorag.files import LineLog, draw, dump, fingerprint, require_writable, write_whole
from lorag.interfaces import LanguageModel, Progress, no_progress
from lorag.settings import REFUSAL, ChunkSettings
from lorag.training.data.qa_rules import Pair
from lorag.training.data.qa_synthesis import Synthesis, conversation, synthesize
from lorag.types import Chunk, Document, Hit, Prompt

NO_MODEL = "none"
"""Stands in the place of a model's name for rules alone."""


@dataclass(frozen=True, slots=True)
class SynthesisReport:
    """What was made of the documents to learn, and of those held out, and where it was written."""

    learned: Synthesis
    held_out: Synthesis | None
    out: str
    held_out_file: str | None


def synthesize_data(
    documents: Path | str,
    out: Path | str,
    *,
    model: str | None = None,
    held_out_share: float = 0.1,
    progress: Progress = no_progress,
) -> SynthesisReport:
    """Questions and answers about the documents, written to ``out``, and about those held out to a file beside it.

    ``model`` writes them besides the rules; ``none`` leaves it to rules alone, None takes the default. Raises
    ``InputError`` and its kind for documents that cannot be read. Killed, the same call goes on.
    """
    target = Path(out)
    if target.suffix != ".jsonl":
        raise InputError(f"{str(out)!r} does not end in .jsonl, the form that is written; rename it")
    read = load_documents(documents).require_all().documents
    require_writable(target.absolute().parent)
    engine = None if model == NO_MODEL else build.language_model(model, progress=progress)
    held_out = [document for document in read if draw(document.id) < held_out_share]
    learned = [document for document in read if document not in held_out]
    if not learned:
        raise InputError(f"all {len(read)} documents would be held out; lower the share that is")
    log = _log(target, read, engine)
    made = _made(learned, engine, log, progress).require_pairs()
    _write(target, made)
    kept_back = _made(held_out, engine, log, progress) if held_out else None
    other = target.with_name(f"{target.stem}.held-out.jsonl")
    if kept_back is not None:
        _write(other, kept_back)
    log.path.unlink()
    return SynthesisReport(made, kept_back, str(target), str(other) if kept_back else None)


def ask_from(question: str, chunk: Chunk) -> Prompt:
    """The question as it is served with that passage as its source."""
    return question_prompt(question, [Hit(chunk, 1.0, "evidence")], REFUSAL)


def _made(documents: Sequence[Document], model: LanguageModel | None, log: LineLog, progress: Progress) -> Synthesis:
    count = model.count_tokens if model is not None else _words
    chunks = [chunk for document in documents for chunk in split(document, ChunkSettings().max_tokens, count)]
    return synthesize(chunks, model, ask_from, log=log, progress=progress)


def _log(target: Path, documents: Sequence[Document], model: LanguageModel | None) -> LineLog:
    """What was written so far of the same documents by the same model; it vanishes with the finished file."""
    identity = fingerprint([[[d.id, d.version] for d in documents], model.name if model else NO_MODEL])
    return LineLog(target.with_name(f".{target.stem}.{identity}.part.jsonl"))


def _write(path: Path, made: Synthesis) -> None:
    write_whole(path, "".join(dump(_row(pair)) + "\n" for pair in made.pairs))


def _row(pair: Pair) -> dict[str, object]:
    turns = [asdict(message) for message in conversation(pair).messages]
    return {"messages": turns, "doc_ids": [pair.document_id], "span": [pair.start, pair.end], "origin": pair.origin}


def _words(text: str) -> int:
    """About the tokens of a text, where there is no tokenizer to ask: rules do not mind."""
    return len(text.split())
