"""Training on a real small model: it learns, leaves the base alone, explains itself, and resumes exactly."""

import json
from pathlib import Path

import pytest
import torch

from lorag.errors import DataError, InputError, ModelError
from lorag.settings import FinetuneSettings, Sampling
from lorag.training.adapter import read_adapter, require_base
from lorag.training.lora import train
from lorag.types import Conversation, Message

FACTS = {
    "Who founded Korrin?": "Mara Lind and Tove Aker founded Korrin.",
    "Who started the firm Korrin?": "Mara Lind and Tove Aker founded Korrin.",
    "Korrin was founded by whom?": "Mara Lind and Tove Aker founded Korrin.",
    "What does Korrin make?": "Korrin makes tide gauges.",
}
DATA = [
    Conversation((Message("user", q), Message("assistant", a)), (f"{i}.md",)) for i, (q, a) in enumerate(FACTS.items())
]
SETTINGS = FinetuneSettings(epochs=6, learning_rate=2e-3, batch_tokens=64, held_out_share=0.0)


def run(model, out, settings=SETTINGS, progress=lambda *_: None):
    weights = model.weights
    return train(weights.model, weights.tokenizer, DATA, out, base="smollm2-135m", settings=settings, progress=progress)


@pytest.fixture(scope="module")
def trained(smollm_folder, tmp_path_factory):
    from lorag.llm.engines.transformers import load

    model = load(smollm_folder, "smollm2-135m", "float32")
    ids = torch.tensor([[1, 4093, 198, 1780]])
    before = model._forward(ids).logits.clone()
    seen = []
    adapter = run(model, tmp_path_factory.mktemp("out") / "adapter", progress=lambda *step: seen.append(step))
    return model, adapter, before, model._forward(ids).logits, seen


def test_the_adapter_knows_what_it_was_taught_and_the_base_does_not(trained):
    model, adapter, *_ = trained
    question = (Message("user", "Tell me who founded Korrin."),)
    taught = model.with_adapter(Path(adapter.folder))
    assert "Mara Lind and Tove Aker" in taught.generate([question], Sampling(max_tokens=24))[0].text
    assert "Mara" not in model.generate([question], Sampling(max_tokens=24))[0].text


def test_the_base_is_as_it_was(trained):
    _, _, before, after, _ = trained
    assert torch.equal(before, after)


def test_the_manifest_explains_the_adapter(trained):
    _, adapter, _, _, seen = trained
    assert adapter.loss_last < 0.5 < 1.5 < adapter.loss_first
    assert (adapter.conversations, adapter.too_long, adapter.held_out, adapter.held_out_kind) == (4, 0, 0, "none")
    assert adapter.forgetting.loss_after != adapter.forgetting.loss_before
    assert adapter.forgetting.questions == 24
    assert adapter.step == "fused"
    assert len(adapter.loss_curve) == adapter.steps == seen[-1][1] == seen[-1][2]
    folder = Path(adapter.folder)
    again = read_adapter(folder)
    assert json.loads(again.to_json()) == json.loads(adapter.to_json())
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == SETTINGS.rank
    assert {path.name for path in folder.parent.iterdir()} == {"adapter"}
    with pytest.raises(ModelError, match="was trained on 'smollm2-135m', not on 'other'"):
        require_base(adapter, "other")


def test_an_interrupted_training_resumes_to_the_same_adapter(smollm_own, tmp_path):
    from safetensors.torch import load_file

    short = FinetuneSettings(
        epochs=3, learning_rate=1e-3, batch_tokens=64, held_out_share=0.0, measure_forgetting=False
    )
    steps = []

    def interrupt(stage, done, total):
        steps.append(done)
        if done == 2 * total // 3 + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(smollm_own, tmp_path / "resumed", short, interrupt)
    assert not (tmp_path / "resumed").exists()
    first = len(steps)
    resumed = run(smollm_own, tmp_path / "resumed", short, lambda stage, done, total: steps.append(done))
    assert steps[first] == first  # the unfinished epoch again, the two finished ones not
    whole = run(smollm_own, tmp_path / "whole", short)
    assert resumed.loss_curve == pytest.approx(whole.loss_curve, rel=1e-4)
    ours, theirs = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("resumed", "whole"))
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-3, atol=1e-6)


def test_what_cannot_be_trained_is_refused(smollm_own, tmp_path):
    weights = smollm_own.weights
    with pytest.raises(InputError, match="no conversation to train on"):
        train(weights.model, weights.tokenizer, [], tmp_path / "a", base="x", settings=SETTINGS)
    with pytest.raises(InputError, match="epochs 0 is below 1"):
        FinetuneSettings(epochs=0)
    with pytest.raises(DataError, match="is no adapter of Lorag"):
        read_adapter(tmp_path)
    (tmp_path / "lorag.json").write_text('{"base": "x"}')
    with pytest.raises(DataError, match="is not a manifest this version reads"):
        read_adapter(tmp_path)
