"""``lorag evaluate``: what was trained is scored on tasks of lm-evaluation-harness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.cli.assistant_options import Model
from lorag.cli.screen import Json, print_json, print_table, progress_bars, translated_errors

if TYPE_CHECKING:
    from lorag.evaluation.lm_eval_harness import TaskChange

TASKS = "A task of lm-evaluation-harness, or a folder of them: YAML files over data on this machine"


def evaluate(
    adapter: Annotated[Path, typer.Argument(help="Folder of what `lorag finetune` trained.")],
    tasks: Annotated[Path, typer.Option(help=f"{TASKS}.")],
    model: Model = None,
    json: Json = False,
) -> None:
    """Score what was trained, and its base, on tasks of lm-evaluation-harness."""
    from lorag.workflows.evaluate import evaluate as run_evaluation

    with translated_errors(), progress_bars() as progress:
        changes = run_evaluation(adapter, tasks, model=model, progress=progress)
    if json:
        print_json([asdict(change) for change in changes])
    else:
        print_changes(changes)


def print_changes(changes: Sequence[TaskChange]) -> None:
    """A line a metric, with the harness's standard errors."""
    rows = [(c.task, c.metric, _shown(c.before, c.error_before), _shown(c.after, c.error_after)) for c in changes]
    print_table(("task", "metric", "before", "after"), rows, "lm-evaluation-harness (± standard error)")


def _shown(value: float, error: float | None) -> str:
    return f"{value:.3f}" + (f" ± {error:.3f}" if error is not None else "")
