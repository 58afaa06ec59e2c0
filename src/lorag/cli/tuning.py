"""``lorag calibrate``: what search does in this workspace is chosen on the user's own questions."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.cli.screen import Json, output, print_json, print_warning, progress_bars, translated_errors
from lorag.settings import GATE_KEEP
from lorag.workspace import Workspace

if TYPE_CHECKING:
    from lorag.evaluation.gate import Gate
    from lorag.evaluation.statistics import Estimate

Questions = Annotated[Path, typer.Option(help="A qa.jsonl: id, question, answers, doc_ids; one a line.")]


def calibrate(
    questions: Questions,
    off_topic: Annotated[
        Path | None, typer.Option(help="Questions on other things, one a line; else everyday questions.")
    ] = None,
    keep: Annotated[float, typer.Option(help="Share of your questions that must get through.")] = GATE_KEEP,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, and leave the settings as they are.")] = False,
    json: Json = False,
) -> None:
    """Find the cosine below which a question is not about the documents; search and chat then refuse it."""
    from lorag import build
    from lorag.journeys.calibrate import calibrate_gate

    workspace = Workspace()
    with translated_errors(), progress_bars() as progress:
        chosen = workspace.chosen()
        knowledge = build.knowledge(workspace.require_index(), chunks=chosen.chunks, progress=progress)
        found = calibrate_gate(knowledge, questions, off_topic, keep)
        if not dry_run:
            workspace.choose(replace(chosen, retrieval=replace(chosen.retrieval, gate_cosine=found.gate.cosine)))
    if json:
        print_json(asdict(found))
        return
    _print_gate(found.gate)
    if found.gate.accuracy.interval.low <= 0.5:
        print_warning("cosines do not tell your questions from the others here: such a gate is of no use")
    if not dry_run:
        output.print(f"Written to {workspace.settings}: search, ask, chat and compare keep to it.", markup=False)


def _print_gate(gate: Gate) -> None:
    output.print(f"Gate: cosine {gate.cosine:.3f} of a question and its nearest passage\n")
    for name, estimate in (
        ("AUC, your questions against others", gate.auc),
        ("accuracy", gate.accuracy),
        ("your questions let in", gate.kept),
        ("other questions refused", gate.refused),
    ):
        output.print(f"{name:<36} {_shown(estimate)}")
    if gate.missing is not None:
        output.print("\nWith the documents that answer taken out, which is what the gate cannot see:")
        output.print(f"{'AUC, documents there against missing':<36} {_shown(gate.missing.auc)}")
        output.print(f"{'your questions refused':<36} {_shown(gate.missing.refused)}")
    output.print()


def _shown(estimate: Estimate) -> str:
    return f"{estimate.mean:.3f} ({estimate.interval.low:.3f} to {estimate.interval.high:.3f})"
