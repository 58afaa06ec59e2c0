"""Training rows against forgetting: general questions with the model's own answers, and text that it writes itself.

This is pseudorehearsal (Robins, "Catastrophic Forgetting, Rehearsal and Pseudorehearsal", Connection Science 1995),
with questions as inputs instead of random ones:

1. Before the training, the model answers general questions, greedily and in up to 64 tokens. They come with Lorag, in a
   fixed order, and are not those by which forgetting is measured. An answer that did not end is left out: it would
   teach the model to stop anywhere.
2. Plain text: the model continues one of these questions as the first line of a text, with up to 64 tokens drawn at
   temperature 1. Every round over the questions has another seed.
3. Both are mixed into the training rows, so that the trained model is also pulled towards its earlier outputs. Of an
   answer its own tokens are learned, of a text all but the first token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files

from lorag.files import draw
from lorag.interfaces import LanguageModel
from lorag.types import Conversation, Message, Prompt, Sampling

_SAMPLING = Sampling(max_tokens=64)
_TEXTS = Sampling(max_tokens=64, temperature=1.0)


def general_replay(model: LanguageModel, count: int, prompt: Callable[[str], Prompt]) -> list[Conversation]:
    """At most ``count`` conversations: ``model`` as it is now, asked general questions in the form of ``prompt``."""
    prompts = [prompt(question) for question in _questions()[:count]]
    answers = model.generate(prompts, _SAMPLING)
    return [
        Conversation((*asked, Message("assistant", answer.text)))
        for asked, answer in zip(prompts, answers, strict=True)
        if answer.finish == "stop" and answer.text
    ]


def general_texts(model: LanguageModel, count: int, seed: int) -> list[Conversation]:
    """``count`` plain texts as ``model`` writes them now, each after a general question as its first line."""
    openers, texts = _questions(), list[Conversation]()
    while len(texts) < count:
        prompts = [(Message("text", f"{opener}\n"),) for opener in openers[: count - len(texts)]]
        written = model.generate(prompts, replace(_TEXTS, seed=seed + len(texts)))
        texts += [
            Conversation((Message("text", begun.content + each.text),))
            for (begun,), each in zip(prompts, written, strict=True)
        ]
    return texts


def texts_of_like_length(count: int) -> list[Conversation]:
    """``count`` plain texts about as long as those of ``general_texts``, written by nobody: to estimate a training."""
    listed = _questions()
    starts = (place % len(listed) for place in range(count))
    return [Conversation((Message("text", "\n".join([*listed, *listed][start : start + 6])),)) for start in starts]


def _questions() -> list[str]:
    listed = (files("lorag.training") / "general" / "questions.txt").read_text(encoding="utf-8").splitlines()
    return sorted(listed, key=draw)
