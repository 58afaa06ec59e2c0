"""The verdict: a rule fixed before looking at the results, applied to paired differences. It never guesses.

1. What counts is the share of questions answered right (a refusal is right where the documents do not answer), after
   the update of the documents when there is one, else as they are.
2. Fewer than 20 questions: undecided.
3. The ceiling: given passages of the right documents, the base model's accuracy on answerable questions. Below
   ``settings.ceiling`` the model is the bottleneck, and retrieval cannot be judged by it. Then finetuning is chosen
   if it is useful (4) and clearly better than retrieval and than both; else neither (5) or undecided.
4. An arm is useful when the interval of its difference to the base model lies above 0 and Holm's p-value is below
   ``1 - confidence``.
5. No useful arm: neither, when the upper end of every arm's difference to the base model is below the margin; else
   undecided.
6. Among useful arms in order of cost (retrieval, finetuning, both) the first is chosen over which no other arm can
   be better by more than the margin: the upper end of each difference is at most the margin. If there is none:
   undecided, with the number of questions that would tell.

The cheaper arm wins a tie, and a tie must be shown: "not significant" is not equal. Arms that were not measured are
named, not imagined. Style, speed and tokens are reported beside the verdict and never enter it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lorag.evaluation.labels import ARM_NAMES, listing, number, points, share
from lorag.evaluation.reasons import reasons
from lorag.evaluation.results import (
    BASE,
    BOTH,
    CHOSEN_ARMS,
    COST_ORDER,
    EVIDENCE,
    FINETUNED,
    RETRIEVAL,
    ArmDifference,
    ArmResult,
    Choice,
    Verdict,
)
from lorag.evaluation.row_log import Moment
from lorag.evaluation.statistics import Difference, questions_needed
from lorag.settings import VerdictSettings

FEWEST_QUESTIONS = 20
"""Below this number no verdict is given."""
_CHOICES = {arm: choice for choice, arm in CHOSEN_ARMS.items()}


def rule(settings: VerdictSettings) -> tuple[str, ...]:
    """The rule in sentences, with the numbers of ``settings``, for a report."""
    margin, ceiling = f"{100 * settings.margin:g} points", f"{100 * settings.ceiling:g} %"
    level, alpha = f"{100 * settings.confidence:g} %", f"{1 - settings.confidence:.2g}"
    return (
        "What counts is the share of questions answered right; where the documents do not answer, a refusal is right. "
        "After an update of the documents, only what is right after it counts.",
        f"Fewer than {FEWEST_QUESTIONS} questions: undecided.",
        f"When the model, given passages of the right documents, answers less than {ceiling} of the answerable "
        "questions right, the model is the bottleneck and retrieval is not judged by it; finetuning is then chosen "
        "only if it is useful and clearly better than retrieval and than both.",
        f"An arm is useful when the {level} interval of its difference to the base model lies above 0 and the p-value, "
        f"adjusted by Holm for all pairs, is below {alpha}.",
        f"No useful arm: neither, if no arm can be {margin} better than the base model (upper end of the interval); "
        "otherwise undecided.",
        "Among useful arms, cheapest first (retrieval, finetuning, both), the first is chosen over which no other arm "
        f"can be more than {margin} better (upper end of the interval). If there is none: undecided.",
    )


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The arms and differences at one moment."""

    moment: Moment
    arms: Mapping[str, ArmResult]
    pairs: Mapping[tuple[str, str], ArmDifference]
    settings: VerdictSettings

    @property
    def questions(self) -> int:
        return self.arms[BASE].questions

    @property
    def candidates(self) -> list[str]:
        return [arm for arm in COST_ORDER if arm in self.arms]

    def difference(self, first: str, second: str) -> Difference:
        if (first, second) in self.pairs:
            return self.pairs[first, second].difference
        return self.pairs[second, first].difference.reversed()

    def is_better(self, first: str, second: str) -> bool:
        """Whether the interval lies above 0 and the adjusted p-value is small enough."""
        pair = self.pairs.get((first, second)) or self.pairs[second, first]
        above = self.difference(first, second).interval.low > 0
        return above and pair.adjusted_p < 1 - self.settings.confidence

    def blocking(self, arm: str) -> list[str]:
        """The other candidates that may be better than ``arm`` by more than the margin."""
        others = [other for other in self.candidates if other != arm]
        return [o for o in others if self.difference(o, arm).interval.high > self.settings.margin]


@dataclass(frozen=True, slots=True)
class _Finding:
    choice: Choice
    sentence: str
    bottleneck: str | None = None
    more_questions: int | None = None


def decide(
    arms: Sequence[ArmResult],
    differences: Sequence[ArmDifference],
    settings: VerdictSettings,
    notes: Sequence[str] = (),
) -> Verdict:
    """The verdict by the rule above. ``arms`` must hold the base model and an arm to choose at each moment."""
    moment: Moment = "after" if any(arm.moment == "after" for arm in arms) else "before"
    finding = _find(_at(moment, arms, differences, settings))
    because = reasons(moment, arms, differences, finding.choice, settings)
    if moment == "after" and any(arm.moment == "before" for arm in arms):
        earlier = _find(_at("before", arms, differences, settings))
        if earlier.choice != finding.choice:
            because.append(
                f"Dynamic data: before the update the verdict would have been {earlier.choice!r}; what holds after it "
                f"counts, and that is {finding.choice!r}."
            )
    because += [f"Note: {note}" for note in notes]
    return Verdict(finding.choice, finding.sentence, tuple(because), finding.bottleneck, finding.more_questions)


def _at(
    moment: Moment, arms: Sequence[ArmResult], differences: Sequence[ArmDifference], settings: VerdictSettings
) -> _Evidence:
    pairs = {(d.first, d.second): d for d in differences if d.moment == moment and d.metric == "correct"}
    return _Evidence(moment, {arm.arm: arm for arm in arms if arm.moment == moment}, pairs, settings)


def _find(evidence: _Evidence) -> _Finding:
    useful = [arm for arm in evidence.candidates if evidence.is_better(arm, BASE)]
    ceiling = evidence.arms[EVIDENCE].estimates.get("correct_answerable") if EVIDENCE in evidence.arms else None
    low = ceiling is not None and ceiling.mean < evidence.settings.ceiling
    if evidence.questions < FEWEST_QUESTIONS:
        more = _more_questions(evidence, _open_pairs(evidence, useful))
        sentence = (
            f"Undecided: {evidence.questions} questions are too few for a verdict ({FEWEST_QUESTIONS} are the least); "
            f"about {more} more are needed."
        )
        return _Finding("undecided", sentence, "model" if low else None, more)
    if low and ceiling is not None:
        fact = (
            "The model is the bottleneck: given passages of the right documents, it answers "
            f"{share(ceiling)} of {ceiling.n} answerable questions right, below "
            f"{100 * evidence.settings.ceiling:g} %. Too often it cannot read the right passage even when given "
            "it, which is a fact about this model, not about retrieval; try a larger model."
        )
        choice, sentence = _choose_below_ceiling(evidence, useful)
        return _Finding(choice, f"{sentence} {fact}", "model")
    if not useful:
        return _without_useful(evidence)
    for arm in useful:
        if not evidence.blocking(arm):
            return _Finding(_CHOICES[arm], _use(evidence, arm))
    best = _best_placed(evidence, useful)
    more = _more_questions(evidence, _open_pairs(evidence, useful))
    rivals = listing([ARM_NAMES[other] for other in evidence.blocking(best)], "or")
    sentence = (
        f"Undecided: {ARM_NAMES[best]} is better than the base model "
        f"({points(evidence.difference(best, BASE))}), but {evidence.questions} questions cannot tell whether {rivals} "
        f"would be more than {100 * evidence.settings.margin:g} points better still; about {more} more questions would."
        f"{_known(evidence)}"
    )
    return _Finding("undecided", sentence, None, more)


def _known(evidence: _Evidence) -> str:
    """What is settled although the verdict is not: each arm that another arm clearly beats."""
    settled = ""
    for arm in evidence.candidates:
        better = [other for other in evidence.candidates if other != arm and evidence.is_better(other, arm)]
        if better:
            worse_than = listing([ARM_NAMES[other] for other in better])
            settled += f" What is known: {ARM_NAMES[arm]} is clearly worse than {worse_than}."
    return settled


def _choose_below_ceiling(evidence: _Evidence, useful: Sequence[str]) -> tuple[Choice, str]:
    rivals = [arm for arm in (RETRIEVAL, BOTH) if arm in evidence.arms]
    if FINETUNED in useful and rivals and all(evidence.is_better(FINETUNED, rival) for rival in rivals):
        gain = points(evidence.difference(FINETUNED, BASE))
        return "finetuning", (
            f"With this model, use finetuning: it answers {share(evidence.arms[FINETUNED].accuracy)} of "
            f"{evidence.questions} questions right, {gain} over the base model, and more than "
            f"{listing([ARM_NAMES[rival] for rival in rivals])}."
        )
    if not useful and _is_hopeless(evidence):
        return "neither", f"With this model, use neither: {_no_gain(evidence)}."
    return "undecided", "Undecided: this model cannot judge retrieval."


def _without_useful(evidence: _Evidence) -> _Finding:
    if _is_hopeless(evidence):
        return _Finding("neither", f"Use neither as measured here: {_no_gain(evidence)}.")
    pairs = _open_pairs(evidence, ())
    more = _more_questions(evidence, pairs)
    names = listing([ARM_NAMES[arm] for arm, _ in pairs], "or")
    sentence = (
        f"Undecided: {evidence.questions} questions cannot tell whether {names} is better than the base model; "
        f"about {more} more questions would."
    )
    return _Finding("undecided", sentence, None, more)


def _is_hopeless(evidence: _Evidence) -> bool:
    margin = evidence.settings.margin
    return all(evidence.difference(arm, BASE).interval.high < margin for arm in evidence.candidates)


def _no_gain(evidence: _Evidence) -> str:
    best = max(evidence.difference(arm, BASE).interval.high for arm in evidence.candidates)
    return (
        f"on {evidence.questions} questions no arm can be more than {number(best)} points better than the base model "
        f"(upper end of the {100 * evidence.settings.confidence:g} % interval), which is below the margin of "
        f"{100 * evidence.settings.margin:g} points"
    )


def _use(evidence: _Evidence, arm: str) -> str:
    when = "after the update " if evidence.moment == "after" else ""
    rivals = [other for other in evidence.candidates if other != arm]
    margin, level = f"{100 * evidence.settings.margin:g}", f"{100 * evidence.settings.confidence:g}"
    start = "Use both, finetuning with retrieval" if arm == BOTH else f"Use {ARM_NAMES[arm]}"
    end = f"; {listing([ARM_NAMES[o] for o in rivals])} can be at most {margin} points better" if rivals else ""
    return (
        f"{start}: {when}it answers {share(evidence.arms[arm].accuracy)} of {evidence.questions} questions right, "
        f"{points(evidence.difference(arm, BASE))} over the base model{end} ({level} % intervals)."
    )


def _best_placed(evidence: _Evidence, useful: Sequence[str]) -> str:
    """The useful arm with the highest accuracy, the cheaper one of equals."""
    return max(useful, key=lambda arm: evidence.arms[arm].accuracy.mean)


def _open_pairs(evidence: _Evidence, useful: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs that keep the rule from choosing."""
    if useful:
        best = _best_placed(evidence, useful)
        return [(other, best) for other in evidence.blocking(best)]
    margin = evidence.settings.margin
    return [(arm, BASE) for arm in evidence.candidates if evidence.difference(arm, BASE).interval.high >= margin]


def _more_questions(evidence: _Evidence, pairs: Sequence[tuple[str, str]]) -> int:
    """Questions beyond those asked that would settle ``pairs``, at least a tenth more, and 20 in all.

    Rounded up to two digits: the number is an estimate from few data.
    """
    needed = [questions_needed(evidence.difference(first, second), evidence.settings) for first, second in pairs]
    total = max([*needed, math.ceil(1.1 * evidence.questions), FEWEST_QUESTIONS])
    more = total - evidence.questions
    unit = int(10 ** max(0, len(str(more)) - 2))
    return math.ceil(more / unit) * unit
