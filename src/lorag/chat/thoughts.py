"""Removes the thoughts in ``<think>`` before an answer, whole or streamed, unless they are to be shown.

A server's chat template may open the block itself. The answer then has only ``</think>``, and the text before it is a
thought. A stream waits for ``</think>`` only if thinking is on, or the server's last answer began with a thought.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from lorag.interfaces import LanguageModel
from lorag.types import Completion, Thinking, TokenLogprob

_OPEN, _CLOSE = "<think>", "</think>"


def opens_thoughts(model: LanguageModel) -> bool | None:
    """Whether a model behind an address was seen to begin inside thoughts; None for a model on this machine."""
    found: bool | None = getattr(model, "opens_thoughts", None)
    return found


def without_thoughts(done: Completion, thinking: Thinking, opened: bool | None = None) -> Completion:
    """The completion without the thoughts that it begins with; empty, and cut, where it ends inside of them.

    ``opened`` is whether a model behind an address was seen to begin inside thoughts; None for a model on this machine,
    which begins so only where it is to think. A text of either that was cut without any mark ends inside of them.
    """
    before, close, answer = done.text.partition(_CLOSE)
    begins, bare = before.startswith(_OPEN), _OPEN not in before and (thinking == "hidden" or opened is not None)
    if thinking == "shown":
        return done
    if close and (begins or bare):
        return replace(done, text=answer.strip(), logprobs=_after_thoughts(done.logprobs))
    if begins or (not close and done.finish == "length" and (thinking == "hidden" or opened)):
        return replace(done, text="", finish="length", logprobs=())
    return done


def without_thoughts_streamed(
    pieces: Generator[str, None, Completion], thinking: Thinking, opened: bool | None = None
) -> Generator[str, None, Completion]:
    """The pieces of the answer alone; what may still be thoughts is held back. Returns what ``pieces`` do.

    ``opened`` is that of ``without_thoughts``.
    """
    text, begun = "", thinking == "shown"
    try:
        while True:
            piece = next(pieces)
            if begun:
                yield piece
                continue
            text += piece
            answer = _begun_answer(text, bool(opened) or thinking == "hidden")
            if answer:
                begun = True
                yield answer
    except StopIteration as end:
        done: Completion = end.value
        if not begun and (rest := without_thoughts(done, thinking, opened).text):
            yield rest
        return done
    finally:
        pieces.close()


def _begun_answer(text: str, opened: bool) -> str:
    """What of a beginning is surely of the answer; empty where it may be thoughts."""
    before, _, answer = text.partition(_CLOSE)
    if _OPEN.startswith(text[: len(_OPEN)]) or (opened and _OPEN not in before):
        return answer.lstrip()
    return text


def _after_thoughts(logprobs: Sequence[TokenLogprob]) -> tuple[TokenLogprob, ...]:
    text = ""
    for place, token in enumerate(logprobs, start=1):
        text += token.text
        if _CLOSE in text:
            return tuple(logprobs[place:])
    return ()
