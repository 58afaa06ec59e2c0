"""The reasons printed under a verdict, each with its term, such as external knowledge, dynamic data, customisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple

from lorag.evaluation.labels import ARM_NAMES, listing, number, p_value, points, share
from lorag.evaluation.results import (
    BASE,
    BOTH,
    CEILINGS,
    CHOSEN_ARMS,
    COST_ORDER,
    EVIDENCE,
    FINETUNED,
    LONG_CONTEXT,
    RETRIEVAL,
    TRAINED,
    ArmDifference,
    ArmResult,
    Choice,
    Reason,
    Term,
    compared,
)
from lorag.evaluation.row_log import Phase
from lorag.evaluation.statistics import Estimate
from lorag.settings import VerdictSettings


def reasons(
    phase: Phase,
    arms: Sequence[ArmResult],
    differences: Sequence[ArmDifference],
    choice: Choice,
    settings: VerdictSettings,
    metric: str,
) -> list[Reason]:
    """Why, in the order of the terms; what was not measured is named as such. ``metric`` is the one that decides."""
    present = {arm.arm: arm for arm in arms if arm.phase == phase}
    pairs = [difference for difference in differences if difference.phase == phase]
    found: dict[Term, list[str]] = {
        "External knowledge": _external_knowledge(present, pairs),
        "Ceiling": _ceiling(present, settings),
        "Trainings": _trainings(present),
        "Dynamic data": _dynamic_data(phase, present),
        "Customisation": [_customisation(present, pairs)],
        "Support": _support(present, settings),
        "Refusals": _refusals(present),
        "Warning": _warnings(present, pairs, choice, settings, metric),
    }
    return [Reason(term, text) for term, texts in found.items() for text in texts]


def _external_knowledge(arms: Mapping[str, ArmResult], pairs: Sequence[ArmDifference]) -> list[str]:
    base = arms[BASE].accuracy
    found = [f"the base model is right on {share(base)} of {base.n} questions."]
    for pair in pairs:
        if pair.metric == "correct" and pair.second == BASE:
            found.append(
                f"{ARM_NAMES[pair.first]} is right on {share(arms[pair.first].accuracy)}, "
                f"{points(pair.difference)} over the base model (Holm p {p_value(pair.adjusted_p)})."
            )
    missing = [ARM_NAMES[arm] for arm in COST_ORDER if arm not in arms and arm != LONG_CONTEXT]
    if missing:
        found.append(f"not measured: {listing(missing)}.")
    for arm in (RETRIEVAL, BOTH):
        if arm in arms:
            found += _retrieval(arms[arm])
    return found


def _ceilings(arms: Mapping[str, ArmResult]) -> dict[str, Estimate]:
    """What each model answers right of the answerable questions with gold passages."""
    measured = {name: arms[name].estimates.get("correct_answerable") for name in CEILINGS if name in arms}
    return {name: estimate for name, estimate in measured.items() if estimate is not None}


def low_ceilings(arms: Mapping[str, ArmResult], settings: VerdictSettings) -> bool:
    """Whether a ceiling was measured, and the intervals of all that were lie below ``settings.ceiling``."""
    found = _ceilings(arms).values()
    return bool(found) and all(estimate.interval.high < settings.ceiling for estimate in found)


def _ceiling(arms: Mapping[str, ArmResult], settings: VerdictSettings) -> list[str]:
    ceilings = _ceilings(arms)
    if not ceilings:
        return ["not measured: no gold passages were given."]
    found = [f"{name}: {share(each)} of {each.n} answerable questions right." for name, each in ceilings.items()]
    if low_ceilings(arms, settings):
        found.append(
            f"it lies below {100 * settings.ceiling:g} %: the model does not use the passage that answers, or the "
            "metric does not recognise a right answer. Read a few answers counted wrong, then try a larger model."
        )
    return found


def _trainings(arms: Mapping[str, ArmResult]) -> list[str]:
    """How many trainings the finetuned arms rest on, and how far these lie apart."""
    found = []
    for name in (name for name in TRAINED if name in arms and len(arms[name].trainings) > 1):
        shares = listing([number(right) for right in arms[name].trainings])
        found.append(
            f"{len(arms[name].trainings)} of {ARM_NAMES[name]}, right on {shares} %; their spread is in the "
            "intervals of the differences."
        )
    if not found and any(name in arms for name in TRAINED):
        return ["one training, with one seed; how far another seed would differ was not measured."]
    return found


def _retrieval(arm: ArmResult) -> list[str]:
    if "evidence_in_prompt" not in arm.estimates or arm.error_split is None:
        return []
    split = arm.error_split
    return [
        f"{ARM_NAMES[arm.arm]} had an evidence document in the prompt for "
        f"{share(arm.estimates['evidence_in_prompt'])} of {sum(astuple(split))} questions, and a passage that holds a "
        f"reference for {share(arm.estimates['reference_in_prompt'])}: {split.retrieved_wrong} retrieved but wrong, "
        f"{split.missed_wrong} missed and wrong, {split.missed_right} missed but right."
    ]


def _dynamic_data(phase: Phase, arms: Mapping[str, ArmResult]) -> list[str]:
    if phase == "before":
        return ["not measured: no update of the documents was given (--update)."]
    found = []
    for name in compared(arms):
        estimates = arms[name].estimates
        parts = []
        if "uptake" in estimates:
            parts.append(
                f"gives the new answer to {share(estimates['uptake'])} of {estimates['uptake'].n} changed questions "
                f"and the old one to {share(estimates['stale'])}"
            )
        if "accuracy_new" in estimates:
            parts.append(f"is right on {share(estimates['accuracy_new'])} of {estimates['accuracy_new'].n} new ones")
        collateral = arms[name].collateral
        if collateral is not None:
            parts.append(f"changed by {points(collateral)} in accuracy on {collateral.n} unchanged ones")
        if parts:
            found.append(f"after the update {ARM_NAMES[name]} {listing(parts)}.")
    return found or ["no question is marked as changed or new, so the update's effect is not measured."]


def _customisation(arms: Mapping[str, ArmResult], pairs: Sequence[ArmDifference]) -> str:
    if not any("style" in arm.estimates for arm in arms.values()):
        return "not measured: no style was declared."
    shares = [
        f"{ARM_NAMES[name]} {share(arms[name].estimates['style'])}"
        for name in compared(arms)
        if "style" in arms[name].estimates
    ]
    text = f"style checks passed by given answers: {listing(shares)}"
    for pair in pairs:
        if pair.metric == "style":
            text += (
                f"; on the {pair.difference.n} questions both answered, finetuning minus retrieval is "
                f"{points(pair.difference)} (p {p_value(pair.adjusted_p)})"
            )
    return f"{text}."


def _support(arms: Mapping[str, ArmResult], settings: VerdictSettings) -> list[str]:
    """What of the answers passages support."""
    measured = [name for name in compared(arms) if "unsupported" in arms[name].estimates]
    if not measured:
        decides = ", so the verdict rests on right answers" * (settings.verdict_on == "right_and_supported")
        return [f"not measured: no arm was given passages{decides}."]
    return [
        f"{ARM_NAMES[name]}: right and supported {share(arms[name].estimates['right_and_supported'])}, "
        f"with a claim that the passages do not support {share(arms[name].estimates['unsupported'])}."
        for name in measured
    ]


def _refusals(arms: Mapping[str, ArmResult]) -> list[str]:
    answered = {name: arms[name].estimates["hallucination"] for name in compared(arms) if _hallucinates(arms[name])}
    if not answered:
        return []
    shares = listing([f"{ARM_NAMES[name]} {share(estimate)}" for name, estimate in answered.items()])
    n = answered[BASE].n
    return [f"of {n} questions that the documents do not answer, answered anyway: {shares}."]


def _hallucinates(arm: ArmResult | None) -> bool:
    """Whether the share of answered unanswerable questions was measured."""
    return arm is not None and "hallucination" in arm.estimates


def _right(pairs: Sequence[ArmDifference], first: str, second: str, metric: str = "correct") -> list[ArmDifference]:
    """The difference of two arms in right answers; empty where one of them was not measured."""
    return [pair for pair in pairs if (pair.metric, pair.first, pair.second) == (metric, first, second)]


def _reading(pairs: Sequence[ArmDifference], settings: VerdictSettings) -> list[str]:
    """That training cost reading, where it clearly did: "both" sees the passages that retrieval sees."""
    for pair in _right(pairs, BOTH, RETRIEVAL):
        if pair.difference.interval.high < 0 and pair.adjusted_p < 1 - settings.confidence:
            return [
                "with the same passages in the prompt, the finetuned model is right less often than the base "
                f"model ({points(pair.difference)}): this training harmed reading more than it taught facts, so "
                f"{ARM_NAMES[BOTH]} is judged by this adapter, not by what another training could do."
            ]
    return []


def _teaching(pairs: Sequence[ArmDifference], settings: VerdictSettings) -> list[str]:
    """That training was not seen to teach facts, where it was not: another training may."""
    for pair in _right(pairs, FINETUNED, BASE):
        if pair.difference.interval.low <= 0 or pair.adjusted_p >= 1 - settings.confidence:
            return [
                "without passages, the finetuned model is not shown to know more than the base model "
                f"({points(pair.difference)}): finetuning is judged by this training, not by what another could teach, "
                "such as one of all weights (--method full), or one with more wordings of each fact."
            ]
    return []


def _warnings(
    arms: Mapping[str, ArmResult],
    pairs: Sequence[ArmDifference],
    choice: Choice,
    settings: VerdictSettings,
    metric: str,
) -> list[str]:
    """What speaks against the verdict all the same."""
    found = []
    held = arms[EVIDENCE].estimates.get("reference_in_prompt") if EVIDENCE in arms else None
    if held is not None and held.mean < settings.ceiling and low_ceilings(arms, settings):
        found.append(
            f"a passage held a reference in only {share(held)} of the ceiling's prompts; the low ceiling "
            "may come from the passages or the references rather than from the model."
        )
    found += _teaching(pairs, settings) + _reading(pairs, settings)
    chosen = arms.get(CHOSEN_ARMS.get(choice, choice))
    if chosen is None:
        return found
    if _hallucinates(chosen) and chosen.estimates["hallucination"].mean > 0.5:
        found.append(
            f"{ARM_NAMES[chosen.arm]} answers {number(chosen.estimates['hallucination'].mean)} % of the "
            "questions that the documents do not answer, instead of refusing; do not let it answer unattended."
        )
    gains = [pair.difference for pair in _right(pairs, chosen.arm, BASE, metric)]
    if gains and gains[0].interval.high < settings.margin:
        found.append(
            f"the gain over the base model, {points(gains[0])}, is real but below the margin of "
            f"{100 * settings.margin:g} points; it may not be worth its cost."
        )
    return found
