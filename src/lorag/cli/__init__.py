"""The command line: parse, one call, print. No logic lives here that Python users could not call."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_INTERRUPTED = 130
"""The exit code of shells after Ctrl-C: 128 plus the number of the signal."""


def main() -> None:
    """The ``lorag`` command. If interrupted while it starts or ends, its exit code is 130."""
    _open_streams()
    try:
        from lorag.cli.commands import run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.exit(_INTERRUPTED)


def _open_streams() -> None:
    """Opens the null device for each standard stream that was closed when the command started.

    Otherwise the next file that is opened would take its descriptor, and get what libraries print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - until the program ends
