"""Finetune an embedder: on questions and the passages that answer them, measured on documents it did not learn from.

Which documents are held out is decided first. Search with the new embedder is then compared with search as it was, in
the pipeline that a user gets; without a significant gain, the new one is not recommended.
"""

from __future__ import annotations

import tempfile
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lorag import build
from lorag.documents.chunking import searched_text
from lorag.documents.load import load_documents
from lorag.errors import InputError
from lorag.evaluation.answers.scoring import clusters
from lorag.evaluation.examples import check_evidence, read_examples
from lorag.evaluation.search.best_settings import significant
from lorag.evaluation.search.ranking_scores import answering, documents_of, ranking_scores
from lorag.evaluation.statistics import FEWEST_CLUSTERS, Difference, Estimate, mean_interval, paired_difference
from lorag.files import draw, dump, folder_whole, require_replaceable, write_whole
from lorag.interfaces import Embedder, Progress, no_progress
from lorag.models import naming
from lorag.retrieval.encoders.contrastive import TrainingPair, save, train
from lorag.retrieval.encoders.torch_embedder import TorchEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import DEFAULT_EMBEDDER, TRAINABLE_EMBEDDER, ChunkSettings, EmbedderSettings, RetrievalSettings
from lorag.training.data.qa_rules import rule_pairs
from lorag.types import Chunk, Document, Example

RECORD = "finetuned.json"
"""Holds what a folder was trained on and what that was worth; written last."""
NDCG, RECALL = "nDCG@10", "R@5"
"""Of the documents, each at its best passage. The first decides."""


@dataclass(frozen=True, slots=True)
class FinetunedEmbedder:
    """A trained embedder, and how well search finds the documents of held-out questions with it and with others."""

    folder: str
    """Folder of the trained embedder."""
    base: str
    """Name of the embedder that was trained."""
    questions: int
    """Number of question wordings trained on, each with its passage."""
    hard_negatives: int
    """Number of hard negatives of all these wordings together."""
    synthetic: bool
    """Whether the questions were made from the documents by rules."""
    losses: tuple[float, ...]
    """Mean loss of each epoch, in nats."""
    held_out: int
    """Number of held-out questions."""
    scores: dict[str, dict[str, Estimate]]
    """``nDCG@10`` and ``R@5`` of the documents, by embedder."""
    gains: dict[str, Difference]
    """``nDCG@10`` of the trained embedder minus that of the base, and of the default embedder if the base is another
    one."""

    @property
    def recommended(self) -> bool:
        """Whether every gain is significant."""
        return all(significant(gain) for gain in self.gains.values())


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question in all its wordings, its documents, and the ids of the passages that answer it."""

    example: Example
    passages: frozenset[str]


def finetune_embedder(
    documents: Path | str,
    out: Path | str,
    *,
    questions: Path | str | None = None,
    base: str = TRAINABLE_EMBEDDER,
    settings: EmbedderSettings | None = None,
    chunks: ChunkSettings | None = None,
    progress: Progress = no_progress,
) -> FinetunedEmbedder:
    """An embedder for these documents in the folder ``out``, to be named wherever an embedder is.

    Args:
        documents: A folder, or one file.
        out: The folder of the embedder.
        questions: A ``qa.jsonl``, whose wordings are learned. None: questions that rules make from the documents.
        base: The name of the embedder to train.
        settings: How it is trained.
        chunks: How the documents are cut.
        progress: Called as the work proceeds, with a stage and how much of it is done.

    Returns:
        How well search finds the documents of held-out questions with it, with its base and with the default embedder.

    Raises:
        InputError: The base has no weights to train; there are fewer than 8 questions to learn from or to measure on;
            or ``out`` holds other things.

    Examples:
        >>> trained = lorag.finetune_embedder("docs", "embedder", questions="qa.jsonl")
        >>> if trained.recommended:
        ...     lorag.index("docs", "index", rebuild=True, embedder="embedder")
    """
    settings, chunks, out = settings or EmbedderSettings(), chunks or ChunkSettings(), Path(out)
    _require_own(out, base)
    folder, trainee = _trainee(base, progress)
    read = load_documents(documents).require_all().documents
    examples = None if questions is None else _examples(Path(questions), read)
    with tempfile.TemporaryDirectory() as scratch:

        def indexed(name: str, embedder: Embedder) -> Knowledge:
            knowledge = Knowledge.open(Path(scratch, name), embedder, chunks, RetrievalSettings())
            knowledge.sync(read, progress)
            return knowledge

        before = indexed("before", build.embedder(base, progress))
        asked = _by_rules(before.chunks()) if examples is None else _from_examples(examples, before.chunks())
        learned, held_out = _parted(asked, settings)
        pairs = _training_pairs(learned, before, settings)
        losses = train(trainee, pairs, settings, progress)
        columns = {base: _scores(before, held_out)}
        if base != DEFAULT_EMBEDDER:
            columns[DEFAULT_EMBEDDER] = _scores(indexed("default", build.embedder(progress=progress)), held_out)
        with folder_whole(out) as fresh:
            save(trainee, folder, fresh)
            after = _scores(indexed("after", build.embedder(str(fresh), progress)), held_out)
            of = clusters([each.example for each in held_out])
            done = FinetunedEmbedder(
                str(out),
                base,
                len(pairs),
                sum(len(pair.negatives) for pair in pairs),
                questions is None,
                losses,
                len(held_out),
                {name: _estimates(scores, of) for name, scores in (columns | {str(out): after}).items()},
                {name: paired_difference(after[NDCG], scores[NDCG], of) for name, scores in columns.items()},
            )
            write_whole(fresh / RECORD, dump({**asdict(done), "settings": asdict(settings)}))
    return done


def _trainee(base: str, progress: Progress) -> tuple[Path, TorchEmbedder]:
    """The folder of the base, and the embedder in it. Raises ``InputError`` for one that cannot be trained here."""
    folder = naming.resolve(base, "embedder", progress, trainable=True)
    if not (folder / "model.safetensors").is_file():
        raise InputError(
            f"{base!r} holds no weights that can be trained; use {TRAINABLE_EMBEDDER!r}, or a folder as"
            " sentence-transformers saves it"
        )
    trainee = TorchEmbedder(folder, base)
    if not trainee.is_trainable:
        raise InputError(
            f"{base!r} pools or projects in a way that cannot be trained, expected the mean or the first token's"
            f" state alone; use {TRAINABLE_EMBEDDER!r} or another such embedder"
        )
    return folder, trainee


def _require_own(out: Path, base: str) -> None:
    """Raises ``InputError`` where ``out`` is the base, or holds something that was not written here."""
    if out.resolve() == Path(base).expanduser().resolve():
        raise InputError(f"{str(out)!r} is the base itself; choose another folder with --out")
    require_replaceable(out, RECORD)


def _estimates(scores: dict[str, list[float]], documents: Sequence[Hashable]) -> dict[str, Estimate]:
    return {measure: mean_interval(column, documents) for measure, column in scores.items()}


def _examples(path: Path, documents: Sequence[Document]) -> list[Example]:
    """The questions of a file that have answers and documents."""
    everything = read_examples(path)
    check_evidence(everything, (document.id for document in documents), path)
    return [example for example in everything if example.answers and example.evidence]


def _from_examples(examples: Sequence[Example], chunks: Sequence[Chunk]) -> list[_Asked]:
    """The questions with the passages that hold an answer; where none does, with all of their documents."""
    return [
        _Asked(example, held or frozenset(c.id for c in chunks if c.document_id in example.evidence))
        for example, held in zip(examples, answering(chunks, examples), strict=True)
    ]


def _by_rules(chunks: Sequence[Chunk]) -> list[_Asked]:
    """What rules ask about the passages, each question of the first passage that it is made from."""
    made: dict[str, _Asked] = {}
    for chunk in chunks:
        for pair in rule_pairs(chunk):
            example = Example(pair.question, pair.question, (pair.answer,), (pair.document_id,))
            made.setdefault(pair.question, _Asked(example, frozenset((chunk.id,))))
    return list(made.values())


def _parted(asked: Sequence[_Asked], settings: EmbedderSettings) -> tuple[list[_Asked], list[_Asked]]:
    """The questions to learn from and those held out; no document of the latter is learned from."""
    kept_back = {
        document
        for each in asked
        for document in each.example.evidence
        if draw(f"embedder {document}") < settings.held_out_share
    }
    held_out = [each for each in asked if kept_back.intersection(each.example.evidence)]
    learned = [each for each in asked if not kept_back.intersection(each.example.evidence)]
    for what, part in (("to learn from", learned), ("to measure on", held_out)):
        if len(part) < FEWEST_CLUSTERS:
            raise InputError(
                f"of {len(asked)} questions with answers and doc_ids, {len(part)} are {what}, expected at least"
                f" {FEWEST_CLUSTERS}: give questions about more documents, or none, to have them made by rules"
            )
    return learned, held_out


def _training_pairs(asked: Sequence[_Asked], knowledge: Knowledge, settings: EmbedderSettings) -> list[TrainingPair]:
    """For each wording of a question the best found of its passages, and the best found of other documents."""
    by_id = {chunk.id: chunk for chunk in knowledge.chunks()}
    of_document: dict[str, list[str]] = {}
    for chunk in by_id.values():
        of_document.setdefault(chunk.document_id, []).append(searched_text(chunk))
    wordings = [(wording, each) for each in asked for wording in (each.example.question, *each.example.paraphrases)]
    pairs = []
    found = knowledge.retrieve([wording for wording, _ in wordings], RetrievalSettings().candidates)
    for (wording, each), hits in zip(wordings, found, strict=True):
        if not each.passages:  # of a blank document
            continue
        best = next((hit.chunk.id for hit in hits if hit.chunk.id in each.passages), min(each.passages))
        others = [hit.chunk for hit in hits if hit.chunk.document_id not in each.example.evidence]
        pairs.append(
            TrainingPair(
                wording,
                searched_text(by_id[best]),
                tuple(map(searched_text, others[: settings.hard_negatives])),
                frozenset(text for document in each.example.evidence for text in of_document.get(document, ())),
            )
        )
    return pairs


def _scores(knowledge: Knowledge, asked: Sequence[_Asked]) -> dict[str, list[float]]:
    """Both measures for each question, as search ranks its documents."""
    settings = RetrievalSettings()
    found = knowledge.retrieve([each.example.question for each in asked], settings.candidates)
    rankings = [documents_of(hits) for hits in found]
    scores = ranking_scores([each.example.evidence for each in asked], rankings, [NDCG, RECALL])
    return {measure: [row[measure] or 0.0 for row in scores] for measure in (NDCG, RECALL)}
