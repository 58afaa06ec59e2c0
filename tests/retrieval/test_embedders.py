import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from lorag.errors import ModelError
from lorag.retrieval.encoders.embedders import HashEmbedder, OnnxEmbedder
from lorag.retrieval.encoders.onnx_encoder import OnnxEncoder

QUERY_PREFIX = "Represent this sentence for searching relevant passages: "


@pytest.fixture(scope="module")
def bge(bge_folder):
    return OnnxEmbedder(bge_folder, "bge-small-en", query_prefix=QUERY_PREFIX, pooling="cls")


def test_bge_tells_related_from_unrelated(bge):
    (query,) = bge.embed(["What is the capital of France?"], "query")
    related, unrelated = bge.embed(
        ["Paris is the capital and largest city of France.", "Bake the bread for forty minutes at 220 degrees."],
        "passage",
    )
    assert query @ related == pytest.approx(0.80, abs=0.05)
    assert query @ unrelated == pytest.approx(0.30, abs=0.05)


def test_the_runtime_tells_its_makers_nothing(bge_folder, tmp_path):
    code = "import sys; from pathlib import Path; from lorag.retrieval.encoders.onnx_encoder import OnnxEncoder;"
    code += "OnnxEncoder(Path(sys.argv[1]), 512)"
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    done = subprocess.run([sys.executable, "-c", code, bge_folder], env={**kept, "HOME": str(tmp_path)}, check=False)
    assert done.returncode == 0
    assert list(tmp_path.rglob("*onnxruntime*")) == []  # of its telemetry, which keeps an identifier there


def test_the_prefix_is_for_queries_only(bge, bge_folder):
    plain = OnnxEmbedder(bge_folder, "plain", query_prefix="", pooling="cls")
    np.testing.assert_array_equal(bge.embed(["warranty"], "passage"), plain.embed(["warranty"], "query"))
    np.testing.assert_array_equal(bge.embed(["warranty"], "query"), plain.embed([QUERY_PREFIX + "warranty"], "passage"))


def test_what_is_beyond_the_window_does_not_count(bge):
    window = "water " * bge.max_tokens
    assert bge.max_tokens == bge.count_tokens(window) == 510
    longer, exact, shorter = bge.embed([window + "and quite other words", window, "water " * 509], "passage")
    np.testing.assert_array_equal(longer, exact)
    assert not np.array_equal(exact, shorter)


def test_pooling_by_mean_is_the_mean_of_all_tokens(bge, bge_folder):
    mean = OnnxEmbedder(bge_folder, "bge-mean", query_prefix="", pooling="mean")
    (states,) = OnnxEncoder(bge_folder, 512).outputs(["The gauge reads."])
    assert states.shape == (bge.count_tokens("The gauge reads.") + 2, bge.dim)
    for embedder, pooled in ((mean, states.mean(axis=0)), (bge, states[0])):
        expected = pooled / np.linalg.norm(pooled)
        np.testing.assert_allclose(embedder.embed(["The gauge reads."], "passage")[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), r"config\.json' cannot be read"),
        (lambda folder: (folder / "config.json").write_text("{}"), "'hidden_size'"),
        (lambda folder: (folder / "config.json").write_text(json.dumps([1])), "config.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "is not a tokenizer"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "is not a tokenizer"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"junk"), "does not load"),
        (lambda folder: (folder / "model.onnx").unlink(), "does not load"),
    ],
)
def test_a_folder_without_a_model_is_refused(bge_folder, tmp_path, damage, said):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(bge_folder / name, folder)
    (folder / "model.onnx").symlink_to(bge_folder / "model.onnx")
    if said == "does not load":
        (folder / "model.onnx").unlink()
        (folder / "model.onnx").touch()
    damage(folder)
    with pytest.raises(ModelError, match=said) as caught:
        OnnxEmbedder(folder, "x", query_prefix="", pooling="cls")
    assert "fetch the model again" in str(caught.value)


def test_hashed_words_are_the_same_in_every_process():
    code = (
        "from lorag.retrieval.encoders.embedders import HashEmbedder\n"
        "print(HashEmbedder(8).embed(['a b c'], 'query').tolist())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{HashEmbedder(8).embed(['a b c'], 'query').tolist()}\n"}


def test_hashed_words_know_neither_case_nor_order():
    one, other, more = HashEmbedder().embed(["Two years", "years TWO!", "two years and a day"], "passage")
    np.testing.assert_array_equal(one, other)
    assert 0.4 < one @ more < 0.95


def test_opposite_words_still_make_a_unit_vector():
    single = HashEmbedder(1)
    words = [f"w{i}" for i in range(20)]
    signs = single.embed(words, "passage")[:, 0]
    plus, minus = words[int(np.argmax(signs))], words[int(np.argmin(signs))]
    assert single.embed([f"{plus} {minus}"], "passage").tolist() == [[1.0]]
