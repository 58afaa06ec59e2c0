"""Metrics of the user's own: functions that judge one answer, measured beside the built-in metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real

import numpy as np

from lorag.errors import InputError
from lorag.evaluation.labels import METRIC_NAMES
from lorag.types import Example

Measuring = Callable[[str, Example], float | None]
"""The text of an answer and its question in, a finite number out; None where the metric does not apply."""
_LONGEST_NAME = 40
"""Characters of a metric's name: it stands at the head of a column."""
_TAKEN = {*METRIC_NAMES, "refused", "seconds", "prompt_tokens"}
"""Names of other columns."""


def require_measuring(metrics: Mapping[str, Measuring], example: Example) -> None:
    """Raises ``InputError`` for a name that no metric can have, and for what fails on a reference of ``example``."""
    for name, function in metrics.items():
        if not name.isidentifier() or len(name) > _LONGEST_NAME or name in _TAKEN:
            raise InputError(
                f"{name!r} cannot be the name of a metric; expected up to {_LONGEST_NAME} letters, digits and"
                " underscores, and no metric of Lorag"
            )
        if not callable(function):
            raise InputError(
                f"the metric {name!r} is {type(function).__name__}; expected a function from the text of an answer and"
                " its question (lorag.Example) to a number"
            )
        reference = next(iter(example.answers), None)
        measured(name, function, reference or "", example, "an empty answer" if reference is None else "a reference")


def measured(name: str, function: Measuring, text: str, example: Example, whose: str) -> float | None:
    """What a metric gives for a text.

    Raises ``InputError`` with the metric, the question and ``whose`` text it is, where the function fails or returns
    anything but a finite number or None.
    """
    where = f"the metric {name!r}, given {whose} to question {example.id!r}"
    try:
        value: object = function(text, example)
    except Exception as error:
        raise InputError(f"{where}, failed with {type(error).__name__}: {error}") from error
    if value is None:
        return None
    number = _finite(value)
    if number is None:
        raise InputError(
            f"{where}, returned {str(value)[:60]!r} ({type(value).__name__}); expected a finite number, or None where"
            " it does not apply"
        )
    return number


def _finite(value: object) -> float | None:
    """``value`` as a finite number; None where it is none."""
    try:
        number = float(value) if isinstance(value, Real | np.bool_) else math.nan
    except OverflowError:  # of an integer beyond all floats
        return None
    return number if math.isfinite(number) else None
