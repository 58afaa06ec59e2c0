"""Attention over a tree of tokens: each branch meets what stands before it, and no other branch.

A mask over all pairs would compute every branch against every other and throw it away. On a CPU the queries of a
branch meet its own keys alone, gathered from where they stand; branches of like size are computed together, and grouped
queries share their keys. Rotations by position are part of the function, so that its gradient needs them once.
A GPU has arithmetic to spare and pays for every call: there it is one attention under a mask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch.nn import functional

from lorag.llm.prefix_tree import Tree

_PADDED = 1.3
"""How many times its own pairs of query and key a branch may be padded to."""


@dataclass(frozen=True, slots=True)
class Branches:
    """``r`` branches of at most ``m`` queries, each of which follows the one before it, and of at most ``l`` keys."""

    queries: torch.Tensor
    """``(r, m)``: places among all queries, their number where a branch has fewer."""
    keys: torch.Tensor
    """``(r, l)``: the tokens that a branch's last query sees, their number where it sees fewer."""
    mask: torch.Tensor
    """``(r, m, 1, l)``: what is added to the scores, nothing or the lowest number."""


Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Grouped-query attention of ``m`` queries over the ``n`` tokens of a tree.

Takes the heads of a token side by side, ``(m, heads * width)`` and twice ``(n, shared heads * width)``, not rotated;
gives what the queries read, in the shape of the first.
"""


@dataclass(frozen=True, slots=True)
class Branched:
    """Attention branch by branch."""

    groups: tuple[Branches, ...]
    at_queries: tuple[torch.Tensor, torch.Tensor]
    """Cosines and sines of the queries' positions, ``(m, 1, width / 2)``, times the scale of the scores."""
    at_keys: tuple[torch.Tensor, torch.Tensor]
    """The same of the tokens, ``(n, 1, width / 2)``, as they are."""
    width: int
    """Of a head."""

    def __call__(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """See ``Attention``."""
        read: torch.Tensor = _Attend.apply(q, k, v, self)  # type: ignore[no-untyped-call]
        return read


@dataclass(frozen=True, slots=True)
class Masked:
    """Attention over all pairs under a mask."""

    mask: torch.Tensor
    """``(m, n)``: what is added to the scores."""
    at_queries: tuple[torch.Tensor, torch.Tensor]
    """As in ``Branched``, and so are the keys'."""
    at_keys: tuple[torch.Tensor, torch.Tensor]
    width: int

    def __call__(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """See ``Attention``."""
        heads = q.shape[1] // k.shape[1]
        q, k = _Turn.apply(q, *self.at_queries), _Turn.apply(k, *self.at_keys)  # type: ignore[no-untyped-call]
        q, k, v = (x.view(len(x), -1, self.width).transpose(0, 1) for x in (q, k, v))
        k, v = (x.repeat_interleave(heads, 0) for x in (k, v))
        read = functional.scaled_dot_product_attention(q[None], k[None], v[None], self.mask, scale=1.0)
        return read[0].transpose(0, 1).flatten(1)


def attention(
    made: Tree,
    queries: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    width: int,
    scaling: float,
    window: int | None = None,
    by_branches: bool | None = None,
) -> Attention:
    """Attention of the tokens at ``queries``, ascending; ``cos`` and ``sin`` are ``(n, width)``, both halves alike.

    Where they are narrower, only so much of each head is turned. A token sees the last ``window`` tokens, itself
    among them. All are on one device, by default a CPU ``by_branches`` and others under a mask.
    """
    turned = cos.shape[1]
    if turned < width:
        rest = (0, (width - turned) // 2)
        cos, sin = (functional.pad(x[:, : turned // 2], rest, value=still) for x, still in ((cos, 1.0), (sin, 0.0)))
    turns = _turns(queries, cos, sin, width, scaling)
    attend: Attention
    if by_branches or (by_branches is None and cos.device.type == "cpu"):
        seen, alike = made.within(window), _alike(made.visible, queries)
        attend = Branched(tuple(_side_by_side(seen, queries, each, cos.dtype) for each in alike), *turns, width)
    else:
        attend = Masked(made.mask(cos.dtype, window)[queries], *turns, width)
    if turned == width:
        return attend
    order = _halves_side_by_side(turned, width).to(cos.device)

    def partly_turned(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k = (x.unflatten(1, (-1, width))[..., order].flatten(1) for x in (q, k))
        return attend(q, k, v)

    return partly_turned


def _halves_side_by_side(turned: int, width: int) -> torch.Tensor:
    """An order of a head's numbers in which the turned ones stand as halves of the whole head; scores ignore order."""
    first, second = torch.arange(turned).chunk(2)
    still, other = torch.arange(turned, width).chunk(2)
    return torch.cat((first, still, second, other))


_Turns = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines, ``(tokens, 1, width / 2)``."""


def _turns(
    queries: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, width: int, scaling: float
) -> tuple[_Turns, _Turns]:
    """Those at the queries, times the scale of the scores, and those at the keys."""
    cos, sin = cos[:, None, : width // 2], sin[:, None, : width // 2]
    return (cos[queries] * scaling, sin[queries] * scaling), (cos, sin)


_Branch = tuple[torch.Tensor, torch.Tensor]
"""Places among the queries, and the tokens that are keys."""


def _alike(visible: torch.Tensor, queries: torch.Tensor) -> list[list[_Branch]]:
    """The branches that have a query, those of like size together."""
    begins = (~visible.diagonal(-1)).nonzero().flatten() + 1  # where a token does not follow the one before it
    ends = [0, *begins.tolist(), len(visible)]
    places = torch.searchsorted(queries, torch.tensor(ends)).tolist()
    branches: list[_Branch] = [
        (torch.arange(first, last), visible[end - 1].nonzero().flatten())
        for (first, last), end in zip(pairwise(places), ends[1:], strict=True)
        if first < last
    ]
    branches.sort(key=lambda branch: (len(branch[0]), len(branch[1])))
    groups = [branches[:1]]
    for branch in branches[1:]:
        together = [(len(own), len(keys)) for own, keys in (*groups[-1], branch)]
        padded = len(together) * max(m for m, _ in together) * max(n for _, n in together)
        if padded <= _PADDED * sum(m * n for m, n in together):
            groups[-1].append(branch)
        else:
            groups.append([branch])
    return groups


def _side_by_side(
    visible: torch.Tensor, queries: torch.Tensor, branches: list[_Branch], dtype: torch.dtype
) -> Branches:
    pad = torch.nn.utils.rnn.pad_sequence
    places = pad([own for own, _ in branches], batch_first=True, padding_value=len(queries))
    keys = pad([keys for _, keys in branches], batch_first=True, padding_value=len(visible))
    seen = functional.pad(visible[queries], (0, 1, 0, 1))[places[:, :, None], keys[:, None, :]]
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)
    return Branches(places, keys, mask[:, :, None])


class _Attend(torch.autograd.Function):
    """Attention of each shared head (Ainslie et al., arXiv:2305.13245) and branch, with its gradient.

    Forward, from queries ``Q (m * heads, width)`` and keys and values ``K, V (l, width)``:

    1. ``Q, K`` turned by their positions (``_turned``), ``Q`` times the scale
    2. ``S = Q K^T + mask``, ``P = softmax(S)`` in float32, ``(m * heads, l)``
    3. ``O = P V``

    Backward, from ``dO`` (as in Dao et al., arXiv:2205.14135, appendix B.2; ``P`` is kept, branches are short):

    4. ``dV = P^T dO``, ``dP = dO V^T``
    5. ``dS = P * (dP - rowsum(dP * P))``
    6. ``dQ = dS K``, ``dK = dS^T Q``, turned back; keys of several branches add up
    """

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, how: Branched) -> torch.Tensor:
        shared = k.shape[1] // how.width
        turned = (_turned(q, *how.at_queries), _turned(k, *how.at_keys), v)
        q, k, v = (_by_head(x, shared, how.width) for x in turned)
        read = torch.empty_like(q)
        shares = []
        for some in how.groups:
            scores = _taken(q, some.queries) @ _taken(k, some.keys).mT
            scores = scores.view(shared, *some.queries.shape, -1, some.keys.shape[1]).add_(some.mask)
            share = torch.softmax(scores, -1, dtype=torch.float32).to(v.dtype)
            shares.append(share.flatten(2, 3).flatten(0, 1))
            _put(read, some.queries, shares[-1] @ _taken(v, some.keys))
        ctx.how = how
        ctx.save_for_backward(q, k, v, *shares)
        return _by_token(read)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        how: Branched = ctx.how
        q, k, v, *shares = ctx.saved_tensors
        grad = _by_head(grad, len(k), how.width)
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for some, share in zip(how.groups, shares, strict=True):
            d_read = _taken(grad, some.queries)
            _add(dv, some.keys, share.mT @ d_read)
            d_share = (d_read @ _taken(v, some.keys).mT).float()
            d_scores = share * (d_share - torch.linalg.vecdot(d_share, share.float())[..., None])
            d_scores = d_scores.to(q.dtype)
            _put(dq, some.queries, d_scores @ _taken(k, some.keys))
            _add(dk, some.keys, d_scores.mT @ _taken(q, some.queries))
        (cos, sin), (cos_k, sin_k) = how.at_queries, how.at_keys
        return _turned(_by_token(dq), cos, -sin), _turned(_by_token(dk), cos_k, -sin_k), _by_token(dv), None


class _Turn(torch.autograd.Function):
    """``_turned`` with its gradient, which is the turn back."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        cos, sin = ctx.saved_tensors
        return _turned(grad.contiguous(), cos, -sin), None, None


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding (Su et al., arXiv:2104.09864, equation 34) of every head of ``(n, heads * width)``.

    The pairs that are rotated are the halves of a head: ``(l cos - r sin, r cos + l sin)``. Its gradient is the
    rotation back, by ``-sin``.
    """
    left, right = x.view(len(x), -1, 2, cos.shape[-1]).unbind(2)
    turned = torch.stack((left * cos, right * cos), 2)
    turned[:, :, 0].addcmul_(right, sin, value=-1)
    turned[:, :, 1].addcmul_(left, sin)
    return turned.view_as(x)


def _by_head(x: torch.Tensor, shared: int, width: int) -> torch.Tensor:
    """``(n, shared * heads * width)`` as ``(shared, n + 1, heads, width)``, the last of all tokens of zeros."""
    x = x.view(len(x), shared, -1, width).transpose(0, 1)
    return functional.pad(x, (0, 0, 0, 0, 0, 1))


def _by_token(x: torch.Tensor) -> torch.Tensor:
    """The inverse of ``_by_head``."""
    return x[:, :-1].transpose(0, 1).flatten(1)


def _taken(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """``(shared, n + 1, heads, width)`` at ``(r, m)``, as ``(shared * r, m * heads, width)``."""
    return x[:, places].flatten(0, 1).flatten(1, 2)


def _put(x: torch.Tensor, places: torch.Tensor, taken: torch.Tensor) -> None:
    """The inverse of ``_taken``, in place."""
    x[:, places] = taken.view(len(x), *places.shape, *x.shape[2:])


def _add(x: torch.Tensor, places: torch.Tensor, taken: torch.Tensor) -> None:
    """The same, added where places repeat."""
    x.index_add_(1, places.flatten(), taken.view(len(x), -1, *x.shape[2:]))
