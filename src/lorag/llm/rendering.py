"""Messages to token ids by the model's own chat template: one function for training and for serving.

1. Neighbouring messages of one role become one turn, as many templates need it. If a template has no system role,
   the system's text goes above the first user's.
2. The template is rendered once with a place-holder for each content; then the contents, without white space around
   them, are put in. So the borders of every content in the text are known.
3. For each assistant message, the template is also rendered for the messages before it, up to the opening of the
   assistant's turn. Where that text ends, the model takes over.
4. The text is cut at these places. Each piece is tokenised without what follows it, as when the model is asked, so a
   training row begins with exactly the ids of the served prompt.
5. A control token that a content spells is replaced by the tokens of its letters.
6. Of each assistant message that is learned, the tokens from where the model takes over up to the control token that
   ends the turn are ``supervised``; no marks in the template are needed. The result: ``ids`` and ``supervised``, both
   ``(n,)``.

Unless the model is to think, the template gets ``enable_thinking=False``, and a thought that it opens all the same is
left to the model. If the tokenizer begins its texts with a token of its own, a conversation begins with it once.

Plain text has no template: the tokenizer's own convention for a text begins and ends it, and white space is kept.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from lorag.errors import ModelError
from lorag.llm.turn_text import neighbours_joined
from lorag.types import Message, Prompt, Sampling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_EMPTY_THOUGHT = re.compile(r"<think>\s*</think>\s*$")
_OPEN_THOUGHT = re.compile(r"<think>\s*$")
_BORDER = "\ue000"
"""A private-use character around the index of a content while the template renders."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """Token ids and, for each of them, whether it is learned (``supervised``); both of length ``n``.

    Learned is what an assistant said, but for turns that are only read; of plain text all but the first token, before
    which nothing stands.
    """

    ids: tuple[int, ...]
    supervised: tuple[bool, ...]

    @property
    def is_text(self) -> bool:
        """Whether it is plain text: a conversation begins with more than one token that is not learned."""
        return all(self.supervised[1:])


def render(tokenizer: PreTrainedTokenizerBase, messages: Prompt, *, reply: bool, thinking: bool = False) -> Rendered:
    """The ids of ``messages``; with ``reply``, ended by the template's opening of an assistant turn.

    ``thinking`` lets a model think in that turn, as its template has it.

    Raises ``ModelError`` when the tokenizer has no chat template, or its template refuses the messages, does not keep
    their contents, or does not end what the assistant said.
    """
    if [message.role for message in messages] == ["text"]:
        text = tokenizer(messages[0].content, split_special_tokens=True, verbose=False)["input_ids"]
        return Rendered(tuple(text), tuple(place > 0 for place in range(len(text))))
    if not tokenizer.chat_template:
        raise ModelError("the model's tokenizer has no chat template; use an instruction-tuned model")
    messages = neighbours_joined(messages)
    try:
        whole = _filled(tokenizer, messages, reply, thinking)
    except ModelError:
        folded = _without_system(messages)
        if folded == messages:
            raise
        return render(tokenizer, folded, reply=reply, thinking=thinking)
    added = tokenizer.added_tokens_decoder
    control = {*tokenizer.all_special_ids, *added}
    ending = {*tokenizer.all_special_ids, *(token for token, spelled in added.items() if spelled.special)}
    said = [i for i, message in enumerate(messages) if message.role == "assistant"]
    places = [0, *(_handed_over(tokenizer, messages, i, whole.text) for i in said), len(whole.text)]
    ids: list[int] = []
    supervised: list[bool] = []
    for speaker, (begin, end) in zip((None, *said), pairwise(places), strict=True):
        saying = speaker is not None
        for token, last in _tokens(tokenizer, whole.text[:end], begin):
            owner = whole.owner(last)
            if saying and owner not in (None, speaker):
                break
            new = _as_text(tokenizer, token) if owner is not None and token in control else [token]
            ids += new
            supervised += [speaker is not None and saying and messages[speaker].learned] * len(new)
            said_all = speaker is not None and last >= whole.ends[2 * speaker + 1]
            saying = saying and not (owner is None and said_all and token in ending)
        if saying:
            raise ModelError("the chat template does not end an assistant's turn with a control token")
    return Rendered(tuple(ids), tuple(supervised))


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, sampling: Sampling) -> list[int]:
    """The ids of ``prompt`` up to the answer, in which the model may think if ``sampling`` lets it. Raises as above."""
    return list(render(tokenizer, prompt, reply=True, thinking=sampling.thinking != "off").ids)


def turn_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token by which the chat template ends what an assistant said; None where it has none."""
    if not tokenizer.chat_template:
        return None
    try:
        rendered = render(tokenizer, (Message("user", "a"), Message("assistant", "b")), reply=False)
    except ModelError:
        return None
    return next(token for token, said in zip(rendered.ids[::-1], rendered.supervised[::-1], strict=True) if said)


@dataclass(frozen=True, slots=True)
class _Filled:
    """The template's text with its contents, and where its parts end: template and content by turns."""

    text: str
    ends: tuple[int, ...]

    def owner(self, position: int) -> int | None:
        """The index of the message whose content the character at ``position`` is of; None for the template's."""
        part = min(bisect_right(self.ends, position), len(self.ends) - 1)
        return part // 2 if part % 2 else None


def _filled(tokenizer: PreTrainedTokenizerBase, messages: Prompt, reply: bool, thinking: bool = False) -> _Filled:
    from jinja2 import TemplateError

    if not messages:
        raise ModelError("there is no turn to render; begin with a system or user turn")
    roles = ", ".join(m.role for m in messages)
    marked = [{"role": m.role, "content": f"{_BORDER}{i}{_BORDER}"} for i, m in enumerate(messages)]
    try:
        text = tokenizer.apply_chat_template(
            marked, tokenize=False, add_generation_prompt=reply, enable_thinking=thinking
        )
    except TemplateError as error:
        raise ModelError(f"the model's chat template refuses turns of {roles}: {error}") from error
    text = _begun_once(tokenizer, str(text))
    parts = (_OPEN_THOUGHT.sub("", text) if reply and not thinking else text).split(_BORDER)
    if parts[1::2] != [str(i) for i in range(len(messages))]:
        raise ModelError(f"the model's chat template drops or reorders turns of {roles}; alternate user and assistant")
    parts[1::2] = [m.content.strip() for m in messages]
    return _Filled("".join(parts), tuple(accumulate(map(len, parts))))


def _begun_once(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """``text`` with the token that the tokenizer begins its own texts with, which templates leave out or repeat."""
    begin = str(tokenizer.bos_token or "")
    if not begin:
        return text
    while text.startswith(2 * begin):
        text = text[len(begin) :]
    wanted = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return begin + text if wanted and not text.startswith(begin) else text


def _handed_over(tokenizer: PreTrainedTokenizerBase, messages: Prompt, i: int, text: str) -> int:
    """How much of ``text`` the model is given before it says message ``i``."""
    served = _filled(tokenizer, messages[:i], reply=True).text
    if not text.startswith(served):  # of earlier turns, templates leave the empty thought out
        served = _EMPTY_THOUGHT.sub("", served)
    if not text.startswith(served):
        raise ModelError("the model's chat template renders a prompt differently once it is answered")
    return len(served)


def _tokens(tokenizer: PreTrainedTokenizerBase, text: str, begin: int) -> Iterator[tuple[int, int]]:
    """The tokens of ``text`` from ``begin``, each with the position of its last character.

    They are cut as in the whole text, unless a token reaches over ``begin``: then as in the rest alone.
    """
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    if any(start < begin < end for start, end in encoded["offset_mapping"]):
        for token, last in _tokens(tokenizer, text[begin:], 0):
            yield token, begin + last
        return
    for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
        if start >= begin:
            yield token, max(start, end - 1)


def _without_system(messages: Prompt) -> Prompt:
    """The messages with the system's text as the user's: above the question, or alone where the assistant begins."""
    if [m.role for m in messages[:1]] != ["system"]:
        return messages
    return neighbours_joined((Message("user", messages[0].content), *messages[1:]))


def _as_text(tokenizer: PreTrainedTokenizerBase, token: int) -> list[int]:
    """The tokens that spell a control token as text."""
    spelling = tokenizer.convert_ids_to_tokens(token)
    return list(tokenizer(spelling, add_special_tokens=False, split_special_tokens=True)["input_ids"])
