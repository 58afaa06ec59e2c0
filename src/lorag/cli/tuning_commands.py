"""``lorag tune``, ``calibrate`` and ``finetune-embedder``: how documents are searched is fitted to their questions."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorag.cli.assistant_commands import Model
from lorag.cli.index_command import IndexOption, chunks_of_place, place_with_index
from lorag.cli.screen import Json, output, print_json, print_table, print_warning, progress_bars, translated_errors
from lorag.cli.shared_options import EmbedderName, RerankerName, described, training_settings
from lorag.files import dump, write_whole
from lorag.settings import DEFAULT_EMBEDDER, DEFAULT_RERANKER, GATE_KEEP, TRAINABLE_EMBEDDER, EmbedderSettings
from lorag.workspace import Workspace

if TYPE_CHECKING:
    from lorag.evaluation.search.relevance_threshold import Gate
    from lorag.evaluation.statistics import Difference, Estimate
    from lorag.workflows.comparing.prompt_tuning import TunedPrompt
    from lorag.workflows.finetune_embedder import FinetunedEmbedder
    from lorag.workflows.tune import Tuned

Questions = Annotated[Path, typer.Option(help="A qa.jsonl: id, question, answers, doc_ids; one per line.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Measure, and leave the settings as they are.")]


def tune(
    documents: Annotated[Path, typer.Option(help="The documents: a folder, or one file such as a docs.jsonl.")],
    questions: Questions,
    out: Annotated[Path | None, typer.Option(help="The folder for result.json and the indexes that are tried.")] = None,
    rerank: Annotated[
        bool, typer.Option("--rerank/--no-rerank", help="Also try reranking; this takes several minutes.")
    ] = True,
    reranker: RerankerName = DEFAULT_RERANKER,
    model: Model = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Try chunk sizes, fusion weights and reranking on your questions; keep what is better.

    With --model, also try prompts with that model; this takes several minutes.
    """
    from lorag.workflows.tune import tune as run_tuning

    workspace = Workspace()
    with translated_errors(), progress_bars() as progress:
        before = workspace.chosen()
        folder = out or workspace.root / "tune"
        how: dict[str, Any] = {"rerank": rerank, "reranker": reranker, "model": model}
        found = run_tuning(documents, questions, folder, **how, progress=progress)
        weight = found.choice.way.dense_weight
        retrieval = replace(before.retrieval, dense_weight=weight, reranker=found.reranker)
        after = replace(before, chunks=found.chunks, retrieval=retrieval)
        if after.chunks != before.chunks:  # a gate is calibrated for one size of chunks
            after = replace(after, retrieval=replace(retrieval, gate_cosine=None))
        if not dry_run:
            workspace.choose(after)
            if found.prompt is not None:
                kept = {**found.prompt.choice.to_json(), **found.prompt.kept.to_json()}
                write_whole(workspace.prompt, dump(kept))
    if json:
        print_json({**asdict(found), "settings": asdict(after)})
        return
    _print_tried(found)
    if found.prompt is not None:
        _print_prompt(found.prompt)
    if not dry_run:
        output.print(
            f"Settings are in {workspace.settings}, the full result in {folder / 'result.json'}.", markup=False
        )
    if after.chunks != before.chunks:
        output.print("The chunk size has changed: run `lorag index DOCS --rebuild`, and calibrate again.", markup=False)


def _print_tried(found: Tuned) -> None:
    from lorag.evaluation.search.best_settings import Way

    headings = ("chunk tokens", "dense weight", "reranked", *found.tried[0].scores)
    rows = [
        (str(t.way.max_tokens), f"{t.way.dense_weight:g}", "yes" if t.reranked else "", *map(_shown, t.scores.values()))
        for t in found.tried
    ]
    print_table(headings, rows, f"{found.questions} questions; {found.measure!r} decides")
    if found.unfit:
        output.print(f"{len(found.unfit)} questions without answers or doc_ids were left out.")
    choice, others = found.choice, found.questions - found.choice.chosen_on
    best = f"chunks of {choice.best.max_tokens} and dense weight {choice.best.dense_weight:g}"
    gain = f"{_gain(choice.gain)} on the {others} questions of the other half"
    if choice.best == Way():
        output.print(f"The default, {best}, does best on the first half of the questions: it stays.")
    elif choice.way == choice.best:
        output.print(f"Use {best}: best on the first half of the questions, and {gain} over the default.")
    else:
        output.print(
            f"No difference is significant: the default stays. {best.capitalize()} did best on the first half of the"
            f" questions, and {gain}; about {choice.needed} questions in all would settle it."
        )
    if found.rerank_gain is not None:
        verdict = "use it" if found.reranker else "leave it off"
        output.print(f"Reranking on top of that: {_gain(found.rerank_gain)} on all questions; {verdict}.")


def _print_prompt(found: TunedPrompt) -> None:
    tried = [(str(each.prompt), each) for each in found.choice.tried]
    tried += [(f"{room} tokens of sources", each) for room, each in found.rooms.items()]
    rows = [(name, str(each.questions), f"{100 * each.right:.0f} %", f"{each.seconds:.2f}") for name, each in tried]
    print_table(("prompt", "questions", "right", "seconds"), rows, f"Prompts of {found.best.model}")
    if not tried:
        output.print("Too few questions to choose a prompt on: the default stays.")
    elif found.gain is None:
        output.print("No prompt does better than the default on the first half of the questions: it stays.")
    else:
        gain = f"{_gain(found.gain)} over the default on {found.measured_on} questions of the other half"
        verdict = "use it" if found.kept == found.best else "the gain is not significant: the default stays"
        output.print(f"Best is {found.best}: {gain}; {verdict}.", markup=False)


def calibrate(
    questions: Questions,
    off_topic: Annotated[
        Path | None, typer.Option(help="Questions about other subjects, one per line (default: everyday questions).")
    ] = None,
    embedder: EmbedderName = DEFAULT_EMBEDDER,
    store: IndexOption = None,
    keep: Annotated[float, typer.Option(help="Share of your questions that must pass the threshold.")] = GATE_KEEP,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Find the cosine below which a question is not about the documents; search and chat then refuse it."""
    from lorag import build
    from lorag.workflows.calibrate import calibrate as run_calibration

    workspace = Workspace()
    with translated_errors(), progress_bars() as progress:
        chosen = workspace.chosen()
        place = place_with_index(store)
        knowledge = build.knowledge(place, embedder, chunks_of_place(place), progress=progress)
        found = run_calibration(knowledge, questions, off_topic, keep)
        if not dry_run:
            workspace.choose(replace(chosen, retrieval=replace(chosen.retrieval, gate_cosine=found.gate.cosine)))
    if json:
        print_json(asdict(found))
        return
    _print_gate(found.gate)
    if found.gate.accuracy.interval.low <= 0.5:
        print_warning(
            "the cosines do not separate your questions from the others: a relevance threshold is of no use here"
        )
    if not dry_run:
        output.print(f"Written to {workspace.settings}: search, ask, chat and compare use it.", markup=False)


def _print_gate(gate: Gate) -> None:
    output.print(f"Relevance threshold: cosine {gate.cosine:.3f} of a question and its nearest passage\n")
    for name, estimate in (
        ("AUC, your questions vs. others", gate.auc),
        ("accuracy", gate.accuracy),
        ("your questions that pass", gate.kept),
        ("other questions refused", gate.refused),
    ):
        output.print(f"{name:<46} {_shown(estimate)}")
    if gate.missing is not None:
        output.print("\nWithout the documents that answer, a case that the threshold cannot detect:")
        output.print(f"{'AUC, answering documents present vs. removed':<46} {_shown(gate.missing.auc)}")
        output.print(f"{'your questions refused':<46} {_shown(gate.missing.refused)}")
    output.print()


def finetune_embedder(
    documents: Annotated[Path, typer.Argument(help="The documents: a folder, or one file such as a docs.jsonl.")],
    out: Annotated[Path, typer.Option(help="The folder to write; name it with --embedder afterwards.")],
    questions: Annotated[
        Path | None, typer.Option(help="A qa.jsonl: id, question, answers, doc_ids (default: questions made by rules).")
    ] = None,
    base: Annotated[str, typer.Option(help="The embedder to train: a catalogue name, or a folder.")] = (
        TRAINABLE_EMBEDDER
    ),
    epochs: Annotated[int, typer.Option(help=described(EmbedderSettings, "epochs"))] = EmbedderSettings().epochs,
    learning_rate: Annotated[
        float, typer.Option(help=described(EmbedderSettings, "learning_rate"))
    ] = EmbedderSettings().learning_rate,
    json: Json = False,
) -> None:
    """Train an embedder on questions and their passages, and report whether search finds more with it."""
    from lorag.workflows.finetune_embedder import finetune_embedder as run_training

    with translated_errors(), progress_bars() as progress:
        done = run_training(
            documents,
            out,
            questions=questions,
            base=base,
            settings=training_settings(EmbedderSettings(), epochs=epochs, learning_rate=learning_rate),
            chunks=Workspace().chosen().chunks,
            progress=progress,
        )
    if json:
        print_json({**asdict(done), "recommended": done.recommended})
        return
    _print_embedder(done, documents)


def _print_embedder(done: FinetunedEmbedder, documents: Path) -> None:
    made = " made by rules" if done.synthetic else ""
    output.print(
        f"Trained {done.base} on {done.questions} questions{made} and {done.hard_negatives} hard negatives; loss"
        f" {' -> '.join(f'{loss:.2f}' for loss in done.losses)}.",
        markup=False,
    )
    rows = [(name, *map(_shown, scores.values())) for name, scores in done.scores.items()]
    headings = ("embedder", *next(iter(done.scores.values())))
    print_table(headings, rows, f"{done.held_out} questions{made} about documents that were held out")
    for name, gain in done.gains.items():
        output.print(f"nDCG@10 over {name}: {_gain(gain)}.", markup=False)
    if done.synthetic:
        output.print("Questions of your own may be worded differently: measure on them with --questions.")
    if done.recommended:
        output.print(f"Use it: lorag index {documents} --embedder {done.folder} --rebuild", markup=False)
        output.print("A calibrated relevance threshold belongs to the other embedder: calibrate again.")
    else:
        output.print("Not recommended: no significant gain over each of the others.")


def _shown(estimate: Estimate) -> str:
    return f"{estimate.mean:.3f} ({estimate.interval.low:.3f} to {estimate.interval.high:.3f})"


def _gain(difference: Difference) -> str:
    low, high = difference.interval.low, difference.interval.high
    return f"{100 * difference.mean:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
