"""A cross-encoder reads question and passage together and says how well they fit: slower than vectors, and closer."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from pathlib import Path

from lorag.errors import ModelError
from lorag.files import fingerprint
from lorag.interfaces import Reranker
from lorag.retrieval.encoders.onnx_encoder import OnnxEncoder, read_numbers


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


class CachedReranker:
    """Wraps a reranker; no pair is read twice, however many ways of ranking ask for it."""

    def __init__(self, reranker: Reranker, known: MutableMapping[str, float]) -> None:
        """``known`` holds the score of every pair read so far, under a hash of it."""
        self.name = reranker.name
        self._reranker, self._known = reranker, known

    def score(self, query: str, passages: Sequence[str]) -> list[float]:
        """See ``Reranker``; only new pairs reach the model."""
        keys = [fingerprint([self.name, query, passage]) for passage in passages]
        new = {key: passage for key, passage in zip(keys, passages, strict=True) if key not in self._known}
        self._known.update(zip(new, self._reranker.score(query, list(new.values())), strict=True))
        return [self._known[key] for key in keys]
