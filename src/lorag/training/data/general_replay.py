"""Rows that keep a model what it was: general questions with its own answers, and text that it writes itself.

Mixed among what is learned, they hold it in place (self-distillation). Questions come with Lorag; nothing of answers
and text is anybody else's, and nothing of it is what forgetting is measured on. An answer that did not end is left out:
it would teach to stop anywhere.
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
