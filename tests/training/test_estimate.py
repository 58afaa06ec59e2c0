"""What is expected of memory where several processes train, and where it is held."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lorag import machine
from lorag.errors import InputError
from lorag.llm.rendering import Rendered
from lorag.settings import FinetuneSettings
from lorag.training.estimate import Estimate, estimate, estimate_in_parts
from lorag.training.kernels.loss import plain_loss
from lorag.training.methods import Learner

FREE = {"cuda": 9_000_000, "cpu": 8_000_000}
SHARDED = FinetuneSettings(method="full", shard=True)
STEPS = [[Rendered(tuple(range(9)), (False,) * 7 + (True, True))]]


@pytest.fixture
def learning(monkeypatch):
    """A model that one of eight processes trains; four of them run on this machine."""
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(machine, "free_bytes", FREE.get)
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    learner = Learner(LlamaForCausalLM(LlamaConfig(vocab_size=60, **shape)))
    learner.loss = plain_loss
    return learner


def test_a_process_has_its_share_of_the_memory_of_its_machine(learning):
    assert estimate(learning, STEPS, FinetuneSettings(method="full")).free_bytes == 2_000_000
    assert estimate_in_parts(learning, STEPS, SHARDED).free_bytes == 2_000_000


def test_what_is_offloaded_is_held_where_the_machine_has_its_memory(learning, monkeypatch):
    parts = 4 * 4 * sum(weight.numel() for weight in learning.parameters()) // 8
    offloading = replace(SHARDED, cpu_offload=True)
    here = estimate_in_parts(learning, STEPS, SHARDED)
    assert here.weight_bytes > parts
    assert estimate_in_parts(learning, STEPS, offloading) == here
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    whole, split = (estimate_in_parts(learning, STEPS, settings) for settings in (SHARDED, offloading))
    assert whole == replace(here, free_bytes=9_000_000)
    held = {"weight_bytes": here.weight_bytes - parts, "offloaded_bytes": parts, "free_machine_bytes": 2_000_000}
    assert split == replace(whole, **held)


def test_too_little_memory_of_the_machine_is_refused_beside_a_gpu():
    found = Estimate(1, 1, 0.0, 2 * 10**9, 10**9, 80 * 10**9, offloaded_bytes=30 * 10**9, free_machine_bytes=40 * 10**9)
    found.require_memory()
    assert "3.0 GB more memory (80.0 GB are free), 30.0 GB more of the machine's (40.0 GB are free) in each" in str(
        found
    )
    with pytest.warns(UserWarning, match="about 33.0 GB of the machine's memory, and 40.0 GB is free; if it runs out"):
        replace(found, offloaded_bytes=33 * 10**9).require_memory()
    with pytest.raises(
        InputError, match=r"about 41\.0 GB of the machine's memory, and 40\.0 GB is free; lower the rank"
    ):
        replace(found, offloaded_bytes=41 * 10**9).require_memory()
