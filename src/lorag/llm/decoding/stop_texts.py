"""Where an answer ends: before the first stop text, and never inside what may still become one."""

from __future__ import annotations

from collections.abc import Sequence


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """``text`` before the first of ``stops``, and whether there was one."""
    places = [place for place in map(text.find, stops) if place >= 0]
    return (text[: min(places)], True) if places else (text, False)


def settled(text: str, stops: Sequence[str]) -> str:
    """What stays of an unfinished ``text`` whatever comes next: all but an end that may begin one of ``stops``."""
    held = max((n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
    return text[: len(text) - held]
