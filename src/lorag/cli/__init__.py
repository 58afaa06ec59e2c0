"""The command line: parse, one call, print. No logic lives here that Python users could not call."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """The ``lorag`` command."""
    _open_streams()
    from lorag.cli.commands import run

    run()


def _open_streams() -> None:
    """Opens the null device for each standard stream that was closed when the command started.

    Otherwise the next file that is opened would take its descriptor, and get what libraries print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - until the program ends
