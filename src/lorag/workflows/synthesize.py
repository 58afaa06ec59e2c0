"""Make training data: from documents alone, or more wordings of the conversations that are there.

Some documents are held out to measure the training, before anything is written about them, so that nothing of
what is measured was learned. Of conversations, no wording that nearly asks a test question comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorag import build
from lorag.chat.prompts import question_prompt
from lorag.documents.chunking import split
from lorag.documents.load import load_documents
from lorag.errors import InputError
from lorag.evaluation.answers.metrics import normalise
from lorag.evaluation.examples import not_to_be_taught, read_examples
from lorag.files import LineLog, draw, dump, fingerprint, jsonl_target, require_writable, write_whole
from lorag.interfaces import LanguageModel, Progress, no_progress
from lorag.settings import REFUSAL, ChunkSettings
from lorag.training.data.conversations import (
    canonical_row,
    read_outcomes,
    require_conversations,
    write_conversations,
)
from lorag.training.data.inspection import Finding, contradicting, placed
from lorag.training.data.qa_rules import Pair
from lorag.training.data.qa_synthesis import Synthesis, conversation, synthesize
from lorag.training.data.wordings.augmentation import Counts, augment
from lorag.training.data.wordings.rewordings import Writer
from lorag.types import Chunk, Document, Hit, Prompt

NO_MODEL = "none"
"""Stands for rules alone where a model can be named."""


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

    If it is killed, the same call resumes.

    Args:
        documents: A folder, or one file.
        out: A ``.jsonl`` file.
        model: The model that writes besides the rules; ``none`` leaves it to the rules, None takes the default.
        held_out_share: The share of documents that are held out, to measure a training on.
        progress: Called as the work proceeds, with a stage and how much of it is done.

    Returns:
        How many pairs were made, and where they are.

    Raises:
        InputError: ``out`` does not end in ``.jsonl``, a document cannot be read, or all would be held out.

    Examples:
        >>> report = lorag.synthesize_data("docs", "made.jsonl", model="none", held_out_share=0)
        >>> report.out, len(report.learned.pairs) > 0
        ('made.jsonl', True)
    """
    target = jsonl_target(out)
    read = load_documents(documents).require_all().documents
    require_writable(target.absolute().parent)
    engine = None if model == NO_MODEL else build.language_model(model, progress=progress)
    held_out = [document for document in read if draw(document.id) < held_out_share]
    learned = [document for document in read if document not in held_out]
    if not learned:
        raise InputError(f"all {len(read)} documents would be held out; lower the share with --held-out")
    log = _log(target, read, engine)
    made = _made(learned, engine, log, progress).require_pairs()
    _write(target, made)
    kept_back = _made(held_out, engine, log, progress) if held_out else None
    other = target.with_name(f"{target.stem}.held-out.jsonl")
    if kept_back is not None:
        _write(other, kept_back)
    log.path.unlink()
    return SynthesisReport(made, kept_back, str(target), str(other) if kept_back else None)


@dataclass(frozen=True, slots=True)
class AugmentReport:
    """The result of adding wordings to training conversations."""

    path: str
    """The file or folder that was read."""
    out: str
    """The file that was written."""
    written: int
    """Number of conversations in ``out``."""
    counts: Counts
    """Numbers of conversations, and of wordings that were made and refused."""
    contradicting: Finding
    """Rows with the same question as another row but another answer; no wordings are added to them."""


def augment_data(
    conversations_path: Path | str,
    out: Path | str,
    *,
    documents: Path | str | None = None,
    with_model: str | None = None,
    wordings: int = 10,
    exclude: Path | str | None = None,
    progress: Progress = no_progress,
) -> AugmentReport:
    """The conversations with further wordings of every fact that they teach, written to ``out``.

    If it is interrupted, the same call resumes. Where a model behind an address stops answering, what was made so far
    is written, and the report gives the reason.

    Args:
        conversations_path: A JSONL file, or a folder of such files.
        out: A ``.jsonl`` file, outside of what is read.
        documents: The documents by which the rewordings of a model are proven.
        with_model: The model that rewords besides the rules. None, or ``none``: the rules alone.
        wordings: Maximum number of wordings per fact.
        exclude: A file of questions, such as a ``qa.jsonl``; a wording that asks one of them, or nearly, is not
            written.
        progress: Called as the work proceeds, with a stage and how much of it is done.

    Returns:
        How many conversations were written, and what became of the wordings that were made.

    Raises:
        InputError: A file cannot be read or written, or ``documents`` are given without a model.

    Examples:
        >>> report = lorag.augment_data("chat.jsonl", "wider.jsonl", wordings=3)
        >>> report.counts.given, report.written > report.counts.given
        (4, True)
    """
    source = Path(conversations_path)
    target = jsonl_target(out, source)
    uses_model = with_model not in (None, NO_MODEL)
    if documents is not None and not uses_model:
        raise InputError(
            "documents are used to check a model's rewordings, and no model is named; name one with --with"
        )
    outcomes = read_outcomes(source)
    conversations = require_conversations(source, outcomes)
    tests = not_to_be_taught(read_examples(Path(exclude))) if exclude is not None else []
    read = load_documents(documents).require_all().documents if documents is not None else ()
    require_writable(target.absolute().parent)
    writer = (
        _writer(build.language_model(with_model, progress=progress), read, target, wordings) if uses_model else None
    )
    made = augment(conversations, plain=plain_words, exclude=tests, wordings=wordings, writer=writer, progress=progress)
    write_conversations(target, made.conversations)
    if writer is not None and writer.log is not None and not made.counts.stopped:
        writer.log.path.unlink()
    contradicted = contradicting(placed(outcomes), plain_words)
    return AugmentReport(str(source), str(target), len(made.conversations), made.counts, contradicted)


def plain_words(text: str) -> str:
    """``text`` as a comparison normalises it, or as it is where nothing of it would be left."""
    return normalise(text) or text


def _writer(model: LanguageModel, documents: Sequence[Document], target: Path, wordings: int) -> Writer:
    """The model with the passages of the documents; what it writes is kept beside the target until that is whole."""
    identity = fingerprint([[[d.id, d.version] for d in documents], model.name, wordings])
    chunks = [c for d in documents for c in split(d, ChunkSettings().max_tokens, model.count_tokens)]
    return Writer(model, ask_from, chunks, LineLog(target.with_name(f".{target.stem}.{identity}.part.jsonl")))


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
    return {**canonical_row(conversation(pair)), "span": [pair.start, pair.end], "origin": pair.origin}


def _words(text: str) -> int:
    """About the tokens of a text, where there is no tokenizer to ask: rules do not mind."""
    return len(text.split())
