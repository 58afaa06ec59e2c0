"""The loss of a step: mean cross entropy a supervised token, by the library's forward or by the fused one.

The fused step is taken only where it proves itself on the first rows: loss and gradient must be those of the
library. Where the model is of another kind, or the proof fails, training runs on the library's own forward.
"""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from lorag.llm.prefix_tree import pass_over, takes_trees
from lorag.llm.rendering import Rendered
from lorag.training.kernels.cuda_graphs import Replayed
from lorag.training.kernels.frozen_layers import FrozenBelow
from lorag.training.kernels.fused_step import first_trained, fused_loss, rotates, supports, window
from lorag.training.kernels.supervised_tree import supervised_tree

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

IGNORED = -100
"""The label of a position without loss, as PyTorch's cross entropy expects it."""

_TOLERANCE = 1e-3
"""Largest relative difference, in float32, between the two steps when both are right."""

Loss = Callable[["PreTrainedModel", Sequence[Rendered], "DynamicCache | None"], torch.Tensor]
"""A causal model with its adapter, rows, and the virtual tokens before each of them, to a scalar."""


def plain_loss(model: PreTrainedModel, rows: Sequence[Rendered], before: DynamicCache | None = None) -> torch.Tensor:
    """The library's own forward on the rows, padded on the right; logits only where some row is supervised."""
    device = model.device
    lengths = torch.tensor([len(row.ids) for row in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
    labels = torch.full_like(ids, IGNORED)
    for i, row in enumerate(rows):
        ids[i, : lengths[i]] = torch.tensor(row.ids)
        labels[i, : lengths[i]] = torch.where(torch.tensor(row.supervised), ids[i, : lengths[i]], IGNORED)
    virtual = before.get_seq_length() if before is not None else 0
    mask = (torch.arange(-virtual, ids.shape[1]) < lengths[:, None]).long()
    columns = (labels[:, 1:] != IGNORED).any(0).nonzero().flatten()
    out = model(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        past_key_values=before,
        use_cache=before is not None,  # else the library would keep keys and values that nothing reads
        logits_to_keep=columns.to(device),
    )
    wanted = labels[:, columns + 1].to(out.logits.device)
    return torch.nn.functional.cross_entropy(out.logits.float().flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)


def token_losses(
    model: PreTrainedModel, rows: Sequence[Rendered], before: DynamicCache | None = None
) -> list[list[float]]:
    """The cross entropy of every supervised token of every row, in nats, by the library's forward on their tree.

    ``before`` are virtual tokens for one row: the rows of a tree share them. Rows that are longer than a layer sees,
    and those of a model that takes no trees, are computed one by one.
    """
    if len(rows) > 1 and (not takes_trees(model) or max(len(row.ids) for row in rows) > _narrowest(model)):
        return [token_losses(model, [row], copy.deepcopy(before))[0] for row in rows]
    made = supervised_tree(rows)
    with torch.no_grad():  # tensors of inference mode could not be gathered again for training
        out = pass_over(model, made.tokens, made.predicting, before)
        device = out.logits.device  # weights in parts may wait elsewhere
        logits, labels = out.logits[0, made.places.to(device)].float(), made.labels.to(device)
        losses = iter(torch.nn.functional.cross_entropy(logits, labels, reduction="none").tolist())
    return [[next(losses) for said in row.supervised[1:] if said] for row in rows]


def _narrowest(model: PreTrainedModel) -> float:
    """How many tokens every layer of a model sees at least; infinite where all layers see all."""
    config: Any = model.config.get_text_config()
    return min(getattr(config, name, None) or math.inf for name in ("sliding_window", "attention_chunk_size"))


def choose_loss(model: PreTrainedModel, rows: Sequence[Rendered]) -> Loss:
    """``fused_loss`` where it equals ``plain_loss`` on ``rows``, in value and in gradient; else ``plain_loss``.

    On a GPU it is recorded and replayed, except under ``torchrun``, whose processes talk to each other meanwhile. A
    failed proof is a warning: training continues, slower.
    """
    if not supports(model):
        return plain_loss
    with _shortened(model), _in_float32(model):
        difference = _difference(model, rows)
    if difference <= _TOLERANCE:
        alone = int(os.environ.get("WORLD_SIZE", 1)) == 1
        if alone and model.device.type == "cuda":
            return Replayed()
        return FrozenBelow() if first_trained(model) else fused_loss
    warnings.warn(
        f"the fast training step differs from the library's by {difference:.2g} on this model, more than"
        f" {_TOLERANCE:g}; training runs on the library's step, which is slower",
        stacklevel=2,
    )
    return plain_loss


@contextmanager
def _shortened(model: PreTrainedModel) -> Iterator[None]:
    """Leaves out all layers but the first, the last, two trained ones and one of each kind: their proof is that of all.

    By all layers it would take as long as several steps.
    """
    decoder: Any = model.model
    layers, first, types = decoder.layers, first_trained(model), getattr(decoder.config, "layer_types", None)
    middle = (first + len(layers)) // 2
    kinds = {(window(layer), rotates(layer)): place for place, layer in enumerate(layers) if place >= first}
    places = sorted({0, first, middle, len(layers) - 1, *kinds.values()})
    decoder.layers = torch.nn.ModuleList(layers[place] for place in places)
    if types is not None:
        decoder.config.layer_types = [types[place] for place in places]
    try:
        yield
    finally:
        decoder.layers = layers
        if types is not None:
            decoder.config.layer_types = types


@contextmanager
def _in_float32(model: PreTrainedModel) -> Iterator[None]:
    """Computes in float32: in bf16 two right steps differ by percents, and an error would hide in it.

    Takes four bytes a parameter while it lasts; every weight comes back as it was.
    """
    coarse = [(p, p.dtype) for p in model.parameters() if p.dtype != torch.float32]
    for p, _ in coarse:
        p.data = p.data.float()
    try:
        yield
    finally:
        for p, dtype in coarse:
            p.data = p.data.to(dtype)


def _difference(model: PreTrainedModel, rows: Sequence[Rendered]) -> float:
    """The larger relative difference of loss and gradient, measured where LoRA takes part (B is not zero)."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in trained.items()}
    draw = torch.Generator().manual_seed(0)
    gradients = []
    losses = []
    try:
        with torch.no_grad():
            for p in trained.values():
                p.add_(torch.randn(p.shape, generator=draw).to(p), alpha=0.02)
        for loss in (plain_loss, fused_loss):
            value = loss(model, rows, None)
            gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, list(trained.values()))]))
            losses.append(value.detach())
    finally:
        with torch.no_grad():
            for name, p in trained.items():
                p.copy_(before[name])
    theirs, ours = gradients
    return float(max((losses[1] - losses[0]).abs() / losses[0], (ours - theirs).norm() / theirs.norm()))
