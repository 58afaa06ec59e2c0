"""Where the course of a training is shown beside our own report: trackers that the library's ``Trainer`` knows.

How a tracker is set up (accounts, servers, projects) is the user's: each reads its own environment variables.
"""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorag.errors import MissingExtraError, OperationError, UnknownNameError

if TYPE_CHECKING:
    from transformers import TrainerCallback

TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
PROJECT = "lorag"
"""What trackers call all trainings together, where the user's environment does not name it."""
_PROJECT_VARIABLES = {"wandb": "WANDB_PROJECT", "mlflow": "MLFLOW_EXPERIMENT_NAME"}
"""Variables from which the library's callbacks take the project; the others are given it as an argument."""
_LONGEST_REASON = 200


def require_tracker(name: str) -> None:
    """Raises ``UnknownNameError`` for no tracker, and ``MissingExtraError`` for one whose package is not installed."""
    if name not in TRACKERS:
        raise UnknownNameError("tracker", name, TRACKERS)
    if find_spec(name) is None and not (name == "tensorboard" and find_spec("tensorboardX") is not None):
        raise MissingExtraError(f"the tracker {name} needs the package {name!r}; install it with `pip install {name}`")


def tracker(name: str, out: Path) -> TrainerCallback:
    """The library's callback of that name; TensorBoard's files lie in ``runs`` beside the adapter's folder ``out``.

    Its events raise ``OperationError`` where the tracker does not start; one that fails later ends with a warning, and
    the training continues without it.
    """
    from transformers.integrations.integration_utils import get_reporting_integration_callbacks

    require_tracker(name)
    if name in _PROJECT_VARIABLES:
        os.environ.setdefault(_PROJECT_VARIABLES[name], PROJECT)
    (kind,) = get_reporting_integration_callbacks([name])
    made: Any = kind()
    if name == "tensorboard" and made.logging_dir is None:
        made.logging_dir = str(out.parent / "runs" / out.name)
    callback: Any = _Tracking(name, made)
    return callback  # type: ignore[no-any-return]


class _Tracking:
    """A tracker's callback whose failures cost no training."""

    def __init__(self, name: str, callback: TrainerCallback) -> None:
        self._name, self._callback = name, callback
        self._failed = False

    def __getattr__(self, event: str) -> Any:
        """The event of that name, which the ``Trainer`` calls."""
        act = getattr(self._callback, event)

        def shown(*given: Any, **named: Any) -> Any:
            if self._failed:
                return None
            try:
                with redirect_stdout(sys.stderr):  # what a command prints there may be read by a program
                    done = act(*given, **named)
                    if event == "on_train_end" and self._name == "wandb":
                        import_module("wandb").finish()  # left open, its run would take the next training too
                return done
            except Exception as error:
                self._failed = True
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REASON]
                if event == "on_train_begin":
                    message = f"the tracker {self._name} does not start: {reason}; correct its setup, or leave it out"
                    raise OperationError(message) from error
                message = f"the tracker {self._name} failed, and the training continues without it: {reason}"
                warnings.warn(message, stacklevel=2)
                return None

        return shown
