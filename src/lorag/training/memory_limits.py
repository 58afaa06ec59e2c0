"""What to do where memory does not suffice for a training: errors that name the setting to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lorag.errors import InputError
from lorag.machine import gigabytes

SMALLER_STEPS = "lower batch_tokens, or max_tokens, which leaves out the longest conversations"
FEWER_WEIGHTS = "lower the rank, or use the method lora, or qlora for a smaller base"


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turns a failed allocation into ``InputError`` with what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        raise InputError(f"memory ran out in training; {SMALLER_STEPS}; or {FEWER_WEIGHTS}") from error


def _out_of_memory(error: Exception) -> bool:
    import torch

    # PyTorch has no type of its own for what a CPU cannot allocate, and names its allocator instead.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def require_memory_for_copy(size: int, free: int) -> None:
    """Raises ``InputError`` where a second copy of the model, of ``size`` bytes, does not fit into what is free."""
    if size > free:
        raise InputError(
            f"this method trains a copy of the model: {gigabytes(size)}, and {gigabytes(free)} are free;"
            f" {FEWER_WEIGHTS}"
        )
