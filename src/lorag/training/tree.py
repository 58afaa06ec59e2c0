"""The rows of a step as one tree of tokens, and what is to be learned on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorag.llm.rendering import Rendered
from lorag.llm.tree import Tree, tree

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class SupervisedTree:
    """A tree of rows and the ``s`` supervised tokens that its tokens predict."""

    tokens: Tree
    predicting: torch.Tensor
    """``(p,)``: the tokens after which something supervised follows, ascending."""
    targets: torch.Tensor
    """``(s, 2)``: an index into ``predicting`` and the token to be predicted there, one line a supervised token."""


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
    return SupervisedTree(made, predicting, torch.stack([places, labels], dim=1))
