"""Scores of rankings: where the documents, or the passages, that answer a question stand in a list of hits.

Counted by ir_measures, as trec_eval counts. Where there is nothing to find the value is None, never 0.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lorag.evaluation.answers.metrics import normalise
from lorag.types import Answer, Chunk, Example, Hit


def ranking_scores(
    relevant: Sequence[Collection[str]], rankings: Sequence[Sequence[str]], measures: Sequence[str]
) -> list[dict[str, float | None]]:
    """For each ranking, best first, its value under each of the measures ("nDCG@10", "R@5", "Success@5", "RR@10").

    ``relevant`` are the names to be found, all equally good; where there are none, the values are None.
    """
    import ir_measures

    parsed = {}
    for measure in measures:  # the library's own reader of such names needs a part of Python that 3.14 lacks
        kind, depth = measure.split("@")
        parsed[getattr(ir_measures, kind) @ int(depth)] = measure
    scores: list[dict[str, float | None]] = [dict.fromkeys(measures, 0.0 if names else None) for names in relevant]
    qrels = [ir_measures.Qrel(str(q), name, 1) for q, names in enumerate(relevant) for name in names]
    # Scores fall with the rank, so that the library's order is ours without ties.
    run = [
        ir_measures.ScoredDoc(str(q), name, -float(rank))
        for q, ranking in enumerate(rankings)
        for rank, name in enumerate(ranking)
    ]
    for metric in ir_measures.iter_calc(list(parsed), qrels, run) if qrels else ():
        scores[int(metric.query_id)][parsed[metric.measure]] = float(metric.value)
    return scores


def retrieval_scores(examples: Sequence[Example], answers: Sequence[Answer]) -> list[dict[str, float | None]]:
    """For each answer ``recall_at_5``, ``mrr_at_10`` and ``evidence_in_prompt``, over documents.

    ``Answer.sources`` are the passages really in the prompt; their documents, each at its best place, are the
    ranking. ``evidence_in_prompt`` is 1 when a passage of any evidence document is there, wherever it stands; it
    does not say that this passage holds the answer. All are None for a question without evidence or, in this
    phase, without references: nothing there could be found.
    """
    rankings = [documents_of(answer.sources) for answer in answers]
    depth = max((len(ranking) for ranking in rankings), default=0) or 1
    names = {"R@5": "recall_at_5", "RR@10": "mrr_at_10", f"Success@{depth}": "evidence_in_prompt"}
    relevant = [example.evidence if example.answers else () for example in examples]
    scores = ranking_scores(relevant, rankings, list(names))
    return [{names[measure]: value for measure, value in found.items()} for found in scores]


def documents_of(hits: Sequence[Hit]) -> list[str]:
    """The documents of the hits, each at its best place."""
    return list(dict.fromkeys(hit.chunk.document_id for hit in hits))


def answering(chunks: Sequence[Chunk], examples: Sequence[Example]) -> list[frozenset[str]]:
    """For each question the ids of the chunks of its evidence documents that hold one of its answers word for word.

    Words are compared as ``metrics.contains`` does. An answer that is cut in two stands in no chunk.
    """
    words = {chunk.id: f" {normalise(chunk.text)} " for chunk in chunks}
    of_document: dict[str, list[str]] = {}
    for chunk in chunks:
        of_document.setdefault(chunk.document_id, []).append(chunk.id)
    found = []
    for example in examples:
        answers = [f" {wanted} " for wanted in map(normalise, example.answers) if wanted]
        ids = [chunk_id for document in example.evidence for chunk_id in of_document.get(document, ())]
        found.append(frozenset(i for i in ids if any(answer in words[i] for answer in answers)))
    return found
