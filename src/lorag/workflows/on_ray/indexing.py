"""A Ray cluster that reads files and embeds passages for an index, which this process alone writes.

Vectors come into this machine's cache as they arrive, so a killed process embeds nothing again that had come back.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lorag import build
from lorag.documents.load import read_document_file
from lorag.documents.reader_process import Found
from lorag.errors import DataError, ModelError
from lorag.interfaces import Embedder
from lorag.settings import CacheSettings, LoadSettings
from lorag.workflows.on_ray.cluster import Cluster


def read_on(cluster: Cluster, path: Path, source: str, settings: LoadSettings) -> Found:
    """See ``read_document_file``. The machine that reads must see the file under the same path."""
    try:
        return cluster.call(read_document_file, path.absolute(), source, settings)
    except DataError as error:
        raise DataError(path, error.message, error.line) from None


class ClusterEmbedder:
    """An ``Embedder`` whose passages are embedded on a cluster, with the same weights as here."""

    def __init__(self, here: Embedder, on: Cluster) -> None:
        """``here`` embeds questions and counts tokens."""
        self.name, self.identity, self.dim, self.max_tokens = here.name, here.identity, here.dim, here.max_tokens
        self._here, self._cluster = here, on

    def count_tokens(self, text: str) -> int:
        """See ``Embedder``."""
        return self._here.count_tokens(text)

    def embed(self, texts: Sequence[str], kind: Literal["query", "passage"]) -> NDArray[np.float32]:
        """See ``Embedder``. Raises ``ModelError`` where a machine of the cluster has other weights under the name."""
        if kind == "query":
            return self._here.embed(texts, kind)
        folder = Path(self.name).expanduser()
        name = str(folder.absolute()) if folder.is_dir() else self.name
        return self._cluster.call(_embed, name, self.identity, list(texts))


def _embed(name: str, identity: str, texts: Sequence[str]) -> NDArray[np.float32]:
    embedder = _embedder(name)
    if embedder.identity != identity:
        raise ModelError(
            f"the embedder {name} has other weights on {socket.gethostname()} than where the command runs; fetch it"
            " there again"
        )
    return embedder.embed(texts, "passage")


@cache
def _embedder(name: str) -> Embedder:
    """The embedder of a worker, loaded once."""
    return build.embedder(name, cache=CacheSettings(max_bytes=0))
