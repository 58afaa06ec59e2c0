"""The rows of a step as one tree of tokens: what several rows begin with stands in it once, and is computed once.

A token attends to its ancestors alone, so that every row sees exactly itself; attention is causal, so loss and
gradient are those of the rows one by one. There is no padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorag.llm.rendering import Rendered

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Tree:
    """Tensors of ``n`` distinct tokens and of the ``s`` supervised tokens that they predict."""

    ids: torch.Tensor
    """``(n,)``: parents before children."""
    positions: torch.Tensor
    """``(n,)``: the place of each token in its row."""
    visible: torch.Tensor
    """``(n, n)`` booleans: row ``i`` marks token ``i`` and its ancestors."""
    predicting: torch.Tensor
    """``(p,)``: the tokens after which something supervised follows, ascending."""
    targets: torch.Tensor
    """``(s, 2)``: an index into ``predicting`` and the token to be predicted there, one line a supervised token."""

    def mask(self, dtype: torch.dtype) -> torch.Tensor:
        """What is added to the scores of attention, ``(n, n)``: nothing where visible, else the lowest number."""
        import torch

        lowest = torch.finfo(dtype).min
        return torch.zeros(self.visible.shape, dtype=dtype).masked_fill_(~self.visible, lowest)


def tree(rows: Sequence[Rendered]) -> Tree:
    """The rows in one tree. A row's first token is never supervised: nothing stands before it."""
    import torch

    children: dict[tuple[int, int], int] = {}
    ids: list[int] = []
    parents: list[int] = []
    pairs: list[tuple[int, int]] = []
    for row in rows:
        node = -1
        for token, supervised in zip(row.ids, row.supervised, strict=True):
            if supervised and node >= 0:
                pairs.append((node, token))
            key = (node, token)
            if key not in children:
                children[key] = len(ids)
                ids.append(token)
                parents.append(node)
            node = children[key]
    visible = torch.eye(len(ids), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            visible[node] |= visible[parent]
    nodes, labels = torch.tensor(pairs).T
    predicting, places = nodes.unique(return_inverse=True)
    return Tree(torch.tensor(ids), visible.sum(1) - 1, visible, predicting, torch.stack([places, labels], dim=1))
