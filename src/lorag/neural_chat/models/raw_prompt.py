"""A prompt written out by hand, taken apart into messages, so that it is rendered by the model's own template.

So what a model is asked has the form in which it was trained. Not here: other hand-written templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lorag.chat.prompts import as_served, question_prompt
from lorag.errors import InputError
from lorag.settings import REFUSAL
from lorag.types import Conversation, Message, Prompt, Role

_TURN = re.compile(r"^### (System|User|Assistant):[ \t]*$", re.MULTILINE)
_ROLES: dict[str, Role] = {"System": "system", "User": "user", "Assistant": "assistant"}


def messages(prompt: str, ends: Iterable[str]) -> Prompt:
    """The turns of ``prompt`` below its lines ``### System:``, ``### User:`` and ``### Assistant:``.

    Without such lines, all of it is a question. ``ends`` are spellings of end tokens, which are taken off a turn.
    They stand under the instruction that training puts there, a system text below it. Raises ``InputError`` for text
    before the first turn, for an empty turn, and for an answer that is already begun.
    """
    before, *turns = _TURN.split(prompt)
    if not turns:
        if not prompt.strip():
            raise InputError("the prompt is empty; ask something")
        return question_prompt(prompt.strip(), (), REFUSAL)
    if before.strip():
        raise InputError(f"{before.strip()[:40]!r} comes before the first turn; put it below '### System:'")
    found = [
        Message(_ROLES[name], _without(text.strip(), ends)) for name, text in zip(turns[::2], turns[1::2], strict=True)
    ]
    if found[-1].role == "assistant" and (begun := found.pop().content):
        raise InputError(f"the prompt begins the answer with {begun[:40]!r}; end it at '### Assistant:'")
    for message in found:
        if not message.content:
            raise InputError(f"the {message.role}'s turn is empty; write something below it or remove it")
    if not any(message.role == "user" for message in found):
        raise InputError("the prompt has no question; put it below '### User:'")
    return as_served(Conversation(tuple(found)), REFUSAL).messages


def _without(text: str, ends: Iterable[str]) -> str:
    for end in ends:
        text = text.removesuffix(end).rstrip()
    return text
