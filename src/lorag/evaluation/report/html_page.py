"""A comparison as one HTML page that needs nothing else: no script, font or image from anywhere.

Its own script filters the answers; without it they stand there all the same.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from lorag.evaluation.answers.support.standing import Support
from lorag.evaluation.labels import PHASE_NAMES, phase_heading
from lorag.evaluation.report.answer_list import answer_list
from lorag.evaluation.report.cost_tables import cost_tables
from lorag.evaluation.report.factor_table import LEGEND, factor_table
from lorag.evaluation.report.plot import LEFT, RIGHT, WIDTH, arms_plot
from lorag.evaluation.report.result_tables import (
    Table,
    arms_table,
    differences_table,
    measures_table,
    split_table,
    update_table,
)
from lorag.evaluation.report.tried_tables import curve_table, prompts_table, recipe_table
from lorag.evaluation.results import CHOSEN_ARMS, Comparison, Reason, Term, compared
from lorag.evaluation.row_log import Phase, Row
from lorag.evaluation.verdict import rule
from lorag.files import write_whole

MOST_DISAGREEMENTS = 10
"""Questions shown side by side."""


@dataclass(frozen=True, slots=True)
class _Section:
    """One phase of the report."""

    name: str
    arms: Table
    differences: Table
    split: Table
    measures: Table


@dataclass(frozen=True, slots=True)
class _Reply:
    """One arm's answer to a question; ``mark`` is "right", "wrong" or "failed"."""

    arm: str
    mark: str
    row: Row
    doubts: tuple[Support, ...]
    """The claims that the passages do not support."""


@dataclass(frozen=True, slots=True)
class _Disagreement:
    question: str
    references: tuple[str, ...]
    example_id: str
    replies: tuple[_Reply, ...]


def html(comparison: Comparison) -> str:
    """The whole page. Everything that models or files said is escaped."""
    terms = _by_term(comparison.verdict.reasons)
    chosen = CHOSEN_ARMS.get(comparison.verdict.choice, comparison.verdict.choice)
    phase = PHASE_NAMES[comparison.phases[-1]] if len(comparison.phases) > 1 else ""
    return _rendered(
        "template.html.j2",
        comparison=comparison,
        verdict=comparison.verdict,
        plot=arms_plot(comparison, chosen),
        factors=factor_table(comparison),
        legend=LEGEND,
        sections=[_section(comparison, phase) for phase in reversed(comparison.phases)],
        update=update_table(comparison) if comparison.updated else None,
        costs=cost_tables(comparison),
        marks=terms.pop("Marks", []),
        warnings=terms.pop("Warning", []),
        terms=terms,
        prompts=prompts_table(comparison.tried),
        recipe=recipe_table(comparison.tried),
        curve=curve_table(comparison.tried),
        rule=rule(comparison.settings),
        level=f"{100 * comparison.settings.confidence:g} %",
        disagreements=disagreements(comparison),
        phase=phase,
        answers=_rendered("answers.html.j2", listed=answer_list(comparison), phase=phase),
        script=_text("filter.js"),
        policy=report_policy(),
        left=LEFT,
        right=RIGHT,
        width=WIDTH,
    )


def _rendered(name: str, **values: Any) -> str:
    """A template of this folder, filled in."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    rendered: str = environment.from_string(_text(name)).render(**values)
    return rendered


def _text(name: str) -> str:
    return resources("lorag.evaluation.report").joinpath(name).read_text(encoding="utf-8")


def report_policy() -> str:
    """The content security policy of the page: its own style, and of scripts the one in it alone."""
    digest = base64.b64encode(hashlib.sha256(_text("filter.js").encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def write_report(comparison: Comparison, path: Path) -> None:
    """Writes the page to ``path``, whole or not at all."""
    write_whole(path, html(comparison))


def _section(comparison: Comparison, phase: Phase) -> _Section:
    return _Section(
        phase_heading(comparison, phase),
        arms_table(comparison, phase),
        differences_table(comparison, phase),
        split_table(comparison, phase),
        measures_table(comparison, phase),
    )


def _by_term(reasons: tuple[Reason, ...]) -> dict[Term, list[str]]:
    """The texts of the reasons under their terms, in the order of first use."""
    terms: dict[Term, list[str]] = {}
    for reason in reasons:
        terms.setdefault(reason.term, []).append(reason.text[:1].upper() + reason.text[1:])
    return terms


def disagreements(comparison: Comparison) -> list[_Disagreement]:
    """Up to ten questions on which the arms are split most evenly into right and wrong, in the last phase.

    Among equally split ones, the order of the question file. Questions on which all arms agree are not shown.
    """
    phase = comparison.phases[-1]
    arms = compared(comparison.at(phase))
    replies: dict[str, list[_Reply]] = {}
    for row, scores, claims in zip(comparison.rows, comparison.scores, comparison.support, strict=True):
        if row.phase == phase and row.arm in arms:
            mark = "failed" if row.answer.error is not None else "right" if scores["correct"] else "wrong"
            doubts = tuple(claim for claim in claims if claim.standing != "supported")
            replies.setdefault(row.example_id, []).append(_Reply(row.arm, mark, row, doubts))
    found = []
    for example in comparison.examples:
        right = sum(reply.mark == "right" for reply in replies[example.id])
        split = min(right, len(replies[example.id]) - right)
        if split:
            current = example.after_update() if phase == "after" else example
            shown = _Disagreement(example.question, current.answers, example.id, tuple(replies[example.id]))
            found.append((split, shown))
    return [shown for _, shown in sorted(found, key=lambda entry: -entry[0])[:MOST_DISAGREEMENTS]]
