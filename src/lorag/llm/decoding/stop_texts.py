"""Where an answer ends: before the first stop text, and never inside what may still become one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from lorag.types import TokenLogprob


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """``text`` before the first of ``stops``, and whether there was one."""
    places = [place for place in map(text.find, stops) if place >= 0]
    return (text[: min(places)], True) if places else (text, False)


def tokens_before(said: Sequence[TokenLogprob], stops: Sequence[str]) -> tuple[TokenLogprob, ...]:
    """The tokens that begin before the first of ``stops``, and before the white space at the end."""
    end = len(cut("".join(token.text for token in said), stops)[0].rstrip())
    starts = accumulate((len(token.text) for token in said), initial=0)
    return tuple(token for token, start in zip(said, starts, strict=False) if start < end)


def settled(text: str, stops: Sequence[str]) -> str:
    """What stays of an unfinished ``text`` whatever comes next: all but an end that may begin one of ``stops``."""
    held = max((n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
    return text[: len(text) - held]
