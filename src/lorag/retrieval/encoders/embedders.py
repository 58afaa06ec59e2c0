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

from lorag.files import fingerprint, sha256_of
from lorag.retrieval.encoders.onnx_encoder import OnnxEncoder, read_numbers, weights_file

Pooling = Literal["cls", "mean"]
_WORD = re.compile(r"\w+")


class OnnxEmbedder:
    """An ``OnnxEncoder`` in a folder with ``config.json``, whose token states are pooled into one vector a text."""

    def __init__(self, folder: Path, name: str, *, query_prefix: str = "", pooling: Pooling = "cls") -> None:
        """``query_prefix`` is put before queries, never before passages; ``pooling`` is as the model was trained.

        Raises ``ModelError`` when the folder does not hold such a model.
        """
        self.name = name
        self._query_prefix, self._pooling = query_prefix, pooling
        self.dim, window = read_numbers(folder, "config.json", "hidden_size", "max_position_embeddings")
        self._encoder = OnnxEncoder(folder, window)
        self.max_tokens = self._encoder.max_tokens
        self.identity = identity(folder, pooling, f"{weights_file(folder).name}*")

    def count_tokens(self, text: str) -> int:
        """See ``Embedder``."""
        return self._encoder.count_tokens(text)

    def embed(self, texts: Sequence[str], kind: Literal["query", "passage"]) -> NDArray[np.float32]:
        """See ``Embedder``. What is longer than the model's window (512 tokens for bge) is cut off at its end."""
        prefix = self._query_prefix if kind == "query" else ""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for row, states in enumerate(self._encoder.outputs([prefix + text for text in texts])):
            vectors[row] = pooled(states, self._pooling)
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


def pooled(states: NDArray[np.float32], pooling: Pooling) -> NDArray[np.float32]:
    """The unit vector of a text from the states of its tokens, ``(tokens, dim)``: the first one, or their mean."""
    return unit(states[0] if pooling == "cls" else states.mean(axis=0))


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """``vector`` at length 1; the first direction where it has no length."""
    norm = np.linalg.norm(vector)
    if norm == 0:
        first = np.zeros_like(vector)
        first[0] = 1
        return first
    return np.asarray(vector / norm, dtype=np.float32)


def identity(folder: Path, pooling: str, weights: str) -> str:
    """A hash of all that decides the vectors of passages; reading 34 MB of weights for it takes 50 ms."""
    files = [folder / "config.json", folder / "tokenizer.json", *sorted(folder.glob(weights))]
    return fingerprint({"pooling": pooling} | {file.name: sha256_of(file) for file in files if file.is_file()})
