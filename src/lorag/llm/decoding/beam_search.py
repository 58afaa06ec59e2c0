"""Beam search by the transformers library, with every setting said, so that nothing of a model's own file decides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from lorag.types import Sampling

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def search(model: PreTrainedModel, ids: Sequence[int], sampling: Sampling, ends: Collection[int]) -> list[int]:
    """The tokens of the likeliest answer among ``sampling.num_beams`` to the prompt ``ids``, its end token included.

    Above temperature 0 beams are drawn, with ``sampling.seed``. One prompt at a time: its beams fill a batch.
    """
    import torch
    from transformers import GenerationConfig

    greedy = sampling.temperature == 0
    config = GenerationConfig(
        max_new_tokens=sampling.max_tokens,
        num_beams=sampling.num_beams,
        do_sample=not greedy,
        temperature=None if greedy else sampling.temperature,
        top_k=None if greedy else sampling.top_k,
        top_p=None if greedy else sampling.top_p,
        repetition_penalty=sampling.repetition_penalty,
        eos_token_id=sorted(ends),
        pad_token_id=min(ends),
    )
    prompt = torch.tensor([list(ids)], device=model.device)
    with torch.random.fork_rng():
        torch.manual_seed(sampling.seed)
        found = model.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=config)  # type: ignore[operator]
    tokens: list[int] = found[0, len(ids) :].tolist()
    end = next((place for place, token in enumerate(tokens, start=1) if token in ends), len(tokens))
    return tokens[:end]
