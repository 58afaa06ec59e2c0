"""The embedder of the peers: the same ONNX weights and tokenizer as ours, in padded batches of texts of similar length.

sentence-transformers, which both peers' own integrations call, runs a model in this way. This module needs only ONNX
Runtime and tokenizers, so it runs in the environment of each peer.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from tokenizers import Tokenizer


class Encoder:
    """Texts in, unit vectors of the first token's state out."""

    def __init__(self, folder: str, window: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self._tokenizer.enable_truncation(window)
        self._tokenizer.enable_padding()
        self._session: Any = onnxruntime.InferenceSession(
            str(Path(folder) / "model.onnx"), providers=["CPUExecutionProvider"]
        )
        self._inputs = [entry.name for entry in self._session.get_inputs()]

    def encode(self, texts: list[str], batch_size: int) -> list[list[float]]:
        """A vector for each text, in order."""
        vectors: dict[int, list[float]] = {}
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            encodings = self._tokenizer.encode_batch([texts[row] for row in rows])
            values = {
                "input_ids": np.array([encoding.ids for encoding in encodings], dtype=np.int64),
                "attention_mask": np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64),
                "token_type_ids": np.array([encoding.type_ids for encoding in encodings], dtype=np.int64),
            }
            states = self._session.run(None, {name: values[name] for name in self._inputs})[0][:, 0]
            states = states / np.linalg.norm(states, axis=1, keepdims=True)
            vectors |= dict(zip(rows, states.tolist(), strict=True))
        return [vectors[row] for row in range(len(texts))]
