"""A language model that is not asked the same thing twice.

At temperature 0 the same prompt gives the same answer, so a prompt that an index update left unchanged needs no
second generation. Completions are kept for the life of the process, and in a ledger where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict

from lorag.files import fingerprint
from lorag.interfaces import LanguageModel
from lorag.llm.engines.ledger import Ledger
from lorag.types import Completion, Prompt, Sampling

Generate = Callable[[Sequence[Prompt], Sampling], list[Completion]]
"""``LanguageModel.generate`` of one model."""


class CachedModel:
    """Wraps a model; repeats a completion where prompt and sampling are the same and the draw is greedy."""

    def __init__(
        self,
        model: LanguageModel,
        ledger: Ledger | None = None,
        identity: str = "",
        generate: Generate | None = None,
        workers: int = 1,
    ) -> None:
        """``model`` answers what is not remembered, and not in ``ledger`` under its ``identity``.

        Where ``generate`` is given, that answers instead: the same model elsewhere, on so many ``workers`` at once.
        """
        self.name, self.model, self.workers = model.name, model, workers
        self._generate = generate or model.generate
        self._ledger, self._identity = ledger, identity or model.name
        self._known: dict[tuple[Prompt, Sampling], Completion] = {}

    def remember(self, prompt: Prompt, sampling: Sampling, completion: Completion) -> None:
        """Takes a completion made earlier by the same model, as an interrupted run recorded it."""
        self._known.setdefault((prompt, sampling), completion)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion for each prompt, in order; only new prompts reach the model, each once."""
        if sampling.temperature > 0:
            return self._generate(prompts, sampling)
        new = [prompt for prompt in dict.fromkeys(prompts) if not self._knows(prompt, sampling)]
        for prompt, completion in zip(new, self._generate(new, sampling), strict=True):
            self._known[prompt, sampling] = completion
        if self._ledger is not None:
            self._ledger.keep({self._request(prompt, sampling): self._known[prompt, sampling] for prompt in new})
        return [self._known[prompt, sampling] for prompt in prompts]

    def _knows(self, prompt: Prompt, sampling: Sampling) -> bool:
        """Whether it is remembered, or kept in the ledger and remembered from now on."""
        if (prompt, sampling) not in self._known and self._ledger is not None:
            kept = self._ledger.kept(self._request(prompt, sampling))
            if kept is not None:
                self._known[prompt, sampling] = kept
        return (prompt, sampling) in self._known

    def _request(self, prompt: Prompt, sampling: Sampling) -> str:
        # A schema that is not set stands in no fingerprint, so that what earlier versions kept is found.
        drawn = {name: value for name, value in asdict(sampling).items() if value is not None}
        return fingerprint([self._identity, [asdict(message) for message in prompt], drawn])

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str, None, Completion]:
        """Streams from the model itself."""
        return self.model.stream(prompt, sampling)

    @property
    def opens_thoughts(self) -> bool | None:
        """Whether the model was seen to begin inside thoughts, if it is one that shows it."""
        found: bool | None = getattr(self.model, "opens_thoughts", None)
        return found

    def count_tokens(self, text: str) -> int:
        """The number of tokens the model counts."""
        return self.model.count_tokens(text)

    def room(self, prompt: Prompt, sampling: Sampling) -> int | None:
        """What the model says."""
        return self.model.room(prompt, sampling)
