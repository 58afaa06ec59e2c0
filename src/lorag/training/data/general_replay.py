"""Conversations that keep a model what it was: general questions with the answers that it gives itself.

Mixed among what is learned, they hold its manner of answering in place (general_replay by self-distillation). Questions
come with Lorag; nothing of the answers is anybody else's. An answer that did not end is left out: it would teach to
stop anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

from lorag.files import draw
from lorag.interfaces import LanguageModel
from lorag.types import Conversation, Message, Prompt, Sampling

_SAMPLING = Sampling(max_tokens=64)


def general_replay(model: LanguageModel, count: int, prompt: Callable[[str], Prompt]) -> list[Conversation]:
    """At most ``count`` conversations: ``model`` as it is now, asked general questions in the form of ``prompt``."""
    listed = (files("lorag.training") / "general" / "questions.txt").read_text(encoding="utf-8").splitlines()
    prompts = [prompt(question) for question in sorted(listed, key=draw)[:count]]
    answers = model.generate(prompts, _SAMPLING)
    return [
        Conversation((*asked, Message("assistant", answer.text)))
        for asked, answer in zip(prompts, answers, strict=True)
        if answer.finish == "stop" and answer.text
    ]
