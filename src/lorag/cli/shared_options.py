"""The options that several commands share, above all those by which passages are found: the same in each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from lorag.settings import DEFAULT_RERANKER, EmbedderSettings, FinetuneSettings, RetrievalSettings

_Training = TypeVar("_Training", FinetuneSettings, EmbedderSettings)

EmbedderName = Annotated[
    str,
    typer.Option(
        "--embedder",
        help="What makes the vectors: a catalogue name, OWNER/NAME of a hub, or a folder such as"
        " `lorag finetune-embedder` writes; the same for every command on an index.",
    ),
]
SearchKind = Literal["hybrid", "dense", "lexical"]
Search = Annotated[
    SearchKind | None,
    typer.Option("--search", help="Find passages by meaning (dense), by words (lexical), or by both."),
]
Rerank = Annotated[
    bool | None,
    typer.Option("--rerank/--no-rerank", help="Let a cross-encoder reorder the best passages; slower."),
]
MinCosine = Annotated[
    float | None, typer.Option("--min-cosine", help="Leave out passages whose cosine with the question is lower.")
]
FinetuneMethod = Annotated[
    str | None,
    typer.Option(
        "--method", help="lora, rslora, dora, pissa, qlora, full, prompt or prefix: how to finetune; lora by default."
    ),
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Passes over the conversations that are trained on.")]
LearningRate = Annotated[
    float | None, typer.Option("--learning-rate", help="Peak step size of finetuning; else the method's own.")
]
Control = Annotated[
    Path | None,
    typer.Option(
        "--control",
        help="A JSONL of multiple-choice questions (question, choices, answers or label), asked before and after"
        " training to see what was forgotten.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Search only documents like this: by id, source, title, type, or a key of JSON rows; * stands for any"
        " text. Several keys must all fit, of several values for one key any.",
    ),
]


def training_settings(settings: _Training, **given: Any) -> _Training:
    """``settings`` with what was asked for in the command line in their place."""
    return replace(settings, **{key: value for key, value in given.items() if value is not None})


def retrieval_settings(
    settings: RetrievalSettings, search: SearchKind | None, rerank: bool | None, min_cosine: float | None
) -> RetrievalSettings:
    """``settings`` with what was asked for in the command line in their place."""
    if search is not None:
        settings = replace(settings, dense_weight={"dense": 1.0, "lexical": 0.0, "hybrid": _both(settings)}[search])
    if rerank is not None:
        settings = replace(settings, reranker=(settings.reranker or DEFAULT_RERANKER) if rerank else None)
    return settings if min_cosine is None else replace(settings, min_cosine=min_cosine)


def _both(settings: RetrievalSettings) -> float:
    """The weight of the dense side where both have a say."""
    return settings.dense_weight if 0 < settings.dense_weight < 1 else RetrievalSettings().dense_weight
