"""What each arm of a finished comparison takes: to build, to update and to ask. From its rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from lorag.evaluation.results import (
    BASE,
    BOTH,
    CONTINUED,
    FINETUNED,
    LONG_CONTEXT,
    RETRAINED,
    RETRIEVAL,
    TRAINED,
    Comparison,
    Latency,
    compared,
)
from lorag.types import Usage

_SEARCHING = (RETRIEVAL, BOTH)


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds of a question: the mean, the median and the 95th percentile."""

    mean: float
    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class ArmCosts:
    """One arm in the last phase. None stands where something was not measured."""

    arm: str
    build_seconds: float | None
    """Indexing and all trainings, those by which the training was chosen as well."""
    update_seconds: float | None
    """Refreshing the index, and training a finetune further, else from the base."""
    search: Spread | None
    first_token: Spread | None
    """From the end of the search to the first token."""
    generation: Spread | None
    """From the first token to the last; where the first one is not known, all of the model's time."""
    prompt_tokens: float | None
    """Mean of a question."""
    completion_tokens: float | None
    """Mean of a question."""
    bytes: int | None
    """Weights in memory, with the adapter, and the index."""
    latency: Latency | None = None
    """The seconds that one user waits; the three parts above are shares of a batch."""


def arm_costs(comparison: Comparison) -> tuple[ArmCosts, ...]:
    """The costs of the arms that are compared, in the order of tables."""
    phase = comparison.phases[-1]
    used: dict[str, list[Usage]] = {}
    searched = {row.arm for row in comparison.rows if row.answer.sources}
    for row in comparison.rows:
        if row.phase == phase and row.answer.error is None:
            used.setdefault(row.arm, []).append(row.answer.usage)
    arms = comparison.at(phase)
    return tuple(
        ArmCosts(
            name,
            _build_seconds(comparison, name),
            _update_seconds(comparison, name),
            _spread([usage.retrieve_seconds for usage in used.get(name, ())]) if name in searched else None,
            _spread([usage.prefill_seconds for usage in used.get(name, ())]),
            _spread([usage.decode_seconds for usage in used.get(name, ())]),
            arms[name].prompt_tokens,
            arms[name].completion_tokens,
            _bytes(comparison, name),
            arms[name].latency,
        )
        for name in compared(arms)
    )


def _spread(seconds: Sequence[float]) -> Spread | None:
    """None where no second was counted: that part was not done, or not measured."""
    if not any(seconds):
        return None
    return Spread(fmean(seconds), float(np.median(seconds)), float(np.quantile(seconds, 0.95)))


def _build_seconds(comparison: Comparison, arm: str) -> float | None:
    built = comparison.built
    if arm in (BASE, LONG_CONTEXT):
        return 0.0
    return _sum(arm, built.training_seconds, built.index_seconds)


def _update_seconds(comparison: Comparison, arm: str) -> float | None:
    followed = {name: result.update_seconds for name, result in comparison.updated.items()}
    if not followed:
        return None
    if arm in (BASE, LONG_CONTEXT):
        return 0.0
    further = next((followed[name] for name in (CONTINUED, RETRAINED) if followed.get(name) is not None), None)
    return _sum(arm, further, followed.get(RETRIEVAL))


def _bytes(comparison: Comparison, arm: str) -> int | None:
    built = comparison.built
    if arm in (BASE, LONG_CONTEXT):
        return built.weights_bytes
    model = built.finetuned_bytes if arm in TRAINED else built.weights_bytes
    index = built.index_bytes if arm in _SEARCHING else 0
    return None if model is None or index is None or arm not in (FINETUNED, *_SEARCHING) else model + index


def _sum(arm: str, trained: float | None, indexed: float | None) -> float | None:
    """What the parts of an arm take together; None where one of them is not known, and for an arm of the user's own."""
    parts = [*([trained] if arm in TRAINED else []), *([indexed] if arm in _SEARCHING else [])]
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None
