"""The fused step on a GPU as a recording that is replayed: one call instead of the thousands of its operations.

With small batches a GPU waits for the processor that tells it what to do. The operations of a step depend on nothing
but the sizes of its batch, so batches are filled up to few sizes, and for each size a CUDA graph of the loss and all
gradients is recorded once. Weights are read where they are when it is replayed, so that it learns what they have
become.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lorag.llm.rendering import Rendered
from lorag.training.kernels import fused_step as fused
from lorag.training.kernels.supervised_tree import SupervisedTree, supervised_tree

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

_MULTIPLE = 64
"""Batches are filled up to a multiple of so many tokens, and so are their supervised tokens."""
_RECORDINGS = 32
"""Most recordings of a training: each keeps the memory of its operations. Batches of further sizes are computed."""


class Replayed:
    """``fused_loss`` for one model: a size is computed when it occurs first, and recorded when it occurs again."""

    def __init__(self) -> None:
        self._recordings: dict[tuple[int, int], _Recording | None] = {}
        self._memory: Any = None
        self._trained: list[torch.nn.Parameter] = []

    def __call__(
        self, model: PreTrainedModel, rows: Sequence[Rendered], before: DynamicCache | None = None
    ) -> torch.Tensor:
        """Mean cross entropy a supervised token; its gradient must be taken before the next call of the same size."""
        if before is not None or not torch.is_grad_enabled():
            return fused.fused_loss(model, rows, before)
        batch = supervised_tree(rows).filled(_MULTIPLE)
        size = len(batch.tokens.ids), len(batch.labels)
        if size not in self._recordings:
            if len(self._recordings) < _RECORDINGS:
                self._recordings[size] = None
            return fused.loss(model, batch.to(model.device))
        recording = self._recordings[size]
        if recording is None:
            self._memory = self._memory or torch.cuda.graph_pool_handle()
            self._trained = self._trained or [p for p in model.parameters() if p.requires_grad]
            recording = _record(model, batch.to(model.device), self._trained, self._memory)
            self._recordings[size] = recording
        replayed: torch.Tensor = _Replay.apply(recording, batch, *self._trained)  # type: ignore[no-untyped-call]
        return replayed


@dataclass(slots=True)
class _Recording:
    """A recorded step, and the places that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    batch: SupervisedTree
    loss: torch.Tensor
    gradients: tuple[torch.Tensor, ...]
    replays: int = 0

    def replay(self, batch: SupervisedTree) -> None:
        """Computes the loss and the gradients of another batch of the same size."""
        for mine, its in zip(_parts(self.batch), _parts(batch), strict=True):
            mine.copy_(its)
        self.graph.replay()
        self.replays += 1


def _parts(batch: SupervisedTree) -> tuple[torch.Tensor, ...]:
    made = batch.tokens
    return made.ids, made.visible, batch.predicting, batch.places, batch.labels, batch.weights


def _record(model: PreTrainedModel, batch: SupervisedTree, trained: Sequence[torch.Tensor], memory: Any) -> _Recording:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=memory):
        loss = fused.loss(model, batch)
        gradients = torch.autograd.grad(loss, trained)
    return _Recording(graph, batch, loss.detach(), gradients)


class _Replay(torch.autograd.Function):
    """The loss of a recording, and its gradients for what is trained."""

    @staticmethod
    def forward(ctx: Any, recording: _Recording, batch: SupervisedTree, *trained: torch.Tensor) -> torch.Tensor:
        recording.replay(batch)
        ctx.recording, ctx.replay = recording, recording.replays
        return recording.loss.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        if ctx.replay != ctx.recording.replays:
            raise RuntimeError("the gradient of a replayed step was asked for after the next step had replaced it")
        return None, None, *torch._foreach_mul(ctx.recording.gradients, grad)
