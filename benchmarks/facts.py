"""With equal updates, a fact trained in ten wordings is learned better than the same fact trained as often in one.

A small model is trained with LoRA on the same facts in 1, 3 or 10 wordings each, repeated so that all trainings make
the same number of updates of as many conversations. Then it is asked without sources, with greedy decoding, in wordings
that no training saw; an answer is right if it contains a reference. Intervals are 95 %, over facts with all their
wordings and the mean of the seeds.

``bundled``: 40 facts in 12 documents of the bundled corpus (facts.jsonl), asked in three wordings. ``updates_eol``: 40
facts of release tables, from templates (facts_updates_eol.jsonl), asked in four; LORAG_DATA names the folder of the
set. ``synthesised``: the bundled facts again, learned from the data that rules, a local model, or both make from their
documents, with the ten wordings as the ceiling; it claims only that both together teach more than the untrained model
knows.

The rate is five times the default, so that so few updates teach anything; nothing here shows which rate is best. The
last line printed is JSON; the exit code is 1 if the claim does not hold.
"""

import argparse
import json
import os
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from statistics import fmean

from lorag import build
from lorag.chat.bot import ChatBot
from lorag.chat.prompts import as_served
from lorag.documents.chunking import split
from lorag.documents.load import load_documents
from lorag.evaluation.answers.metrics import contains, normalise
from lorag.evaluation.examples import read_examples, sample
from lorag.evaluation.labels import points, share
from lorag.evaluation.statistics import mean_interval, paired_difference
from lorag.files import LineLog, draw, fingerprint, read_jsonl
from lorag.interfaces import LanguageModel
from lorag.settings import REFUSAL, ChatSettings, ChunkSettings, FinetuneSettings
from lorag.training.data.inspection import overlap
from lorag.training.data.qa_synthesis import synthesize
from lorag.types import Conversation, Example, Message, Sampling
from lorag.workflows.finetuning.adapter_training import train_adapter
from lorag.workflows.synthesize import ask_from

HERE = Path(__file__).parent
ROWS = 4
"""Conversations of one update."""
PASSES = 30
"""Passes over one wording a fact; ten wordings are passed three times."""
ANSWER = ChatSettings(sampling=Sampling(max_tokens=40))
SUBJECTS = {
    "latest": r"What is the latest version of (.+)\?",
    "released": r"When was (.+) first released\?",
    "eol": r"When does (.+) reach end of life\?",
}
"""How the questions of a field of updates_eol name what they ask about."""
WORDINGS = (("3 wordings", "1 wording"), ("10 wordings", "3 wordings"), ("10 wordings", "1 wording"))
COMPARED = {
    "bundled": WORDINGS,
    "updates_eol": WORDINGS,
    "synthesised": (("both", "rules"), ("both", "model"), ("10 wordings", "both"), ("both", "untrained")),
}
"""The differences of each set; the last one is its claim."""
BAR = 0.0
"""What the interval of that difference lies above."""

Told = Mapping[str, Sequence[Conversation]]
"""What is told of each fact, by its id."""


def main() -> int:
    """Prints every training, all shares and differences, and the claim; 0 when it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="bundled", choices=list(COMPARED))
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--writer", default="qwen2.5-coder-0.5b", help="the model that writes training data")
    parser.add_argument("--facts", type=int, default=40, help=f"a multiple of {ROWS}")
    parser.add_argument("--updates", type=int, help=f"of each training; {PASSES} passes over one wording if not given")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--general-text-share", type=float, default=0.0, help="makes further updates")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each kind")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "lorag-facts")
    options = parser.parse_args()
    whole = options.facts // ROWS * PASSES
    options.updates = options.updates or whole
    if options.facts % ROWS or options.updates % whole:
        parser.error(f"--facts must be a multiple of {ROWS}, and --updates of facts / {ROWS} x {PASSES}")
    examples, told = updates_eol(options.facts) if options.set == "updates_eol" else bundled(options.facts)
    require_held_out(examples, told)
    made = synthesised(examples, options) if options.set == "synthesised" else {}
    right = {"untrained": [asked(build.trainable_model(options.model, FinetuneSettings()), examples)]}
    for seed in range(options.seeds):
        counts = (10,) if made else (1, 3, 10)
        lessons = made | {f"{n} wording{'s' * (n > 1)}": in_wordings(told, n, seed) for n in counts}
        for kind, lesson in lessons.items():
            settings = FinetuneSettings(
                learning_rate=options.rate, general_text_share=options.general_text_share, seed=seed
            )
            answered = learned(kind, lesson, examples, settings, options.updates, options.model)
            right.setdefault(kind, []).append(answered)
    return verdict(options, examples, right)


def bundled(limit: int) -> tuple[list[Example], Told]:
    """Facts of the bundled corpus, and the wordings in which they are told."""
    told: dict[str, list[Conversation]] = defaultdict(list)
    for _, row in read_jsonl(HERE / "facts.jsonl"):
        told[row["id"]].append(pair(row["question"], row["answer"]))
    with as_file(files("lorag") / "corpus" / "questions.jsonl") as path:
        examples = sample([example for example in read_examples(path) if example.id in told], limit, seed=0)
    return examples, {example.id: told[example.id] for example in examples}


def updates_eol(limit: int) -> tuple[list[Example], Told]:
    """Facts of the first version of updates_eol that no wording gives away, and their templates filled in."""
    data = os.environ.get("LORAG_DATA", "")
    if not data:
        raise SystemExit("LORAG_DATA must name the folder with updates_eol/qa.jsonl")
    read = read_examples(Path(data) / "updates_eol" / "qa.jsonl")
    fit = [e for e in read if e.answers and not any(contains(wording, e.answers) for wording in wordings(e))]
    examples = sample(fit, limit, seed=0)
    templates = [row for _, row in read_jsonl(HERE / "facts_updates_eol.jsonl")]
    told: dict[str, list[Conversation]] = {}
    for example in examples:
        named = re.fullmatch(SUBJECTS[example.meta["field"]], example.question)
        if named is None:
            raise SystemExit(f"{example.question!r} names its subject in an unknown way")
        told[example.id] = [
            pair(row["question"].format(subject=named[1]), row["answer"].format(subject=named[1], answer=reference))
            for row in templates
            for reference in example.answers[:1]
            if row["field"] == example.meta["field"]
        ]
    return examples, told


def synthesised(examples: Sequence[Example], options: argparse.Namespace) -> dict[str, Sequence[Conversation]]:
    """What each kind makes of the documents that hold the facts, without the wordings that are asked."""
    holding = {name for example in examples for name in example.evidence}
    with as_file(files("lorag") / "corpus" / "docs") as folder:
        documents = [document for document in load_documents(folder).documents if document.id in holding]
    writer = build.answering_model(options.writer)
    chunks = [c for document in documents for c in split(document, ChunkSettings().max_tokens, writer.count_tokens)]
    log = LineLog(options.keep / f"written-{fingerprint([writer.name])}.jsonl")
    exclude = [wording for example in examples for wording in wordings(example)]
    found: dict[str, Sequence[Conversation]] = {}
    for kind, rules, model in (("rules", True, None), ("model", False, writer), ("both", True, writer)):
        made = synthesize(chunks, model, ask_from, rules=rules, exclude=exclude, log=log)
        covered = sum(
            any(p.document_id in e.evidence and contains(p.answer, e.answers) for p in made.pairs) for e in examples
        )
        print(
            f"{kind}: {len(made.pairs)} pairs about {made.passages} passages of {len(documents)} documents"
            f" ({made.proposed} proposed); answers to {covered} of {len(examples)} facts among them",
            flush=True,
        )
        found[kind] = made.conversations
    return found


def pair(question: str, answer: str) -> Conversation:
    """One question and its answer, to be trained on."""
    return Conversation((Message("user", question), Message("assistant", answer)))


def wordings(example: Example) -> tuple[str, ...]:
    """Everything the example is asked as; none of it is trained on."""
    return (example.question, *example.paraphrases)


def require_held_out(examples: Sequence[Example], told: Told) -> None:
    """Ends the program where a trained wording is nearly one of those that are asked."""
    placed = [(lesson.question, lesson) for lessons in told.values() for lesson in lessons]
    same, near = overlap(placed, [wording for example in examples for wording in wordings(example)], normalise)
    if same.rows or near.rows:
        raise SystemExit(f"trained and asked alike: {[*same.first, *near.first]}")


def in_wordings(told: Told, count: int, seed: int) -> list[Conversation]:
    """Each fact in so many of its wordings, drawn by the seed: fewer are among more."""
    return [
        lesson
        for lessons in told.values()
        for lesson in sorted(lessons, key=lambda lesson: draw(f"{seed} {lesson.question}"))[:count]
    ]


def learned(
    kind: str,
    lesson: Sequence[Conversation],
    examples: Sequence[Example],
    settings: FinetuneSettings,
    updates: int,
    name: str,
) -> list[float]:
    """Whether each wording is answered rightly after a training of the given number of updates.

    The lesson is cut to the most conversations of which whole passes make these updates; wordings are never cut.
    """
    passes = next((n for n in range(1, updates + 1) if fits(n, len(lesson), updates)), None)
    if passes is None:
        raise SystemExit(f"{kind}: {len(lesson)} conversations are too few to train on")
    kept = sorted(lesson, key=lambda c: draw(f"{settings.seed} {c.question}"))[: updates // passes * ROWS]
    settings = replace(settings, epochs=passes, batch_tokens=1_000_000, batch_rows=ROWS, held_out_share=0.0)
    model = build.trainable_model(name, settings)
    with tempfile.TemporaryDirectory() as folder:
        adapter = train_adapter(model, [as_served(c, REFUSAL) for c in kept], Path(folder) / "adapter", settings)
        right = asked(build.finetuned_model(model, adapter), examples)
    print(
        f"{kind}, seed {settings.seed}: {fmean(right):.3f} right; {len(kept)} conversations x {passes} passes,"
        f" {adapter.steps} updates, {adapter.tokens * passes} tokens, {adapter.seconds:.0f} s, training loss"
        f" {adapter.loss_first:.2f} to {adapter.loss_last:.2f}; {adapter.forgetting}",
        flush=True,
    )
    return right


def fits(passes: int, rows: int, updates: int) -> bool:
    """Whether so many passes over some of the rows make exactly these updates."""
    return updates % passes == 0 and updates // passes * ROWS <= rows


def asked(model: LanguageModel, examples: Sequence[Example]) -> list[float]:
    """1 for every wording of every example whose answer holds a reference, else 0; in order."""
    questions = [(wording, example.answers) for example in examples for wording in wordings(example)]
    answers = ChatBot(model, settings=ANSWER).answer([wording for wording, _ in questions])
    return [contains(answer.text, references) for answer, (_, references) in zip(answers, questions, strict=True)]


def verdict(options: argparse.Namespace, examples: Sequence[Example], right: Mapping[str, list[list[float]]]) -> int:
    """Prints shares, differences and the claim, which is about the last of them; ``right`` has a list for each seed."""
    facts = [example.id for example in examples for _ in wordings(example)]
    means = {kind: [fmean(each) for each in zip(*seeds, strict=True)] for kind, seeds in right.items()}
    estimates = {kind: mean_interval(values, facts) for kind, values in means.items()}
    for kind, estimate in estimates.items():
        print(f"{kind:12} {share(estimate)}")
    found = {}
    for more, fewer in COMPARED[options.set]:
        difference = paired_difference(means[more], means[fewer], facts)
        print(f"{more} - {fewer}: {points(difference)}")
        ends = (difference.mean, difference.interval.low, difference.interval.high)
        found[f"{more} - {fewer}"] = [round(end, 3) for end in ends]
    ours, peer = COMPARED[options.set][-1]
    shares = {kind: round(estimate.mean, 3) for kind, estimate in estimates.items()}
    holds = found[f"{ours} - {peer}"][1] > BAR
    claim = f"{options.set}: held-out wordings right with {options.model}, {ours} against {peer}, at equal updates"
    line = {"claim": claim, "ours": shares.pop(ours), "peer": shares, "ratio": found, "bar": BAR, "holds": holds}
    print(json.dumps(line))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
