"""What a build stands or falls with: requirements that must be met, and arms that must not get worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorag.evaluation.labels import ARM_NAMES
from lorag.evaluation.regression.old_run import Change
from lorag.evaluation.requirements import read_requirements
from lorag.evaluation.results import COST_ORDER, Comparison


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold, whether it does, and what was measured."""

    name: str
    holds: bool
    measured: str


def checks(comparison: Comparison, changes: Sequence[Change] = (), in_use: str | None = None) -> tuple[Check, ...]:
    """Every requirement, and every arm against the old run.

    A requirement must be met by the arm ``in_use``, the one that an old run chose; without one, by any arm that may be
    chosen, and all requirements together by one of them.
    """
    measured = comparison.at(comparison.phases[-1])
    arms = [measured[name] for name in COST_ORDER if name in measured and in_use in (None, name)]
    arms = arms or [measured[name] for name in COST_ORDER if name in measured]
    requirements = read_requirements(comparison.settings.require)
    found = [
        Check(
            str(requirement),
            any(requirement.excess(arm) == 0 for arm in arms),
            "; ".join(f"{ARM_NAMES[arm.arm]}: {requirement.reached(arm)}" for arm in arms),
        )
        for requirement in requirements
    ]
    if len(requirements) > 1:
        kept = [ARM_NAMES[arm.arm] for arm in arms if not any(each.excess(arm) for each in requirements)]
        found.append(Check("one arm meets every requirement", bool(kept), ", ".join(kept) or "none does"))
    found += [Check(f"{change.arm} is not worse than before", not change.is_worse, str(change)) for change in changes]
    return tuple(found)
