"""What is left of an index when its writer is killed or the disk is full: the old state or the new, for all readers."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import ChunkSettings, RetrievalSettings
from lorag.types import Document

DOCUMENTS = 10
# A writer in a process of its own, which turns the index from "old" to "new" and dies where it is told to.
WRITER = """
import itertools, os, resource, signal, sys
from pathlib import Path
from lorag.errors import OperationError
from lorag.retrieval import knowledge as module
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.settings import ChunkSettings, RetrievalSettings
from lorag.types import Document

place, point = sys.argv[1:]
module._COMMIT_CHUNKS = 4

def state(word, count=10):
    return [Document(f"d{i}", f"water {word} {i}", "") for i in range(count)]

def die_after(owner, name, calls):
    real, count = getattr(owner, name), itertools.count(1)
    def dying(*arguments):
        result = real(*arguments)
        if next(count) == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, dying)

knowledge = module.Knowledge.open(place, HashEmbedder(64), ChunkSettings(16), RetrievalSettings())
knowledge.sync(state("old"))
print("ready", flush=True)
if point == "endless":
    for word in itertools.cycle(["new", "old"]):
        knowledge.sync(state(word))
if point == "full disk":
    module._COMMIT_CHUNKS = 2000
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        knowledge.sync(state("new", 4000))
    except OperationError as error:
        print(error)
        sys.exit(3)
store, manifest = type(knowledge._store), type(knowledge._manifest)
die_after(*{
    "first chunks": (store, "add", 1),
    "all chunks": (store, "add", 3),
    "manifest": (manifest, "commit", 1),
    "old chunks": (store, "remove", 2),
}[point])
knowledge.sync(state("new"))
"""
POINTS = ("first chunks", "all chunks", "manifest", "old chunks")
AFTER_THE_MANIFEST = POINTS[2:]
KILLS = 5


def start_writer(place, point):
    return subprocess.Popen([sys.executable, "-c", WRITER, str(place), point], stdout=subprocess.PIPE, text=True)


def opened(place):
    return Knowledge.open(place, HashEmbedder(64), ChunkSettings(16), RetrievalSettings())


def state_of(knowledge):
    """The word that all documents agree on, by searching."""
    found = [hit.chunk.text.split() for hit in knowledge.retrieve(["water old new"], 30)[0]]
    (word,) = {text[1] for text in found}
    assert sorted(int(text[2]) for text in found) == list(range(DOCUMENTS))
    return word


def assert_whole(place, expected):
    """After a kill: one of the ``expected`` states, also by listing, and a sync that makes it good."""
    knowledge = opened(place)
    assert state_of(knowledge) in expected
    assert knowledge.count() == len(knowledge.chunks()) == DOCUMENTS
    knowledge.sync([Document(f"d{i}", f"water after {i}", "") for i in range(DOCUMENTS)])
    assert state_of(knowledge) == "after"
    assert knowledge._store.count() == DOCUMENTS


@pytest.mark.parametrize("point", POINTS)
def test_a_sync_killed_at_a_known_point_leaves_the_old_or_the_new_state(place, point):
    with start_writer(place, point) as writer:
        assert writer.wait(60) == -signal.SIGKILL
    # In a database the manifest is committed together with all the rest, and so not yet.
    assert_whole(place, {"new" if point in AFTER_THE_MANIFEST and isinstance(place, Path) else "old"})


def test_kills_at_random_moments_leave_whole_states_for_readers_and_writers(place):
    rng, all_seen = random.Random(0), set()
    for _ in range(KILLS):
        with start_writer(place, "endless") as writer:
            assert writer.stdout.readline() == "ready\n"
            reader, deadline, seen = opened(place), time.monotonic() + 0.1 + rng.random() / 2, []
            while time.monotonic() < deadline:
                seen.append(state_of(reader))
            os.kill(writer.pid, signal.SIGKILL)
        all_seen |= set(seen)
        assert_whole(place, {"old", "new"})
    assert all_seen == {"old", "new"}, "the writers stood still"


def test_a_full_disk_leaves_the_old_state_and_is_said(tmp_path):
    with start_writer(tmp_path / "index", "full disk") as writer:
        said = writer.stdout.read()
    assert writer.returncode == 3
    assert "the disk is full; free some space and run the same command again" in said
    assert_whole(tmp_path / "index", {"old"})
