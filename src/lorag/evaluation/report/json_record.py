"""A comparison as JSON: everything that was asked, answered, scored and concluded."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from lorag.evaluation.results import Comparison
from lorag.evaluation.verdict import rule

FORMAT = 2
"""Raised when a key changes its meaning or goes away."""


def result_json(comparison: Comparison) -> str:
    """The verdict, facts, notes, rule, settings, arms, differences and questions, then every row with its scores.

    A row holds the prompt as sent, the passages really in it, the answer, seconds and tokens. Rows read back with
    ``Row.from_json``. Numbers that JSON lacks (NaN, infinities) become null.
    """
    record = {
        "format": FORMAT,
        "verdict": asdict(comparison.verdict),
        "facts": dict(comparison.facts),
        "notes": list(comparison.notes),
        "tried": dict(comparison.tried),
        "rule": list(rule(comparison.settings)),
        "settings": asdict(comparison.settings),
        "arms": [asdict(arm) for arm in comparison.arms],
        "differences": [asdict(difference) for difference in comparison.differences],
        "questions": [{**asdict(example), "meta": dict(example.meta)} for example in comparison.examples],
        "rows": [
            {**row.to_json(), "scores": dict(scores)}
            for row, scores in zip(comparison.rows, comparison.scores, strict=True)
        ],
    }
    return json.dumps(_finite(record), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """``value`` with None in place of numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
