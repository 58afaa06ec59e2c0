"""Forgetting is measured on what no training taught: nothing where nothing changed, something where weights broke."""

import pytest
import torch
from peft import LoraConfig, PeftModel

from lorag.training.forgetting import forgetting, measure
from lorag.training.methods import Learner


@pytest.fixture(scope="module")
def measured(smollm_folder):
    from lorag.llm.engines.transformers import load

    weights = load(smollm_folder, dtype="float32").weights
    model = Learner(PeftModel(weights.model, LoraConfig(target_modules=["v_proj"], task_type="CAUSAL_LM")))
    before = measure(model, weights.tokenizer)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter += 1.0 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    return before, measure(model, weights.tokenizer)


def test_a_model_knows_general_text_and_simple_things(measured):
    before, _ = measured
    assert len(before.losses) == 8
    assert all(1 < loss < 5 for loss in before.losses)
    assert len(before.right) == 24
    assert sum(before.right) > 12  # six by chance


def test_what_did_not_change_was_not_forgotten(measured):
    before, _ = measured
    same = forgetting(before, before)
    assert same.loss_before == same.loss_after
    assert same.rise_low == same.rise_high == 0
    assert same.right_before == same.right_after == sum(before.right)


def test_a_broken_model_shows_it(measured):
    before, after = measured
    found = forgetting(before, after)
    assert 0 < found.rise_low < found.loss_after - found.loss_before < found.rise_high
    assert found.right_after < found.right_before
    assert f"to {found.right_after} of 24" in str(found)
