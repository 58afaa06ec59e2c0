"""Messages to token ids by the model's own chat template: one function for training and for serving.

The template is rendered around place-holders, so that the borders of every content are known. The text is tokenised
whole, as the model learned it; then a control token that a content spells is put back into the text it is. The mask
of what an assistant said needs no marks in the template: it is each assistant content and the token that ends its
turn. White space around a content is not kept.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from lorag.errors import ModelError
from lorag.types import Message, Prompt

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
    owners: list[Message | None] = [messages[int(p)] if i % 2 else None for i, p in enumerate(pieces)]
    parts = [p if owner is None else owner.content.strip() for p, owner in zip(pieces, owners, strict=True)]
    tokens = tokenizer("".join(parts), add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = []
    supervised: list[bool] = []
    ends = list(accumulate(map(len, parts)))
    said = False  # inside an assistant's turn, whose end token is still to come
    for token, (start, end) in zip(tokens["input_ids"], tokens["offset_mapping"], strict=True):
        owner = owners[min(bisect_right(ends, max(start, end - 1)), len(parts) - 1)]
        new = [token]
        if owner is not None:
            said = owner.role == "assistant"
            new = _as_text(tokenizer, token)
        ids += new
        supervised += [said] * len(new)
        said = said and not (owner is None and token == tokenizer.eos_token_id)
    if said:
        raise ModelError("the chat template does not end an assistant's turn with the tokenizer's end token")
    return Rendered(tuple(ids), tuple(supervised))


def _as_text(tokenizer: PreTrainedTokenizerBase, token: int) -> list[int]:
    """The token itself, or the tokens of its spelling when it is a control token."""
    if token not in tokenizer.all_special_ids and token not in tokenizer.added_tokens_decoder:
        return [token]
    spelling = tokenizer.convert_ids_to_tokens(token)
    return list(tokenizer(spelling, add_special_tokens=False, split_special_tokens=True)["input_ids"])
