"""Prompts that begin alike, one after the other: what they share is computed once and kept from each to the next."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from lorag.interfaces import LanguageModel
from lorag.types import Completion, Prompt, Sampling


class OneByOne:
    """Wraps a model whose streams go on from what they share with the last one.

    For prompts that are so long that each would fill a batch of its own, and be computed from its first token.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.name = model.name
        self.dtype = getattr(model, "dtype", "")
        self._model = model

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion for each prompt, in order, each as a stream gives it."""
        return [_whole(self._model.stream(prompt, sampling)) for prompt in prompts]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str, None, Completion]:
        """Streams from the model itself."""
        return self._model.stream(prompt, sampling)

    @property
    def opens_thoughts(self) -> bool | None:
        """Whether the model was seen to begin inside thoughts, if it is one that shows it."""
        found: bool | None = getattr(self._model, "opens_thoughts", None)
        return found

    def count_tokens(self, text: str) -> int:
        """The number of tokens the model counts."""
        return self._model.count_tokens(text)

    def room(self, prompt: Prompt, sampling: Sampling) -> int | None:
        """What the model says."""
        return self._model.room(prompt, sampling)


def _whole(stream: Generator[str, None, Completion]) -> Completion:
    while True:
        try:
            next(stream)
        except StopIteration as end:
            done: Completion = end.value
            return done
