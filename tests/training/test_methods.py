"""Every method trains a model, and what it leaves on the disk is what was trained."""

import copy
import json
import re
from typing import Any, get_args

import pytest
import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from lorag import build
from lorag.errors import InputError, MissingExtraError
from lorag.finetune_methods import Method
from lorag.llm.engines.base_model import DTYPE_VARIABLE, automatic_dtype
from lorag.llm.engines.transformers import TransformersModel
from lorag.llm.rendering import Rendered
from lorag.settings import FinetuneSettings
from lorag.training.adapter import NOISE, read_adapter
from lorag.training.data.holdout import split
from lorag.training.kernels.batching import rows
from lorag.training.kernels.loss import plain_loss
from lorag.training.methods import learner
from lorag.types import Conversation, Message, Sampling
from lorag.workflows.finetuning.adapter_training import train_adapter
from small_models import SHALLOW_LAYERS

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


@pytest.mark.parametrize("method", get_args(Method))
def test_what_is_served_is_what_was_trained(trainings, method):
    """The held-out loss of the saved files, on the base as it is published, is that of the model when it was saved."""
    require_served(trainings.by(method).adapter, held_out_loss(trainings, method))


def in_the_other_format(monkeypatch):
    """Models then have the dtype that they do not have here by themselves."""
    dtype_here = automatic_dtype("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setenv(DTYPE_VARIABLE, {"float32": "bfloat16", "bfloat16": "float32"}[dtype_here])


def test_what_is_served_in_the_other_dtype_is_what_was_trained(trainings, monkeypatch):
    in_the_other_format(monkeypatch)
    require_served(trainings.by("full").adapter, held_out_loss(trainings, "full"))


@pytest.mark.parametrize("method", ["lora", "pissa"])
def test_so_is_an_adapter_of_the_tiny_model(trainings, tiny_folder, tmp_path, monkeypatch, method):
    in_the_other_format(monkeypatch)
    settings = trainings.settings(method)
    engine = build.trainable_model(str(tiny_folder), settings)
    adapter = train_adapter(engine, trainings.data, tmp_path / "a", settings)
    require_served(adapter, loss_of(build.language_model(None, tmp_path / "a"), trainings, settings))


def require_served(adapter, served):
    assert served == pytest.approx(adapter.held_out_loss_after, rel=2e-4)
    assert served == pytest.approx(adapter.served_loss, rel=2e-4)
    assert adapter.checked_loss == adapter.held_out_loss_after
    assert served < adapter.held_out_loss_before - 0.005


def held_out_loss(trainings, method, dtype="auto"):
    model = build.language_model(None, trainings.by(method).folder, dtype=dtype)
    return loss_of(model, trainings, trainings.settings(method))


def loss_of(model, trainings, settings):
    kept_back = rows(model.weights.tokenizer, split(trainings.data, settings).held_out, 1024).kept
    with model.applied() as applied:
        return plain_loss(applied, kept_back, model.before(len(kept_back))).item()


def test_all_weights_keep_what_they_learned_where_bfloat16_would_round_it_away(trainings, monkeypatch):
    monkeypatch.setenv(DTYPE_VARIABLE, "bfloat16")
    full = trainings.by("full")
    ended = full.adapter.held_out_loss_after
    assert (full.adapter.served_format, full.adapter.dtype) == ("float32", "float32")
    assert full.adapter.served_loss == pytest.approx(ended, abs=NOISE)
    assert held_out_loss(trainings, "full") == pytest.approx(ended, abs=NOISE)
    assert held_out_loss(trainings, "full", "bfloat16") > ended + 0.1
    named, base = build.language_model(str(full.folder)), build.language_model(trainings.model)
    assert isinstance(named, TransformersModel)
    assert isinstance(base, TransformersModel)
    assert (named.dtype, base.dtype) == ("float32", "bfloat16")
    assert build.trainable_model(str(full.folder), FinetuneSettings()).dtype == "float32"
    monkeypatch.setattr(build, "fits", lambda folder, dtype: False)
    with pytest.warns(UserWarning, match="needs float32 to keep what it learned, but too little memory is free"):
        assert build.finetuned_model(named, full.adapter).dtype == "bfloat16"


def test_pissa_trains_what_the_library_trains_as_pissa():
    """Three of Adam's steps give the weights that PEFT's factors give, which begin in what is left of the weights."""
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=60, **shape)).eval()
    for layer in model.model.layers:
        for weight in layer.parameters():
            if weight.dim() == 2:  # principal parts that stand out, so that both find the same ones
                left, values, right = torch.linalg.svd(torch.randn_like(weight), full_matrices=False)
                weight.data = left @ torch.diag(0.05 * values + 2.0 * (torch.arange(len(values)) < 4)) @ right
    row = Rendered(tuple(range(2, 20)), (False,) * 6 + (True,) * 12)
    settings = FinetuneSettings(method="pissa", rank=4, alpha=8)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights="pissa")
    theirs = PeftModel(copy.deepcopy(model), config)
    ids = torch.tensor([row.ids])
    with torch.no_grad():
        before = model(ids).logits
    with learner(model, row, settings) as learning:
        assert torch.equal(learning.causal(ids).logits, before)
        stock = theirs.get_base_model()
        assert isinstance(stock, LlamaForCausalLM)
        for trained, causal in ((theirs, stock), (learning, learning.causal)):
            optimizer = torch.optim.AdamW([p for p in trained.parameters() if p.requires_grad], 1e-2, weight_decay=0)
            for _ in range(3):
                optimizer.zero_grad()
                plain_loss(causal, [row]).backward()
                optimizer.step()
        with torch.no_grad():
            ours, expected = learning.causal(ids).logits, theirs(ids).logits
    assert float((expected - before).abs().max()) > 0.1
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-3)
    with torch.no_grad():
        assert torch.equal(model(ids).logits, before)


@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_after_virtual_tokens_a_batch_gives_what_single_prompts_and_streams_give(trainings, method):
    model, short = build.language_model(trainings.model, trainings.by(method).folder), Sampling(max_tokens=6)
    together = model.generate([PROMPT, (Message("user", "Hi"),)], short)
    assert together[0].text == model.generate([PROMPT], short)[0].text
    assert together[0].text == "".join(model.stream(PROMPT, short)).strip()


def test_the_folder_holds_what_its_method_leaves(trained, trainings):
    adapter, folder = trained.adapter, trained.folder
    if adapter.method == "full":
        assert {"config.json", "model.safetensors", "tokenizer.json", "lorag.json"} <= {
            p.name for p in folder.iterdir()
        }
        assert build.language_model(str(folder)).generate([PROMPT], Sampling(max_tokens=2))
        return
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == trainings.model
    weights = load_file(folder / "adapter_model.safetensors")
    if adapter.method in ("prompt", "prefix"):
        assert [len(weight) for weight in weights.values()] == [8]
        return
    assert config["r"] == (32 if adapter.method == "pissa" else 16)  # a PiSSA adapter is a difference of two
    assert (config["use_rslora"], config["use_dora"]) == (adapter.method == "rslora", adapter.method == "dora")
    assert config["init_lora_weights"] is True
    assert sum("magnitude" in name for name in weights) == (SHALLOW_LAYERS * 7 if adapter.method == "dora" else 0)


def test_one_engine_serves_virtual_tokens_layers_and_the_base_by_turns(trainings):
    """None leaves a trace in the logits of another."""
    base = build.language_model(trainings.model)
    assert isinstance(base, TransformersModel)

    def logits(model):
        return model._forward(IDS, past_key_values=model.before(1)).logits

    folders = [trainings.by(method).folder for method in ("prompt", "lora", "prefix", "dora", "rslora", "pissa")]
    models = [base, *(base.with_adapter(folder) for folder in folders)]
    once = [logits(model) for model in models]
    for model, expected in reversed(list(zip(models, once, strict=True))):
        assert torch.equal(logits(model), expected)
    assert torch.equal(once[0], trainings.by("lora").base_before)
    assert len({tuple(each[0, -1, :50].tolist()) for each in once}) == len(models)


def test_without_its_extra_four_bits_are_refused_with_the_install_line(trainings, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r"a base of 4 bits needs .* `pip install 'lorag\[qlora\]'`"):
        build.trainable_model(trainings.model, trainings.settings("qlora"))


@pytest.mark.parametrize("method", ["full", "pissa"])
def test_what_begins_at_whole_weights_is_refused_on_four_bits(trainings, tmp_path, monkeypatch, method):
    monkeypatch.setenv(DTYPE_VARIABLE, "nf4")
    engine = build.trainable_model(trainings.model, trainings.settings(method))
    with pytest.raises(InputError, match=rf"method '{method}' needs unquantised weights, .* use the method qlora"):
        train_adapter(engine, trainings.data, tmp_path / "a", trainings.settings(method))


def test_four_bits_are_never_repacked_for_answering(trainings, monkeypatch):
    """On a CPU with bf16 units the first answer would otherwise end all training: no gradient passes packed weights."""
    from bitsandbytes.nn import modules

    monkeypatch.setattr(modules, "has_avx512bf16", lambda: True)
    model = build.trainable_model(trainings.model, trainings.settings("qlora")).weights.model
    flags = [layer.support_avx512bf16_for_cpu for layer in model.modules() if isinstance(layer, modules.Linear4bit)]
    assert flags == [False] * (SHALLOW_LAYERS * 7)


def test_only_the_upper_layers_are_trained_where_a_share_is_asked_for(tiny):
    model = tiny.weights.model
    first = rows(tiny.weights.tokenizer, [Conversation((Message("user", "Hi"), Message("assistant", "Ho")))], 99)
    with learner(model, first.kept[0], FinetuneSettings(trained_layers=0.5)) as learning:
        places = [re.search(r"layers\.(\d+)\.(?:\w+\.)*(\w+)\.lora_", name) for name in learning.trained()]
    layers = {int(place[1]) if place else None for place in places}
    kinds = {place[2] if place else None for place in places}
    assert layers == {2, 3}
    assert kinds == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize("method", [method for method in get_args(Method) if method != "full"])
def test_an_adapter_is_continued_from_what_it_was_and_only_what_it_trains_gets_gradients(trainings, method):
    parent, settings = trainings.by(method), trainings.settings(method)
    base = build.trainable_model(trainings.model, settings).weights
    kept_back = rows(base.tokenizer, split(trainings.data, settings).held_out, 1024).kept
    with learner(base.model, kept_back[0], settings, parent.folder) as learning:
        loss = learning.library_loss(kept_back)
        loss.backward()
        gradients = {name: p.grad for name, p in learning.named_parameters() if p.requires_grad}
    assert loss.item() == pytest.approx(parent.adapter.held_out_loss_after, rel=2e-4)
    assert all(gradient is not None for gradient in gradients.values())
    if method == "pissa":  # the principal parts that were taken out stay as they are
        first = next(gradient for name, gradient in gradients.items() if "lora_B" in name)
        assert first is not None
        assert not first[:, : settings.rank].any()
        assert first[:, settings.rank :].any()
