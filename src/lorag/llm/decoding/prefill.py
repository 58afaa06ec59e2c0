"""The prompts of a batch in a few passes: what they share, a passage as much as the instruction, is computed once.

For models whose cache keeps every token and whose attention follows the mask and the positions it is given, which
``merges`` finds out by computing. Prompts of other models are padded to one length.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lorag.llm.decoding.prefix_cache import common, keeps_every_token
from lorag.llm.prefix_tree import pass_over, tree

if TYPE_CHECKING:
    import torch
    from transformers import Cache, DynamicCache, PreTrainedModel

_PASS_TOKENS = 1024
"""Distinct tokens of a pass: enough to multiply at full speed; attention among all of them stays a small part."""
_TOLERANCE = 0.05
"""The largest difference of logits that rounding explains, as a share of how far those of two prompts lie apart."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass computed of some prompts."""

    logits: torch.Tensor
    """``(prompts, vocabulary)``, after the last token of each."""
    cache: DynamicCache
    """One row: virtual tokens, if any, then the distinct tokens."""
    places: list[list[int]]
    """For each prompt, where its tokens and the virtual ones before them stand in the cache."""


def passes(prompts: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """The prompts, which come sorted, in runs of so many distinct tokens as a pass takes; a longer prompt is alone."""
    run: list[Sequence[int]] = []
    distinct = 0
    for prompt in prompts:
        more = len(prompt) - common([run[-1], prompt]) if run else len(prompt)
        if run and distinct + more > _PASS_TOKENS:
            yield run
            run, distinct, more = [], 0, len(prompt)
        run.append(prompt)
        distinct += more
    if run:
        yield run


def merged(model: PreTrainedModel, prompts: Sequence[Sequence[int]], before: DynamicCache | None) -> Pass:
    """One pass over prompts, each behind the virtual tokens of ``before``: a cache of one row, filled further."""
    import torch

    made = tree(prompts)
    virtual = before.get_seq_length() if before is not None else 0
    ends = torch.tensor([path[-1] for path in made.paths])
    out = pass_over(model, made, ends, before, use_cache=True)
    places = [[*range(virtual), *(virtual + place for place in path)] for path in made.paths]
    return Pass(out.logits[0], out.past_key_values, places)


def in_rows(read: Sequence[Pass], room: int) -> tuple[torch.Tensor, torch.Tensor, Cache]:
    """Logits ``(rows, vocabulary)``, mask ``(rows, longest)`` and cache for decoding, padded on the left.

    The cache has room for so many tokens a row.
    """
    import torch

    from lorag.llm.decoding.kv_cache import with_room

    longest = max(len(places) for part in read for places in part.places)
    device = read[0].logits.device
    index = [torch.tensor([[0] * (longest - len(p)) + p for p in part.places], device=device) for part in read]
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for part in read for p in part.places], device=device)
    layers = []
    for layer in zip(*(part.cache.layers for part in read), strict=True):
        held: list[Any] = list(layer)
        keys = [kept.keys[0][:, at].transpose(0, 1) for kept, at in zip(held, index, strict=True)]
        values = [kept.values[0][:, at].transpose(0, 1) for kept, at in zip(held, index, strict=True)]
        layers.append((keys, values))
    return torch.cat([part.logits for part in read]), mask, with_room(layers, room)


def merges(model: PreTrainedModel) -> bool:
    """Whether a merged pass of ``model`` gives what its prompts give one by one, tried on two short ones."""
    import torch

    if not {"position_ids", "attention_mask", "logits_to_keep"} <= inspect.signature(model.forward).parameters.keys():
        return False
    ids = [n % model.config.get_text_config().vocab_size for n in range(100, 124)]
    prompts = [ids, ids[:12] + ids[:6]]
    try:
        alone = torch.cat([model(torch.tensor([p], device=model.device)).logits[:, -1] for p in prompts])
        found = merged(model, prompts, None)
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False  # a model that does not take a mask of its own making
    apart = float((alone[0] - alone[1]).abs().max())
    return keeps_every_token(found.cache) and float((alone - found.logits).abs().max()) <= _TOLERANCE * apart
