"""What results are worth, beside ``lorag compare``.

``lorag evaluate`` scores trainings on tasks of lm-evaluation-harness; in ``lorag review`` people mark answers;
a comparison is checked against an earlier one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.cli.assistant_commands import Model
from lorag.cli.screen import (
    Json,
    output,
    print_json,
    print_note,
    print_sources,
    print_table,
    print_warning,
    progress_bars,
    translated_errors,
)
from lorag.errors import InputError

if TYPE_CHECKING:
    from lorag.evaluation.comparison import Comparison
    from lorag.evaluation.lm_eval_harness import TaskChange
    from lorag.evaluation.marks.marking import BlindAnswer, Mark
    from lorag.evaluation.marks.review import Review
    from lorag.evaluation.regression.old_run import OldRun
    from lorag.files import LineLog
    from lorag.settings import CompareSettings

BROKEN = 3
"""Exit code where a requirement is not met, or an arm is significantly worse than in the old run."""
Against = Annotated[
    Path | None,
    typer.Option(help="The folder of an earlier run, to see what changed; exit code 3 if anything got worse."),
]
Junit = Annotated[Path | None, typer.Option(help="A JUnit XML file to write: requirements, and what got worse.")]
MarkdownFile = Annotated[Path | None, typer.Option("--markdown", help="A Markdown file to write, for a pull request.")]
_MARKS: dict[str, Mark] = {"r": "right", "w": "wrong", "u": "unsupported", "p": "partly"}
_KEYS = "r right, w wrong, p partly, u right but adds something unsupported, e evidence, s skip, b back, q quit"
TASKS = "A YAML task file of lm-evaluation-harness whose data is on this machine, or a folder of such files"


def evaluate(
    adapter: Annotated[Path, typer.Argument(help="The folder that `lorag finetune` wrote.")],
    tasks: Annotated[Path, typer.Option(help=f"{TASKS}.")],
    model: Model = None,
    json: Json = False,
) -> None:
    """Score a finetune and its base on tasks of lm-evaluation-harness."""
    from lorag.workflows.evaluate import evaluate as run_evaluation

    with translated_errors(), progress_bars() as progress:
        changes = run_evaluation(adapter, tasks, model=model, progress=progress)
    if json:
        print_json([asdict(change) for change in changes])
    else:
        print_changes(changes)


def print_changes(changes: Sequence[TaskChange]) -> None:
    """A line a metric, with the harness's standard errors."""
    rows = [(c.task, c.metric, _shown(c.before, c.error_before), _shown(c.after, c.error_after)) for c in changes]
    print_table(("task", "metric", "before", "after"), rows, "lm-evaluation-harness (± standard error)")


def _shown(value: float, error: float | None) -> str:
    return f"{value:.3f}" + (f" ± {error:.3f}" if error is not None else "")


def review(
    run: Annotated[Path, typer.Argument(help="The folder of a finished `lorag compare`.")],
    name: Annotated[str, typer.Option(help="Your name: each reviewer has a file of marks.")] = "me",
    answers: Annotated[
        int,
        typer.Option(
            help="Number of answers to mark; a higher number than before adds more. A verdict by marks needs 20"
            " questions that are marked in every arm: up to 80 answers for four arms."
        ),
    ] = 30,
    seed: Annotated[int, typer.Option(help="Seed for the choice of questions and their order.")] = 0,
    show: Annotated[bool, typer.Option("--show", help="Show the result of the marks so far; mark nothing.")] = False,
    json: Json = False,
) -> None:
    """Mark answers of a run, one key each, without seeing which arm gave them, and compare with the metric."""
    from lorag.evaluation.marks.marking import answers_to_mark, marks_path, read_marks
    from lorag.evaluation.marks.review import review as read_review
    from lorag.evaluation.marks.review import with_marks
    from lorag.evaluation.report.html_page import write_report
    from lorag.evaluation.report.json_record import read_result
    from lorag.files import LineLog
    from lorag.workspace import Run

    with translated_errors():
        comparison = read_result(Run(run).result)
        if not (show or json):
            path = marks_path(run, name)
            marked = read_marks(path, comparison).marks
            shown = answers_to_mark(comparison, answers, seed)
            done = {number for number, each in enumerate(shown) if all(row.key in marked for row in each.rows)}
            _mark_each(shown, done, LineLog(path))
            write_report(with_marks(comparison, run), Run(run).report)
        found = read_review(comparison, run)
    if json:
        print_json(found.to_json())
    else:
        _print_review(found)


def _mark_each(shown: Sequence[BlindAnswer], done: set[int], log: LineLog) -> None:
    """Asks for a mark of each answer that has none, until the last one or until the reviewer quits."""
    from lorag.evaluation.marks.marking import add_mark

    def following(number: int) -> int:
        return next((place for place in range(number + 1, len(shown)) if place not in done), len(shown))

    number = following(-1)
    while number < len(shown):
        _print_answer(shown[number], f"{number + 1} of {len(shown)}")
        key = _key(shown[number])
        if key in _MARKS:
            add_mark(log, shown[number], _MARKS[key])
            done.add(number)
        if key == "q":
            print_note("The same command resumes.")
            break
        number = max(number - 1, 0) if key == "b" else following(number)
    print_note(f"{len(done)} of {len(shown)} answers are marked.")


def _key(shown: BlindAnswer) -> str:
    """The next key that has a meaning, where that is not to see the evidence; the end of input quits."""
    print_note(_KEYS)
    while True:
        try:
            key = typer.getchar().lower()
        except EOFError:
            return "q"
        except OSError as error:
            raise InputError("marking needs a terminal, and there is none; --show works without one") from error
        if key == "e":
            print_sources(shown.passages, texts=True)
            if not shown.passages:
                print_note("The run holds no passage that answers this question.")
        elif key in (*_MARKS, "s", "b", "q"):
            return key


def _print_answer(shown: BlindAnswer, place: str) -> None:
    output.print(f"\n{place}\nQuestion:  {shown.example.question}", markup=False)
    references = " | ".join(" and ".join(each.split("\n")) for each in shown.example.answers)
    output.print(
        f"Reference: {references or 'none: the documents do not answer it, and refusing is right'}", markup=False
    )
    output.print(f"Answer:    {shown.answer.text}", markup=False, style="bold")


def _print_review(found: Review) -> None:
    from lorag.evaluation.marks.review import agreement_rows

    for reviewer in found.reviewers:
        for refused in reviewer.refused:
            print_warning(f"not counted: {refused}")
    if not found.metrics:
        output.print("No answer of this run is marked yet.")
        return
    headings = (
        "agreement of",
        "answers",
        "AC1 (interval)",
        "kappa (interval)",
        "right by the first only",
        "right by the second only",
    )
    print_table(headings, agreement_rows([*found.metrics, *found.people]))
    for sentence in found.sentences:
        output.print(sentence, markup=False)


def old_run(
    folder: Path | None, questions: Path, out: Path | None, settings: CompareSettings, *, updated: bool
) -> OldRun | None:
    """The run to compare with, before anything is asked; None where none is named.

    ``updated`` is whether questions are asked after an update. Raises ``InputError`` for a run with which too little
    can be compared, and for the run's own folder.
    """
    from lorag.evaluation.examples import read_examples
    from lorag.evaluation.regression.old_run import common_questions, read_old_run
    from lorag.workflows.comparing.inputs import asked_of

    if folder is None:
        return None
    if out is not None and out.resolve() == folder.resolve():
        raise InputError(f"{str(folder)!r} is the folder of this run; name an earlier one with --against")
    old = read_old_run(folder)
    common_questions(old, asked_of(read_examples(questions), settings), "after" if updated else "before")
    return old


def check_build(result: Comparison, old: OldRun | None, junit: Path | None, markdown: Path | None, quiet: bool) -> None:
    """Prints what changed and what is broken, writes the files, and ends with exit code 3 where something is."""
    from lorag.evaluation.regression.build_checks import checks
    from lorag.evaluation.regression.old_run import changes_since
    from lorag.evaluation.report.junit_xml import junit_xml
    from lorag.evaluation.report.markdown_text import checks_table, to_markdown
    from lorag.files import write_whole

    with translated_errors():
        changes = changes_since(old, result) if old is not None else ()
        checked = checks(result, changes, old)
        if junit is not None:
            write_whole(junit, junit_xml(result, checked))
        if markdown is not None:
            write_whole(markdown, "\n".join(filter(None, (to_markdown(result), checks_table(checked)))))
    if changes and not quiet:
        output.print(f"\nAgainst {old.folder if old else ''}:", markup=False)
        for change in changes:
            output.print(f"- {change}", markup=False)
    broken = [check for check in checked if not check.holds]
    for check in broken:
        print_warning(f"broken: {check.name} ({check.measured})")
    if broken:
        raise typer.Exit(BROKEN)
