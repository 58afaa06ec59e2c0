"""``TrainingArguments`` as the notebook knows them: with the names that transformers has taken out since.

The class here is the way to use. Code whose import of transformers' own class cannot be changed calls
``patch_training_arguments()`` once: it puts another ``__init__`` into that class, for the whole process.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import fields
from typing import Any

import torch
import transformers

from lorag.neural_chat.knobs import require_known, warn_idle
from lorag.neural_chat.training_names import IDLE, KEPT, RENAMED


class TrainingArguments(transformers.TrainingArguments):
    """transformers' own, which also take the names it had before, and bf16 without a GPU."""

    overwrite_output_dir: bool

    def __init__(self, output_dir: str | None = None, **given: Any) -> None:
        """Raises ``UnknownNameError`` with the nearest names for one that never was."""
        for name in given:
            require_known("training argument", name, _known())
        _initialise(self, super().__init__, output_dir, given)


def patch_training_arguments() -> None:
    """From now on ``transformers.TrainingArguments`` takes the old names too, in this process, for everybody.

    A patch of another package: only for code that cannot import ``TrainingArguments`` from here. Calling it twice is
    calling it once.
    """
    theirs = transformers.TrainingArguments.__init__
    if hasattr(theirs, "__wrapped__"):
        return

    @functools.wraps(theirs)
    def initialise(self: Any, output_dir: str | None = None, *rest: Any, **given: Any) -> None:
        _initialise(self, functools.partial(theirs, self), output_dir, given, *rest)

    transformers.TrainingArguments.__init__ = initialise  # type: ignore[method-assign]


def _initialise(arguments: Any, initialise: Any, output_dir: str | None, given: dict[str, Any], *rest: Any) -> None:
    """Calls the ``__init__`` of transformers with what it takes, and keeps the rest on the object."""
    warn_idle(f"TrainingArguments.{name}" for name in sorted(IDLE & given.keys()))
    taken = {RENAMED.get(name, name): value for name, value in given.items() if name not in IDLE | {KEPT}}
    if (taken.get("bf16") or taken.get("fp16")) and not torch.cuda.is_available():
        warnings.warn(
            "bf16 and fp16 need a GPU, and there is none: training uses the dtype this processor multiplies fastest",
            stacklevel=3,
        )
        taken |= {"use_cpu": True, "fp16": False}
    initialise(output_dir, *rest, **taken)
    arguments.overwrite_output_dir = bool(given.get(KEPT, False))


def _known() -> set[str]:
    return {each.name for each in fields(transformers.TrainingArguments)} | RENAMED.keys() | IDLE | {KEPT}
