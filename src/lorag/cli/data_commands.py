"""``lorag data`` checks, converts and makes training data; ``lorag questions`` makes and checks test questions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.cli.screen import FAILED, Json, output, print_json, print_table, progress_bars, translated_errors
from lorag.cli.shared_options import described
from lorag.settings import RecipeSettings

if TYPE_CHECKING:
    from lorag.training.data.inspection import Finding
    from lorag.training.data.token_lengths import Segment, TokenReport
    from lorag.types import Example
    from lorag.workflows.check_data import DataReport
    from lorag.workflows.questions.checking import QuestionReport
    from lorag.workflows.questions.making import MadeQuestions
    from lorag.workflows.synthesize import AugmentReport

app = typer.Typer(help="Check, convert and make training data.", no_args_is_help=True)
questions_app = typer.Typer(help="Make test questions from documents, and check your own.", no_args_is_help=True)
_TEN = 10
"""Made questions shown."""
_NAMED = 5
"""Questions named in a finding."""

Source = Annotated[
    Path,
    typer.Argument(help="A .jsonl, .json, .csv or .tsv file, a folder of them, or OWNER/NAME of a hub's data set."),
]


@app.command(epilog="Example: lorag data check chat.jsonl --model smollm2-135m --questions qa.jsonl")
def check(
    source: Source,
    model: Annotated[str | None, typer.Option(help="Count in this model's tokens, under its template.")] = None,
    questions: Annotated[Path | None, typer.Option(help="A qa.jsonl: count the rows that ask its questions.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Count the rows longer than that.")] = None,
    json: Json = False,
) -> None:
    """Check every row of training data; exit code 1 if one cannot be trained on."""
    from lorag.workflows.check_data import check_data

    with translated_errors(), progress_bars() as progress:
        report = check_data(source, model=model, questions=questions, max_tokens=max_tokens, progress=progress)
    if json:
        print_json({**asdict(report), "sound": report.sound})
    else:
        _print_report(report)
    if not report.sound:
        raise typer.Exit(FAILED)


@app.command(epilog="Example: lorag data convert alpaca.json --out chat.jsonl")
def convert(
    source: Source, out: Annotated[Path, typer.Option(help="The .jsonl file to write.")], json: Json = False
) -> None:
    """Write the readable rows as messages of role and content, and list what was left out."""
    from lorag.workflows.check_data import convert_data

    with translated_errors():
        done = convert_data(source, out)
    if json:
        print_json(asdict(done))
        return
    output.print(f"{done.written} conversations written to {out}", markup=False)
    if done.left_out:
        left_out = sum(finding.rows for finding in done.left_out)
        output.print(f"{left_out} rows left out:{_reasons(done.left_out)}", markup=False)


@app.command(epilog="Example: lorag data synthesize docs/ --out chat.jsonl --with qwen2.5-coder-0.5b")
def synthesize(
    documents: Annotated[Path, typer.Argument(help="A folder of documents, or one file, such as a docs.jsonl.")],
    out: Annotated[Path, typer.Option(help="The .jsonl file to write; held-out documents go into another beside it.")],
    model: Annotated[
        str, typer.Option("--with", help="A model that writes in addition to the rules (default: rules alone).")
    ] = "none",
    held_out: Annotated[float, typer.Option(help="Share of the documents held out to measure the training.")] = 0.1,
    json: Json = False,
) -> None:
    """Write questions and answers about documents, to train on."""
    from lorag.workflows.synthesize import synthesize_data

    with translated_errors(), progress_bars() as progress:
        done = synthesize_data(documents, out, model=model, held_out_share=held_out, progress=progress)
    if json:
        print_json(asdict(done))
        return
    for made, path in ((done.learned, done.out), (done.held_out, done.held_out_file)):
        if made is not None:
            output.print(
                f"{len(made.pairs)} questions about {made.passages} passages written to {path}; of {made.proposed}"
                f" proposed, {made.unsupported} were refused as unsupported, {made.unanswerable} because the model"
                f" answers differently, {made.repeated} as repeated",
                markup=False,
            )


@app.command(epilog="Example: lorag data augment chat.jsonl --out wide.jsonl --questions qa.jsonl")
def augment(
    source: Source,
    out: Annotated[Path, typer.Option(help="The .jsonl file to write.")],
    documents: Annotated[
        Path | None, typer.Option(help="The documents of the conversations, to check what a model rewords.")
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(help="A qa.jsonl: leave out rows that ask its questions, or nearly.")
    ] = None,
    wordings: Annotated[int, typer.Option(help=described(RecipeSettings, "wordings"))] = 10,
    model: Annotated[
        str, typer.Option("--with", help="A model that rewords in addition to the rules (default: rules alone).")
    ] = "none",
    json: Json = False,
) -> None:
    """Write conversations with further wordings of each; exit code 1 if a model stopped before the end."""
    from lorag.workflows.synthesize import augment_data

    with translated_errors(), progress_bars() as progress:
        done = augment_data(
            source,
            out,
            documents=documents,
            with_model=model,
            wordings=wordings,
            exclude=questions,
            progress=progress,
        )
    if json:
        print_json(asdict(done))
    else:
        _print_augmented(done, model)
    if done.counts.stopped:
        raise typer.Exit(FAILED)


def _print_augmented(done: AugmentReport, model: str) -> None:
    counts = done.counts
    given = counts.given - counts.left_out
    unproven = f", {counts.unproven} of these unproven" if counts.unproven else ""
    lines = [
        f"{done.written} conversations written to {done.out}: {given} given, {counts.by_rules} by rules,"
        f" {counts.by_model} by a model{unproven}; {counts.facts} facts have further wordings",
        f"Kept without further wordings: {_counts(counts.unchanged.items()) or 'none'}",
        f"Rows that ask the same as another but answer differently: {_places(done.contradicting)}",
        f"Left out because they ask a test question, or nearly: {counts.left_out}",
        f"New wordings refused: {_counts(counts.refused.items()) or 'none'}",
    ]
    if counts.stopped:
        lines.append(
            f"{model} stopped with {counts.unwritten} questions to go: {counts.stopped}; run the same command again to"
            " resume"
        )
    for number, line in enumerate(lines, start=1):
        output.print(f"{number}. {line}", markup=False)


def _print_report(report: DataReport) -> None:
    tested = "not looked for; name the questions with --questions"
    if report.tested is not None and report.nearly_tested is not None:
        tested = f"{_places(report.tested)}; nearly (four fifths of the words): {_places(report.nearly_tested)}"
    lines = (
        f"{report.rows} rows read: {report.kept} kept, {report.rows - report.kept} refused{_reasons(report.refused)}",
        f"Read as: {_counts(report.shapes.items()) or 'nothing'}",
        f"Keys not read: {_counts(report.unread.items()) or 'none'}",
        f"Rows equal to an earlier one: {_places(report.repeated)}",
        f"Rows that ask the same as another but answer differently: {_places(report.contradicting)}",
        f"Rows that ask a test question: {tested}",
    )
    for number, line in enumerate(lines, start=1):
        output.print(f"{number}. {line}", markup=False)
    _print_tokens(len(lines) + 1, report.tokens)


def _print_tokens(number: int, tokens: TokenReport | None) -> None:
    if tokens is None:
        output.print(f"{number}. Tokens: not counted; name a model with --model", markup=False)
        return
    left_out = f"{_places(tokens.too_long)}; training leaves them out whole and cuts none"
    if tokens.cut.rows:
        left_out += f"; of plain text: {_places(tokens.cut)}, learned in windows of {tokens.max_tokens} tokens"
    output.print(f"{number}. Longer than {tokens.max_tokens} tokens of {tokens.model}: {left_out}", markup=False)
    if tokens.refused:
        output.print(f"   Refused by the template of {tokens.model}:{_reasons(tokens.refused)}", markup=False)
    if tokens.conversations is not None and tokens.answers is not None:
        parts = (("whole row", tokens.conversations), ("learned part", tokens.answers))
        rows = [(name, str(part.min), str(part.median), str(part.p95), str(part.max)) for name, part in parts]
        print_table(("tokens", "min", "median", "p95", "max"), rows)
    for segments, what in ((tokens.example, "As"), (tokens.text, "Plain text as")):
        number += bool(segments)
        _print_segments(f"{number}. {what} {tokens.model} sees it, with the learned text", segments)


def _print_segments(title: str, segments: Sequence[Segment]) -> None:
    if not segments:
        return
    output.print(f"{title} between >> and <<:\n", markup=False)
    for segment in segments:
        text = f">>{segment.text}<<" if segment.supervised else segment.text
        output.print(text, end="", markup=False, style="bold" if segment.supervised else None)
    output.print()


def _reasons(findings: Iterable[Finding]) -> str:
    return "".join(f"\n   {_places(finding)}: {finding.reason}" for finding in findings)


def _places(finding: Finding) -> str:
    """The number of rows and the first places, such as ``2 (chat.jsonl:3, chat.jsonl:7)``."""
    if not finding.rows:
        return "0"
    more = ", …" if finding.rows > len(finding.first) else ""
    return f"{finding.rows} ({', '.join(finding.first)}{more})"


def _counts(counted: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counted)


@questions_app.command(epilog="Example: lorag questions make docs/ --out qa.jsonl")
def make(
    documents: Annotated[Path, typer.Argument(help="A folder of documents, or one file, such as a docs.jsonl.")],
    out: Annotated[Path, typer.Option(help="The qa.jsonl to write.")],
    count: Annotated[int, typer.Option(help="How many questions to make, if the documents hold enough facts.")] = 100,
    model: Annotated[
        str,
        typer.Option(
            "--with", help="A model that also writes questions, and checks all of them (default: rules alone)."
        ),
    ] = "none",
    seed: Annotated[int, typer.Option(help="Seed for the choice of sections and questions.")] = 0,
    json: Json = False,
) -> None:
    """Make test questions about documents, with references and the place that answers each."""
    from lorag.workflows.questions.making import make_questions

    with translated_errors(), progress_bars() as progress:
        made = make_questions(documents, out, count=count, model=model, seed=seed, progress=progress)
    if json:
        print_json({**asdict(made), "kinds": made.kinds, "paraphrases": made.paraphrases, "not_asked": made.not_asked})
    else:
        print_made(made)


def print_made(made: MadeQuestions) -> None:
    """What was made, and ten of the questions."""
    kinds = ", ".join(f"{number} {kind}" for kind, number in made.kinds.items())
    left_out = f"{made.ambiguous} ambiguous, {made.given_away} that give the answer away"
    unread = f", {made.unread} that the model answers differently" if made.unread else ""
    output.print(
        f"{len(made.examples)} questions about {made.asked_about} of {made.documents} documents written to {made.out}:"
        f" {kinds}; {made.paraphrases} other wordings of them; of {made.candidates} found, left out:"
        f" {left_out}{unread}\n",
        markup=False,
    )
    if reasons := _without_questions(made):
        output.print(f"Documents without a question: {reasons}\n", markup=False)
    for example in made.examples[:_TEN]:
        output.print(f"- {example.question}\n  {_answered(example)}", markup=False)


def _without_questions(made: MadeQuestions) -> str:
    """How many documents have no question, by reason; empty where each has one."""
    reasons = {
        "in which nothing was found that can be asked": made.without_facts,
        "whose statements are kept for training": made.kept_for_training,
        "of which no question was chosen (--count) or all were left out": made.not_asked,
    }
    return ", ".join(f"{number} {reason}" for reason, number in reasons.items() if number)


def _answered(example: Example) -> str:
    return " | ".join(example.answers) if example.answers else "not answered by the documents: refusing is right"


@questions_app.command("check", epilog="Example: lorag questions check qa.jsonl --documents docs/ --train chat.jsonl")
def check_test(
    questions: Annotated[Path, typer.Argument(help="The qa.jsonl to check.")],
    documents: Annotated[Path, typer.Option(help="The documents that the questions are about.")],
    train: Annotated[Path | None, typer.Option(help="Training conversations, to find questions that leak.")] = None,
    json: Json = False,
) -> None:
    """Find mistakes in test questions, and the smallest difference they can show; exit code 1 if there is a mistake."""
    from lorag.workflows.questions.checking import check_questions

    with translated_errors():
        report = check_questions(questions, documents, train=train)
    if json:
        print_json({**asdict(report), "sound": report.sound})
    else:
        _print_question_report(report)
    if not report.sound:
        raise typer.Exit(FAILED)


def _print_question_report(report: QuestionReport) -> None:
    leaks = "not looked for; name the training data with --train" if report.leaks is None else _ids(report.leaks)
    few = " (too few to generalise to others)" if report.too_few_documents else ""
    shown = "none" if report.detectable is None else f"{100 * report.detectable:.0f} points"
    lines = (
        f"{report.questions} questions, {report.unanswerable} of them without an answer",
        f"Leaked, because training data asks them or is from their section: {leaks}",
        f"Repeat an earlier question: {_ids(report.repeated)}",
        f"Ambiguous, with two answers: {_ids(report.ambiguous)}",
        f"Not supported, because no reference is in their documents: {_ids(report.unsupported)}",
        f"Made from two documents, of which one is enough: {_ids(report.one_sided)}",
        f"Give away their own answer: {_ids(report.given_away)}",
        f"With a single reference: {_ids(report.single)}",
        f"Documents asked about: {report.documents}, which count as {report.effective_documents:.1f}{few}",
        f"Smallest difference between two arms that can be shown: {shown} (if they differ on 30 % of the questions)",
    )
    for number, line in enumerate(lines, start=1):
        output.print(f"{number}. {line}", markup=False)


def _ids(ids: Sequence[str]) -> str:
    """The number of questions and the first of them, such as ``2 (q3, q7)``."""
    more = ", …" if len(ids) > _NAMED else ""
    return f"{len(ids)} ({', '.join(ids[:_NAMED])}{more})" if ids else "0"
