"""The command line: parse, one call, print. No logic lives here that Python users could not call."""

from __future__ import annotations


def main() -> None:
    """The ``lorag`` command."""
    from lorag.cli.commands import run

    run()
