"""How likely a model finds given answers; what their prompts begin with alike is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorag.llm.prefix_tree import pass_over, tree

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel


@dataclass(frozen=True, order=True, slots=True)
class Told:
    """A prompt and an answer to it, as one sequence of tokens; the answer begins at ``first``, which is above 0."""

    ids: tuple[int, ...]
    first: int


def likelihoods(model: PreTrainedModel, told: Sequence[Told], before: Cache | None) -> list[list[float]]:
    """For each answer the logarithm of the probability of each of its tokens, in one pass over all sequences."""
    import torch

    made = tree([each.ids for each in told])
    read = [path[each.first - 1 : -1] for path, each in zip(made.paths, told, strict=True)]
    keep = sorted({node for nodes in read for node in nodes})
    if not keep:
        return [[] for _ in told]
    row = {node: place for place, node in enumerate(keep)}
    logits = pass_over(model, made, torch.tensor(keep), before).logits[0]
    known = logits.float().log_softmax(-1).cpu()
    return [
        [float(known[row[node], token]) for node, token in zip(nodes, each.ids[each.first :], strict=True)]
        for nodes, each in zip(read, told, strict=True)
    ]
