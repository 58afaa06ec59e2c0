"""A language model that is not asked the same thing twice.

At temperature 0 the same prompt gives the same answer, so a prompt that an index update left unchanged needs no
second generation. Completions are kept for the life of the process; nothing is written.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from lorag.interfaces import LanguageModel
from lorag.types import Completion, Prompt, Sampling


class CachedModel:
    """Wraps a model; repeats a completion where prompt and sampling are the same and the draw is greedy."""

    def __init__(self, model: LanguageModel) -> None:
        """``model`` answers what is not remembered."""
        self.name = model.name
        self._model = model
        self._known: dict[tuple[Prompt, Sampling], Completion] = {}

    def remember(self, prompt: Prompt, sampling: Sampling, completion: Completion) -> None:
        """Takes a completion made earlier by the same model, as an interrupted run recorded it."""
        self._known.setdefault((prompt, sampling), completion)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion for each prompt, in order; only new prompts reach the model, each once."""
        if sampling.temperature > 0:
            return self._model.generate(prompts, sampling)
        new = [prompt for prompt in dict.fromkeys(prompts) if (prompt, sampling) not in self._known]
        for prompt, completion in zip(new, self._model.generate(new, sampling), strict=True):
            self._known[prompt, sampling] = completion
        return [self._known[prompt, sampling] for prompt in prompts]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str, None, Completion]:
        """Streams from the model itself."""
        return self._model.stream(prompt, sampling)

    def count_tokens(self, text: str) -> int:
        """The number of tokens the model counts."""
        return self._model.count_tokens(text)

    def room(self, prompt: Prompt, sampling: Sampling) -> int | None:
        """What the model says."""
        return self._model.room(prompt, sampling)
