"""A cross-encoder reads question and passage together and says how well they fit: slower than vectors, and closer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorag.errors import ModelError
from lorag.models.quiet import quiet_transformers
from lorag.retrieval.encoders.onnx_encoder import OnnxEncoder, Window, weights_file
from lorag.retrieval.encoders.sentence_layout import read_window


class CrossEncoder:
    """A ``Reranker`` in a folder as sentence-transformers saves it, or with an ONNX file, which runs without torch."""

    def __init__(self, folder: Path, name: str) -> None:
        """Raises ``ModelError`` when the folder does not hold a model that gives a pair of texts one number."""
        self.name = name
        window = read_window(folder)
        self._outputs = (
            OnnxEncoder(folder, window).outputs if weights_file(folder).is_file() else _torch_outputs(folder, window)
        )
        (probe,) = self._outputs([("question", "passage")])
        if probe.shape != (1,):
            raise ModelError(
                f"{str(folder)!r} gives a pair of texts an output of shape {probe.shape}, expected one number: choose "
                "a cross-encoder with one label"
            )

    def score(self, query: str, passages: Sequence[str]) -> list[float]:
        """See ``Reranker``: the model's logits. Of a pair beyond its window the end of the longer text is not seen."""
        return [float(logit[0]) for logit in self._outputs([(query, passage) for passage in passages])]


def _torch_outputs(folder: Path, window: int) -> Callable[[Sequence[tuple[str, str]]], Iterator[NDArray[np.float32]]]:
    """What gives the logits of pairs, each by a model call of its own, with weights in safetensors."""
    import torch
    from transformers import AutoModelForSequenceClassification

    try:
        with quiet_transformers():
            loaded: Any = AutoModelForSequenceClassification.from_pretrained(
                folder,
                dtype="float32",
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:  # the library raises anything where a file is damaged
        raise ModelError(f"{str(folder)!r} holds no cross-encoder ({error}); choose another") from error
    model, found = loaded
    if missing := sorted(found["missing_keys"]):
        raise ModelError(f"{str(folder)!r} is not a cross-encoder, it lacks the weight {missing[0]!r}; choose another")
    model.eval()
    tokens, takes_kinds = Window(folder, window), "token_type_ids" in signature(model.forward).parameters

    def outputs(pairs: Sequence[tuple[str, str]]) -> Iterator[NDArray[np.float32]]:
        for encoding in tokens.encode(pairs):
            kinds = {"token_type_ids": torch.tensor([encoding.type_ids])} if takes_kinds else {}
            with torch.inference_mode():
                yield model(input_ids=torch.tensor([encoding.ids]), **kinds).logits[0].numpy()

    return outputs
