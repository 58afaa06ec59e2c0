"""A comparison as JSON: everything that was asked, answered, scored and concluded."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from lorag.errors import DataError, InputError
from lorag.evaluation.comparison import compare_rows
from lorag.evaluation.cost.arm_costs import arm_costs
from lorag.evaluation.cost.worth import arm_prices, break_evens, harm_steps, prices_of, worth_steps
from lorag.evaluation.results import Comparison, Reason
from lorag.evaluation.row_log import Row, key_of, recorded_fields
from lorag.evaluation.verdict import rule
from lorag.files import read_text
from lorag.types import Example

FORMAT = 4
"""Raised when a key changes its meaning or goes away."""
_READ = (1, 2, 3, FORMAT)
"""In 2, a reason was a string that began with its term; 1 lacks scores that today's verdict rests on."""
_RENAMED = {
    "recall@5": "recall_at_5",
    "MRR@10": "mrr_at_10",
    "evidence in prompt": "evidence_in_prompt",
    "reference in prompt": "reference_in_prompt",
    "retrieved, right": "retrieved_right",
    "retrieved, wrong": "retrieved_wrong",
    "missed, right": "missed_right",
    "missed, wrong": "missed_wrong",
}
"""Metrics and counts by their keys up to format 3."""
_JUDGED_AGAIN = "The answers were recorded by an earlier version and are judged again here, without the declared style."


def result_json(comparison: Comparison) -> str:
    """The verdict, facts, rule, settings, costs, arms, differences and questions, then every row with its scores.

    A row holds the prompt as sent, the passages really in it, the answer, seconds and tokens. Rows read back with
    ``Row.from_json``. Numbers that JSON lacks (NaN, infinities) become null.
    """
    record = {
        "format": FORMAT,
        "verdict": asdict(comparison.verdict),
        "facts": dict(comparison.facts),
        "notes": list(comparison.notes),
        "not_finetuned": comparison.not_finetuned,
        "tried": dict(comparison.tried),
        "rule": list(rule(comparison.settings)),
        "settings": asdict(comparison.settings),
        "built": asdict(comparison.built),
        "prices": asdict(comparison.prices) if comparison.prices is not None else None,
        "costs": _costs(comparison),
        "arms": [asdict(arm, dict_factory=recorded_fields) for arm in comparison.arms],
        "differences": [asdict(pair, dict_factory=recorded_fields) for pair in comparison.differences],
        "questions": [{**asdict(example), "meta": dict(example.meta)} for example in comparison.examples],
        "rows": [
            {**row.to_json(), "scores": dict(scores), "support": list(map(asdict, claims))}
            for row, scores, claims in zip(comparison.rows, comparison.scores, comparison.support, strict=True)
        ],
    }
    return json.dumps(_finite(record), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _costs(comparison: Comparison) -> dict[str, Any]:
    """What the arms take, and what follows from that: computed again from a record that is read."""
    prices = arm_prices(comparison)
    return {
        "currency": prices_of(comparison).currency,
        "arms": [{**asdict(arm), **asdict(price)} for arm, price in zip(arm_costs(comparison), prices, strict=True)],
        "break_even": list(map(asdict, break_evens(prices))),
        "worth": list(map(asdict, worth_steps(comparison))),
        "harm": list(map(asdict, harm_steps(comparison))),
    }


def read_result(path: Path) -> Comparison:
    """The comparison that ``result_json`` wrote to ``path``.

    Raises ``DataError`` for a missing file, and for one that is damaged or was written in another format.
    """
    if not path.is_file():
        raise DataError(path, "no such file; expected the result of a finished `lorag compare`")
    again = "run the same `lorag compare` again: it asks nothing twice and writes the file"
    try:
        record = json.loads(read_text(path))
        if record["format"] not in _READ:
            raise DataError(path, f"was written in format {record['format']}, expected {FORMAT}; {again}")
        rows = record.pop("rows")
        if record["format"] == 1:
            answers, notes = tuple(map(Row.from_json, rows)), (_JUDGED_AGAIN, *record["notes"])
            judged = compare_rows(answers, examples_of(record), facts=record["facts"], notes=notes)
            return replace(judged, folder=path.parent)
        record["verdict"]["reasons"] = list(map(asdict, _reasons(record)))
        by_row = {"scores": [row["scores"] for row in rows], "support": [row.get("support", ()) for row in rows]}
        recorded = {**record, "examples": record["questions"], **by_row}
        if record["format"] < FORMAT:
            recorded |= {name: _renamed(recorded[name]) for name in ("arms", "scores")}
        made = {name: _value(kind, recorded[name]) for name, kind in _hints(Comparison) if name in recorded}
        return Comparison(**made, rows=tuple(map(Row.from_json, rows)), folder=path.parent)
    except (ValueError, KeyError, TypeError, AttributeError, InputError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            path, f"is not the result of a comparison ({type(error).__name__}: {error}); {again}"
        ) from error


def _reasons(record: Mapping[str, Any]) -> tuple[Reason, ...]:
    """The reasons of the verdict of a record, of this format or an earlier one."""
    found = []
    for reason in record["verdict"]["reasons"]:
        if isinstance(reason, str):
            term, _, text = reason.partition(": ")
            reason = {"term": term, "text": text}
        found.append(Reason(**reason))
    return tuple(found)


def _renamed(value: Any) -> Any:
    """``value``, read from JSON, with the metrics and counts of earlier formats under their keys of today."""
    if isinstance(value, dict):
        return {_RENAMED.get(key, key): _renamed(entry) for key, entry in value.items()}
    return [_renamed(entry) for entry in value] if isinstance(value, list) else value


def examples_of(record: Mapping[str, Any]) -> tuple[Example, ...]:
    """The questions of a record, of this format or an earlier one."""
    return tuple(_value(Example, example) for example in record["questions"])


def _hints(kind: type) -> list[tuple[str, Any]]:
    hints = get_type_hints(kind)
    return [(field.name, hints[field.name]) for field in fields(kind)]


def _value(kind: Any, value: Any) -> Any:
    """``value``, read from JSON, as ``kind``: a frozen dataclass, a tuple, a mapping, or a plain value."""
    origin, inner = get_origin(kind), get_args(kind)
    if value is None:
        return None
    if origin in (Union, UnionType):
        return _value(next(each for each in inner if each is not type(None)), value)
    if origin is tuple:
        return tuple(_value(inner[0], entry) for entry in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _value(inner[1], entry) for key, entry in value.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return kind(**{name: _value(each, value[key]) for name, each in _hints(kind) if (key := key_of(name)) in value})
    return value


def _finite(value: Any) -> Any:
    """``value`` with None in place of numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
