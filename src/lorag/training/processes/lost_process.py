"""The end of one process of a training ends all of them: with an error that names the cause and the remedy.

``torchrun`` sends SIGTERM to the others, and what they exchange with the lost process fails. Not here: the death of
the only process, and of ``torchrun`` itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from lorag.errors import OperationError
from lorag.training.processes.sharding import processes

_SIGNS = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Connection was likely closed",
    "Broken pipe",
    "failed to recv",
    "remote process exited",
    "timed out",
)
"""What the libraries beneath say, in whatever type of error, where another process is gone."""
_MESSAGE = (
    "another process of this training ended; run the same command again: it resumes from the last finished epoch, on"
    " any number of processes that share an update evenly"
)
_STUCK_SECONDS = 3.0
"""How long a process may take to notice SIGTERM. ``torchrun`` kills it after 30."""
_LONG = timedelta(days=30)


class _Stopped(BaseException):
    """``torchrun`` asks this process to end, because another one has."""


def _stop(*_: Any) -> None:
    raise _Stopped


@contextmanager
def lost_process_errors() -> Iterator[None]:
    """Turns what is raised, or signalled, where another process has ended into ``OperationError`` with what to do.

    A block within a block is part of the outer one. In a process that waits for the lost one in C code, which no signal
    interrupts, a thread prints the message and ends the process.
    """
    if processes() == 1 or signal.getsignal(signal.SIGTERM) is _stop:
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with _stuck_process_ended():
            yield
            _wait_for_others()
    except (RuntimeError, _Stopped) as error:
        if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in _SIGNS):
            raise
        before = signal.SIG_IGN  # this process ends by itself, when it has told why
        raise OperationError(_MESSAGE) from error
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait_for_others() -> None:
    """Returns when all processes are here, so that the loss of one in what it does alone at the end is noticed."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.barrier(dist.new_group(backend="gloo", timeout=_LONG))


@contextmanager
def _stuck_process_ended() -> Iterator[None]:
    """Ends this process, with the message, where it gets SIGTERM in the block and does not leave it."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before, left = signal.set_wakeup_fd(writing), threading.Event()

    def watch() -> None:
        while (received := os.read(reading, 1)) and received[0] != signal.SIGTERM:
            pass
        if received and not left.wait(_STUCK_SECONDS):
            sys.stderr.write(f"error: {_MESSAGE}\n")
            sys.stderr.flush()
            os._exit(1)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        os.close(writing)
        watcher.join()
        os.close(reading)
