"""Every method trains a real small model, and what it leaves on the disk is what was trained."""

import json
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file

from lorag import build
from lorag.errors import MissingExtraError
from lorag.settings import Method, Sampling
from lorag.training.adapter import read_adapter
from lorag.training.data.holdout import split
from lorag.training.kernels.batching import rows
from lorag.training.kernels.loss import plain_loss
from lorag.types import Message

IDS = torch.tensor([[1, 4093, 198, 1780]])
PROMPT = (Message("user", "Who founded Korrin?"),)


@pytest.fixture(params=get_args(Method))
def trained(request, trainings):
    return trainings.by(request.param)


def test_it_learns_and_leaves_the_base_as_it_was(trained, trainings):
    adapter = trained.adapter
    assert adapter.held_out_loss_after < adapter.held_out_loss_before
    assert torch.equal(trained.base_before, trained.base_after)
    assert adapter.step == ("fused" if adapter.method in ("lora", "rslora", "pissa") else "library")
    assert adapter.settings["learning_rate"] == trainings.settings(adapter.method).rate
    assert read_adapter(trained.folder) == adapter


def test_what_is_served_is_what_was_trained(trained, trainings):
    """The held-out loss of the saved files, on the base as it is published, is that of the model when it was saved."""
    model = build.language_model(None, trained.folder)
    kept_back = rows(
        model.weights.tokenizer, split(trainings.data, trainings.settings(trained.adapter.method)).held_out, 1024
    ).kept
    model._forward(torch.tensor([kept_back[0].ids]), past_key_values=model._before(1))  # applies the adapter
    with torch.inference_mode():
        served = plain_loss(model.weights.model, kept_back, model._before(len(kept_back))).item()
    assert served == pytest.approx(trained.adapter.held_out_loss_after, rel=2e-4)
    assert served < trained.adapter.held_out_loss_before - 0.005


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_after_virtual_tokens_a_batch_gives_what_single_prompts_and_streams_give(smollm_own, trainings, method):
    model, short = smollm_own.with_adapter(trainings.by(method).folder), Sampling(max_tokens=6)
    together = model.generate([PROMPT, (Message("user", "Hi"),)], short)
    assert together[0].text == model.generate([PROMPT], short)[0].text
    assert together[0].text == "".join(model.stream(PROMPT, short)).strip()


def test_the_folder_holds_what_its_method_leaves(trained):
    adapter, folder = trained.adapter, trained.folder
    if adapter.method == "full":
        assert {"config.json", "model.safetensors", "tokenizer.json", "lorag.json"} <= {
            p.name for p in folder.iterdir()
        }
        assert build.language_model(str(folder)).generate([PROMPT], Sampling(max_tokens=2))
        return
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "smollm2-135m"
    weights = load_file(folder / "adapter_model.safetensors")
    if adapter.method in ("prompt", "prefix"):
        assert [len(weight) for weight in weights.values()] == [8]
        return
    assert config["r"] == (32 if adapter.method == "pissa" else 16)  # a PiSSA adapter is a difference of two
    assert (config["use_rslora"], config["use_dora"]) == (adapter.method == "rslora", adapter.method == "dora")
    assert config["init_lora_weights"] is True
    assert sum("magnitude" in name for name in weights) == (30 * 7 if adapter.method == "dora" else 0)


def test_one_engine_serves_virtual_tokens_layers_and_the_base_by_turns(smollm_own, trainings):
    """None leaves a trace in the logits of another."""

    def logits(model):
        return model._forward(IDS, past_key_values=model._before(1)).logits

    folders = [trainings.by(method).folder for method in ("prompt", "lora", "prefix", "dora", "rslora", "pissa")]
    models = [smollm_own, *(smollm_own.with_adapter(folder) for folder in folders)]
    once = [logits(model) for model in models]
    for model, expected in reversed(list(zip(models, once, strict=True))):
        assert torch.equal(logits(model), expected)
    assert torch.equal(once[0], trainings.by("lora").base_before)
    assert len({tuple(each[0, -1, :50].tolist()) for each in once}) == len(models)


def test_without_its_extra_four_bits_are_refused_with_the_install_line(trainings, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r"a base of 4 bits needs .* `pip install 'lorag\[qlora\]'`"):
        build.trainable_model("smollm2-135m", trainings.settings("qlora"))


def test_four_bits_are_never_repacked_for_answering(trainings, monkeypatch):
    """On a CPU with bf16 units the first answer would otherwise end all training: no gradient passes packed weights."""
    from bitsandbytes.nn import modules

    monkeypatch.setattr(modules, "has_avx512bf16", lambda: True)
    model = build.trainable_model("smollm2-135m", trainings.settings("qlora")).weights.model
    flags = [layer.support_avx512bf16_for_cpu for layer in model.modules() if isinstance(layer, modules.Linear4bit)]
    assert flags == [False] * (30 * 7)
