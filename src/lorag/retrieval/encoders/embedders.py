"""Texts become unit vectors: with an ONNX model on the CPU, or, for tests, with hashed words.

No model is fetched or converted here; a folder that holds one is given.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lorag.errors import ModelError
from lorag.retrieval.encoders.onnx_encoder import OnnxEncoder, weights_file
from lorag.retrieval.encoders.sentence_layout import read_json, read_layout, unit

Pooling = Literal["cls", "mean"]
_WORD = re.compile(r"\w+")


class OnnxEmbedder:
    """An ``OnnxEncoder`` whose token states are made into one vector a text, as its folder or the caller says."""

    def __init__(
        self, folder: Path, name: str, *, query_prefix: str | None = None, pooling: Pooling | None = None
    ) -> None:
        """``query_prefix`` is put before queries, never before passages; ``pooling`` is as the model was trained.

        Without them the folder's own hold (see ``SentenceLayout``), or no prefix and the first token's state. Raises
        ``ModelError`` when the folder does not hold such a model.
        """
        self.name = name
        self._layout = layout = read_layout(folder, query_prefix, pooling, "cls")
        self._encoder = OnnxEncoder(folder, layout.window, layout.encoder)
        self.dim = layout.dim(hidden_size(layout.encoder))
        self.max_tokens = self._encoder.window.max_tokens
        weights = weights_file(folder)
        self.identity = layout.identity(weights.parent.glob(f"{weights.name}*"))

    def count_tokens(self, text: str) -> int:
        """See ``Embedder``."""
        return self._encoder.window.count_tokens(text)

    def embed(self, texts: Sequence[str], kind: Literal["query", "passage"]) -> NDArray[np.float32]:
        """See ``Embedder``. What is longer than the model's window (512 tokens for bge) is cut off at its end."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        prompt = self._encoder.window.prompt_tokens(self._layout.text("", kind))
        for row, states in enumerate(self._encoder.outputs([self._layout.text(text, kind) for text in texts])):
            vectors[row] = self._layout.vector(states, prompt)
        return vectors


class HashEmbedder:
    """Words hashed onto ``dim`` directions: quick and repeatable, for tests. It knows nothing of meaning.

    Texts are near to each other as far as they share words, letter for letter.
    """

    def __init__(self, dim: int = 256) -> None:
        """``dim`` is the length of the vectors; the fewer, the more words fall together."""
        self.name = self.identity = f"hash-{dim}"
        self.dim, self.max_tokens = dim, 510

    def count_tokens(self, text: str) -> int:
        """The number of words."""
        return len(_WORD.findall(text))

    def embed(self, texts: Sequence[str], kind: Literal["query", "passage"]) -> NDArray[np.float32]:
        """See ``Embedder``; queries and passages are treated alike. A text without words has the first direction."""
        vectors = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in _WORD.findall(text.lower()):
                digest = hashlib.blake2b(word.encode(errors="replace"), digest_size=9).digest()
                vectors[row, int.from_bytes(digest[:8]) % self.dim] += 1 - 2 * (digest[8] & 1)
            vectors[row] = unit(vectors[row])
        return vectors


def hidden_size(folder: Path) -> int:
    """The length of a token's state. Raises ``ModelError`` where ``config.json`` does not name it."""
    config = read_json(folder / "config.json")
    for key in ("hidden_size", "d_model", "dim"):
        if isinstance(config.get(key), int):
            return int(config[key])
    raise ModelError(f"{str(folder)!r} holds no config.json with 'hidden_size'; fetch the model again")
