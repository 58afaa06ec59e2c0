"""A request for embeddings, read and checked, and the vectors as OpenAI's objects."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lorag.interfaces import Embedder
from lorag.serving.http_errors import HttpError
from lorag.serving.protocol.chat_request import json_object, served_name, wrong

_MOST_TEXTS = 2048
_FORMATS = ("float", "base64")


@dataclass(frozen=True, slots=True)
class Embedding:
    """The texts of which vectors are wanted, and how they are to be written.

    ``kind`` is the protocol's own silence: passages unless ``input_type``, which goes beyond it, is ``query``.
    """

    texts: tuple[str, ...]
    kind: Literal["query", "passage"]
    as_base64: bool
    tokens: int

    def answered(self, model: str, vectors: NDArray[np.float32]) -> dict[str, Any]:
        """The object with ``vectors``, one row for each text."""
        data = [
            {"object": "embedding", "index": number, "embedding": _base64(row) if self.as_base64 else row.tolist()}
            for number, row in enumerate(vectors)
        ]
        usage = {"prompt_tokens": self.tokens, "total_tokens": self.tokens}
        return {"object": "list", "model": model, "data": data, "usage": usage}


def read_embedding(body: bytes, embedder: Embedder) -> Embedding:
    """What ``body`` asks of ``embedder``. Raises ``HttpError`` for whatever is wrong with it, and a text too long."""
    given = json_object(body)
    served_name(given, (embedder.name,))
    if given.get("dimensions", embedder.dim) != embedder.dim:
        raise wrong("dimensions", given["dimensions"], f"{embedder.dim}, which is what {embedder.name} has")
    written = _one_of(given, "encoding_format", _FORMATS)
    kind = _one_of(given, "input_type", ("passage", "query"))
    texts = _texts(given.get("input"))
    counts = [embedder.count_tokens(text) for text in texts]
    for number, count in enumerate(counts):
        if count > embedder.max_tokens:
            where = f"input[{number}]"
            message = f"{where} has {count} tokens; {embedder.name} reads {embedder.max_tokens}: cut it into passages"
            raise HttpError(400, message, where, "context_length_exceeded")
    return Embedding(texts, "query" if kind == "query" else "passage", written == "base64", sum(counts))


def _texts(given: object) -> tuple[str, ...]:
    texts: Sequence[object] = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    if not 1 <= len(texts) <= _MOST_TEXTS or not all(isinstance(text, str) and text.strip() for text in texts):
        expected = f"a string, or 1 to {_MOST_TEXTS} strings, none of them blank; token ids are not supported"
        raise wrong("input", given, expected)
    return tuple(map(str, texts))


def _one_of(given: Mapping[str, Any], name: str, values: Sequence[str]) -> str:
    """The field of that name, or the first of the ``values`` that it may have."""
    value = given.get(name, values[0])
    if value not in values:
        raise wrong(name, value, " or ".join(values))
    return str(value)


def _base64(row: NDArray[np.float32]) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()
