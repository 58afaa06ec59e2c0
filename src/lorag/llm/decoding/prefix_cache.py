"""What a prompt begins with is not computed again from one turn of a conversation to the next.

Keys and values of a token depend only on the tokens before it, so they serve every sequence that begins alike. Caches
that forget or condense (sliding windows, linear attention) are not cut back; nothing is reused from them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import Cache


def common(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens all sequences begin with, leaving each at least its last one."""
    alike = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*sequences, strict=False))
    return min(sum(1 for _ in alike), min(map(len, sequences)) - 1)


def keeps_every_token(cache: Cache) -> bool:
    """Whether each layer holds keys and values of all tokens: no sliding window, no state that condenses them."""
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in cache.layers)


class PrefixCache:
    """The cache of the last sequence of one model, handed out to one user at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[list[int], Cache] | None = None

    def take(self, ids: Sequence[int]) -> tuple[int, Cache | None]:
        """How many tokens of ``ids`` the cache holds that is handed out with it; 0 and None where none fits."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is None:
            return 0, None
        tokens, cache = kept
        shared = min(common([[*tokens, -1], ids]), len(tokens))
        if shared < 1:
            return 0, None
        cache.crop(shared - len(tokens))
        return shared, cache

    def put(self, tokens: Sequence[int], cache: Cache) -> None:
        """Keeps a cache of one row and the tokens it was computed from; a further one takes its place."""
        if keeps_every_token(cache):
            with self._lock:
                self._kept = list(tokens[: cache.get_seq_length()]), cache
