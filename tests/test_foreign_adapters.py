"""Adapters that another program wrote answer where Lorag's own do, beside the base that the user names."""

import shutil

import pytest

from lorag import build
from lorag.errors import InputError, ModelError
from lorag.llm.engines.transformers import TransformersModel, load
from lorag.training.adapter import MANIFEST
from lorag.types import Message, Sampling
from lorag.workflows.export import export

ASKED = [(Message("user", "What is the fee?"),)]


@pytest.fixture
def foreign(tiny_adapter, tmp_path):
    return shutil.copytree(tiny_adapter, tmp_path / "foreign", ignore=shutil.ignore_patterns(MANIFEST))


def said(model):
    return [completion.text for completion in model.generate(ASKED, Sampling(max_tokens=8))]


def test_it_answers_as_the_same_weights_do_with_a_manifest(foreign, tiny_adapter, tiny_folder):
    own = said(build.language_model(str(tiny_folder), tiny_adapter))
    assert said(build.language_model(str(tiny_folder), foreign)) == own
    assert said(build.language_model(str(tiny_folder))) != own
    bots = build.chatbots(str(tiny_folder), {"support": foreign})
    assert set(bots) == {"base", "support"}


def test_without_its_base_by_name_it_is_refused(foreign):
    for asked in (lambda: build.language_model(None, foreign), lambda: build.chatbots(None, {"support": foreign})):
        with pytest.raises(
            InputError, match=r"the adapter in '.*foreign' was trained elsewhere; name its base with --model"
        ):
            asked()


def test_another_base_is_refused_before_weights_are_loaded(foreign, smollm_folder):
    def load(*_):
        raise AssertionError("weights were loaded")

    with pytest.raises(ModelError, match="was made for another base"):
        build.language_model(str(smollm_folder), foreign, load=load)


def test_llama_cpp_does_not_take_it(foreign, tiny_folder):
    with pytest.raises(ModelError, match="was made by another program"):
        build.answering_model(str(tiny_folder), foreign, "llama.cpp")


def test_exported_it_is_a_model_of_its_own_that_answers_alike(foreign, tiny_folder, tmp_path, local_hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "may-write")
    base = str(tiny_folder)
    model = build.language_model(base, foreign, dtype="float32")
    assert isinstance(model, TransformersModel)
    own = said(model.merged())
    folder = export(foreign, tmp_path / "merged", precision="f32", push="korrin/support", model=base)
    assert said(load(folder, "merged", "float32")) == own
    card = (folder / "README.md").read_text()
    assert "adapter of another program" in card
    assert "trained under this instruction" not in card


def test_it_is_not_exported_without_its_base_or_with_another(foreign, smollm_folder, tmp_path):
    with pytest.raises(InputError, match="was trained elsewhere; name its base with --model"):
        export(foreign, tmp_path / "merged")
    with pytest.raises(ModelError, match="was made for another base"):
        export(foreign, tmp_path / "merged", model=str(smollm_folder))
    (foreign / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"adapter_model\.safetensors is missing"):
        export(foreign, tmp_path / "merged", model=str(smollm_folder))
    assert not (tmp_path / "merged").exists()
