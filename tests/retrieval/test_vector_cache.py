import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing, contextmanager

import numpy as np
import pytest

from lorag import build
from lorag.retrieval.backends.location import replacing
from lorag.retrieval.encoders.embedders import HashEmbedder, OnnxEmbedder
from lorag.retrieval.encoders.sentence_layout import read_layout
from lorag.retrieval.encoders.vector_cache import CachedEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import ChunkSettings, RetrievalSettings
from lorag.types import Document
from lorag.workflows.index import index

DIM = 64
TEXTS = [
    "The warranty lasts two years.",
    "",
    "潮位計は水位を測定します。",
    "half a pair \ud800",
    "The warranty lasts two years.",
]


class CountingHashes(HashEmbedder):
    def __init__(self, identity="hash-64"):
        super().__init__(DIM)
        self.identity, self.asked = identity, []

    def embed(self, texts, kind):
        self.asked.append((kind, list(texts)))
        return super().embed(texts, kind)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "vectors.sqlite"


@pytest.fixture
def open_cache(path):
    """A cache over a new embedder that counts, as another run would open it."""
    return lambda max_bytes=10**9, **options: CachedEmbedder(CountingHashes(**options), path, max_bytes)


def asked(cache):
    return [text for _, texts in cache._embedder.asked for text in texts]


def test_a_second_run_embeds_nothing_and_gets_the_same_vectors(open_cache):
    expected = HashEmbedder(DIM).embed(TEXTS, "passage")
    first, second = open_cache(), open_cache()
    np.testing.assert_array_equal(first.embed(TEXTS, "passage"), expected)
    np.testing.assert_array_equal(second.embed(TEXTS[::-1], "passage"), expected[::-1])
    assert (asked(first), first.taken) == (TEXTS[:4], 0)
    assert (asked(second), second.taken) == ([], 5)
    second.embed([TEXTS[0], "new"], "passage")
    assert (asked(second), second.taken) == (["new"], 6)


def test_vectors_come_from_the_file_and_from_nowhere_else(open_cache, path):
    """Proof that the file takes part: a vector put there by hand, with its seal, is what comes back."""
    from lorag.retrieval.encoders import vector_cache as module

    open_cache().embed(TEXTS[:1], "passage")
    vector = np.arange(DIM, dtype="<f4")
    with sqlite3.connect(path) as connection:
        (key,) = connection.execute("SELECT key FROM vectors").fetchone()
        seal = module._seal(key, vector.tobytes())
        connection.execute("UPDATE vectors SET vector = ?, seal = ?", (vector.tobytes(), seal))
    np.testing.assert_array_equal(open_cache().embed(TEXTS[:1], "passage"), [vector])


def test_it_is_as_its_embedder_is(open_cache):
    cache = open_cache()
    inner = cache._embedder
    assert (cache.name, cache.identity, cache.dim, cache.max_tokens) == ("hash-64", "hash-64", DIM, inner.max_tokens)
    assert cache.count_tokens("two words") == 2
    assert cache.embed([], "passage").shape == (0, DIM)


def test_questions_are_not_kept(open_cache, path):
    cache = open_cache()
    for _ in range(2):
        np.testing.assert_array_equal(cache.embed(TEXTS[:3], "query"), HashEmbedder(DIM).embed(TEXTS[:3], "query"))
    assert len(cache._embedder.asked) == 2
    assert not path.exists()


def test_other_weights_have_other_vectors(open_cache):
    open_cache().embed(TEXTS, "passage")
    other = open_cache(identity="other weights")
    other.embed(TEXTS, "passage")
    assert (len(asked(other)), other.taken) == (4, 0)


def test_texts_are_not_in_the_file(open_cache, path):
    open_cache().embed(TEXTS, "passage")
    assert b"warranty" not in path.read_bytes()


def test_it_can_be_switched_off(open_cache, path):
    off = open_cache(max_bytes=0)
    off.embed(TEXTS, "passage")
    off.embed(TEXTS, "passage")
    assert (len(asked(off)), off.taken, path.exists()) == (8, 0, False)


@pytest.mark.parametrize("column", ["vector", "seal", "key"])
def test_a_damaged_vector_is_embedded_again(open_cache, path, column):
    open_cache().embed(TEXTS, "passage")
    with sqlite3.connect(path) as connection:
        rows = connection.execute(f"SELECT rowid, {column} FROM vectors").fetchall()
        for number, value in rows:
            spoiled = bytes([value[0] ^ 1]) + value[1:]
            connection.execute(f"UPDATE vectors SET {column} = ? WHERE rowid = ?", (spoiled, number))
    again, then = open_cache(), open_cache()
    np.testing.assert_array_equal(again.embed(TEXTS, "passage"), HashEmbedder(DIM).embed(TEXTS, "passage"))
    assert again.taken == 0
    then.embed(TEXTS, "passage")
    assert then.taken == 5


def test_vectors_that_changed_places_are_embedded_again(open_cache, path):
    open_cache().embed(["one", "two"], "passage")
    with sqlite3.connect(path) as connection:
        (_, first, seal), (key, second, other) = connection.execute("SELECT key, vector, seal FROM vectors").fetchall()
        connection.execute("UPDATE vectors SET vector = ?, seal = ? WHERE key = ?", (first, seal, key))
        connection.execute("UPDATE vectors SET vector = ?, seal = ? WHERE key != ?", (second, other, key))
    cache = open_cache()
    np.testing.assert_array_equal(
        cache.embed(["one", "two"], "passage"), HashEmbedder(DIM).embed(["one", "two"], "passage")
    )
    assert cache.taken == 0


def test_bytes_flipped_anywhere_in_the_file_never_give_a_wrong_vector(open_cache, path):
    texts = [f"number {i}" for i in range(40)]
    expected = HashEmbedder(DIM).embed(texts, "passage")
    open_cache().embed(texts, "passage")
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(40):
        spoiled = bytearray(whole)
        for place in rng.integers(len(whole), size=200):
            spoiled[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(spoiled)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whether SQLite itself still reads it depends on the bytes
            np.testing.assert_array_equal(open_cache().embed(texts, "passage"), expected)


def test_a_file_that_is_no_database_is_said_and_made_anew(open_cache, path):
    path.parent.mkdir()
    path.write_bytes(b"junk" * 5000)
    broken = open_cache()
    with pytest.warns(UserWarning, match=r"cannot be used .*was removed; the next run rebuilds it"):
        broken.embed(TEXTS, "passage")
    broken.embed(TEXTS, "passage")
    assert not path.exists()
    open_cache().embed(TEXTS, "passage")
    assert path.exists()


def test_a_place_that_cannot_be_written_is_said_once_and_stops_nothing(open_cache, path):
    path.parent.write_text("a file where the folder should be")
    cache = open_cache()
    expected = HashEmbedder(DIM).embed(TEXTS, "passage")
    with pytest.warns(UserWarning, match="cannot be used .*; passages are embedded without it"):
        np.testing.assert_array_equal(cache.embed(TEXTS, "passage"), expected)
    np.testing.assert_array_equal(cache.embed(TEXTS, "passage"), expected)


def test_the_oldest_make_room(open_cache, path):
    limit = 200_000
    for batch in range(40):
        cache = open_cache(limit)
        cache.embed([f"number {batch} {i}" for i in range(50)], "passage")
        assert path.stat().st_size < 1.5 * limit
    newest, oldest = open_cache(limit), open_cache(limit)
    newest.embed([f"number 39 {i}" for i in range(50)], "passage")
    oldest.embed([f"number 0 {i}" for i in range(50)], "passage")
    assert (newest.taken, oldest.taken) == (50, 0)


def fill(cache, name, count=400):
    for start in range(0, count, 50):
        cache.embed([f"{name} {start + i}" for i in range(50)], "passage")


def interrupted(work, cache, *filled):
    """Work that ends when it has filled these caches."""
    with cache.keeping(work):
        for each, name, count in filled:
            fill(each, name, count)
        raise KeyboardInterrupt


def test_unfinished_work_of_any_process_keeps_all_vectors_until_it_ends_well(open_cache, path):
    limit, first = 200_000, open_cache(200_000)
    with pytest.raises(KeyboardInterrupt):
        interrupted("one", first, (first, "one", 400))
    with (other := open_cache(limit)).keeping("two"):
        fill(other, "two")
    fill(open_cache(limit), "three")
    with (again := open_cache(limit)).keeping("one"):
        fill(again, "one", 450)
    assert (again.taken, len(asked(again))) == (400, 50)
    assert path.stat().st_size <= 1.1 * limit
    (newest := open_cache(limit)).embed([f"one {400 + i}" for i in range(50)], "passage")
    fill(oldest := open_cache(limit), "one", 50)
    assert (newest.taken, oldest.taken) == (50, 0)


def test_vectors_that_unfinished_work_took_from_the_file_are_kept_too(open_cache):
    fill(open_cache(200_000), "one", 50)
    first, second = open_cache(200_000), open_cache(200_000)
    with pytest.raises(KeyboardInterrupt):
        interrupted("two", first, (first, "one", 50), (second, "three", 800))
    fill(again := open_cache(200_000), "one", 50)
    assert again.taken == 50


def test_work_that_nobody_takes_up_again_keeps_vectors_for_a_week(open_cache, path):
    first = open_cache(200_000)
    with pytest.raises(KeyboardInterrupt):
        interrupted("one", first, (first, "one", 800))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE unfinished SET latest = latest - 7 * 24 * 3600")
    fill(open_cache(200_000), "two", 800)
    fill(again := open_cache(200_000), "one", 50)
    assert again.taken == 0


def test_work_that_embeds_nothing_leaves_no_file(open_cache, path):
    with open_cache().keeping("one"):
        pass
    assert not path.exists()


def test_a_rebuild_that_fails_after_its_last_vector_embeds_nothing_again(open_cache, tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    for i in range(60):
        (tmp_path / "docs" / f"{i}.md").write_text(f"water {i}")

    @contextmanager
    def killed_at_its_end(place):
        with replacing(place) as fresh:
            yield fresh
            raise KeyboardInterrupt

    def rebuild():
        monkeypatch.setattr(build, "embedder", lambda *_: open_cache(1))
        return index(tmp_path / "docs", tmp_path / "index", rebuild=True).from_cache

    with monkeypatch.context() as patched:
        patched.setattr("lorag.workflows.index.replacing", killed_at_its_end)
        with pytest.raises(KeyboardInterrupt):
            rebuild()
    assert (rebuild(), rebuild()) == (60, 0)


def test_processes_may_share_it(open_cache, path):
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from lorag.retrieval.encoders.vector_cache import CachedEmbedder\n"
        "from lorag.retrieval.encoders.embedders import HashEmbedder\n"
        f"cache = CachedEmbedder(HashEmbedder({DIM}), Path({str(path)!r}), 10**9)\n"
        "for i in range(40):\n"
        "    texts = [f'number {i} {j}' for j in range(20)]\n"
        f"    assert np.array_equal(cache.embed(texts, 'passage'), HashEmbedder({DIM}).embed(texts, 'passage'))"
    )
    processes = [subprocess.Popen([sys.executable, "-W", "error", "-c", code]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    cache = open_cache()
    cache.embed([f"number {i} {j}" for i in range(40) for j in range(20)], "passage")
    assert cache.taken == 800


def test_a_second_index_over_the_same_texts_embeds_nothing(open_cache, tmp_path):
    documents = [Document(f"d{i}", f"# Title\n\nwater {i}\n\n## More\n\nair {i}", "") for i in range(9)]
    found = []
    for name in ("one", "two"):
        cache = open_cache()
        knowledge = Knowledge.open(tmp_path / name, cache, ChunkSettings(16), RetrievalSettings())
        knowledge.sync(documents)
        found.append((len(asked(cache)) > 0, knowledge.retrieve(["water 3", "air"], 9)))
    assert [embedded for embedded, _ in found] == [True, False]
    assert found[0][1] == found[1][1]


def test_a_model_is_named_by_its_weights_tokenizer_and_pooling(bge_folder, tmp_path):
    for name in ("config.json", "tokenizer.json", "fused.onnx"):
        (tmp_path / name).symlink_to(bge_folder / name)
    same = OnnxEmbedder(bge_folder, "bge-small-en").identity
    assert OnnxEmbedder(tmp_path, "another name", query_prefix="Find: ").identity == same
    seen = {same, OnnxEmbedder(tmp_path, "bge-small-en", pooling="mean").identity}
    for name in ("config.json", "tokenizer.json", "fused.onnx", "fused.onnx_data"):
        before = (tmp_path / name).read_bytes() if (tmp_path / name).exists() else b""
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).write_bytes(before + b" ")
        if name == "config.json":
            layout = read_layout(tmp_path, None, "cls", "cls")
        seen.add(layout.identity(tmp_path.glob("fused.onnx*")))
    assert len(seen) == 6
