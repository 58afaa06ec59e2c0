"""The prompts of a batch in a few passes: what they share, a passage as much as the instruction, is computed once.

For models whose cache keeps every token and whose attention follows the mask and the positions it is given, which
``merges`` finds out by computing. Prompts of other models are padded to one length.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorag.llm.decoding.prefix_cache import common, keeps_every_token
from lorag.llm.prefix_tree import pass_over, tree

if TYPE_CHECKING:
    import torch
    from transformers import Cache, PreTrainedModel

PASS_TOKENS = 1024
"""Distinct tokens of a pass: enough to multiply at full speed; attention among all of them stays a small part."""
_TOLERANCE = 0.05
"""The largest difference of logits that rounding explains, as a share of how far those of two prompts lie apart."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass computed of some prompts."""

    logits: torch.Tensor
    """``(prompts, vocabulary)``, after the last token of each."""
    cache: Cache
    """One row: what stands before every prompt, then the distinct tokens."""
    places: list[list[int]]
    """For each prompt, where its tokens and those before them stand in the cache."""
    states: torch.Tensor | None = None
    """``(prompts, width)``: what the layer that is read gives after each prompt; None where none is."""

    @property
    def index(self) -> torch.Tensor:
        """The places as one array, ``(prompts, longest)``, shorter ones begun with zeros."""
        import torch

        longest = max(map(len, self.places))
        padded = [[0] * (longest - len(places)) + places for places in self.places]
        return torch.tensor(padded, device=self.logits.device)


def passes(prompts: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """The prompts, which come sorted, in runs of so many distinct tokens as a pass takes; a longer prompt is alone."""
    run: list[Sequence[int]] = []
    distinct = 0
    for prompt in prompts:
        more = len(prompt) - common([run[-1], prompt]) if run else len(prompt)
        if run and distinct + more > PASS_TOKENS:
            yield run
            run, distinct, more = [], 0, len(prompt)
        run.append(prompt)
        distinct += more
    if run:
        yield run


def merged(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], before: Cache | None, layer: int | None = None
) -> Pass:
    """One pass over prompts, each behind the tokens of ``before``: a cache of one row, filled further.

    With ``layer`` its output is read as well; 0 are the token embeddings.
    """
    import torch

    made = tree(prompts)
    begun = before.get_seq_length() if before is not None else 0
    ends = torch.tensor([path[-1] for path in made.paths])
    out = pass_over(model, made, ends, before, use_cache=True, output_hidden_states=layer is not None)
    states = None if layer is None else out.hidden_states[layer][0, ends.to(model.device)]
    places = [[*range(begun), *(begun + place for place in path)] for path in made.paths]
    return Pass(out.logits[0], out.past_key_values, places, states)


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
