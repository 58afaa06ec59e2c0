"""Texts become unit vectors with a model as sentence-transformers saves it: safetensors, run by torch.

For folders without an ONNX file, such as one that is to be finetuned or was. It needs torch and transformers, which
take seconds to import, and computes in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lorag.errors import ModelError
from lorag.models.quiet import quiet_transformers
from lorag.retrieval.encoders.embedders import Pooling, identity, pooled
from lorag.retrieval.encoders.onnx_encoder import Window, read_numbers

if TYPE_CHECKING:
    from torch import Tensor


class TorchEmbedder:
    """A transformer encoder in a folder with ``model.safetensors``, ``tokenizer.json`` and ``config.json``.

    Every text is a model call of its own, so a vector depends on its text alone.
    """

    def __init__(self, folder: Path, name: str, *, query_prefix: str = "", pooling: Pooling = "mean") -> None:
        """``query_prefix`` is put before queries, never before passages; ``pooling`` is as the model was trained.

        Raises ``ModelError`` when the folder does not hold such a model.
        """
        self.name = name
        self._query_prefix, self._pooling = query_prefix, pooling
        self.dim, window = read_numbers(folder, "config.json", "hidden_size", "max_position_embeddings")
        if (folder / "sentence_bert_config.json").is_file():  # the length that it was trained with
            (window,) = read_numbers(folder, "sentence_bert_config.json", "max_seq_length")
        self._window = Window(folder, window)
        self.max_tokens = self._window.max_tokens
        self.model = _load(folder)
        self.identity = identity(folder, pooling, "*.safetensors")

    def count_tokens(self, text: str) -> int:
        """See ``Embedder``."""
        return self._window.count_tokens(text)

    def embed(self, texts: Sequence[str], kind: Literal["query", "passage"]) -> NDArray[np.float32]:
        """See ``Embedder``. What is longer than the length it was trained with (256 for minilm-l6) is cut off."""
        import torch

        prefix = self._query_prefix if kind == "query" else ""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        with torch.inference_mode():
            for row, encoding in enumerate(self._window.encode([prefix + text for text in texts])):
                states = self.model(input_ids=torch.tensor([encoding.ids])).last_hidden_state[0].numpy()
                vectors[row] = pooled(states, self._pooling)
        return vectors

    def trained_on(self, texts: Sequence[str], kind: Literal["query", "passage"]) -> Tensor:
        """What ``embed`` gives, as a tensor with its gradient, from one call of the model; at least one text."""
        import torch

        prefix = self._query_prefix if kind == "query" else ""
        rows = [encoding.ids for encoding in self._window.encode([prefix + text for text in texts])]
        ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        there = torch.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)], there[row, : len(tokens)] = torch.tensor(tokens), 1
        states = self.model(input_ids=ids, attention_mask=there).last_hidden_state
        mean = (states * there[:, :, None]).sum(1) / there.sum(1, keepdim=True)
        return torch.nn.functional.normalize(states[:, 0] if self._pooling == "cls" else mean, dim=-1)


def _load(folder: Path) -> Any:
    from transformers import AutoModel

    try:
        with quiet_transformers():
            return AutoModel.from_pretrained(folder, dtype="float32", local_files_only=True).eval()
    except Exception as error:  # the library raises anything where a file is damaged
        raise ModelError(f"{str(folder)!r} holds no encoder ({error}); fetch the model again") from error
