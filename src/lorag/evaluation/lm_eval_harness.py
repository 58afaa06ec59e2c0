"""lm-evaluation-harness over a model of transformers and tasks on this machine: its figures, and all that it reports.

A task is a YAML file of the harness; its prompt, its data and its metrics are the harness's own business. Tasks that
come with the harness are not looked for, since their data lies on a hub. Virtual tokens are not known to it.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorag.errors import DataError, OperationError, require

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class TaskChange:
    """One metric of one task for two models, with the harness's own standard errors where it gives any."""

    task: str
    metric: str
    before: float
    after: float
    error_before: float | None
    error_after: float | None


def require_tasks(path: Path) -> None:
    """Raises ``MissingExtraError`` without the harness, and ``DataError`` for anything but tasks with all their data.

    ``path`` is a YAML file, or a folder of them.
    """
    seen: dict[str, Path] = {}
    for file in _files(path):
        for name in _task_names(file):
            if name in seen:
                raise DataError(file, f"holds the task {name!r}, as {seen[name].name!r} does; give one of the files")
            seen[name] = file


def run_tasks(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path) -> dict[str, Any]:
    """All that the harness reports of ``model`` on the tasks of ``path``, as JSON holds it, each question included.

    Raises ``OperationError`` with its reason when the harness fails.
    """
    files = _files(path)
    with _harness() as lm_eval:
        try:
            from lm_eval.models.huggingface import HFLM
            from lm_eval.utils import handle_non_serializable

            # The harness chooses a token for padding, and keeps the logits of all tokens of a batch.
            wrapped = HFLM(pretrained=model, tokenizer=copy.deepcopy(tokenizer), backend="causal", batch_size=1)
            manager = _manager(files[0].parent)
            report = lm_eval.simple_evaluate(model=wrapped, tasks=list(map(str, files)), task_manager=manager)
            return dict(json.loads(json.dumps(report, default=handle_non_serializable)))
        except Exception as error:
            raise OperationError(f"lm-evaluation-harness failed on {str(path)!r}: {_reason(error)}") from error


def task_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[TaskChange]:
    """The metrics in two reports on the same tasks, in their order."""
    changes = []
    for task, figures in before["results"].items():
        for key, value in figures.items():
            metric, _, filtered = key.partition(",")
            if not filtered or metric.endswith("_stderr"):
                continue
            errors = [report["results"][task].get(f"{metric}_stderr,{filtered}") for report in (before, after)]
            known = [error if isinstance(error, int | float) else None for error in errors]
            name = metric if filtered == "none" else f"{metric} ({filtered})"
            changes.append(TaskChange(task, name, value, after["results"][task][key], *known))
    return changes


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(path.glob("*.yaml"))
    if not files:
        what = "holds no *.yaml" if path.is_dir() else "no such file or folder"
        raise DataError(path, f"{what}; expected tasks of lm-evaluation-harness")
    return files


def _task_names(file: Path) -> list[str]:
    with _harness():
        try:
            return list(_manager(file.parent).load([str(file)])["tasks"])
        except Exception as error:
            message = f"is not a task that lm-evaluation-harness can read with its data: {_reason(error)}"
            raise DataError(file, message) from error


def _manager(folder: Path) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(folder), include_defaults=False)


@contextmanager
def _harness() -> Iterator[Any]:
    """The harness, which inside the block logs errors only."""
    lm_eval = require("lm_eval", "lm-eval", "scoring on tasks of lm-evaluation-harness")
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield lm_eval
    finally:
        logger.setLevel(level)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
