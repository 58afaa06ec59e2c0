"""What a build stands or falls with: requirements that must be met, and arms that must not get worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorag.evaluation.labels import ARM_NAMES
from lorag.evaluation.regression.old_run import Change, OldRun, missing_arms
from lorag.evaluation.requirements import read_requirements
from lorag.evaluation.results import Comparison, candidates


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold, whether it does, and what was measured."""

    name: str
    holds: bool
    measured: str


def checks(comparison: Comparison, changes: Sequence[Change] = (), old: OldRun | None = None) -> tuple[Check, ...]:
    """Every requirement, and every arm against the ``old`` run.

    A requirement must be met by the arm that the old run chose; without one, by any arm that may be chosen, and all
    requirements together by one of them. An arm that is missing now does not pass: nothing shows that it is not worse.
    """
    measured = comparison.at(comparison.phases[-1])
    in_use = old.in_use if old is not None else None
    arms = [measured[name] for name in candidates(measured) if in_use in (None, name)]
    missing = missing_arms(old, comparison) if old is not None else []
    requirements = read_requirements(comparison.settings.require)
    found = [
        Check(
            str(requirement),
            any(requirement.excess(arm) == 0 for arm in arms),
            "; ".join(f"{ARM_NAMES[arm.arm]}: {requirement.reached(arm)}" for arm in arms)
            or _missing(in_use or "", in_use),
        )
        for requirement in requirements
    ]
    if len(requirements) > 1:
        kept = [ARM_NAMES[arm.arm] for arm in arms if not any(each.excess(arm) for each in requirements)]
        found.append(Check("one arm meets every requirement", bool(kept), ", ".join(kept) or "none does"))
    found += [Check(_not_worse(change.arm), not change.is_worse, str(change)) for change in changes]
    found += [Check(_not_worse(arm), False, _missing(arm, in_use)) for arm in missing]
    return tuple(found)


def _not_worse(arm: str) -> str:
    return f"{arm} is not worse than before"


def _missing(arm: str, in_use: str | None) -> str:
    role = "chose" if arm == in_use else "measured"
    return f"{ARM_NAMES[arm]}, which the earlier run {role}, was not measured in this run"
