"""A cache whose rows come and go: a step writes its own token and copies none of those before it.

All rows end at the same column of one piece of memory. A row that joins is written into a free place. The library's
own cache copies all keys and values for every token, which for a batch with passages moves more memory than the
weights do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

_ROOM = 64
"""Free columns behind the rows when memory is taken; it is taken again when they are full."""


class RowLayer(DynamicLayer):
    """Keys and values of ``(rows, heads, tokens, width)``, shown out of a larger piece of memory."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, like: Any) -> None:
        """Without rows; ``like`` is such a layer of the library's."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(like.keys, like.values)
        self._held = [part.new_empty(0, part.shape[1], 0, part.shape[3]) for part in (like.keys, like.values)]
        self._end = 0
        self.show(0, 0)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The keys and values of all tokens, with those of a step."""
        rows, tokens = len(self.keys), key_states.shape[-2]
        width = self.get_seq_length()
        self.make_room(rows, width, tokens)
        for held, new in zip(self._held, (key_states, value_states), strict=True):
            held[:rows, :, self._end : self._end + tokens] = new
        self._end += tokens
        self.show(rows, width + tokens)
        return self.keys, self.values

    def make_room(self, rows: int, width: int, further: int) -> None:
        """Takes memory for so many rows of ``width`` tokens, and ``further`` ones, where there is too little."""
        slots, _, columns, _ = self._held[0].shape
        if rows <= slots and width <= self._end <= columns - further:
            return
        now, shown = self.get_seq_length(), (self.keys, self.values)
        slots = max(rows, 2 * slots) if rows > slots else rows
        self._held = [  # zeros: what a mask hides must be finite
            part.new_zeros(slots, part.shape[1], width + _ROOM, part.shape[3]) for part in shown
        ]
        for held, part in zip(self._held, shown, strict=True):
            held[: len(part), :, width - now : width] = part
        self._end = width
        self.show(len(shown[0]), now)

    def write(self, row: int, layer: Any, index: torch.Tensor) -> None:
        """Writes rows from ``row`` on, of the tokens at ``index`` of ``(rows, tokens)`` in a ``layer`` of one row."""
        rows, tokens = index.shape
        for held, part in zip(self._held, (layer.keys, layer.values), strict=True):
            held[row : row + rows, :, self._end - tokens : self._end] = part[0][:, index].transpose(0, 1)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Moves rows to the beginning, each up or to where it is."""
        for to, row in enumerate(indices.tolist()):
            if to != row:
                self.keys[to], self.values[to] = self.keys[row], self.values[row]
        self.show(len(indices), self.get_seq_length())

    def show(self, rows: int, width: int) -> None:
        """Shows the first rows, and their last ``width`` columns."""
        self.keys, self.values = (held[:rows, :, self._end - width : self._end] for held in self._held)


class RowCache(Cache):
    """One ``RowLayer`` for each layer of a model."""

    def __init__(self, like: Cache) -> None:
        """Without rows; ``like`` is a cache of that model."""
        self._rows = [RowLayer(layer) for layer in like.layers]
        super().__init__(layers=[*self._rows])

    def join(self, read: Sequence[tuple[Cache, torch.Tensor]], rows: int, width: int) -> None:
        """Puts further rows behind the ``rows`` that there are; all of them then have ``width`` columns.

        They are read out of caches of one row, each at the places of ``(rows, tokens)``. Where memory does not suffice,
        the rows that there are stay as they are.
        """
        whole = rows + sum(len(index) for _, index in read)
        for number, layer in enumerate(self._rows):
            layer.make_room(whole, width, 0)
            row = rows
            for cache, index in read:
                layer.write(row, cache.layers[number], index)
                row += len(index)
        self.show(whole, width)

    def show(self, rows: int, width: int) -> None:
        """Shows the first rows, and their last ``width`` columns."""
        for layer in self._rows:
            layer.show(rows, width)
