"""Evaluate: what was trained and its base are scored on tasks of lm-evaluation-harness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from lorag import build
from lorag.errors import InputError
from lorag.evaluation.lm_eval_harness import TaskChange, require_tasks, run_tasks, task_changes
from lorag.files import write_whole
from lorag.finetune_methods import METHODS
from lorag.interfaces import Progress, no_progress
from lorag.llm.engines.transformers import TransformersModel
from lorag.training.adapter import Adapter, read_adapter

REPORT = "lm_eval.json"
_STAGE = "lm-evaluation-harness"


def evaluate(
    adapter: Path | str, tasks: Path | str, *, model: str | None = None, progress: Progress = no_progress
) -> list[TaskChange]:
    """Every metric of the tasks for the base of an adapter, and with the adapter. The whole report is written beside
    it.

    Args:
        adapter: The folder of an adapter.
        tasks: A YAML file of lm-evaluation-harness, or a folder of them.
        model: The base, where it has another name here.
        progress: Called as the work proceeds, with a stage and how much of it is done.

    Returns:
        One change for each metric of each task.

    Raises:
        MissingExtraError: The extra ``lm-eval`` is not installed.
        DataError: ``adapter`` is not an adapter, or ``tasks`` are not tasks with all their data.
        OperationError: The harness fails.

    Examples:
        >>> for change in lorag.evaluate("adapter", "tasks.yaml"):
        ...     print(change.task, change.metric, change.before, change.after)
    """
    trained = read_adapter(Path(adapter))
    check_tasks(Path(tasks), trained.method)
    tuned = cast(TransformersModel, build.language_model(model, Path(adapter), progress))
    base = tuned
    if trained.spec.is_whole_model:
        base = cast(TransformersModel, build.language_model(model or trained.base, progress=progress))
    return evaluate_models(base, tuned, trained, Path(tasks), progress)


def evaluate_models(
    base: TransformersModel, tuned: TransformersModel, trained: Adapter, tasks: Path, progress: Progress = no_progress
) -> list[TaskChange]:
    """As ``evaluate``, with models in memory: the base, whose adapter is left out, and what was trained of it."""
    reports: list[dict[str, Any]] = []
    for engine, adapter in ((base, None), (tuned, tuned.adapter)):
        progress(_STAGE, len(reports), 2)
        with engine.weights.applied(adapter) as model:
            reports.append(run_tasks(model, engine.weights.tokenizer, tasks))
    before, after = reports
    write_whole(Path(trained.folder) / REPORT, json.dumps({"before": before, "after": after}, indent=2))
    progress(_STAGE, 2, 2)
    return task_changes(before, after)


def check_tasks(tasks: Path, method: str) -> None:
    """Raises ``InputError`` where ``tasks`` cannot be run, or do not see what the method trains."""
    if METHODS[method].is_virtual:
        raise InputError(f"lm-evaluation-harness does not see the virtual tokens of a {method}; leave the tasks out")
    require_tasks(tasks)


def read_changes(folder: Path) -> list[TaskChange]:
    """The metrics in the report beside an adapter; none where there is no report."""
    path = folder / REPORT
    return task_changes(**json.loads(path.read_text())) if path.is_file() else []
