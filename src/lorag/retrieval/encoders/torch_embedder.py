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
from lorag.retrieval.encoders.embedders import Pooling
from lorag.retrieval.encoders.onnx_encoder import Window
from lorag.retrieval.encoders.sentence_layout import read_layout, unit

if TYPE_CHECKING:
    from torch import Tensor


class TorchEmbedder:
    """A transformer encoder in a folder with ``model.safetensors``, ``tokenizer.json`` and ``config.json``.

    Every text is a model call of its own, so a vector depends on its text alone.
    """

    def __init__(
        self, folder: Path, name: str, *, query_prefix: str | None = None, pooling: Pooling | None = None
    ) -> None:
        """``query_prefix`` is put before queries, never before passages; ``pooling`` is as the model was trained.

        Without them the folder's own hold (see ``SentenceLayout``), or no prefix and the mean. Raises ``ModelError``
        when the folder does not hold such a model.
        """
        self.name, self._folder = name, folder
        self._layout = layout = read_layout(folder, query_prefix, pooling, "mean")
        self._window = Window(layout.encoder, layout.window)
        self.max_tokens = self._window.max_tokens
        self.model = _load(layout.encoder)
        self.dim = layout.dim(int(self.model.config.hidden_size))
        self.identity = layout.identity(layout.encoder.glob("*.safetensors"))

    @property
    def is_trainable(self) -> bool:
        """Whether training knows what follows the encoder: the mean or the first state alone, and length 1."""
        layout = self._layout
        known = layout.pooling in (("mean",), ("cls",)) and set(layout.layers) <= {unit}
        return known and layout.pools_prompt and layout.encoder == self._folder

    def count_tokens(self, text: str) -> int:
        """See ``Embedder``."""
        return self._window.count_tokens(text)

    def embed(self, texts: Sequence[str], kind: Literal["query", "passage"]) -> NDArray[np.float32]:
        """See ``Embedder``. What is longer than the length it was trained with (256 for minilm-l6) is cut off."""
        import torch

        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        prompt = self._window.prompt_tokens(self._layout.text("", kind))
        with torch.inference_mode():
            for row, encoding in enumerate(self._window.encode([self._layout.text(text, kind) for text in texts])):
                states = self.model(input_ids=torch.tensor([encoding.ids])).last_hidden_state[0].numpy()
                vectors[row] = self._layout.vector(states, prompt)
        return vectors

    def trained_on(self, texts: Sequence[str], kind: Literal["query", "passage"]) -> Tensor:
        """What ``embed`` gives, as a tensor with its gradient, from one call of the model; at least one text."""
        import torch

        rows = [encoding.ids for encoding in self._window.encode([self._layout.text(text, kind) for text in texts])]
        ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        there = torch.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)], there[row, : len(tokens)] = torch.tensor(tokens), 1
        states = self.model(input_ids=ids, attention_mask=there).last_hidden_state
        mean = (states * there[:, :, None]).sum(1) / there.sum(1, keepdim=True)
        return torch.nn.functional.normalize(states[:, 0] if self._layout.pooling == ("cls",) else mean, dim=-1)


def _load(folder: Path) -> Any:
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding

    asked = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet_transformers():
            two_parts = AutoConfig.from_pretrained(folder, **asked).is_encoder_decoder
            kind: Any = AutoModelForTextEncoding if two_parts else AutoModel  # of T5 the encoder alone
            return kind.from_pretrained(folder, dtype="float32", use_safetensors=True, **asked).eval()
    except Exception as error:  # the library raises anything where a file is damaged
        raise ModelError(f"{str(folder)!r} holds no encoder ({error}); fetch the model again") from error
