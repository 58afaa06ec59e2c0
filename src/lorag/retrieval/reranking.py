"""A cross-encoder reads question and passage together and says how well they fit: slower than vectors, and closer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lorag.errors import ModelError
from lorag.retrieval.onnx import OnnxEncoder, read_numbers


class CrossEncoder:
    """A ``Reranker`` in a folder with ``model.onnx``, ``tokenizer.json`` and ``tokenizer_config.json``."""

    def __init__(self, folder: Path, name: str) -> None:
        """Raises ``ModelError`` when the folder does not hold a model that gives a pair of texts one number."""
        self.name = name
        (window,) = read_numbers(folder, "tokenizer_config.json", "model_max_length")
        self._encoder = OnnxEncoder(folder, window)
        (probe,) = self._encoder.outputs([("question", "passage")])
        if probe.shape != (1,):
            raise ModelError(
                f"{str(folder)!r} gives a pair of texts an output of shape {probe.shape}, expected one number: choose "
                "a cross-encoder with one label"
            )

    def score(self, query: str, passages: Sequence[str]) -> list[float]:
        """See ``Reranker``: the model's logits. Of a pair beyond its window the end of the longer text is not seen."""
        return [float(logit[0]) for logit in self._encoder.outputs([(query, passage) for passage in passages])]
