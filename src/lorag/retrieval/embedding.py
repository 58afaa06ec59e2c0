"""Texts become unit vectors: with an ONNX model on the CPU, or, for tests, with hashed words.

No model is fetched or converted here; a folder that holds one is given.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lorag.errors import ModelError
from lorag.files import fingerprint, sha256_of

_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
_WORD = re.compile(r"\w+")


class OnnxEmbedder:
    """A transformer encoder in a folder with ``model.onnx``, ``tokenizer.json`` and ``config.json``.

    Every text is a model call of its own, and the calls run in parallel, one core each. So a vector depends on its
    text alone: the activations of an int8 model share one scale per call, and in a batch the neighbours of a text
    turn its vector (cosine down to 0.996 for bge-small in batches of 16). It costs little: two cores embed 40 passages
    a second (25 in such batches) and 300 questions (350).
    """

    def __init__(
        self, folder: Path, name: str, *, query_prefix: str = "", pooling: Literal["cls", "mean"] = "cls"
    ) -> None:
        """``query_prefix`` is put before queries, never before passages; ``pooling`` is as the model was trained.

        Raises ``ModelError`` when the folder does not hold such a model.
        """
        self.name = name
        self._query_prefix, self._pooling = query_prefix, pooling
        config = _read_config(folder)
        self.identity = _identity(folder, pooling)
        self.dim: int = config["hidden_size"]
        self._counter = _read_tokenizer(folder)
        self._tokenizer = _read_tokenizer(folder)
        self._tokenizer.enable_truncation(config["max_position_embeddings"])
        self.max_tokens: int = config["max_position_embeddings"] - self._tokenizer.num_special_tokens_to_add(False)
        self._session = _open_session(folder)
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        if not self._inputs <= _INPUTS:
            raise ModelError(
                f"{str(folder)!r} asks for {sorted(self._inputs - _INPUTS)}; expected an encoder that takes only "
                f"{sorted(_INPUTS)}: export it for feature extraction"
            )

    def count_tokens(self, text: str) -> int:
        """The number of tokens of ``text``, special tokens left out, however long it is."""
        return len(self._counter.encode(text, add_special_tokens=False).ids)

    def embed(self, texts: Sequence[str], kind: Literal["query", "passage"]) -> NDArray[np.float32]:
        """See ``Embedder``. What is longer than the model's window (512 tokens for bge) is cut off at its end."""
        prefix = self._query_prefix if kind == "query" else ""
        encodings = self._tokenizer.encode_batch([prefix + text for text in texts])
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        with ThreadPoolExecutor(_cores()) as pool:
            for row, vector in enumerate(pool.map(self._embed_one, (encoding.ids for encoding in encodings))):
                vectors[row] = vector
        return vectors

    def _embed_one(self, ids: Sequence[int]) -> NDArray[np.float32]:
        tokens = np.array([ids], dtype=np.int64)
        values = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}
        states = self._session.run(None, {name: values[name] for name in self._inputs})[0][0]
        pooled = states[0] if self._pooling == "cls" else states.mean(axis=0)
        return _unit(pooled)


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
            vectors[row] = _unit(vectors[row])
        return vectors


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """``vector`` at length 1; the first direction where it has no length."""
    norm = np.linalg.norm(vector)
    if norm == 0:
        first = np.zeros_like(vector)
        first[0] = 1
        return first
    return np.asarray(vector / norm, dtype=np.float32)


def _identity(folder: Path, pooling: str) -> str:
    """A hash of all that decides the vectors of passages; reading 34 MB of weights for it takes 50 ms."""
    files = [folder / "config.json", folder / "tokenizer.json", *sorted(folder.glob("model.onnx*"))]
    return fingerprint({"pooling": pooling} | {file.name: sha256_of(file) for file in files if file.is_file()})


def _cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read_config(folder: Path) -> dict[str, int]:
    """The two numbers of ``config.json`` that are needed here."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return {key: int(config[key]) for key in ("hidden_size", "max_position_embeddings")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{str(folder)!r} holds no readable config.json with hidden_size and max_position_embeddings ({error}); "
            "fetch the model again"
        ) from error


def _read_tokenizer(folder: Path) -> Any:
    """The tokenizer as it is in the file, but neither cutting nor padding."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises Exception itself
        raise ModelError(f"{str(path)!r} is no tokenizer ({error}); fetch the model again") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _open_session(folder: Path) -> Any:
    """The model, ready to run on one core a call."""
    import onnxruntime  # type: ignore[import-untyped]

    path = folder / "model.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's errors have no other root
        raise ModelError(f"{str(path)!r} does not load ({error}); fetch the model again") from error
