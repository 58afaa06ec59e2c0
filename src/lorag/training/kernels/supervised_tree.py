"""The rows of a step as one tree of tokens, and what is to be learned on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorag.llm.prefix_tree import Tree, tree
from lorag.llm.rendering import Rendered

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class SupervisedTree:
    """A tree of rows, and the ``s`` supervised tokens that ``p`` of its tokens predict."""

    tokens: Tree
    predicting: torch.Tensor
    """``(p,)``: the tokens after which something supervised follows, ascending."""
    places: torch.Tensor
    """``(s,)``: indexes into ``predicting``, one a supervised token."""
    labels: torch.Tensor
    """``(s,)``: the tokens to be predicted there."""
    weights: torch.Tensor
    """``(s,)``: one for a supervised token, zero for what only fills up."""

    def to(self, device: torch.device) -> SupervisedTree:
        """The same on a device."""
        moved = (part.to(device) for part in (self.predicting, self.places, self.labels, self.weights))
        return SupervisedTree(self.tokens.to(device), *moved)

    def filled(self, multiple: int) -> SupervisedTree:
        """The same loss with its numbers of tokens at multiples, and ``p`` as large as ``s``, so that few shapes occur.

        A token that fills up sees itself alone, and nothing is learned from it.
        """
        from torch.nn.functional import pad

        n, p, s = len(self.tokens.ids), len(self.predicting), len(self.labels)
        to_n, to_s = -n % multiple, -s % multiple
        visible = pad(self.tokens.visible, (0, to_n, 0, to_n))
        visible.fill_diagonal_(True)
        return SupervisedTree(
            Tree(pad(self.tokens.ids, (0, to_n)), visible, self.tokens.paths),
            pad(self.predicting, (0, s + to_s - p), value=n + to_n - 1),
            *(pad(one, (0, to_s)) for one in (self.places, self.labels, self.weights)),
        )


def supervised_tree(rows: Sequence[Rendered]) -> SupervisedTree:
    """The rows in one tree. A row's first token is never supervised: nothing stands before it."""
    import torch

    made = tree([row.ids for row in rows])
    pairs = [
        (path[i - 1], row.ids[i])
        for row, path in zip(rows, made.paths, strict=True)
        for i in range(1, len(row.ids))
        if row.supervised[i]
    ]
    nodes, labels = torch.tensor(pairs).T
    predicting, places = nodes.unique(return_inverse=True)
    return SupervisedTree(made, predicting, places, labels, torch.ones(len(labels)))
