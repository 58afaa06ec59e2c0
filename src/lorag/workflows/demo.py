"""The whole comparison on the corpus that comes with Lorag: an invented company, its documents and their update.

Sized so that it ends within half an hour on two cores without a GPU; what it trims for that is in its notes.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

from lorag.evaluation.comparison import Comparison
from lorag.files import read_text, write_whole
from lorag.interfaces import Progress, no_progress
from lorag.settings import ChatSettings, ChunkSettings, CompareSettings, FinetuneSettings, RecipeSettings
from lorag.types import Sampling
from lorag.workflows.compare import compare
from lorag.workspace import Run

SETTINGS = CompareSettings(
    limit=60,
    chunks=ChunkSettings(max_tokens=128),
    chat=ChatSettings(context_tokens=240, sampling=Sampling(max_tokens=40)),
    finetune=FinetuneSettings(context_share=0.12, context_tokens=160, held_out_share=0.0, measure_forgetting=False),
    recipe=RecipeSettings(minutes=14, probed_facts=16),
)
"""Fewer questions and shorter contexts than the defaults."""
_NOTE = (
    "This demo is trimmed to end within half an hour on two cores: {limit} of its 128 questions, {context} tokens of"
    " context, at most {answer} tokens an answer. `lorag compare` on your own files asks up to 2,000 by default."
)


def demo(
    out: Path | str | None = None,
    *,
    model: str | None = None,
    progress: Progress = no_progress,
    show: Callable[[Comparison], None] | None = None,
) -> Comparison:
    """The comparison on the bundled corpus, with its update, training conversations and declared style.

    Args:
        out: The folder of the run. None: one of its own below ``.lorag/runs``.
        model: The base, as in ``language_model``; None takes the default.
        progress: Called as the work proceeds, with a stage and how much of it is done.
        show: Called with the first results, before the training begins.

    Returns:
        What ``compare`` returns. On two cores it takes about half an hour.

    Raises:
        InputError: ``out`` holds another run.

    Examples:
        >>> result = lorag.demo(out="demo")
        >>> print(result.verdict.sentence)
    """
    note = _NOTE.format(
        limit=SETTINGS.limit, context=SETTINGS.chat.context_tokens, answer=SETTINGS.chat.sampling.max_tokens
    )
    with as_file(files("lorag") / "corpus") as corpus:
        result = compare(
            corpus / "docs",
            corpus / "questions.jsonl",
            train=corpus / "train.jsonl",
            update=corpus / "docs_v2",
            train_update=corpus / "train_v2.jsonl",
            style=corpus / "style.json",
            model=model,
            out=out,
            settings=SETTINGS,
            notes=(note,),
            progress=progress,
            show=show,
        )
    options = Run(result.folder).options
    command = shlex.join(["lorag", "demo", "--out", str(options.parent), *(["--model", model] if model else [])])
    write_whole(options, f"# `{command}` repeats this run.\n{read_text(options)}")
    return result
