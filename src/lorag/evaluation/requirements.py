"""What a user requires of an arm, such as ``hallucination<=0.1`` or ``latency_p95<=2``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from lorag.errors import InputError, UnknownNameError
from lorag.evaluation.labels import METRIC_NAMES, number
from lorag.evaluation.results import ArmResult
from lorag.evaluation.statistics import Estimate, Interval

_COSTS: Mapping[str, tuple[str, Callable[[ArmResult], float | None]]] = {
    "latency_p50": ("{:.2f} seconds", lambda arm: arm.waits[0]),
    "latency_p95": ("{:.2f} seconds", lambda arm: arm.waits[1]),
    "prompt_tokens": ("{:.0f} tokens", lambda arm: arm.prompt_tokens),
    "completion_tokens": ("{:.0f} tokens", lambda arm: arm.completion_tokens),
}
"""Measures that are not shares of questions: names, how they are shown, and how they are read from an arm."""
_AFTER_AN_UPDATE = {"uptake", "stale", "accuracy_new", "accuracy_unchanged"}
_ALIASES = {"fresh": "stale<=0.05"}
_FORM = re.compile(r"\s*(?P<name>[^<>=]+?)\s*(?P<sign><=|>=)\s*(?P<limit>[0-9.]+)\s*(?P<percent>%?)\s*")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A metric and its limit: a share from 0 to 1, or seconds or tokens a question. ``str`` gives it as written."""

    text: str
    metric: str
    at_most: bool
    limit: float

    def __str__(self) -> str:
        return self.text

    @property
    def needs_update(self) -> bool:
        """Whether only an update of the documents lets it be measured."""
        return self.metric in _AFTER_AN_UPDATE

    def measured(self, arm: ArmResult) -> Estimate | float | None:
        """What ``arm`` reached; None where it was not measured.

        Of several trainings it is their mean, with the interval of the first around it.
        """
        if self.metric not in _COSTS:
            return _over_trainings(arm, self.metric)
        return _COSTS[self.metric][1](arm)

    def excess(self, arm: ArmResult) -> float:
        """How far ``arm`` is beyond the limit, as a share of it; 0 where it meets it, infinite where not measured."""
        found = self.measured(arm)
        if found is None:
            return float("inf")
        beyond = (_value(found) - self.limit) * (1 if self.at_most else -1)
        return max(0.0, beyond / max(self.limit, 0.01))

    def is_sure(self, arm: ArmResult) -> bool:
        """Whether ``arm`` meets the limit at both ends of its interval, where it has one."""
        found = self.measured(arm)
        if not isinstance(found, Estimate):
            return self.excess(arm) == 0
        return found.interval.high <= self.limit if self.at_most else found.interval.low >= self.limit

    def reached(self, arm: ArmResult) -> str:
        """What ``arm`` reached in words, such as ``7.1 %`` or ``2.31 seconds``."""
        found = self.measured(arm)
        if found is None:
            return "no measurement"
        if isinstance(found, Estimate):
            several = ", the mean over its trainings" if self.metric in arm.over_trainings else ""
            return f"{number(found.mean)} %{several}"
        return _COSTS[self.metric][0].format(found)


def _over_trainings(arm: ArmResult, metric: str) -> Estimate | None:
    found = arm.estimates.get(metric)
    if found is None or metric not in arm.over_trainings:
        return found
    mean = arm.over_trainings[metric]
    ends = (end + mean - found.mean for end in (found.interval.low, found.interval.high))
    return replace(found, mean=mean, interval=Interval(*ends))


def _value(found: Estimate | float) -> float:
    return found.mean if isinstance(found, Estimate) else found


def _known() -> Mapping[str, str]:
    """Metrics by the names that are understood: their keys, and their headings in tables, with underscores."""
    names = {_underscored(name): metric for metric, heading in METRIC_NAMES.items() for name in (metric, heading)}
    return {**names, "refused_answerable": "false_refusal", **{name: name for name in _COSTS}}


def _underscored(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def read_requirements(texts: Sequence[str]) -> tuple[Requirement, ...]:
    """The requirements as they are written: ``METRIC<=LIMIT`` or ``METRIC>=LIMIT``, or ``fresh``.

    Raises ``InputError`` for another form, or a share above 1, and ``UnknownNameError`` for a metric that is not known,
    with the nearest.
    """
    return tuple(_read(text) for text in texts)


def _read(text: str) -> Requirement:
    form = _FORM.fullmatch(_ALIASES.get(text.strip(), text))
    try:
        if form is None:
            raise ValueError
        limit = float(form["limit"]) / (100 if form["percent"] else 1)
    except ValueError:
        raise InputError(
            f"requirement {text!r} is not understood; expected METRIC<=LIMIT or METRIC>=LIMIT, such as"
            " hallucination<=0.1 or latency_p95<=2, or fresh"
        ) from None
    known = _known()
    metric = known.get(_underscored(form["name"]))
    if metric is None:
        raise UnknownNameError("metric", form["name"], known, f"(in --require {text})")
    if metric not in _COSTS and limit > 1:
        raise InputError(
            f"requirement {text!r}: {metric} is a share of the questions; expected a limit between 0 and 1, or in"
            f" percent, such as {form['name']}{form['sign']}{limit:g}%"
        )
    return Requirement(text.strip(), metric, form["sign"] == "<=", limit)
