"""Search finds the document of a follow-up question among the first passages, without asking a model.

48 follow-ups over the bundled documents, 12 of them on a new topic. Peers: search for the question as it stands, and as
a small model rewrites it. The last line printed is JSON; the exit code is 1 if the claim does not hold.
"""

import argparse
import json
import sys
import tempfile
import time
from importlib.resources import as_file, files
from pathlib import Path

from lorag import build
from lorag.chat.followups import search_query
from lorag.documents.load import load_documents
from lorag.retrieval.knowledge import Knowledge
from lorag.types import Message, Prompt, Sampling

FIRST = 3
BAR = 0.95
_EXAMPLES = (
    ("Where is the museum?", "In Bergen.", "When does it open?", "When does the museum in Bergen open?"),
    ("What does a child's ticket cost?", "5 euros.", "And for students?", "What does a student's ticket cost?"),
)


def main() -> int:
    """Prints the share found by each way of asking; 0 when ours reaches the bar and no other is better."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="qwen2.5-coder-0.5b", help="the model that rewrites")
    options = parser.parse_args()
    rows = [json.loads(line) for line in (Path(__file__).parent / "followups.jsonl").read_text().splitlines()]
    ways = {
        "lorag": [search_query(row["followup"], earlier(row)) for row in rows],
        "as it stands": [row["followup"] for row in rows],
    }
    start = time.perf_counter()
    written = build.language_model(options.model).generate(list(map(rewriting, rows)), Sampling(max_tokens=40))
    seconds = (time.perf_counter() - start) / len(rows)
    ways[f"rewritten by {options.model}"] = [completion.text.split("\n")[0] or "?" for completion in written]
    with tempfile.TemporaryDirectory() as folder, as_file(files("lorag") / "corpus" / "docs") as documents:
        knowledge = build.knowledge(Path(folder))
        knowledge.sync(load_documents(documents).documents)
        found = {way: shares(knowledge, rows, queries) for way, queries in ways.items()}
    for way, each in found.items():
        print(f"{way:32}" + ", ".join(f"{what} {share:.2f}" for what, share in each.items()))
    print(f"rewriting took {seconds:.1f} seconds a question")
    ours, peers = found.pop("lorag")[f"first {FIRST}"], {way: each[f"first {FIRST}"] for way, each in found.items()}
    holds = ours >= BAR and ours >= max(peers.values())
    claim = f"follow-up questions with their document among the first {FIRST} passages"
    ratio = {way: round(ours / share, 2) for way, share in peers.items()}
    print(json.dumps({"claim": claim, "ours": ours, "peer": peers, "ratio": ratio, "bar": BAR, "holds": holds}))
    return 0 if holds else 1


def shares(knowledge: Knowledge, rows: list[dict[str, str]], queries: list[str]) -> dict[str, float]:
    """The shares of questions whose document is the first found, and among the first few."""
    ranked = [[hit.chunk.document_id for hit in hits] for hits in knowledge.retrieve(queries, FIRST)]
    return {
        f"first {n}": round(sum(row["doc_id"] in ids[:n] for row, ids in zip(rows, ranked, strict=True)) / len(rows), 3)
        for n in (1, FIRST)
    }


def earlier(row: dict[str, str]) -> Prompt:
    """What was said before the follow-up."""
    return (Message("user", row["question"]), Message("assistant", row["answer"]))


def rewriting(row: dict[str, str]) -> Prompt:
    """The prompt that asks a model to write the follow-up so that it stands alone, with two examples."""
    form = "Earlier question: {}\nAnswer: {}\nNow: {}"
    turns = [Message("system", "Replace what points back by what it stands for. Reply with one question.")]
    for question, answer, followup, whole in _EXAMPLES:
        turns += [Message("user", form.format(question, answer, followup)), Message("assistant", whole)]
    turns.append(Message("user", form.format(row["question"], row["answer"], row["followup"])))
    return tuple(turns)


if __name__ == "__main__":
    sys.exit(main())
