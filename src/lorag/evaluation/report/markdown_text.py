"""A comparison as Markdown: the verdict and a table of the arms in each phase."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.evaluation.labels import phase_heading
from lorag.evaluation.regression.build_checks import Check
from lorag.evaluation.report.result_tables import Table, arms_table, update_table
from lorag.evaluation.results import Comparison


def to_markdown(comparison: Comparison) -> str:
    """A comparison as Markdown, for a pull request or a notebook.

    Args:
        comparison: What ``compare`` or ``demo`` returns.

    Returns:
        The verdict with its warnings, then a table of the arms with intervals for each phase, the deciding one first.

    Examples:
        >>> result = lorag.compare("docs", "qa.jsonl", out="run")
        >>> print(lorag.to_markdown(result))
    """
    level = f"{100 * comparison.settings.confidence:g} %"
    parts = [f"**Verdict: {comparison.verdict.choice}.** {_plain(comparison.verdict.sentence)}"]
    parts += [f"**{_plain(str(warning))}**" for warning in comparison.warnings]
    for phase in reversed(comparison.phases):
        heading = phase_heading(comparison, phase)
        parts += [f"**{heading}**"] if heading else []
        parts.append(_markdown(arms_table(comparison, phase)))
    if comparison.updated:
        parts += ["**Following the update**", _markdown(update_table(comparison))]
    questions = comparison.arms[0].questions
    parts.append(f"{questions} questions; shares in percent with {level} intervals; seconds are the median.")
    return "\n\n".join(parts) + "\n"


def checks_table(checked: Sequence[Check]) -> str:
    """What a build stands or falls with, broken checks first; empty without any."""
    if not checked:
        return ""
    rows = [("kept" if c.holds else "broken", c.name, c.measured) for c in sorted(checked, key=lambda c: c.holds)]
    lines = ["| | check | measured |", "| --- | --- | --- |", *(f"| {' | '.join(map(_plain, row))} |" for row in rows)]
    return "\n".join(lines) + "\n"


def _markdown(content: Table) -> str:
    lines = [content.headings, tuple(["---"] + ["---:"] * (len(content.headings) - 1)), *content.rows]
    return "\n".join(f"| {' | '.join(_plain(cell) for cell in line)} |" for line in lines)


def _plain(text: str) -> str:
    """``text`` on one line, with what Markdown would read as a cell border or markup escaped."""
    escaped = "".join(f"\\{character}" if character in "\\`*_<>|[]" else character for character in text)
    return " ".join(escaped.split())
