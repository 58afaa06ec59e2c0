"""The fused step where only upper layers are trained: what the frozen ones below compute of a batch is kept.

Batches keep their rows from one pass to the next, and frozen layers give the same states for the same tokens. So from
the second pass on a batch begins at the first trained layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from lorag.llm.rendering import Rendered
from lorag.machine import free_for_process
from lorag.training.kernels import fused_step as fused
from lorag.training.kernels.supervised_tree import supervised_tree

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

_SHARE_OF_FREE = 0.25
"""Most memory that kept states take, as a share of what is free when the first is kept."""


class FrozenBelow:
    """``fused_loss`` for one model, which computes its frozen layers once per batch as far as memory allows."""

    def __init__(self) -> None:
        self._states: dict[tuple[tuple[int, ...], ...], torch.Tensor] = {}
        self._room: int | None = None

    def __call__(
        self, model: PreTrainedModel, rows: Sequence[Rendered], before: DynamicCache | None = None
    ) -> torch.Tensor:
        """Mean cross entropy per supervised token of the rows."""
        if before is not None:
            raise ValueError("the fused step does not support virtual tokens")
        batch = supervised_tree(rows).to(model.device)
        key = tuple(row.ids for row in rows)
        below = self._states.get(key)
        if below is None:
            below = fused.states_below(model, batch)
            if self._room is None:
                self._room = int(_SHARE_OF_FREE * free_for_process(model.device.type))
            if below.nbytes <= self._room:
                self._room -= below.nbytes
                self._states[key] = below
        return fused.loss(model, batch, below)
