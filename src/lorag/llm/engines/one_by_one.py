"""Prompts that begin alike, one after the other: what they share is computed once and kept from each to the next."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from lorag.interfaces import LanguageModel
from lorag.llm.engines.completion_cache import Generate
from lorag.types import Completion, Prompt, Sampling


def one_by_one(model: LanguageModel) -> Generate:
    """What answers prompts in order, each as a stream of ``model`` gives it, which reuses what the last one read.

    For prompts that are so long that each would fill a batch of its own, and be computed from its first token.
    """

    def generate(prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        return [_whole(model.stream(prompt, sampling)) for prompt in prompts]

    return generate


def _whole(stream: Generator[str, None, Completion]) -> Completion:
    while True:
        try:
            next(stream)
        except StopIteration as end:
            done: Completion = end.value
            return done
