"""A model whose answers wait until a test lets them end."""

import threading

from lorag.llm.engines.scripted import ScriptedModel


class Paused(ScriptedModel):
    """Says the first ``words``, and the others when it is let; the first ``whole`` answers do not wait."""

    def __init__(self, name="scripted", words=1, whole=0):
        super().__init__(lambda prompt: "It lasts 28 months.", name)
        self.gate = threading.Event()
        self.words, self.whole = words, whole

    def stream(self, prompt, sampling):
        pieces = super().stream(prompt, sampling)
        yield from (next(pieces) for _ in range(self.words))
        if len(self.prompts) > self.whole:
            self.gate.wait(30)
        return (yield from pieces)
