"""An embedder behind an OpenAI-compatible address: Lorag's own server, Ollama, vLLM, or a hosted one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lorag.errors import EndpointError
from lorag.llm.engines.openai import Address, client, endpoint_errors, require_named
from lorag.llm.engines.patience import Patience
from lorag.retrieval.encoders.sentence_layout import unit
from lorag.settings import RemoteSettings

_TEXTS_AT_ONCE = 32
_BYTES_A_TOKEN = 3
"""Fewer than English has: a passage of numbers or of another language must fit too."""
_PATIENT = RemoteSettings(retries=14, outage_seconds=300.0)
"""An index is long work, which waits for a busy server."""


class RemoteEmbedder:
    """An ``Embedder`` over the wire; ``name`` is ``openai:MODEL@URL`` or ``ollama:MODEL``.

    Queries and passages are sent alike, as the protocol knows no difference.
    """

    max_tokens = 512
    """The window of the smallest embedders in use: the protocol does not tell it."""

    def __init__(self, name: str, settings: RemoteSettings | None = None) -> None:
        """Asks for one vector, whose length is ``dim``.

        Raises ``MissingExtraError`` without the package ``openai``, ``EndpointError`` where no vector comes.
        """
        self.name = name
        self._address, self._settings = Address.parse(name), settings or _PATIENT
        self._client = client(self._address, self._settings, self)
        self._patience = Patience(replace(self._settings, retries=min(2, self._settings.retries)))
        (probe,) = self._asked(["dimension"])
        self._patience = Patience(self._settings)
        self.dim = len(probe)
        self.identity = f"{self._address.model}@{self._address.url}, {self.dim}"

    def count_tokens(self, text: str) -> int:
        """About the number of tokens: the server's tokenizer is not at hand, so bytes are counted."""
        return -(-len(text.encode(errors="replace")) // _BYTES_A_TOKEN)

    def embed(self, texts: Sequence[str], kind: Literal["query", "passage"]) -> NDArray[np.float32]:
        """See ``Embedder``. Raises ``EndpointError`` for whatever is not a vector of ``dim`` numbers for each text."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        parts = [texts[begin : begin + _TEXTS_AT_ONCE] for begin in range(0, len(texts), _TEXTS_AT_ONCE)]
        with ThreadPoolExecutor(self._settings.concurrency) as pool:
            found = [vector for part in pool.map(self._asked, parts) for vector in part]
        for row, vector in enumerate(found):
            if vector.shape != (self.dim,):
                raise EndpointError(
                    f"{self.name} gave a vector of {len(vector)} numbers, and {self.dim} before; let it serve one model"
                    " under this name, and index again"
                )
            vectors[row] = unit(vector)
        return vectors

    def _asked(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """The vectors of one request, in order; servers refuse a blank text, for which a full stop is sent."""
        sent = [text.encode(errors="replace").decode() if text.strip() else "." for text in texts]
        with endpoint_errors(self._address, self._settings, "embeddings"):
            answer: Any = self._patience.ask(
                lambda: self._client.embeddings.create(model=self._address.model, input=sent, encoding_format="float")
            )
            rows = sorted(answer.data, key=lambda row: row.index)
            vectors = [np.asarray(row.embedding, dtype=np.float32) for row in rows]
        require_named(self._address, answer)
        if [row.index for row in rows] != list(range(len(sent))):
            raise EndpointError(f"{self.name} gave {len(rows)} vectors for {len(sent)} texts; see its log")
        return vectors
