"""A cache with room behind its rows: a step writes its own token and copies none of those before it.

The library's own cache copies all keys and values for every token, which for a batch with passages moves more
memory than the weights do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer


class _RoomyLayer(DynamicLayer):
    """Keys and values of ``(rows, heads, tokens, width)`` at the beginning of a longer piece of memory."""

    def __init__(self, keys: Sequence[torch.Tensor], values: Sequence[torch.Tensor], room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(keys[0], values[0])
        self._held = [_with_room(parts, room) for parts in (keys, values)]
        self._show(keys[0].shape[-2])

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        begin = self.get_seq_length()
        end = begin + key_states.shape[-2]
        for held, new in zip(self._held, (key_states, value_states), strict=True):
            held[:, :, begin:end] = new
        return self._show(end)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self._held = [held[indices] for held in self._held]
        self._show(self.get_seq_length())

    def _show(self, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys, self.values = (held[:, :, :end] for held in self._held)
        return self.keys, self.values


def with_room(layers: Sequence[tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]], room: int) -> Cache:
    """The cache of ``layers``, each keys and values in parts of some rows, with room for so many tokens more."""
    return Cache(layers=[_RoomyLayer(keys, values, room) for keys, values in layers])


def _with_room(parts: Sequence[torch.Tensor], room: int) -> torch.Tensor:
    """The parts ``(rows, heads, tokens, width)`` one after the other, at the beginning of longer rows."""
    _, heads, tokens, width = parts[0].shape
    held = parts[0].new_empty(sum(map(len, parts)), heads, tokens + room, width)
    torch.cat(list(parts), out=held[:, :, :tokens])
    return held
