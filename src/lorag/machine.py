"""What this machine has: memory for models that are loaded and trained, and cores."""

from __future__ import annotations

import os
from pathlib import Path

_CONTROL_GROUP = Path("/sys/fs/cgroup")


def free_bytes(device: str) -> int:
    """The memory that can be had now: the GPU's, or this machine's within the limit of its control group.

    What files keep of memory for as long as nobody needs it counts as free, and so does what PyTorch keeps of a GPU's.
    """
    if device == "cuda":
        import torch

        kept_for_reuse = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0]) + kept_for_reuse
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        limit, used, statistics = (
            (_CONTROL_GROUP / name).read_text().strip() for name in ("memory.max", "memory.current", "memory.stat")
        )
    except OSError:
        return free
    kept = dict(line.split() for line in statistics.splitlines()).get("inactive_file", "0")
    return min(free, int(limit) - int(used) + int(kept)) if limit.isdigit() else free


def free_for_process(device: str) -> int:
    """What this process may take of ``free_bytes``: all of a GPU's; of the machine's its share under ``torchrun``."""
    return free_bytes(device) // (1 if device == "cuda" else int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gigabytes(size: int) -> str:
    """So many bytes, for people."""
    return f"{size / 1e9:.1f} GB"
