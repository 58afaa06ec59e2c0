"""Tables of what was tried before anything was compared: prompts, and trainings.

They come from the run folder as JSON objects: ``PromptChoice.to_json`` for each arm, and ``Recipe.to_json``. Shares
have Wilson intervals of 95 %: few questions were asked, and where intervals overlap the choice is a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lorag.evaluation.prompt_choice import PromptChoice
from lorag.evaluation.report.result_tables import NOTHING, Table
from lorag.evaluation.statistics import wilson


def prompts_table(tried: Mapping[str, Any]) -> Table:
    """One row per arm and prompt, the chosen one first."""
    rows = []
    for arm, value in tried.get("prompts", {}).items():
        choice = PromptChoice.from_json(value)
        for place, each in enumerate(choice.tried):
            name = f"{arm}: {each.form}{' (taken)' if place == 0 else ''}"
            kept = tuple(map(_percent, (each.refused, each.answered, each.style)))
            shares = (_share(each.right, each.questions), *kept)
            rows.append((name, str(each.questions), *shares, f"{each.seconds:.2f}", f"{each.prompt_tokens:.0f}"))
    shares = ("right", "refused of answerable", "answered of unanswerable", "style kept")
    return Table(("arm and prompt", "questions", *shares, "seconds", "prompt tokens"), tuple(rows))


def recipe_table(tried: Mapping[str, Any]) -> Table:
    """One row per training or strength: what was done, and what it brought."""
    recipe = tried.get("recipe") or {}
    rows = [("base model", *_probed(recipe["before"]), NOTHING, NOTHING)] if recipe else []
    for name, rung in [*(("rung", each) for each in recipe.get("rungs", ())), ("training", recipe.get("final"))]:
        if rung:
            passes = f"{rung['passes']} pass{'es' * (rung['passes'] != 1)}"
            what = f"{name}: {rung['method']}, rate {rung['learning_rate']:g}, {passes}"
            rows.append((what, *_probed(rung["probed"]), str(rung["conversations"]), f"{rung['seconds'] / 60:.1f}"))
    for each in recipe.get("strengths", ())[1:]:
        rows.append((f"at {each['share']:g} of its strength", *_probed(each["probed"]), NOTHING, NOTHING))
    headings = ("facts asked", "right", "right with the passage", "general text, nats", "conversations", "minutes")
    return Table(("what", *headings), tuple(rows))


def curve_table(tried: Mapping[str, Any]) -> Table:
    """One row per pass of the final training: what was known after it."""
    curve = (tried.get("recipe") or {}).get("curve", ())
    rows = tuple(
        (f"pass {point['passes']}", str(point["updates"]), _interval(point["recall"], point["low"], point["high"]))
        for point in curve
    )
    return Table(("after", "updates", "right"), rows)


def _probed(probed: Mapping[str, Any]) -> tuple[str, str, str, str]:
    facts, loss = probed["facts"], f"{probed['general_loss']:.2f}"
    return str(facts), _share(probed["recall"], facts), _share(probed["reading"], facts), loss


def _share(share: float | None, questions: int) -> str:
    """Whole percents with their interval, such as ``83 (55-95)``."""
    if share is None or not questions:
        return NOTHING
    interval = wilson(share, questions, 0.95)
    return _interval(share, interval.low, interval.high)


def _interval(share: float, low: float, high: float) -> str:
    return f"{100 * share:.0f} ({100 * low:.0f}-{100 * high:.0f})"


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.0f}"
