"""A language model that answers from a function: quick and exact for tests, never a proof about real models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lorag.types import Completion, Prompt, Sampling


class ScriptedModel:
    """Answers each prompt with ``reply(prompt)``; tokens are white-space separated words. Remembers every prompt."""

    def __init__(self, reply: Callable[[Prompt], str], name: str = "scripted") -> None:
        """``reply`` gets the messages exactly as an engine would."""
        self.name = name
        self.prompts: list[Prompt] = []
        self._reply = reply

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One scripted completion for each prompt, cut to ``max_tokens`` words."""
        self.prompts += prompts
        return [self._complete(prompt, sampling) for prompt in prompts]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[str]:
        """The completion word by word."""
        (completion,) = self.generate([prompt], sampling)
        words = completion.text.split(" ")
        yield from (word if i == 0 else f" {word}" for i, word in enumerate(words))

    def count_tokens(self, text: str) -> int:
        """The number of words."""
        return len(text.split())

    def _complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        words = self._reply(prompt).split(" ")
        kept = words[: sampling.max_tokens]
        spent = sum(self.count_tokens(message.content) for message in prompt)
        return Completion(" ".join(kept), spent, len(kept), 0.0, "stop" if kept == words else "length")
