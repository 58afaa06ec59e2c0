"""From recorded rows to a comparison: the same questions in every arm, paired differences, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any, get_args

import numpy as np

from lorag.errors import InputError
from lorag.evaluation.answers.metrics import NewContentRecall, Style
from lorag.evaluation.answers.own_metrics import Measuring
from lorag.evaluation.answers.scoring import Scored, clusters, open_claims, score_rows, summarise
from lorag.evaluation.answers.support.contrasts import Contrast, contrasts, errors
from lorag.evaluation.answers.support.judge import Asked, Readings
from lorag.evaluation.examples import makers
from lorag.evaluation.results import (
    ARMS,
    BASE,
    BOTH,
    CEILINGS,
    COST_ORDER,
    EVIDENCE,
    FINETUNED,
    FINETUNED_EVIDENCE,
    FOLLOWING,
    RETRIEVAL,
    TRAINED,
    ArmDifference,
    ArmResult,
    Comparison,
    Latency,
    Verdict,
    candidates,
    own_arms,
    pairs,
)
from lorag.evaluation.row_log import Phase, Row
from lorag.evaluation.statistics import (
    FEWEST_CLUSTERS,
    Difference,
    effective_documents,
    holm,
    paired_difference,
    trainings_difference,
)
from lorag.evaluation.verdict import decide, deciding_metric
from lorag.settings import VerdictSettings
from lorag.types import Chunk, Example

__all__ = [
    "ARMS",
    "BASE",
    "BOTH",
    "COST_ORDER",
    "EVIDENCE",
    "FINETUNED",
    "FINETUNED_EVIDENCE",
    "RETRIEVAL",
    "ArmDifference",
    "ArmResult",
    "Comparison",
    "Verdict",
    "compare_rows",
]

_LONGEST_REASON = 200
"""Characters of the reason why answers failed."""

Table = dict[tuple[Phase, str], Scored]
Trainings = Mapping[tuple[Phase, str], list[list[float]]]
"""A metric of each question under each training, by phase and arm."""
Found = Mapping[Phase, Mapping[str, Sequence[Chunk]] | None]
"""The passages that any arm was given for each question; None where no arm was given any."""


def compare_rows(
    rows: Sequence[Row],
    examples: Sequence[Example],
    style: Style | None = None,
    settings: VerdictSettings | None = None,
    facts: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    tried: Mapping[str, Any] | None = None,
    update_seconds: Mapping[str, float] | None = None,
    trainings: Sequence[Sequence[Row]] = (),
    readings: Readings | None = None,
    own: Mapping[str, Measuring] | None = None,
    waits: Mapping[str, Sequence[Sequence[float]]] | None = None,
) -> Comparison:
    """The comparison of every arm and phase found in ``rows``; their order does not matter.

    ``examples`` are the questions as read, with the references before the update; rows of the phase "after" are scored
    against ``Example.after_update``. ``facts`` and ``notes`` are printed as given, after what is computed here;
    ``tried`` is what was tried before, see ``Comparison``; ``update_seconds`` is what bringing an arm up to date took.
    ``trainings`` are the rows of the finetuned arms under further trainings, such as other seeds: differences are then
    of the mean over trainings, and their spread is in the intervals; ``rows``, ``scores`` and every estimate are those
    of the first training. ``readings`` are what a judge made of ``claims_to_judge``. ``own`` are metrics of the user's
    own; the verdict does not rest on them. ``waits`` are the seconds to the first token and to the end of answers to
    questions asked one after another, by arm.

    Raises ``InputError`` when an arm lacks a question (its run is not finished), when a row's question is not among
    ``examples`` or recorded twice, when the base model or every other arm is missing, and when a metric fails.
    """
    settings = settings or VerdictSettings()
    found = found_passages(rows)
    checked = (style, found, readings)
    table = _score(rows, examples, *checked, own)
    further = [_further(table, each, examples, *checked) for each in trainings]
    last = {(_last_phase(table), arm): seconds for arm, seconds in (waits or {}).items()}
    arms = tuple(_arm(table, key, settings, update_seconds or {}, last.get(key)) for key in table)
    deciding = deciding_metric(arms, settings)
    seeds = {metric: _trainings(table, further, metric) for metric in dict.fromkeys(("correct", deciding))}
    arms = tuple(_with_trainings(arm, seeds[deciding], further, settings) for arm in arms)
    differences = _differences(table, seeds, settings)
    caveats = (*_caveats(arms, examples, table), *_check_note(rows, examples, readings), *notes)
    chosen_from = tuple(arm for arm in arms if arm.arm not in FOLLOWING)
    return Comparison(
        arms=arms,
        differences=differences,
        verdict=decide(
            chosen_from,
            differences,
            settings,
            caveats,
            _limits(examples),
            clusters(examples),
            partial(_graded, table, further, deciding, settings),
        ),
        facts={**_facts(examples, settings), **(facts or {})},
        notes=caveats,
        settings=settings,
        examples=tuple(examples),
        rows=tuple(row for scored in table.values() for row in scored.rows),
        scores=tuple(scores for scored in table.values() for scores in scored.scores),
        support=tuple(claims for scored in table.values() for claims in scored.support),
        tried=tried or {},
    )


def claims_to_judge(rows: Sequence[Row], examples: Sequence[Example]) -> list[Asked]:
    """What a judge can be asked about the answers in ``rows``, each claim once, those to one question together.

    And about answers by which its errors are counted. Nothing where no arm was given passages.
    """
    found, recall = found_passages(rows), NewContentRecall.fit(examples)
    current = {example.id: {"before": example, "after": example.after_update()} for example in examples}
    places = {example.question: place for place, example in enumerate(examples)}
    asked = dict.fromkeys(asked for pair in _contrasts(rows, examples) for asked in pair.to_judge())
    for row in rows:
        searched = found[row.phase]
        if searched is not None:
            example = current[row.example_id][row.phase]
            asked |= dict.fromkeys(open_claims(row, example, searched[row.example_id], recall))
    return sorted(asked, key=lambda each: places[each.question])


def _contrasts(rows: Sequence[Row], examples: Sequence[Example]) -> list[Contrast]:
    """Right and wrong answers to the questions, with the gold passages of the last phase."""
    phase: Phase = "after" if any(row.phase == "after" for row in rows) else "before"
    current = [example.after_update() if phase == "after" else example for example in examples]
    ceiling = [row for row in rows if (row.phase, row.arm) == (phase, EVIDENCE)]
    return contrasts(current, {row.example_id: [hit.chunk for hit in row.answer.sources] for row in ceiling})


def made_warnings(examples: Sequence[Example]) -> list[str]:
    """What a verdict over made questions does not know; nothing where people brought some of them."""
    made_by = makers(examples)
    if not made_by:
        return []
    return [
        f"the {len(examples)} questions were made from the documents, by {' and '.join(made_by)}: they ask what is "
        "stated plainly, not what your users ask."
    ]


def _check_note(rows: Sequence[Row], examples: Sequence[Example], readings: Readings | None) -> list[str]:
    """How often the check of claims errs on these documents; nothing where that cannot be counted."""
    pairs = _contrasts(rows, examples)
    if not pairs:
        return []
    counted = f"The check of claims was tested on {len(pairs)} right and as many plausible wrong answers"
    judged = f"; with the judge: {errors(pairs, readings)}" if readings is not None else ""
    return [f"{counted} to these questions. By rule: {errors(pairs, None)}{judged}."]


def found_passages(rows: Sequence[Row]) -> Found:
    """The passages that any arm was given for each question in each phase."""
    found: dict[Phase, dict[str, dict[str, Chunk]]] = {}
    for row in rows:
        chunks = {hit.chunk.id: hit.chunk for hit in row.answer.sources}
        found.setdefault(row.phase, {}).setdefault(row.example_id, {}).update(chunks)
    return {
        phase: {name: [chunk for _, chunk in sorted(chunks.items())] for name, chunks in each.items()}
        if any(each.values())
        else None
        for phase, each in found.items()
    }


def _score(
    rows: Sequence[Row],
    examples: Sequence[Example],
    style: Style | None,
    found: Found,
    readings: Readings | None,
    own: Mapping[str, Measuring] | None,
) -> Table:
    """Scored rows by phase and arm: "before" first, arms in the order of tables, the ceilings last."""
    recorded = _recorded(rows, examples)
    for phase in {phase for phase, _ in recorded} or {"before"}:
        present = {arm for when, arm in recorded if when == phase}
        if BASE not in present or not candidates(present):
            raise InputError(
                f"arms measured {phase} the update: {sorted(present)!r}; expected {BASE!r} and at least one of "
                f"{', '.join(map(repr, COST_ORDER))}, or an arm of your own"
            )
    order = (*ARMS, *own_arms(arm for _, arm in recorded), *CEILINGS, *FOLLOWING)
    table: Table = {}
    for phase, arm in sorted(recorded, key=lambda key: (key[0] == "after", order.index(key[1]))):
        table[phase, arm] = _scored(phase, arm, recorded[phase, arm], examples, style, found, readings, own)
    return table


def _recorded(rows: Sequence[Row], examples: Sequence[Example]) -> dict[tuple[Phase, str], dict[str, Row]]:
    """The rows by phase and arm, then by question."""
    known = {example.id for example in examples}
    recorded: dict[tuple[Phase, str], dict[str, Row]] = {}
    for row in rows:
        group = recorded.setdefault((row.phase, row.arm), {})
        if row.example_id not in known:
            raise InputError(f"an answer to question {row.example_id!r}, which is not among the questions compared")
        if row.example_id in group:
            raise InputError(f"two answers of arm {row.arm!r} to question {row.example_id!r} {row.phase} the update")
        group[row.example_id] = row
    return recorded


def _scored(
    phase: Phase,
    arm: str,
    rows: Mapping[str, Row],
    examples: Sequence[Example],
    style: Style | None,
    found: Found,
    readings: Readings | None,
    own: Mapping[str, Measuring] | None = None,
) -> Scored:
    missing = [example.id for example in examples if example.id not in rows]
    if missing:
        raise InputError(
            f"arm {arm!r} ({phase} the update) lacks {len(missing)} of {len(examples)} questions, the first "
            f"{missing[0]!r}; finish the run by starting it again with the same folder"
        )
    answered = [rows[example.id] for example in examples]
    return score_rows(arm, phase, examples, answered, style, found[phase], readings, own)


def _further(
    table: Table,
    rows: Sequence[Row],
    examples: Sequence[Example],
    style: Style | None,
    found: Found,
    readings: Readings | None,
) -> Table:
    """The finetuned arms of ``table`` under a further training."""
    return {
        (phase, arm): _scored(phase, arm, group, examples, style, found, readings)
        for (phase, arm), group in _recorded(rows, examples).items()
        if arm in TRAINED and (phase, arm) in table
    }


def _trainings(table: Table, further: Sequence[Table], metric: str) -> Trainings:
    """A metric of every arm under its first training, and of the finetuned ones under the further ones as well."""
    return {key: [each[key].shares(metric) for each in (table, *further) if key in each] for key in table}


def _graded(
    table: Table, further: Sequence[Table], metric: str, settings: VerdictSettings, grade: str
) -> list[ArmDifference]:
    """The pairs of the last phase in the deciding metric under another grade of scoring."""
    last = _last_phase(table)
    columns = {
        (phase, arm): [each[phase, arm].graded(metric, grade) for each in (table, *further) if (phase, arm) in each]
        for phase, arm in table
        if phase == last
    }
    return _pair_differences(table, columns, last, metric, settings)


def _last_phase(table: Table) -> Phase:
    return max((phase for phase, _ in table), key=get_args(Phase).index)


def _arm(
    table: Table,
    key: tuple[Phase, str],
    settings: VerdictSettings,
    update_seconds: Mapping[str, float],
    waits: Sequence[Sequence[float]] | None,
) -> ArmResult:
    """An arm in one phase, with the tail of its latency; after an update beside what it was."""
    phase, arm = key
    before = table.get(("before", FINETUNED if arm in FOLLOWING else arm)) if phase == "after" else None
    used = [row.answer.usage for row in table[key].rows if row.answer.error is None]
    seconds = [usage.retrieve_seconds + usage.generate_seconds for usage in used]
    return replace(
        summarise(table[key], before, settings),
        seconds_p95=float(np.quantile(seconds, 0.95)) if seconds else None,
        update_seconds=update_seconds.get(arm) if phase == "after" else None,
        latency=_latency(waits) if waits else None,
    )


def _latency(waits: Sequence[Sequence[float]]) -> Latency:
    median, p95 = np.quantile(waits, (0.5, 0.95), axis=0).tolist()
    return Latency(len(waits), median[0], p95[0], median[1], p95[1])


def _with_trainings(arm: ArmResult, seeds: Trainings, further: Sequence[Table], settings: VerdictSettings) -> ArmResult:
    """The arm with the share right after each of its trainings, and the mean of each metric over them."""
    key = arm.phase, arm.arm
    others = [summarise(each[key], None, settings) for each in further if key in each]
    if not others:
        return arm
    means = {
        metric: fmean(each.estimates[metric].mean for each in (arm, *others) if metric in each.estimates)
        for metric in arm.estimates
    }
    return replace(arm, trainings=tuple(map(fmean, seeds[key])), over_trainings=means)


def _differences(table: Table, seeds: Mapping[str, Trainings], settings: VerdictSettings) -> tuple[ArmDifference, ...]:
    """In each phase the pairs in each metric with Holm's p-values, then finetuned minus retrieval in style."""
    found: list[ArmDifference] = []
    phases: tuple[Phase, ...] = get_args(Phase)
    for phase in phases:
        for metric, columns in seeds.items():
            found += _pair_differences(table, columns, phase, metric, settings)
        if (phase, FINETUNED) in table and (phase, RETRIEVAL) in table:
            found += _style_difference(table[phase, FINETUNED], table[phase, RETRIEVAL], settings)
    return tuple(found)


def _pair_differences(
    table: Table, columns: Trainings, phase: Phase, metric: str, settings: VerdictSettings
) -> list[ArmDifference]:
    """The pairs of a phase in one metric, with Holm's p-values."""
    found_pairs = pairs(arm for when, arm in table if when == phase)
    results = [
        trainings_difference(columns[phase, a], columns[phase, b], clusters(table[phase, a].originals), settings)
        for a, b in found_pairs
    ]
    return adjusted(metric, phase, found_pairs, results)


def adjusted(
    metric: str, phase: Phase, against: Sequence[tuple[str, str]], results: Sequence[Difference]
) -> list[ArmDifference]:
    """The differences of pairs of arms in one metric, with Holm's p-values over these pairs."""
    p_values = holm([result.p_value for result in results])
    return [
        ArmDifference(metric, phase, first, second, result, p)
        for (first, second), result, p in zip(against, results, p_values, strict=True)
    ]


def _style_difference(a: Scored, b: Scored, settings: VerdictSettings) -> list[ArmDifference]:
    """The difference in style over the questions that both arms answered; empty when there is none."""
    both = [
        (first, second, example)
        for first, second, example in zip(a.column("style"), b.column("style"), a.originals, strict=True)
        if first is not None and second is not None
    ]
    if not both:
        return []
    documents = clusters([example for _, _, example in both])
    result = paired_difference([f for f, _, _ in both], [s for _, s, _ in both], documents, settings)
    return [ArmDifference("style", a.phase, a.arm, b.arm, result, result.p_value)]


def _caveats(arms: Sequence[ArmResult], examples: Sequence[Example], table: Table) -> list[str]:
    """What weakens the numbers, found in the rows themselves."""
    caveats = []
    for arm in arms:
        where = f"{arm.arm} ({arm.phase} the update)" if any(a.phase == "after" for a in arms) else arm.arm
        if arm.errors:
            failed = Counter(row.answer.error for row in table[arm.phase, arm.arm].rows if row.answer.error is not None)
            reason = " ".join(str(failed.most_common(1)[0][0]).split())[:_LONGEST_REASON] or "no reason was given"
            often = "; the commonest reason" if len(failed) > 1 else ""
            caveats.append(
                f"{arm.errors} of {arm.questions} questions to {where} failed{often} ({reason}); each counts as wrong."
            )
        if arm.truncated:
            caveats.append(f"{arm.truncated} of {arm.questions} answers of {where} were cut at the token limit.")
    caveats += _few_documents(examples)
    if unknown := sum(bool(example.answers) and not example.evidence for example in examples):
        caveats.append(
            f"{unknown} answerable questions name no document: each counts as a document of its own, so intervals may"
            " be too narrow, and the ceilings leave them out."
        )
    if not any("refusal_recall" in arm.estimates for arm in arms):
        caveats.append("No question without an answer was asked: refusing and hallucinating were not measured.")
    return caveats


def _limits(examples: Sequence[Example]) -> list[str]:
    """What a verdict over these questions cannot be about, to stand with its sentence."""
    answerable = any(example.answers or example.after_update().answers for example in examples)
    known = [] if answerable else ["no question with an answer was asked: the verdict is about refusing alone."]
    return [*known, *made_warnings(examples)]


def _few_documents(examples: Sequence[Example]) -> list[str]:
    """Whether the questions come from too few documents; one that names none counts as a document of its own."""
    documents, effective = len(set(clusters(examples))), effective_documents(clusters(examples))
    if effective >= FEWEST_CLUSTERS:
        return []
    alone = sum(not example.evidence for example in examples)
    named = documents - alone
    if not named:
        return [f"No question names a document, and there are only {alone}: too few to generalise to other questions."]
    beside = f", and {alone} name{'s' * (alone == 1)} none" if alone else ""
    counted = "" if documents < FEWEST_CLUSTERS else f", which count as {effective:.1f} of equal weight"
    return [
        f"The questions come from {named} document{'s' * (named != 1)}{beside}{counted}, too few to generalise:"
        " intervals and verdict hold for other questions about these documents, not for other documents."
    ]


def _facts(examples: Sequence[Example], settings: VerdictSettings) -> dict[str, str]:
    evidence = {document for example in examples for document in example.evidence}
    unanswerable = sum(not example.answers for example in examples)
    return {
        "questions": f"{len(examples)}, of which {unanswerable} are not answered by the documents",
        "documents asked about": str(len(evidence)),
        "effective documents": f"{effective_documents(clusters(examples)):.1f}, with equally many questions in each",
        "margin": f"{100 * settings.margin:g} percentage points",
        "intervals": (
            f"{100 * settings.confidence:g} %, from {settings.draws} random sign flips of whole documents, "
            f"seed {settings.seed}"
        ),
    }
