"""Virtual tokens: what a learned prompt or prefix puts before every row, as keys and values that attention reads.

A learned prompt stands for embeddings, a learned prefix for keys and values. Attention is causal, so both become the
same thing once the base has seen them: a cache before whatever follows. Training and serving use this one function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import DynamicCache


def virtual_tokens(model: PeftModel, rows: int) -> DynamicCache:
    """The cache that ``rows`` rows begin with, of a model with a learned prompt or prefix; gradients reach it."""
    import torch
    from transformers import DynamicCache

    given: Any = model.get_prompt(1)
    if isinstance(given, torch.Tensor):
        base: Any = model.get_base_model()
        embedded = given.to(base.get_input_embeddings().weight.dtype)
        given = base.base_model(inputs_embeds=embedded, use_cache=True).past_key_values
    if not isinstance(given, DynamicCache):
        raise TypeError(f"PEFT gave {type(given).__name__} for virtual tokens, expected a DynamicCache")
    given.batch_repeat_interleave(rows)
    return given
