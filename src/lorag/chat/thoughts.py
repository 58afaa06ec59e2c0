"""Thoughts before an answer, in ``<think>``: left out of the answer, whole and streamed, unless they are to be shown.

A model behind an address may answer from inside thoughts that its chat template opened: then only ``</think>`` stands
in the text, and what is before it are thoughts too. A stream is held back for that only where the model is said to
think, or has answered so before.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from lorag.types import Completion, Thinking, TokenLogprob

_OPEN, _CLOSE = "<think>", "</think>"


def without_thoughts(done: Completion, thinking: Thinking) -> Completion:
    """The completion without the thoughts that it begins with; empty, and cut, where it ends inside of them.

    Of a model that is to think, a text that was cut without either mark ends inside of them.
    """
    before, close, answer = done.text.partition(_CLOSE)
    opened = before.startswith(_OPEN)
    if thinking == "shown":
        return done
    if close and (opened or thinking == "hidden" or _OPEN not in before):
        return replace(done, text=answer.strip(), logprobs=_after_thoughts(done.logprobs))
    if opened or (thinking == "hidden" and not close and done.finish == "length"):
        return replace(done, text="", finish="length", logprobs=())
    return done


def without_thoughts_streamed(
    pieces: Generator[str, None, Completion], thinking: Thinking, opened: bool = False
) -> Generator[str, None, Completion]:
    """The pieces of the answer alone; what may still be thoughts is held back. Returns what ``pieces`` do.

    ``opened``: the model may begin inside thoughts.
    """
    text, begun = "", thinking == "shown"
    try:
        while True:
            piece = next(pieces)
            if begun:
                yield piece
                continue
            text += piece
            answer = _begun_answer(text, opened or thinking == "hidden")
            if answer:
                begun = True
                yield answer
    except StopIteration as end:
        done: Completion = end.value
        if not begun and (rest := without_thoughts(done, thinking).text):
            yield rest
        return done
    finally:
        pieces.close()


def _begun_answer(text: str, opened: bool) -> str:
    """What of a beginning is surely of the answer; empty where it may be thoughts."""
    if opened or _OPEN.startswith(text[: len(_OPEN)]):
        return text.partition(_CLOSE)[2].lstrip()
    return text


def _after_thoughts(logprobs: Sequence[TokenLogprob]) -> tuple[TokenLogprob, ...]:
    text = ""
    for place, token in enumerate(logprobs, start=1):
        text += token.text
        if _CLOSE in text:
            return tuple(logprobs[place:])
    return ()
