"""Weights in parts: each process holds a share of every weight, its gradient and its averages (FSDP2).

A layer is gathered where it is computed and dropped behind it, so a device holds its share of the model and one whole
layer. What is saved is gathered weight by weight and is what one process would save: it is read on any number of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lorag.errors import InputError
from lorag.settings import FinetuneSettings

if TYPE_CHECKING:
    import torch
    from torch.distributed.tensor import DTensor
    from transformers import PreTrainedModel


def processes() -> int:
    """How many processes ``torchrun`` started, this one among them."""
    return int(os.environ.get("WORLD_SIZE", 1))


def shard(model: PreTrainedModel, settings: FinetuneSettings) -> None:
    """Leaves a share of every weight of ``model`` in this process. Raises ``InputError`` where it is the only one."""
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

    if processes() == 1:
        raise InputError(
            "shard splits the weights among processes, and there is one; start several, as with `torchrun"
            " --nproc-per-node 2 -m lorag finetune`, or leave shard out"
        )
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    mesh = init_device_mesh("cuda" if on_gpu else "cpu", (processes(),))
    offload = CPUOffloadPolicy(pin_memory=on_gpu) if settings.cpu_offload else OffloadPolicy()
    decoder: Any = model.model
    for part in (*decoder.layers, model):
        # Also the outermost part is dropped behind a forward: what is saved or read after one is in parts.
        fully_shard(part, mesh=mesh, reshard_after_forward=True, offload_policy=offload)


def is_part(weight: torch.Tensor) -> bool:
    """Whether other processes hold the rest of ``weight``."""
    return hasattr(weight, "full_tensor")


def gathered(value: Any) -> Any:
    """``value`` with every tensor in it whole and in the machine's memory; every process must call this."""
    import torch

    if isinstance(value, torch.Tensor):
        whole: torch.Tensor = value.full_tensor() if is_part(value) else value  # type: ignore[attr-defined]
        return whole.detach().cpu() if is_part(value) else whole
    if isinstance(value, Mapping):
        return {key: gathered(each) for key, each in value.items()}
    return value


def part_of(whole: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The part of ``whole`` that this process holds where ``weight`` is in parts of that shape; else all of it."""
    if not is_part(weight) or whole.shape != weight.shape:
        return whole
    from torch.distributed.tensor import distribute_tensor

    held: DTensor = weight  # type: ignore[assignment]
    return distribute_tensor(whole, held.device_mesh, held.placements).to(weight.device)
