"""The embedder of a name whose weights are on this machine, or are fetched to it: by onnxruntime, else by PyTorch."""

from __future__ import annotations

from typing import Any

from lorag.errors import ModelError
from lorag.interfaces import Progress
from lorag.models.catalogue import CATALOGUE
from lorag.models.naming import form_of, resolve
from lorag.retrieval.encoders.embedders import OnnxEmbedder
from lorag.retrieval.encoders.onnx_encoder import weights_file
from lorag.retrieval.encoders.torch_embedder import TorchEmbedder


def local_embedder(name: str, progress: Progress) -> OnnxEmbedder | TorchEmbedder:
    """The embedder of that name; where a hub's ONNX file is not of a kind that runs here, with its other weights."""
    known = CATALOGUE.get(name)
    own: dict[str, Any] = {} if known is None else {"query_prefix": known.query_prefix, "pooling": known.pooling}
    folder = resolve(name, "embedder", progress)
    if not weights_file(folder).is_file():
        return TorchEmbedder(folder, name, **own)
    try:
        return OnnxEmbedder(folder, name, **own)
    except ModelError:
        if form_of(name) != "hub":
            raise
        folder = resolve(name, "embedder", progress, trainable=True)
        if not any(folder.glob("*.safetensors")):
            raise
        return TorchEmbedder(folder, name, **own)
