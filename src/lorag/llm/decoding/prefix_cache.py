"""What a prompt begins with is not computed again from one turn of a conversation to the next.

Keys and values of a token depend only on the tokens before it, so they serve every sequence that begins alike. Caches
that forget or condense (sliding windows, linear attention) are not cut back; nothing is reused from them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import Cache

_MOST_TOKENS = 4096
"""Tokens kept in all, but for a last sequence that is longer."""


def common(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens all sequences begin with, leaving each at least its last one."""
    alike = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*sequences, strict=False))
    return min(sum(1 for _ in alike), min(map(len, sequences)) - 1)


def keeps_every_token(cache: Cache) -> bool:
    """Whether each layer holds keys and values of all tokens: no sliding window, no state that condenses them."""
    from transformers.cache_utils import DynamicLayer

    from lorag.llm.decoding.kv_cache import RowLayer

    return all(type(layer) in (DynamicLayer, RowLayer) for layer in cache.layers)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A sequence, and keys and values of it for each layer; nobody writes into them."""

    tokens: list[int]
    layers: list[tuple[torch.Tensor, torch.Tensor]]

    def begun(self, tokens: int) -> Cache:
        """A cache of so many tokens, to be filled further."""
        from transformers.cache_utils import Cache, DynamicLayer

        layers = [DynamicLayer() for _ in self.layers]
        for layer, (keys, values) in zip(layers, self.layers, strict=True):
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys[:, :, :tokens], values[:, :, :tokens]
        return Cache(layers=list(layers))


class PrefixCache:
    """What was computed of the last sequences of one model."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[_Kept] = []

    def take(self, *prompts: Sequence[int]) -> tuple[int, Cache | None]:
        """How many of the tokens that all prompts begin with are kept, and a cache of them; 0 and None where none."""
        with self._lock:
            shared, best = max(((_shared(kept, prompts), n) for n, kept in enumerate(self._kept)), default=(0, 0))
            if shared < 1:
                return 0, None
            self._kept.append(self._kept.pop(best))
            return shared, self._kept[-1].begun(shared)

    def put(self, tokens: Sequence[int], cache: Cache, row: int = 0) -> None:
        """Keeps a sequence, with what a cache holds of it at the end of that row.

        What is kept of its beginning goes, and the longest unused where the room for all is full.
        """
        if not keeps_every_token(cache):
            return
        parts: list[Any] = list(cache.layers)
        new = _Kept(list(tokens), [(_end(part.keys, row, tokens), _end(part.values, row, tokens)) for part in parts])
        with self._lock:
            kept = [each for each in self._kept if each.tokens != new.tokens[: len(each.tokens)]] + [new]
            while len(kept) > 1 and sum(len(each.tokens) for each in kept) > _MOST_TOKENS:
                kept.pop(0)
            self._kept = kept


def _shared(kept: _Kept, prompts: Sequence[Sequence[int]]) -> int:
    return min(common([[*kept.tokens, -1], *prompts]), len(kept.tokens))


def _end(part: torch.Tensor, row: int, tokens: Sequence[int]) -> torch.Tensor:
    return part[row : row + 1, :, part.shape[2] - len(tokens) :].clone()
