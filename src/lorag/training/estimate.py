"""What a training will take, told before it begins: one step is timed, and what it keeps for its gradient counted.

Not here: what an optimizer of another kind would keep, and a machine that others slow down meanwhile.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorag.errors import InputError
from lorag.llm.rendering import Rendered
from lorag.machine import free_bytes, gigabytes
from lorag.settings import FinetuneSettings
from lorag.training.memory_limits import FEWER_WEIGHTS, SMALLER_STEPS

if TYPE_CHECKING:
    import torch

    from lorag.training.methods import Learner

_STATES = 3
"""Numbers kept beside each trained weight: its gradient and the two averages of AdamW."""
_TIGHT = 0.8
"""Share of the free memory above which a training may not end."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is still to come when the model is loaded and made trainable."""

    trained_parameters: int
    updates: int
    seconds: float
    """All steps of all epochs at the pace of the one that was timed."""
    weight_bytes: int
    """Gradients and the optimizer's averages."""
    activation_bytes: int
    """What the largest step keeps for its gradient."""
    free_bytes: int

    def __str__(self) -> str:
        """One line for people."""
        took = f"{self.seconds / 60:.0f} minutes" if self.seconds >= 120 else f"{self.seconds:.0f} seconds"
        needed, free = gigabytes(self.weight_bytes + self.activation_bytes), gigabytes(self.free_bytes)
        return f"about {took} and {needed} more memory ({free} are free) for {self.updates} updates"

    def require_memory(self) -> None:
        """Raises ``InputError`` with the setting to lower where memory will not suffice; warns where it is short."""
        needed = self.weight_bytes + self.activation_bytes
        if needed <= _TIGHT * self.free_bytes:
            return
        lower = SMALLER_STEPS if self.activation_bytes > self.weight_bytes else FEWER_WEIGHTS
        message = f"training will need about {gigabytes(needed)} and {gigabytes(self.free_bytes)} are free; {lower}"
        if needed > self.free_bytes:
            raise InputError(message)
        warnings.warn(f"{message} if it does not end", stacklevel=2)


def estimate(learning: Learner, steps: Sequence[Sequence[Rendered]], settings: FinetuneSettings) -> Estimate:
    """The estimate for training on ``steps``, from the one of middle size; nothing of the model is changed."""
    sizes = [sum(len(row.ids) for row in step) for step in steps]
    middle = sorted(range(len(steps)), key=sizes.__getitem__)[len(steps) // 2]
    seconds, kept = _one_step(learning, steps[middle])
    processes = int(os.environ.get("WORLD_SIZE", 1))
    trained = sum(weight.numel() for weight in learning.trained().values())
    return Estimate(
        trained_parameters=trained,
        updates=-(-len(steps) // processes // settings.gradient_accumulation_steps) * settings.epochs,
        seconds=seconds * sum(sizes) / sizes[middle] * settings.epochs / processes,
        weight_bytes=_STATES * 4 * trained,
        activation_bytes=round(kept * max(sizes) / sizes[middle]),
        free_bytes=free_bytes(learning.device.type),
    )


def _one_step(learning: Learner, rows: Sequence[Rendered]) -> tuple[float, int]:
    """Seconds of one step, and the bytes that it keeps for its gradient.

    The second of two steps is timed: the first one prepares kernels, which takes seconds on some machines.
    """
    import torch

    own = {weight.untyped_storage().data_ptr() for weight in learning.parameters()}
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    trained = [weight for weight in learning.parameters() if weight.requires_grad]
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = learning(rows)
    torch.autograd.grad(loss, trained)
    if learning.device.type == "cuda":
        torch.cuda.synchronize(learning.device)
    start = time.perf_counter()
    torch.autograd.grad(learning(rows), trained)
    if learning.device.type == "cuda":
        torch.cuda.synchronize(learning.device)
    return time.perf_counter() - start, sum(kept.values())
