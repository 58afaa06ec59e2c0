"""Adapters that another program wrote answer where Lorag's own do, beside the base that the user names."""

import shutil

import pytest

from lorag import build
from lorag.errors import InputError, ModelError
from lorag.training.adapter import MANIFEST
from lorag.types import Message, Sampling

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
        with pytest.raises(InputError, match=r"the base of '.*foreign' is not named; name it with --model"):
            asked()


def test_another_base_is_refused_before_weights_are_loaded(foreign, smollm_folder):
    def load(*_):
        raise AssertionError("weights were loaded")

    with pytest.raises(ModelError, match="was made for another base"):
        build.language_model(str(smollm_folder), foreign, load=load)


def test_llama_cpp_does_not_take_it(foreign, tiny_folder):
    with pytest.raises(ModelError, match="is of another program"):
        build.answering_model(str(tiny_folder), foreign, "llama.cpp")
