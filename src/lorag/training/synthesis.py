"""Training conversations made from documents alone, by the language model that is at hand.

Thin on purpose: one prompt a passage, several question-answer pairs back, and only pairs whose answer stands in the
passage word for word are kept. Every pair names the document it came from. What was asked, kept and refused is
counted, because a finetune is only as good as these pairs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lorag.errors import InputError
from lorag.interfaces import LanguageModel, Progress, no_progress
from lorag.types import Chunk, Conversation, Message, Prompt, Sampling

_INSTRUCTION = (
    "Write {pairs} different questions that the passage answers. Each answer must be a few words copied from the"
    " passage. Each question must name what it asks about. Use this form:\nQ: question\nA: answer"
)
_PAIR = re.compile(r"^[\W\d]*Q\d*[.:]\s*(?P<question>.+?\?)\s*^[\W\d]*A\d*[.:]\s*(?P<answer>.+?)\s*$", re.MULTILINE)
_SLICE = 40
"""Passages written about at a time."""


@dataclass(frozen=True, slots=True)
class Synthesis:
    """Conversations made, and the counts behind them."""

    conversations: tuple[Conversation, ...]
    passages: int
    proposed: int
    """Pairs the model wrote in the asked form."""
    unsupported: int
    """Pairs refused because the answer does not stand in the passage, or stands in the question."""
    repeated: int
    """Pairs refused because the question was written before, or is one of the test questions."""


def synthesize(
    chunks: Sequence[Chunk],
    model: LanguageModel,
    *,
    pairs: int = 2,
    exclude: Iterable[str] = (),
    progress: Progress = no_progress,
) -> Synthesis:
    """Question-answer conversations about every chunk; questions in ``exclude`` are never among them.

    Raises ``InputError`` when the model writes no usable pair at all.
    """
    seen = {_plain(question) for question in exclude}
    conversations: list[Conversation] = []
    proposed = unsupported = repeated = 0
    sampling = Sampling(max_tokens=40 * pairs)
    for start in range(0, len(chunks), _SLICE):
        part = chunks[start : start + _SLICE]
        written = model.generate([_prompt(chunk, pairs) for chunk in part], sampling)
        for chunk, completion in zip(part, written, strict=True):
            for question, answer in _parse(completion.text):
                proposed += 1
                if not _supported(question, answer, chunk):
                    unsupported += 1
                elif _plain(question) in seen:
                    repeated += 1
                else:
                    seen.add(_plain(question))
                    turns = (Message("user", question), Message("assistant", answer))
                    conversations.append(Conversation(turns, (chunk.document_id,)))
        progress("writing training questions", min(start + _SLICE, len(chunks)), len(chunks))
    if not conversations:
        raise InputError(
            f"{model.name} wrote no usable question about {len(chunks)} passages; give training data with --train or"
            " choose a larger model"
        )
    return Synthesis(tuple(conversations), len(chunks), proposed, unsupported, repeated)


def _prompt(chunk: Chunk, pairs: int) -> Prompt:
    passage = f"{chunk.heading}\n{chunk.text.strip()}" if chunk.heading else chunk.text.strip()
    return (Message("user", f"Passage:\n{passage}\n\n{_INSTRUCTION.format(pairs=pairs)}"),)


def _parse(text: str) -> Iterator[tuple[str, str]]:
    for match in _PAIR.finditer(text):
        yield match["question"].strip(), match["answer"].strip().strip('"')


def _supported(question: str, answer: str, chunk: Chunk) -> bool:
    words = f" {_plain(answer)} "
    return words.strip() != "" and words in f" {_plain(chunk.text)} " and words not in f" {_plain(question)} "


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
