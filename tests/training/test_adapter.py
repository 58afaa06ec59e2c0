"""A manifest says in which dtype the adapter is served; one of an earlier version is read without it."""

import json
import shutil
from dataclasses import replace

import pytest

from lorag.errors import DataError
from lorag.settings import PromptSettings
from lorag.training.adapter import read_adapter, trained_model

ADDED = ("checked_loss", "served_format", "served_loss", "prompt")


@pytest.fixture
def folder(trainings, tmp_path):
    """A copy of an adapter to write into."""
    return shutil.copytree(trainings.by("lora").folder, tmp_path / "adapter")


def change(folder, without=(), **fields):
    manifest = json.loads((folder / "lorag.json").read_text()) | fields
    (folder / "lorag.json").write_text(json.dumps({k: v for k, v in manifest.items() if k not in without}))
    return read_adapter(folder)


@pytest.mark.parametrize(("method", "expected"), [("full", "float32"), ("qlora", "nf4"), ("lora", "auto")])
def test_a_manifest_of_an_earlier_version_is_read(folder, method, expected):
    adapter = change(folder, ADDED, method=method)
    assert [getattr(adapter, name) for name in ADDED] == [None, None, None, PromptSettings()]
    assert adapter.dtype == expected
    assert adapter.served == "not measured"
    with pytest.raises(DataError, match="is not a manifest this version reads"):
        change(folder, unknown=1)


@pytest.mark.parametrize(
    ("method", "measured", "expected"),
    [
        ("full", "float32", "float32"),
        ("full", "bfloat16", "auto"),
        ("lora", "float32", "auto"),
        ("lora", "nf4", "nf4"),
    ],
)
def test_the_number_format_is_the_one_that_was_measured_to_keep_what_was_learned(folder, method, measured, expected):
    adapter = change(folder, method=method, served_format=measured, checked_loss=1.984, served_loss=1.99)
    assert adapter.dtype == expected
    assert adapter.served == f"loss 1.98 at the end of training, 1.99 after loading in {measured}"


def test_a_dtype_with_what_it_was_computed_in_is_read_from_manifests_of_earlier_versions(folder):
    adapter = change(folder, served_format="nf4 computed in float32", checked_loss=1.984, served_loss=1.99)
    assert (adapter.served_format, adapter.dtype) == ("nf4", "nf4")


def test_a_manifest_keeps_the_prompt(folder):
    prompt = PromptSettings(question_first=True)
    (folder / "lorag.json").write_text(replace(read_adapter(folder), prompt=prompt).to_json())
    assert read_adapter(folder).prompt == prompt
    with pytest.raises(DataError, match="is not a manifest this version reads"):
        change(folder, prompt={"question_frist": True})


def test_only_a_model_whose_weights_were_all_trained_has_a_manifest_that_counts(folder, smollm_folder, tmp_path):
    assert trained_model(folder) is None
    assert trained_model(smollm_folder) is None
    assert trained_model(tmp_path) is None
    assert change(folder, method="full") == trained_model(folder)
    (folder / "lorag.json").write_text("{")
    with pytest.raises(DataError, match=r"lorag\.json.* is not a manifest this version reads"):
        trained_model(folder)
