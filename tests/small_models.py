"""Models for what needs no knowledge: real weights of a few layers, or random ones, and a part of the vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VOCABULARY = 8192
"""Tokens of these models: the first of the small model's 49,152, which are the most frequent ones."""
SHALLOW_LAYERS = 4


def write_tiny(small: Path, folder: Path) -> None:
    """A model of four narrow layers of random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
    }
    config = LlamaConfig.from_pretrained(small, head_dim=16, num_key_value_heads=2, vocab_size=VOCABULARY, **shape)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
        for name, weight in model.named_parameters():
            if "norm" not in name:
                torch.nn.init.normal_(weight, std=0.25)  # so large that every prompt has an answer of its own
    model.save_pretrained(folder)
    write_tokenizer(small, folder)


def write_shallow(small: Path, folder: Path) -> None:
    """The first layers of the small model between its embeddings and its head."""
    from lorag.llm.engines.transformers import load

    model = load(small, "smollm2-135m", "float32").weights.model
    model.model.layers = model.model.layers[:SHALLOW_LAYERS]
    model.config.num_hidden_layers = SHALLOW_LAYERS
    model.model.norm.weight.data *= 0.2  # it expects the sum of many more layers
    model.resize_token_embeddings(VOCABULARY)
    model.save_pretrained(folder)
    write_tokenizer(small, folder)


def write_tokenizer(small: Path, folder: Path) -> PreTrainedTokenizerBase:
    """The small model's tokenizer with its first tokens, and with the merges that make them."""
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(small).save_pretrained(folder)
    state = json.loads((file := folder / "tokenizer.json").read_text())
    bpe = state["model"]
    bpe["vocab"] = {token: number for token, number in bpe["vocab"].items() if number < VOCABULARY}
    bpe["merges"] = [pair for pair in bpe["merges"] if "".join(pair) in bpe["vocab"]]
    file.write_text(json.dumps(state))
    return AutoTokenizer.from_pretrained(folder)
