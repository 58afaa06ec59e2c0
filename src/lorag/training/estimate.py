"""The time and memory of a training, before it begins: some steps are timed, and a step's kept activations are counted.

Not here: what an optimizer of another kind would keep, and a machine that others slow down meanwhile.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lorag.errors import InputError
from lorag.llm.rendering import Rendered
from lorag.machine import free_for_process, gigabytes
from lorag.settings import FinetuneSettings
from lorag.training.memory_limits import FEWER_WEIGHTS, SMALLER_STEPS
from lorag.training.processes.sharding import processes

if TYPE_CHECKING:
    import torch

    from lorag.training.methods import Learner

_STATES = 3
"""Numbers kept beside each trained weight: its gradient and the two averages of AdamW."""
_TIMED = (0.1, 0.3, 0.7, 0.9)
"""Which steps are timed, by their rank in the order of their sizes: once as in the first pass, and once as in later
ones, for which the output of frozen layers is kept. One step alone, repeated, gave a quarter to a third too little."""
_TIGHT = 0.8
"""Share of the free memory above which a training may not end."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is still to come when the model is loaded and made trainable."""

    trained_parameters: int
    updates: int
    seconds: float
    """All steps of all epochs, at the pace of those that were timed; 0 if none was."""
    weight_bytes: int
    """Gradients and the optimizer's averages; where weights are in parts, these too, as far as a process holds them."""
    activation_bytes: int
    """What the largest step keeps for its gradient."""
    free_bytes: int
    """What this process may take: of its GPU, or its share of the machine's memory."""
    later_share: float = 1.0
    """Time of a later epoch as a share of the first one's, in which the output of frozen layers is computed."""
    offloaded_bytes: int = 0
    """What is held in the machine's memory beside a GPU's: with ``cpu_offload`` the weights in parts, their gradients
    and averages."""
    free_machine_bytes: int = 0
    """The share of this process in the machine's memory, where something is offloaded to it."""

    def __str__(self) -> str:
        """One line for people."""
        needed, free = gigabytes(self.weight_bytes + self.activation_bytes), gigabytes(self.free_bytes)
        memory = f"{needed} more memory ({free} are free)"
        if self.offloaded_bytes:
            offloaded, free = gigabytes(self.offloaded_bytes), gigabytes(self.free_machine_bytes)
            memory += f", {offloaded} more of the machine's ({free} are free)"
        if not self.seconds:
            return f"about {memory} in each process for {self.updates} updates"
        took = f"{self.seconds / 60:.0f} minutes" if self.seconds >= 120 else f"{self.seconds:.0f} seconds"
        return f"about {took} and {memory} for {self.updates} updates"

    def require_memory(self) -> None:
        """Raises ``InputError`` with the setting to lower where memory will not suffice; warns where it is short."""
        lower = SMALLER_STEPS if self.activation_bytes > self.weight_bytes else FEWER_WEIGHTS
        device = (self.weight_bytes + self.activation_bytes, "", self.free_bytes, lower)
        machine = (self.offloaded_bytes, " of the machine's memory", self.free_machine_bytes, FEWER_WEIGHTS)
        for needed, where, free, lower in (device, machine):
            message = f"training needs about {gigabytes(needed)}{where}, and {gigabytes(free)} is free;"
            if needed > free:
                raise InputError(f"{message} {lower}")
            if needed > _TIGHT * free:
                warnings.warn(f"{message} if it runs out of memory, {lower}", stacklevel=2)


def estimate(learning: Learner, steps: Sequence[Sequence[Rendered]], settings: FinetuneSettings) -> Estimate:
    """The estimate for training on ``steps``, from some of them; nothing of the model is changed."""
    sizes = [sum(len(row.ids) for row in step) for step in steps]
    ordered = sorted(range(len(steps)), key=sizes.__getitem__)
    middle = ordered[len(steps) // 2]
    timed = dict.fromkeys(ordered[int(share * len(steps))] for share in _TIMED)
    kept = _kept(learning, steps[middle])  # before any is timed: the first step prepares kernels
    first, later = (sum(_seconds(learning, steps[each]) for each in timed) for _ in range(2))
    seconds = first + later * (settings.epochs - 1)
    trained = sum(weight.numel() for weight in learning.trained().values())
    return Estimate(
        trained_parameters=trained,
        updates=-(-len(steps) // processes() // settings.gradient_accumulation_steps) * settings.epochs,
        seconds=seconds * sum(sizes) / sum(sizes[each] for each in timed) / processes(),
        weight_bytes=_STATES * 4 * trained,
        activation_bytes=round(kept * max(sizes) / sizes[middle]),
        free_bytes=free_for_process(learning.device.type),
        later_share=min(1.0, later / first),
    )


def estimate_in_parts(learning: Learner, steps: Sequence[Sequence[Rendered]], settings: FinetuneSettings) -> Estimate:
    """The estimate for weights in parts, from shapes alone: the model as a whole may fit nowhere.

    ``seconds`` are not known. What a layer keeps for its gradient is counted as Korthikanti et al. (2022, section 4)
    do: 34 numbers of 16 bits for each token and channel, without the scores of attention, which are not kept.
    """
    import torch

    sizes = [sum(len(row.ids) for row in step) for step in steps]
    held = sum(weight.numel() * weight.element_size() for weight in learning.parameters())
    trained = sum(weight.numel() for weight in learning.trained().values())
    decoder: Any = learning.causal.model
    layer = sum(weight.numel() * weight.element_size() for weight in decoder.layers[0].parameters())
    others = held - layer * len(decoder.layers)
    width = 2 * learning.causal.config.get_text_config().hidden_size
    kept = (34 + len(decoder.layers)) if settings.gradient_checkpointing else 34 * len(decoder.layers)
    parts = round((held + _STATES * 4 * trained) / processes())
    on_gpu = torch.cuda.is_available()
    offloaded = parts if on_gpu and settings.cpu_offload else 0
    return Estimate(
        trained_parameters=trained,
        updates=-(-len(steps) // processes() // settings.gradient_accumulation_steps) * settings.epochs,
        seconds=0.0,
        weight_bytes=parts - offloaded + others + 2 * layer,  # the next layer is gathered while one is computed
        activation_bytes=max(sizes) * width * kept,
        free_bytes=free_for_process("cuda" if on_gpu else "cpu"),
        offloaded_bytes=offloaded,
        free_machine_bytes=free_for_process("cpu") if offloaded else 0,
    )


def _kept(learning: Learner, rows: Sequence[Rendered]) -> int:
    """The bytes that a step keeps for its gradient."""
    import torch

    own = {weight.untyped_storage().data_ptr() for weight in learning.parameters()}
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = learning(rows)
    torch.autograd.grad(loss, _learned(learning))
    return sum(kept.values())


def _seconds(learning: Learner, rows: Sequence[Rendered]) -> float:
    """Seconds of one step."""
    import torch

    def wait() -> None:
        if learning.device.type == "cuda":
            torch.cuda.synchronize(learning.device)

    wait()
    start = time.perf_counter()
    torch.autograd.grad(learning(rows), _learned(learning))
    wait()
    return time.perf_counter() - start


def _learned(learning: Learner) -> list[torch.Tensor]:
    return [weight for weight in learning.parameters() if weight.requires_grad]
