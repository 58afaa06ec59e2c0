"""Sequences as one tree of tokens: what several begin with stands in it once, and is computed once.

A token attends to its ancestors alone, so that every sequence sees exactly itself; attention is causal, so what is
computed on the tree is what the sequences give one by one. There is no padding. Training and serving use this one tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import Cache, PreTrainedModel


@dataclass(frozen=True, slots=True)
class Tree:
    """``n`` distinct tokens, parents before children."""

    ids: torch.Tensor
    """``(n,)``."""
    visible: torch.Tensor
    """``(n, n)`` booleans: row ``i`` marks token ``i`` and its ancestors."""
    paths: tuple[tuple[int, ...], ...]
    """Where each sequence's tokens stand in ``ids``."""

    @property
    def positions(self) -> torch.Tensor:
        """``(n,)``: the place of each token in its sequence."""
        return self.visible.sum(1) - 1

    def within(self, window: int | None) -> torch.Tensor:
        """``visible`` for a layer in which a token sees the last ``window`` tokens, itself among them; None for all."""
        if window is None or window >= len(self.ids):
            return self.visible
        return self.visible & (self.positions[:, None] - self.positions < window)

    def mask(self, dtype: torch.dtype, window: int | None = None) -> torch.Tensor:
        """What is added to the scores of attention, ``(n, n)``: nothing where visible, else the lowest number."""
        import torch

        seen = self.within(window)
        return torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)

    def to(self, device: torch.device) -> Tree:
        """The same on a device."""
        return Tree(self.ids.to(device), self.visible.to(device), self.paths)


def tree(sequences: Sequence[Sequence[int]]) -> Tree:
    """The sequences in one tree."""
    import numpy as np
    import torch

    children: dict[tuple[int, int], int] = {}
    ids: list[int] = []
    parents: list[int] = []
    paths: list[tuple[int, ...]] = []
    for sequence in sequences:
        node, path = -1, []
        for token in sequence:
            key = (node, token)
            if key not in children:
                children[key] = len(ids)
                ids.append(token)
                parents.append(node)
            node = children[key]
            path.append(node)
        paths.append(tuple(path))
    visible = np.eye(len(ids), dtype=bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            visible[node] |= visible[parent]
    return Tree(torch.tensor(ids), torch.from_numpy(visible), tuple(paths))


def takes_trees(model: PreTrainedModel) -> bool:
    """Whether all layers of a model attend, so that a mask parts the sequences of a tree.

    A layer with a state (Mamba, linear attention, convolutions) would carry it from one branch into the next.
    """
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    layers = DynamicCache(config=model.config).layers
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def pass_over(model: PreTrainedModel, made: Tree, keep: torch.Tensor, before: Cache | None, **options: Any) -> Any:
    """What the library's forward gives on a tree, with logits ``(1, len(keep), vocabulary)`` after the tokens ``keep``.

    The cache ``before`` holds one row, which stands before every sequence. Layers that see only so many tokens back
    are not told of it where sequences branch: their rows must not be longer.
    """
    import torch

    virtual = before.get_seq_length() if before is not None else 0
    mask = torch.nn.functional.pad(made.mask(model.dtype), (virtual, 0))[None, None].to(model.device)
    return model(
        input_ids=made.ids[None].to(model.device),
        position_ids=(made.positions + virtual)[None].to(model.device),
        attention_mask=mask if len(made.paths) > 1 else None,
        past_key_values=before,
        logits_to_keep=keep.to(model.device),
        **options,
    )
