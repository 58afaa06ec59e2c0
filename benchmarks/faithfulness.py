"""How well Lorag separates supported claims from others, on questions and claims that people made.

*Contrast* (`squad/` in --data or LORAG_DATA): a question, its passage, and either the right answer or the answer to
another question of the same passage and kind (with a figure, with a capital, other). *Absent*: the answer to a question
of another article. *Claims* (`scifact/`): a claim and an abstract that supports it, contradicts it, or says nothing
about it. The weights of the rule were fitted on half A, the documents whose SHA-256 begins with an even byte; half B is
held out. Claims, on half B: an AUC of at least 0.85 for contrast and 0.80 for claims. References are not shown to the
rule.

`--judge MODEL` adds a judge model to the rule. Its judgements are kept in `--readings FILE`, so an interrupted run
resumes. `--fit` prints the weights of rule and reading from a logistic regression on half A.

Intervals resample documents. Prints a table in Markdown, then JSON; the exit code is 1 if a claim does not hold.
"""

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from lorag import build
from lorag.evaluation.answers.matching.words import tokens
from lorag.evaluation.answers.support.judge import Readings
from lorag.evaluation.answers.support.judging import readings_of
from lorag.evaluation.answers.support.standing import support, to_judge
from lorag.files import LineLog, read_jsonl
from lorag.types import Chunk

DRAWS = 1000
LEAST = {"contrast": 0.85, "claims": 0.80}
SETS = ("contrast", "absent", "claims")
SUPPORTED = ("right", "SUPPORT")
"""What people call supported."""


@dataclass(frozen=True, slots=True)
class Item:
    """A claim about a question, which may be empty, with its passage and what people say of it."""

    set: str
    label: str
    document: str
    question: str
    claim: str
    passage: str

    @property
    def half(self) -> str:
        """A, on which the rule was fitted, or B, which tells."""
        return "AB"[sha256(self.document.encode()).digest()[0] % 2]

    @property
    def supported(self) -> bool:
        """Whether people say so."""
        return self.label in SUPPORTED

    @property
    def shown(self) -> tuple[str, str, list[Chunk]]:
        """The claim as an answer, the question, and the passage."""
        return self.claim, self.question, [Chunk(self.document, "1", 0, len(self.passage), self.passage)]

    def score(self, readings: Readings | None = None) -> float:
        """That of the weakest of its claims, by rule or with a judge; 0 where it states nothing."""
        return min((found.score for found in support(*self.shown, readings=readings)), default=0.0)


def _kind(answer: str) -> str:
    return "figure" if re.search(r"\d", answer) else "capital" if answer[:1].isupper() else "other"


def _order(*parts: str) -> str:
    return sha256("".join(parts).encode()).hexdigest()


def squad(folder: Path, pairs: int | None) -> Iterator[Item]:
    """Right answers with one to another question of the passage, and one of another article."""
    passages = {row["doc_id"]: row["doc"] for _, row in read_jsonl(folder / "docs.jsonl")}
    rows = sorted((row for _, row in read_jsonl(folder / "qa.jsonl")), key=lambda row: _order(row["id"]))
    made = 0
    for row in rows:
        right = row["answers"][0]
        taken = {word for text in (*row["answers"], row["question"]) for word in tokens(text)}
        alike = [o for o in rows if _kind(o["answers"][0]) == _kind(right) and not taken & {*tokens(o["answers"][0])}]
        near = [other["answers"][0] for other in alike if other["doc_ids"][0] == row["doc_ids"][0]]
        far = [other["answers"][0] for other in alike if other["article"] != row["article"]]
        if not near or made == pairs:
            continue
        made += 1
        shared = (row["doc_ids"][0], row["question"])
        passage = passages[row["doc_ids"][0]]
        nearest, farthest = (min(answers, key=lambda answer: _order(row["id"], answer)) for answers in (near, far))
        for name, other in (("contrast", nearest), ("absent", farthest)):
            yield Item(name, "right", *shared, right, passage)
            yield Item(name, "wrong", *shared, other, passage)


def scifact(folder: Path, claims: int | None) -> Iterator[Item]:
    """Claims with the abstract that people judged them by."""
    passages = {row["doc_id"]: row["doc"] for _, row in read_jsonl(folder / "docs.jsonl")}
    rows = [row for name in ("qa.jsonl", "qa_train.jsonl") for _, row in read_jsonl(folder / name)]
    for row in sorted(rows, key=lambda row: _order(row["question"]))[:claims]:
        document = (row["evidence_doc_ids"] or row["doc_ids"])[0]
        yield Item("claims", row["answers"][0], document, "", row["question"], passages[document])


def auc(items: Sequence[Item], scores: Sequence[float]) -> tuple[float, float, float]:
    """The share of pairs in which the supported item scores higher, ties as half, with its interval of 95 %."""
    names = {name: number for number, name in enumerate(dict.fromkeys(item.document for item in items))}
    document = np.array([names[item.document] for item in items])
    known, values = np.array([item.supported for item in items]), np.array(scores)
    better = (values[known][:, None] > values[~known]) + 0.5 * (values[known][:, None] == values[~known])
    drawn = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
    found = [
        float(many[document[known]] @ better @ many[document[~known]])
        / (many[document[known]].sum() * many[document[~known]].sum())
        for many in drawn
    ]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(better.mean()), float(low), float(high)


def row(name: str, items: Sequence[Item], scores: Sequence[float]) -> str:
    """A line of Markdown: the AUC, and what the rule gets wrong, by label."""
    value, low, high = auc(items, scores)
    passed: dict[str, list[bool]] = {}
    for item, score in zip(items, scores, strict=True):
        passed.setdefault(item.label, []).append(score > 0)
    (missed,) = (1 - np.mean(each) for label, each in passed.items() if label in SUPPORTED)
    let = [f"{label} {100 * np.mean(each):.1f} %" for label, each in sorted(passed.items()) if label not in SUPPORTED]
    cells = (f"{value:.3f} ({low:.3f} to {high:.3f})", f"{100 * missed:.1f} %", ", ".join(let))
    return f"| {name} | {len(items)} | {' | '.join(cells)} |"


def read_by(judge: str, items: Sequence[Item], file: Path) -> Readings:
    """What a judge makes of the claims."""
    asked = [asked for item in items for asked in to_judge(*item.shown)]

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        print(f"{stage}: {done} of {total} {note}", file=sys.stderr)

    return readings_of(judge, asked, LineLog(file), lambda: build.language_model(judge), progress)


def fitted(items: Sequence[Item], readings: Readings) -> dict[str, float]:
    """Weights of what ``score_with`` adds up: both sets count alike, ridge of 3 on standard deviations."""
    rows = [(item, asked[0]) for item in items if item.half == "A" and len(asked := to_judge(*item.shown)) == 1]
    rows = [(item, asked) for item, asked in rows if asked in readings]
    found = [readings[asked] for _, asked in rows]
    means, least = ([float(of(reading.likelihoods)) for reading in found] for of in (np.mean, min))
    columns = [[item.score() for item, _ in rows], means, least]
    spread = np.std(columns, axis=1)
    x = np.column_stack([*(np.array(columns) / spread[:, None]), np.ones(len(rows))])
    y, names = np.array([item.supported for item, _ in rows]), [item.set for item, _ in rows]
    weights = np.array([len(names) / names.count(name) / len(set(names)) for name in names])
    beta, ridge = np.zeros(4), np.diag([3.0] * 3 + [1e-6])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ beta))
        beta += np.linalg.solve((x.T * weights * p * (1 - p)) @ x + ridge, x.T @ (weights * (y - p)) - ridge @ beta)
    values = [*(beta[:3] / spread), beta[3]]
    return dict(zip(("rule", "mean", "least", "bias"), np.round(values, 3).tolist(), strict=True))


def main() -> int:
    """Prints the table of both halves; 1 where a claim does not hold on half B."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("LORAG_DATA", "data")), help="folder of the sets"
    )
    parser.add_argument("--items", type=int, help="pairs, and claims, taken of each set")
    parser.add_argument("--judge", help="a model that judges beside the rule")
    parser.add_argument("--readings", type=Path, default=Path("readings.jsonl"), help="where its readings are kept")
    parser.add_argument("--fit", action="store_true", help="print weights fitted on half A")
    given = parser.parse_args()
    if not all((given.data / name / "qa.jsonl").is_file() for name in ("squad", "scifact")):
        print(
            f"skipped: squad and scifact are not in {given.data}; name the folder of the sets by --data or LORAG_DATA"
        )
        return 0
    items = [*squad(given.data / "squad", given.items), *scifact(given.data / "scifact", given.items)]
    sets: Sequence[str] = SETS
    readings = None
    if given.judge:
        sets, items = ("contrast", "claims"), [item for item in items if item.set != "absent"]
        readings = read_by(given.judge, items, given.readings)
        if given.fit:
            print(json.dumps(fitted(items, readings)))
    begun = time.process_time()
    scores = [item.score(readings) for item in items]
    seconds = (time.process_time() - begun) / len(items)
    print("| set, half | items | AUC | supported, taken as not | not supported, taken as supported |")
    print("| --- | ---: | ---: | ---: | ---: |")
    told: dict[str, float] = {"milliseconds": round(1000 * seconds, 2)}
    for name in sets:
        for half in "AB":
            taken = [(i, s) for i, s in zip(items, scores, strict=True) if (i.set, i.half) == (name, half)]
            print(row(f"{name}, {half}", *zip(*taken, strict=True)))
            told[name] = round(auc(*zip(*taken, strict=True))[0], 4)
    holds = all(told[name] >= least for name, least in LEAST.items())
    print(json.dumps({"holds": holds, **told}))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
