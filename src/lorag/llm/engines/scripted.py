"""A language model that answers from a function: quick and exact for tests, never a proof about real models."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Literal

from lorag.llm.decoding.stop_texts import cut
from lorag.types import Completion, Prompt, Sampling


class ScriptedModel:
    """Answers each prompt with ``reply(prompt)``; tokens are white-space separated words. Remembers every prompt.

    Of the sampling, ``max_tokens`` and ``stop`` take part; nothing is drawn.
    """

    def __init__(
        self, reply: Callable[[Prompt], str], name: str = "scripted", context_tokens: int | None = None
    ) -> None:
        """``reply`` gets the messages exactly as an engine would."""
        self.name = name
        self.context_tokens = context_tokens
        self.prompts: list[Prompt] = []
        self._reply = reply

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One scripted completion for each prompt, cut to ``max_tokens`` words."""
        self.prompts += prompts
        return [self._complete(prompt, sampling) for prompt in prompts]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str, None, Completion]:
        """The completion word by word."""
        (completion,) = self.generate([prompt], sampling)
        words = completion.text.split(" ")
        yield from filter(None, (word if i == 0 else f" {word}" for i, word in enumerate(words)))
        return completion

    def count_tokens(self, text: str) -> int:
        """The number of words."""
        return len(text.split())

    def room(self, prompt: Prompt, sampling: Sampling) -> int | None:
        """Words left of ``context_tokens``."""
        if self.context_tokens is None:
            return None
        return self.context_tokens - self._spent(prompt) - sampling.max_tokens

    def _spent(self, prompt: Prompt) -> int:
        return sum(self.count_tokens(message.content) for message in prompt)

    def _complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        words = self._reply(prompt).split(" ")
        kept, stopped = cut(" ".join(words[: sampling.max_tokens]), sampling.stop)
        finish: Literal["stop", "length"] = "stop" if stopped or len(words) <= sampling.max_tokens else "length"
        return Completion(kept.strip(), self._spent(prompt), self.count_tokens(kept), 0.0, finish)
