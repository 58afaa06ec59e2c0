"""The next token from a model's logits: penalty, temperature, top-k and top-p, in the order transformers applies them.

Not here: beams, which follow several tokens at once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from lorag.types import Sampling

if TYPE_CHECKING:
    import torch


def choose(logits: torch.Tensor, sampling: Sampling, seen: Sequence[Collection[int]], chance: float) -> torch.Tensor:
    """The next token of each row of ``(rows, vocabulary)`` logits.

    ``seen`` are the tokens of each row so far, its prompt included. ``chance``, from 0 up to 1, says where in the
    shares laid end to end a draw falls; it is the same for every row, so that a row's draw does not depend on the
    rows beside it.
    """
    import torch

    if sampling.temperature == 0:
        return _penalised(logits, sampling.repetition_penalty, seen).argmax(-1)
    kept, tokens = shares(logits, sampling, seen)
    ends = kept.double().cumsum(-1)
    place = torch.searchsorted(ends, chance * ends[:, -1:], right=True)
    return tokens.gather(-1, place.clamp(max=tokens.shape[1] - 1)).flatten()


def shares(
    logits: torch.Tensor, sampling: Sampling, seen: Sequence[Collection[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens each row draws from, likeliest first, and their shares; what top-p cuts off has the share 0.

    Two tensors of shape ``(rows, n)``, shares and tokens; shares are not scaled to sum to 1.
    """
    import torch

    scores = _penalised(logits, sampling.repetition_penalty, seen) / sampling.temperature
    ordered, tokens = scores.topk(min(sampling.top_k or scores.shape[1], scores.shape[1]))
    kept = torch.softmax(ordered, dim=-1)
    if sampling.top_p < 1:
        kept = kept.masked_fill(kept.cumsum(-1) - kept >= sampling.top_p, 0.0)
    return kept, tokens


def _penalised(logits: torch.Tensor, penalty: float, seen: Sequence[Collection[int]]) -> torch.Tensor:
    """Logits in which seen tokens are less likely: divided where positive, else multiplied (Keskar et al. 2019)."""
    import torch

    if penalty == 1:
        return logits
    mask = torch.zeros_like(logits, dtype=torch.bool)
    for row, tokens in enumerate(seen):
        mask[row, list(tokens)] = True
    return torch.where(mask, torch.where(logits > 0, logits / penalty, logits * penalty), logits)
