"""The headline metric agrees with people: kappa, right answers counted as wrong, and wrong ones counted as right.

Answers of five systems to open-domain questions, each marked right or wrong by people (`judged/qa.jsonl` in --data or
LORAG_DATA: `question`, `answers`, `system`, `prediction`, `right`). The rules of the metric were chosen on half A of
the questions alone, those whose SHA-256 begins with an even byte; half B is held out. Claims, on half B: kappa at least
0.75, fewer than 12 % of right answers counted as wrong, at most 4 points between the agreement on answers of fewer than
4 and of more than 20 words, and the same sign for every difference between two systems that people's interval shows.

Intervals resample questions. Prints tables in Markdown, then JSON; the exit code is 1 if a claim does not hold.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations
from pathlib import Path

from lorag.evaluation.answers.matching.reading import read
from lorag.evaluation.answers.metrics import LENIENT, NORMAL, STRICT, Correct, NewContentRecall, normalise
from lorag.evaluation.marks.rater_agreement import kappa
from lorag.evaluation.statistics import Estimate, mean_interval, paired_difference
from lorag.files import read_jsonl
from lorag.settings import VerdictSettings
from lorag.types import Answer, Example

SETTINGS = VerdictSettings()
LONG_REFERENCE = 8
"""Words from which a reference is a text rather than a value."""
LEAST_KAPPA, MOST_FALSE_WRONG, MOST_BETWEEN_LENGTHS = 0.75, 0.12, 0.04


@dataclass(frozen=True, slots=True)
class Marked:
    """One answer as people and as the metric see it."""

    question: str
    system: str
    words: int
    references: int
    kind: str
    people: bool
    ours: bool


LENGTHS: dict[str, Callable[[Marked], bool]] = {
    "fewer than 4 words": lambda row: row.words < 4,
    "4 to 20 words": lambda row: 4 <= row.words <= 20,
    "more than 20 words": lambda row: row.words > 20,
}
REFERENCES: dict[str, Callable[[Marked], bool]] = {
    "1 reference": lambda row: row.references == 1,
    "2 to 4 references": lambda row: 2 <= row.references <= 4,
    "5 and more references": lambda row: row.references >= 5,
}

KINDS: dict[str, Callable[[Marked], bool]] = {
    "yes or no": lambda row: row.kind == "yes or no",
    "a number": lambda row: row.kind == "a number",
    "a date or a year": lambda row: row.kind == "a date or a year",
    "a person": lambda row: row.kind == "a person",
    "another name or a few words": lambda row: row.kind == "another name or a few words",
    "a list of which all is needed": lambda row: row.kind == "a list of which all is needed",
    "a long text": lambda row: row.kind == "a long text",
}


def kind_of(question: str, references: Sequence[str]) -> str:
    """What is asked for, by the form that most references have; a list or a long text where all have it."""

    def most(of: Callable[[str], bool]) -> bool:
        return 2 * sum(map(of, references)) > len(references)

    if any(normalise(reference) in ("yes", "no", "true", "false") for reference in references):
        return "yes or no"
    if all(len(reference.split()) >= LONG_REFERENCE for reference in references):
        return "a long text"
    if all(re.search(r" (?:and|&) |\n|,.+, ", reference) for reference in references):
        return "a list of which all is needed"
    asks_when = re.search(r"\b(?:when|year|date|day|month|decade|century)\b", question.lower())
    if most(is_figure) and any(map(re.compile(r"\d").search, references)):
        return "a date or a year" if asks_when and not re.search(r"\bhow\b", question.lower()) else "a number"
    return "a person" if re.search(r"\bwho(?:se|m)?\b", question.lower()) else "another name or a few words"


def is_figure(text: str) -> bool:
    """Whether a reference is a figure or a date, with at most its unit."""
    beside, figures = text, read(text).quantities
    for figure in figures:
        beside = beside.replace(figure.text, " ")
    return bool(figures) and len(beside.split()) <= 2 and beside == beside.lower()


def half(question: str) -> str:
    """A, on which the rules were chosen, or B, which tells."""
    return "AB"[sha256(question.encode()).digest()[0] % 2]


def mark(path: Path) -> dict[str, list[Marked]]:
    """The rows of a file under each grade."""
    rows = [row for _, row in read_jsonl(path)]
    examples = [Example(row["id"], row["question"], tuple(row["answers"])) for row in rows]
    answers = [Answer(row["prediction"]) for row in rows]
    recall = NewContentRecall.fit(examples)
    kinds = {example.question: kind_of(example.question, example.answers) for example in examples}
    return {
        grade.name: [
            Marked(
                e.question,
                row["system"],
                len(row["prediction"].split()),
                len(e.answers),
                kinds[e.question],
                row["right"],
                bool(s.value),
            )
            for row, e, s in zip(rows, examples, Correct(recall, grade).score(examples, answers), strict=True)
        ]
        for grade in (NORMAL, STRICT, LENIENT)
    }


def agreement(rows: Sequence[Marked]) -> Estimate:
    """Cohen's kappa of people and the metric, with its interval over questions."""
    return kappa([row.people for row in rows], [row.ours for row in rows], [row.question for row in rows], SETTINGS)


def share(rows: Sequence[Marked], of: Callable[[Marked], bool], value: Callable[[Marked], bool]) -> str:
    """In percent, with its interval, among the rows that ``of`` takes; a dash where there are none."""
    taken = [row for row in rows if of(row)]
    if not taken:
        return "–"
    estimate = mean_interval([float(value(row)) for row in taken], [row.question for row in taken], SETTINGS)
    return f"{100 * estimate.mean:.1f} % ({100 * estimate.interval.low:.1f} to {100 * estimate.interval.high:.1f})"


def agreement_table(name: str, rows: Sequence[Marked]) -> Iterator[str]:
    """A line of Markdown for all rows and for each kind of them."""
    yield f"| {name} | answers | kappa | agreement | wrong although right | right although wrong |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for kind, takes in {"all": lambda row: True, **LENGTHS, **REFERENCES, **KINDS}.items():
        taken = [row for row in rows if takes(row)]
        if not taken:
            continue
        found = agreement(taken)
        yield (
            f"| {kind} | {len(taken)} | {found.mean:.2f} ({found.interval.low:.2f} to {found.interval.high:.2f})"
            f" | {share(taken, lambda row: True, lambda row: row.people == row.ours)}"
            f" | {share(taken, lambda row: row.people, lambda row: not row.ours)}"
            f" | {share(taken, lambda row: not row.people, lambda row: row.ours)} |"
        )


def pair_table(rows: Sequence[Marked]) -> tuple[list[str], int]:
    """Differences between systems for people and for the metric, and how many that people's interval shows turn."""
    by_system: dict[str, dict[str, Marked]] = {}
    for row in rows:
        by_system.setdefault(row.system, {})[row.question] = row
    lines, turned = ["| pair | people | metric |", "| --- | ---: | ---: |"], 0
    for first, second in combinations(sorted(by_system), 2):
        questions = sorted(by_system[first].keys() & by_system[second].keys())
        one, other = ([by_system[system][question] for question in questions] for system in (first, second))
        people = paired_difference([r.people for r in one], [r.people for r in other], questions, SETTINGS)
        ours = paired_difference([r.ours for r in one], [r.ours for r in other], questions, SETTINGS)
        shown = people.interval.low > 0 or people.interval.high < 0
        turned += shown and people.mean * ours.mean <= 0
        cells = [
            f"{100 * each.mean:+.1f} ({100 * each.interval.low:+.1f} to {100 * each.interval.high:+.1f})"
            for each in (people, ours)
        ]
        lines.append(f"| {first} - {second} | {' | '.join(cells)} |")
    return lines, turned


def main() -> int:
    """Prints the tables of both halves; 1 where a claim does not hold on half B."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("LORAG_DATA", "data")), help="folder of the sets"
    )
    path = parser.parse_args().data / "judged" / "qa.jsonl"
    if not path.is_file():
        print(f"skipped: there is no {path}; name the folder of the sets by --data or LORAG_DATA")
        return 0
    marked = mark(path)
    told: dict[str, float] = {}
    for name in "AB":
        rows = [row for row in marked["normal"] if half(row.question) == name]
        pairs, told["turned"] = pair_table(rows)
        print("\n".join([*agreement_table(f"half {name}", rows), "", *pairs, ""]))
        for grade in ("strict", "lenient"):
            told[grade] = agreement([row for row in marked[grade] if half(row.question) == name]).mean
            print(f"kappa of the {grade} grade: {told[grade]:.2f}")
    right = [row for row in rows if row.people]
    told["kappa"] = agreement(rows).mean
    told["false wrong"] = sum(not row.ours for row in right) / len(right)
    short, _, long = (
        sum(row.people == row.ours for row in taken) / len(taken)
        for taken in ([row for row in rows if takes(row)] for takes in LENGTHS.values())
    )
    told["between lengths"] = abs(short - long)
    holds = (
        told["kappa"] >= LEAST_KAPPA
        and told["false wrong"] < MOST_FALSE_WRONG
        and told["between lengths"] <= MOST_BETWEEN_LENGTHS
        and not told["turned"]
    )
    print(json.dumps({"holds": holds, **told}))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
