"""The verdict: a rule fixed before looking at the results, applied to paired differences. It never guesses.

1. What counts is the share of questions answered right (a refusal is right where the documents do not answer), or that
   of those also supported by passages (``settings.verdict_on``), after the update of the documents when there is one,
   else as they are.
2. Fewer than 20 questions: undecided. Fewer than 8 effective documents: the verdict holds for these documents only.
3. Requirements come first: an arm that does not meet one is out. If no arm meets them: neither, with the nearest arm.
4. An arm is useful when the interval of its difference to the base model lies above 0 and Holm's p-value is below
   ``1 - confidence``: it is then clearly better.
5. No useful arm: neither, when the upper end of every arm's difference to the base model is below the margin; else
   undecided.
6. Among useful arms in order of cost (retrieval, long context, finetuning, both, and last the user's own, whose cost is
   not known) the first is chosen that has no rival. A rival may be better by more than the margin (upper end of the
   difference), or is a cheaper useful arm that the costlier one does not clearly beat. Where each has one: undecided
   between them, with the cheapest.
7. The same rule under strict and under lenient scoring has to make the same choice; else undecided.
8. A ceiling, what a model answers with gold passages, is low when its interval lies below ``settings.ceiling``. Where
   every one measured is, the bottleneck is the model or the metric. That never voids a gain that is shown.

Ties go to the cheaper arm: a costlier one is chosen only for a gain that is shown, and "not significant" is not equal.
Arms that were not measured are named, not imagined. Style, speed and tokens enter only as requirements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from lorag.evaluation.labels import ARM_NAMES, METRIC_NAMES, listing, p_value, points
from lorag.evaluation.reasons import low_ceilings, reasons
from lorag.evaluation.requirements import Requirement, read_requirements
from lorag.evaluation.results import (
    BASE,
    CHOSEN_ARMS,
    TRAINED,
    ArmDifference,
    ArmResult,
    Choice,
    Reason,
    Verdict,
    candidates,
)
from lorag.evaluation.row_log import Phase
from lorag.evaluation.statistics import FEWEST_CLUSTERS, Difference, effective_documents, questions_range
from lorag.settings import VerdictOn, VerdictSettings

FEWEST_QUESTIONS = 20
"""Below this number no verdict is given."""
_MOST_WORDS = 25
"""Words of a verdict at most, names of arms of your own apart."""
GRADES = ("strict", "lenient")
"""Other grades of scoring, under which the rule has to make the same choice."""
Graded = Callable[[str], Sequence[ArmDifference]]
"""The differences between arms by a grade of scoring."""
_CHOICES = {arm: choice for choice, arm in CHOSEN_ARMS.items()}


def _choice(arm: str) -> Choice:
    return _CHOICES.get(arm, arm)


def rule(settings: VerdictSettings) -> tuple[str, ...]:
    """The rule in sentences, with the numbers of ``settings``, for a report."""
    margin, ceiling = f"{100 * settings.margin:g} points", f"{100 * settings.ceiling:g} %"
    level, alpha = f"{100 * settings.confidence:g} %", f"{1 - settings.confidence:.2g}"
    required = f" ({listing(list(settings.require))})" if settings.require else ""
    return (
        f"What counts is the share of questions answered {_counted(settings.verdict_on)}; where the documents do not "
        "answer, a refusal is right. "
        "After an update of the documents, only what is right after it counts.",
        f"Fewer than {FEWEST_QUESTIONS} questions: undecided. Fewer than {FEWEST_CLUSTERS} documents of equal weight: "
        "the verdict holds for these documents only.",
        f"Requirements come first{required}: an arm that does not meet one is out. If no arm meets them: neither, with "
        "the nearest arm.",
        f"An arm is useful when it is clearly better than the base model: the {level} interval of the difference lies "
        f"above 0, and the p-value, adjusted by Holm for all pairs, is below {alpha}.",
        f"No useful arm: neither, if no arm can be {margin} better than the base model (upper end of the interval); "
        "otherwise undecided.",
        "Among useful arms, cheapest first (retrieval, long context, finetuning, both, and last any arm of your own, "
        "whose cost is not known), the first without a rival is chosen. A rival "
        f"is an arm that can be more than {margin} better (upper end of the interval), or a cheaper useful arm that "
        "the costlier one does not clearly beat. If every arm has a rival: undecided, with the cheapest.",
        "Strict and lenient scoring of the same answers have to give the same choice; otherwise undecided.",
        f"A ceiling, what a model answers with gold passages, is low when its interval lies below {ceiling}: the model "
        "or the metric is then the bottleneck. A gain that is shown still stands.",
    )


def deciding_metric(arms: Sequence[ArmResult], settings: VerdictSettings) -> str:
    """The metric that the verdict rests on; right answers also where no arm had passages to check any against."""
    measured = all("right_and_supported" in arm.estimates for arm in arms)
    return "right_and_supported" if settings.verdict_on == "right_and_supported" and measured else "correct"


def _counted(verdict_on: VerdictOn) -> str:
    """What counts, in words."""
    return "right" if verdict_on == "right" else "right, with nothing that the passages do not support"


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The arms and differences in one phase. ``candidates`` may be chosen, the cheapest first."""

    phase: Phase
    metric: str
    arms: Mapping[str, ArmResult]
    pairs: Mapping[tuple[str, str], ArmDifference]
    settings: VerdictSettings
    candidates: tuple[str, ...]
    scope: str
    """What the verdict is limited to, such as `` for these 5 documents``; empty where to nothing."""

    @property
    def questions(self) -> int:
        return self.arms[BASE].questions

    @property
    def useful(self) -> list[str]:
        return [arm for arm in self.candidates if self.is_better(arm, BASE)]

    def difference(self, first: str, second: str) -> Difference:
        if (first, second) in self.pairs:
            return self.pairs[first, second].difference
        return self.pairs[second, first].difference.reversed()

    def adjusted_p(self, first: str, second: str) -> float:
        return (self.pairs.get((first, second)) or self.pairs[second, first]).adjusted_p

    def is_better(self, first: str, second: str) -> bool:
        """Whether the interval lies above 0 and the adjusted p-value is small enough."""
        above = self.difference(first, second).interval.low > 0
        return above and self.adjusted_p(first, second) < 1 - self.settings.confidence

    def rivals(self, arm: str) -> list[str]:
        """The candidates that may be more than the margin better than ``arm``, or are cheaper and not clearly worse."""
        cheaper = [other for other in self.useful if self.candidates.index(other) < self.candidates.index(arm)]
        return [
            other
            for other in self.candidates
            if other != arm
            and (
                self.difference(other, arm).interval.high > self.settings.margin
                or (other in cheaper and not self.is_better(arm, other))
            )
        ]


@dataclass(frozen=True, slots=True)
class _Finding:
    choice: Choice
    sentence: str
    certainty: tuple[str, ...] = ()
    more_questions: tuple[int, int] | None = None
    cheapest: Choice | None = None
    depends_on_scoring: bool = False


def decide(
    arms: Sequence[ArmResult],
    differences: Sequence[ArmDifference],
    settings: VerdictSettings,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
    documents: Sequence[Hashable] = (),
    graded: Graded | None = None,
) -> Verdict:
    """The verdict by the rule above. ``arms`` must hold the base model and an arm to choose in each phase.

    ``notes`` and ``warnings`` become reasons as they are. ``documents`` names the document of each question; left out,
    every question is a document of its own. ``graded`` gives the differences in the deciding metric under another grade
    of scoring (``GRADES``), in the phase that decides; left out, one grade decides.
    """
    phase: Phase = "after" if any(arm.phase == "after" for arm in arms) else "before"
    requirements = read_requirements(settings.require)
    only_these = bool(documents) and effective_documents(documents) < FEWEST_CLUSTERS
    count = len(set(documents))
    scope = "" if not only_these else " for this document" if count == 1 else f" for these {count} documents"
    evidence = _at(phase, arms, differences, settings, requirements, scope)
    ungraded = _find(evidence, requirements)
    finding = _under_every_grade(ungraded, evidence, requirements, graded)
    because = [Reason("Certainty", text) for text in finding.certainty]
    because += [Reason("Requirements", text) for text in _kept(evidence, requirements)]
    because += reasons(phase, arms, differences, finding.choice, settings, evidence.metric)
    if phase == "after" and any(arm.phase == "before" for arm in arms):
        measurable = [requirement for requirement in requirements if not requirement.needs_update]
        before = _at("before", arms, differences, settings, measurable, scope)
        earlier = _find(before, measurable).choice
        if earlier != ungraded.choice:
            changed = (
                f"before the update the verdict would have been {earlier!r}; results after it count, and give "
                f"{ungraded.choice!r}."
            )
            because.append(Reason("Dynamic data", changed))
    because += [Reason("Warning", warning) for warning in warnings]
    because += [Reason("Note", note) for note in notes]
    return Verdict(
        finding.choice,
        finding.sentence,
        tuple(because),
        "model or metric" if low_ceilings(evidence.arms, settings) else None,
        finding.more_questions,
        finding.cheapest,
        finding.depends_on_scoring,
        only_these,
    )


def _at(
    phase: Phase,
    arms: Sequence[ArmResult],
    differences: Sequence[ArmDifference],
    settings: VerdictSettings,
    requirements: Sequence[Requirement],
    scope: str,
) -> _Evidence:
    metric = deciding_metric(arms, settings)
    pairs = {(d.first, d.second): d for d in differences if d.phase == phase and d.metric == metric}
    present = {arm.arm: arm for arm in arms if arm.phase == phase}
    kept = [a for a in candidates(present) if not any(r.excess(present[a]) for r in requirements)]
    return _Evidence(phase, metric, present, pairs, settings, tuple(kept), scope)


def _find(evidence: _Evidence, requirements: Sequence[Requirement]) -> _Finding:
    if evidence.questions < FEWEST_QUESTIONS:
        asked = "1 question is" if evidence.questions == 1 else f"{evidence.questions} questions are"
        few = f"Undecided: {asked} too few for a verdict; {FEWEST_QUESTIONS} are needed."
        return _Finding("undecided", few, more_questions=_more_questions(evidence, _open_pairs(evidence)))
    if not evidence.candidates:
        return _nothing_kept(evidence, requirements)
    useful = evidence.useful
    if not useful:
        return _without_useful(evidence)
    for arm in useful:
        if not evidence.rivals(arm):
            return _Finding(_choice(arm), _use(evidence, arm), _certainty(evidence, arm))
    return _between(evidence)


def _under_every_grade(
    finding: _Finding,
    evidence: _Evidence,
    requirements: Sequence[Requirement],
    graded: Graded | None,
) -> _Finding:
    """``finding``, if the rule chooses the same under every grade of scoring; else undecided.

    Requirements are checked by the normal grade.
    """
    if finding.choice == "undecided" or graded is None:
        return finding
    others = {
        grade: _find(replace(evidence, pairs={(d.first, d.second): d for d in graded(grade)}), requirements)
        for grade in GRADES
    }
    if all(other.choice == finding.choice for other in others.values()):
        same = f"{listing(list(others))} scoring of the same answers give the same verdict."
        return replace(finding, certainty=(*finding.certainty, same))
    choices = [
        f"normal scoring gives {finding.choice}",
        *(f"{grade} {other.choice}" for grade, other in others.items()),
    ]
    chosen = {CHOSEN_ARMS.get(each.choice, each.choice) for each in (finding, *others.values())}
    more = [other.more_questions for other in others.values() if other.more_questions]
    could_settle = more and len(chosen - {"undecided"}) == 1
    return _Finding(
        "undecided",
        f"Undecided{evidence.scope}, because it depends on how answers are scored: {listing(choices)}.",
        (*finding.certainty, "read the answers that only one scoring counts as right, or mark some: `lorag review`."),
        (max(few for few, _ in more), max(many for _, many in more)) if could_settle else None,
        next((_choice(arm) for arm in evidence.candidates if arm in chosen), None),
        depends_on_scoring=True,
    )


def _use(evidence: _Evidence, arm: str) -> str:
    when = "after the update " if evidence.phase == "after" else ""
    trainings = evidence.arms[arm].trainings or (evidence.arms[arm].estimates[evidence.metric].mean,)
    count = "one training" if len(trainings) == 1 else f"{len(trainings)} trainings"
    trained = f", with {count}" if arm in TRAINED else ""
    counted = METRIC_NAMES[evidence.metric]
    return (
        f"Use {_choice(arm)}{evidence.scope}: {when}{100 * fmean(trainings):.0f} % of answers are {counted}, "
        f"{100 * evidence.difference(arm, BASE).mean:.0f} points above the base model{trained}."
    )


def _certainty(evidence: _Evidence, arm: str) -> tuple[str, ...]:
    """How sure the choice of ``arm`` is."""
    settings = evidence.settings
    beaten = [other for other in evidence.candidates if other != arm and evidence.is_better(arm, other)]
    equal = [other for other in evidence.candidates if other != arm and other not in beaten]
    found = [_apart(evidence, arm, other) for other in beaten]
    if equal:
        names = listing([ARM_NAMES[other] for other in equal])
        found.append(f"{names} can be at most {100 * settings.margin:g} points better.")
    return tuple(found)


def _apart(evidence: _Evidence, first: str, second: str) -> str:
    return (
        f"{ARM_NAMES[first]} minus {ARM_NAMES[second]}: {points(evidence.difference(first, second))}, "
        f"Holm p {p_value(evidence.adjusted_p(first, second))}, {evidence.questions} questions."
    )


def _between(evidence: _Evidence) -> _Finding:
    """Undecided between the cheapest useful arm that none clearly beats and its rivals."""
    first = _unbeaten(evidence)
    rivals = evidence.rivals(first)
    more = _more_questions(evidence, _open_pairs(evidence))
    named = listing([ARM_NAMES[arm] for arm in evidence.candidates if arm == first or arm in rivals])
    cheaper_rival = evidence.candidates.index(rivals[0]) < evidence.candidates.index(first)
    cheapest = "cheapest that clearly helps" if cheaper_rival else "cheapest"
    sentence = (
        f"Undecided between {named}{evidence.scope}: {evidence.questions} questions cannot settle it; "
        f"{_span(more)} more should."
    )
    certainty = [_apart(evidence, rival, first) for rival in rivals]
    closing = f"The {cheapest} is {ARM_NAMES[first]}."
    if _is_short(f"{sentence} {closing}"):
        sentence = f"{sentence} {closing}"
    else:
        certainty.append(f"the {closing[4:]}")
    for arm in evidence.candidates:
        better = [other for other in evidence.candidates if other != arm and evidence.is_better(other, arm)]
        if better:
            certainty.append(
                f"this much is known: {ARM_NAMES[arm]} is clearly worse than {listing([ARM_NAMES[b] for b in better])}."
            )
    return _Finding("undecided", sentence, tuple(certainty), more, _choice(first))


def _unbeaten(evidence: _Evidence) -> str:
    """The cheapest useful arm that no useful arm clearly beats; there is one, as there is a best mean."""
    useful = evidence.useful
    return next(arm for arm in useful if not any(evidence.is_better(other, arm) for other in useful if other != arm))


def _without_useful(evidence: _Evidence) -> _Finding:
    margin = evidence.settings.margin
    gains = {arm: evidence.difference(arm, BASE).interval.high for arm in evidence.candidates}
    if max(gains.values()) < margin:
        kept = " that meets the requirements" if evidence.settings.require else ""
        sentence = (
            f"Use neither{evidence.scope}: on {evidence.questions} questions no arm{kept} can beat the base model by"
            f" more than {100 * margin:g} points."
        )
        return _Finding("neither", sentence)
    more = _more_questions(evidence, _open_pairs(evidence))
    names = listing([ARM_NAMES[arm] for arm, high in gains.items() if high >= margin], "or")
    sentence = (
        f"Undecided{evidence.scope}: {evidence.questions} questions cannot show whether {names} helps; {_span(more)} "
        "more should."
    )
    return _Finding("undecided", sentence, more_questions=more)


def _nothing_kept(evidence: _Evidence, requirements: Sequence[Requirement]) -> _Finding:
    """No arm meets every requirement: the nearest breaks the fewest, and those by least."""
    arms = {arm: evidence.arms[arm] for arm in candidates(evidence.arms)}
    unknown = [r for r in requirements if all(r.measured(arm) is None for arm in arms.values())]
    if unknown:
        return _Finding("undecided", f"Undecided: {unknown[0]} cannot be checked, because no arm was measured in it.")
    broken = {name: [r for r in requirements if r.excess(arm)] for name, arm in arms.items()}
    nearest = min(arms, key=lambda name: (len(broken[name]), sum(r.excess(arms[name]) for r in broken[name])))
    reached = [f"{r.reached(arms[nearest])} in {r.metric}" for r in broken[nearest]]
    sentence = (
        f"Use neither: no arm meets {listing([str(r) for r in requirements])}; the nearest is {ARM_NAMES[nearest]} "
        f"with {listing(reached)}."
    )
    if not _is_short(sentence):  # the reasons have what each arm reached
        sentence = (
            f"Use neither: no arm meets the {len(requirements)} requirements; the nearest is {ARM_NAMES[nearest]}."
        )
    return _Finding("neither", sentence)


def _is_short(sentence: str) -> bool:
    """Whether a verdict is short enough to be read at a glance; a number and its percent sign are one word."""
    return len(sentence.replace(" %", "%").split()) <= _MOST_WORDS


def _kept(evidence: _Evidence, requirements: Sequence[Requirement]) -> list[str]:
    """What each requirement does to each arm that might be chosen."""
    found = []
    for requirement in requirements:
        for name in candidates(evidence.arms):
            arm = evidence.arms[name]
            out = requirement.excess(arm) > 0
            doubt = "" if out or requirement.is_sure(arm) else ", but its interval reaches beyond"
            found.append(
                f"{requirement}: {ARM_NAMES[name]} {'is out' if out else 'meets it'} with "
                f"{requirement.reached(arm)}{doubt}."
            )
    return found


def _open_pairs(evidence: _Evidence) -> list[tuple[str, str]]:
    """The pairs that keep the rule from choosing."""
    if evidence.useful:
        first = _unbeaten(evidence)
        return [(other, first) for other in evidence.rivals(first)]
    margin = evidence.settings.margin
    return [(arm, BASE) for arm in evidence.candidates if evidence.difference(arm, BASE).interval.high >= margin]


def _more_questions(evidence: _Evidence, pairs: Sequence[tuple[str, str]]) -> tuple[int, int]:
    """From how many to how many more questions would settle ``pairs``: at least a tenth more, and 20 in all.

    Holm divides what may go wrong among the pairs that are still open. Rounded up to one digit: both ends are
    estimates from few data.
    """
    alpha = 1 - evidence.settings.confidence
    still_open = sum(pair.adjusted_p >= alpha for pair in evidence.pairs.values())
    settings = replace(evidence.settings, confidence=1 - alpha / max(still_open, 1))
    ranges = [questions_range(evidence.difference(*pair), settings) for pair in pairs]
    least = max(math.ceil(1.1 * evidence.questions), FEWEST_QUESTIONS)
    few, many = (
        max([least, *ends]) - evidence.questions for ends in (zip(*ranges, strict=True) if ranges else ((), ()))
    )
    return _rounded(few), _rounded(many)


def _span(more: tuple[int, int]) -> str:
    return f"{more[0]} to {more[1]}" if more[0] < more[1] else str(more[0])


def _rounded(more: int) -> int:
    unit = int(10 ** (len(str(more)) - 1))
    return math.ceil(more / unit) * unit
