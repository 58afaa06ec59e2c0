"""Where the course of a training is shown beside our own report: trackers that the library's ``Trainer`` knows.

How a tracker is set up (accounts, servers, projects) is the user's: each reads its own environment variables.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorag.errors import MissingExtraError, UnknownNameError

if TYPE_CHECKING:
    from transformers import TrainerCallback

TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
PROJECT = "lorag"
"""What trackers call all trainings together, where the user's environment does not name it."""


def require_tracker(name: str) -> None:
    """Raises ``UnknownNameError`` for no tracker, and ``MissingExtraError`` for one whose package is not installed."""
    if name not in TRACKERS:
        raise UnknownNameError("tracker", name, TRACKERS)
    if find_spec(name) is None and not (name == "tensorboard" and find_spec("tensorboardX") is not None):
        raise MissingExtraError(f"the tracker {name} needs the package {name!r}; install it with `pip install {name}`")


def tracker(name: str, out: Path) -> TrainerCallback:
    """The library's callback of that name; TensorBoard's files lie in ``runs`` beside the adapter's folder ``out``."""
    from transformers.integrations.integration_utils import get_reporting_integration_callbacks

    require_tracker(name)
    (kind,) = get_reporting_integration_callbacks([name])
    made: Any = kind()
    if name == "tensorboard" and made.logging_dir is None:
        made.logging_dir = str(out.parent / "runs" / out.name)
    callback: TrainerCallback = made
    return callback
