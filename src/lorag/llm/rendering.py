"""Messages to token ids by the model's own chat template: one function for training and for serving.

Contents are tokenised apart from the template around them, so that a text which spells a control token stays text.
Because the borders of every content are then known, the mask of what an assistant said is exact and needs no marks
in the template: it is each assistant content and the token that ends its turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorag.errors import ModelError
from lorag.types import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BORDER = "\ue000"
"""A private-use character around the index of a content while the template renders."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """Token ids and, for each of them, whether an assistant said it (``supervised``); both of length ``n``."""

    ids: tuple[int, ...]
    supervised: tuple[bool, ...]


def render(tokenizer: PreTrainedTokenizerBase, messages: Prompt, *, reply: bool) -> Rendered:
    """The ids of ``messages``; with ``reply``, ended by the template's opening of an assistant turn.

    Raises ``ModelError`` when the tokenizer has no chat template, or its template does not keep the contents.
    """
    if not tokenizer.chat_template:
        raise ModelError("the model's tokenizer has no chat template; use an instruction-tuned model")
    marked = [{"role": m.role, "content": f"{_BORDER}{i}{_BORDER}"} for i, m in enumerate(messages)]
    text = tokenizer.apply_chat_template(marked, tokenize=False, add_generation_prompt=reply)
    pieces = str(text).split(_BORDER)
    if pieces[1::2] != [str(i) for i in range(len(messages))]:
        raise ModelError("the chat template drops or reorders messages; use system, user and assistant turns in order")
    ids: list[int] = []
    supervised: list[bool] = []
    after_assistant = False
    for position, piece in enumerate(pieces):
        if position % 2:
            message = messages[int(piece)]
            new = _encode(tokenizer, message.content, as_text=True)
            after_assistant = message.role == "assistant"
            flags = [after_assistant] * len(new)
        else:
            new = _encode(tokenizer, piece, as_text=False)
            flags = _turn_end(new, tokenizer.eos_token_id, after_assistant)
        ids += new
        supervised += flags
    return Rendered(tuple(ids), tuple(supervised))


def _encode(tokenizer: PreTrainedTokenizerBase, text: str, *, as_text: bool) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=as_text)["input_ids"])


def _turn_end(ids: list[int], end: int, after_assistant: bool) -> list[bool]:
    """Marks the template's ids up to and with the token that ends an assistant's turn."""
    if not after_assistant:
        return [False] * len(ids)
    if end not in ids:
        raise ModelError("the chat template does not end an assistant's turn with the tokenizer's end token")
    last = ids.index(end)
    return [i <= last for i in range(len(ids))]
