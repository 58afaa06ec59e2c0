"""From recorded rows to a comparison: the same questions in every arm, paired differences, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from lorag.errors import InputError
from lorag.evaluation.answers.metrics import Style
from lorag.evaluation.answers.scoring import Scored, clusters, score_rows, summarise
from lorag.evaluation.results import (
    ARMS,
    BASE,
    BOTH,
    COST_ORDER,
    EVIDENCE,
    FINETUNED,
    FOLLOWING,
    PAIRS,
    RETRIEVAL,
    ArmDifference,
    ArmResult,
    Comparison,
    Verdict,
)
from lorag.evaluation.row_log import Moment, Row
from lorag.evaluation.statistics import FEWEST_CLUSTERS, holm, paired_difference
from lorag.evaluation.verdict import decide
from lorag.settings import VerdictSettings
from lorag.types import Example

__all__ = [
    "ARMS",
    "BASE",
    "BOTH",
    "COST_ORDER",
    "EVIDENCE",
    "FINETUNED",
    "PAIRS",
    "RETRIEVAL",
    "ArmDifference",
    "ArmResult",
    "Comparison",
    "Verdict",
    "compare_rows",
]

Table = dict[tuple[Moment, str], Scored]


def compare_rows(
    rows: Sequence[Row],
    examples: Sequence[Example],
    style: Style | None = None,
    settings: VerdictSettings | None = None,
    facts: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    tried: Mapping[str, Any] | None = None,
    update_seconds: Mapping[str, float] | None = None,
) -> Comparison:
    """The comparison of every arm and moment found in ``rows``; their order does not matter.

    ``examples`` are the questions as read, with the references before the update; rows of moment "after" are scored
    against ``Example.after_update``. ``facts`` and ``notes`` are printed as given, after what is computed here;
    ``tried`` is what was tried before, see ``Comparison``; ``update_seconds`` is what bringing an arm up to date took.

    Raises ``InputError`` when an arm lacks a question (its run is not finished), when a row's question is not among
    ``examples`` or recorded twice, and when the base model or every other arm is missing.
    """
    settings = settings or VerdictSettings()
    table = _score(rows, examples, style)
    arms = tuple(_arm(table, key, settings, update_seconds or {}) for key in table)
    differences = _differences(table, settings)
    caveats = (*_caveats(arms, examples), *notes)
    return Comparison(
        arms=arms,
        differences=differences,
        verdict=decide(tuple(arm for arm in arms if arm.arm not in FOLLOWING), differences, settings, caveats),
        facts={**_facts(examples, settings), **(facts or {})},
        notes=caveats,
        settings=settings,
        examples=tuple(examples),
        rows=tuple(row for scored in table.values() for row in scored.rows),
        scores=tuple(scores for scored in table.values() for scores in scored.scores),
        tried=tried or {},
    )


def _arm(
    table: Table, key: tuple[Moment, str], settings: VerdictSettings, update_seconds: Mapping[str, float]
) -> ArmResult:
    """An arm at one moment; after an update beside what it was before."""
    moment, arm = key
    if moment == "before":
        return summarise(table[key], None, settings)
    before = table.get(("before", FINETUNED if arm in FOLLOWING else arm))
    return replace(summarise(table[key], before, settings), update_seconds=update_seconds.get(arm))


def _score(rows: Sequence[Row], examples: Sequence[Example], style: Style | None) -> Table:
    """Scored rows by moment and arm: "before" first, arms in the order of tables, arms of other names last."""
    known = {example.id for example in examples}
    recorded: dict[tuple[Moment, str], dict[str, Row]] = {}
    for row in rows:
        group = recorded.setdefault((row.moment, row.arm), {})
        if row.example_id not in known:
            raise InputError(f"an answer to question {row.example_id!r}, which is not among the questions compared")
        if row.example_id in group:
            raise InputError(f"two answers of arm {row.arm!r} to question {row.example_id!r} at {row.moment!r}")
        group[row.example_id] = row
    for moment in {moment for moment, _ in recorded} or {"before"}:
        present = {arm for when, arm in recorded if when == moment}
        if BASE not in present or not present & set(COST_ORDER):
            raise InputError(
                f"arms measured {moment} the update: {sorted(present)!r}; expected {BASE!r} and at least one of "
                f"{', '.join(map(repr, COST_ORDER))}"
            )
    order = (*ARMS, EVIDENCE, *FOLLOWING)
    table: Table = {}
    for moment, arm in sorted(recorded, key=lambda key: (key[0] == "after", (*order, key[1]).index(key[1]), key[1])):
        group = recorded[moment, arm]
        missing = [example.id for example in examples if example.id not in group]
        if missing:
            raise InputError(
                f"arm {arm!r} ({moment} the update) lacks {len(missing)} of {len(examples)} questions, the first "
                f"{missing[0]!r}; finish the run by starting it again with the same folder"
            )
        table[moment, arm] = score_rows(arm, moment, examples, [group[e.id] for e in examples], style)
    return table


def _differences(table: Table, settings: VerdictSettings) -> tuple[ArmDifference, ...]:
    """At each moment the pairs in accuracy with Holm's p-values, then finetuned minus retrieval in style."""
    found: list[ArmDifference] = []
    moments: tuple[Moment, ...] = get_args(Moment)
    for moment in moments:
        pairs = [(a, b) for a, b in PAIRS if (moment, a) in table and (moment, b) in table]
        results = []
        for first, second in pairs:
            a, b = table[moment, first], table[moment, second]
            values = [[value or 0.0 for value in scored.column("correct")] for scored in (a, b)]
            results.append(paired_difference(values[0], values[1], clusters(a.originals), settings))
        adjusted = holm([result.p_value for result in results])
        found += [
            ArmDifference("correct", moment, first, second, result, p)
            for (first, second), result, p in zip(pairs, results, adjusted, strict=True)
        ]
        if (moment, FINETUNED) in table and (moment, RETRIEVAL) in table:
            found += _style_difference(table[moment, FINETUNED], table[moment, RETRIEVAL], settings)
    return tuple(found)


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
    return [ArmDifference("style", a.moment, a.arm, b.arm, result, result.p_value)]


def _caveats(arms: Sequence[ArmResult], examples: Sequence[Example]) -> list[str]:
    """What weakens the numbers, found in the rows themselves."""
    caveats = []
    for arm in arms:
        where = f"{arm.arm} ({arm.moment} the update)" if any(a.moment == "after" for a in arms) else arm.arm
        if arm.errors:
            caveats.append(f"{arm.errors} of {arm.questions} questions to {where} failed; each counts as wrong.")
        if arm.truncated:
            caveats.append(f"{arm.truncated} of {arm.questions} answers of {where} were cut at the token limit.")
    documents = len(set(clusters(examples)))
    if documents < FEWEST_CLUSTERS:
        caveats.append(
            f"The questions come from {documents} document{'s' * (documents != 1)}, too few to resample: the intervals "
            "speak of other questions about the same documents, not of other documents."
        )
    if not any("refusal_recall" in arm.estimates for arm in arms):
        caveats.append("No question without an answer was asked: refusing and hallucinating were not measured.")
    return caveats


def _facts(examples: Sequence[Example], settings: VerdictSettings) -> dict[str, str]:
    evidence = {document for example in examples for document in example.evidence}
    unanswerable = sum(not example.answers for example in examples)
    return {
        "questions": f"{len(examples)}, of which {unanswerable} are not answered by the documents",
        "documents asked about": str(len(evidence)),
        "margin": f"{100 * settings.margin:g} percentage points",
        "intervals": (
            f"{100 * settings.confidence:g} %, bootstrap over documents, {settings.draws} draws, seed {settings.seed}"
        ),
    }
