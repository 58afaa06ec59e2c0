"""Indexes documents and searches for questions with LlamaIndex's defaults: reads a job, writes the measurement.

The defaults are the splitter (1024 tokens, 200 of overlap), the batches of 10 texts, and the vector store, which is
kept in memory and then written to the disk.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from encoder import Encoder
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from memory import peak_bytes
from pydantic import PrivateAttr


class Embedding(BaseEmbedding):  # type: ignore[misc, unused-ignore]
    """The encoder as LlamaIndex calls one."""

    _encoder: Encoder = PrivateAttr()
    _prefix: str = PrivateAttr()

    def __init__(self, encoder: Encoder, prefix: str) -> None:
        super().__init__(model_name="bge-small-en")
        self._encoder, self._prefix = encoder, prefix

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._encoder.encode(texts, self.embed_batch_size)
        return vectors

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._encoder.encode([self._prefix + query], 1)[0]
        return vector

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


def main(job: dict[str, Any]) -> None:
    """Indexes, writes, and searches."""
    embedding = Embedding(Encoder(job["model"], job["window"]), job["prefix"])
    documents = [Document(text=text, id_=name) for name, text in job["documents"]]
    wall, cpu = time.perf_counter(), time.process_time()
    index = VectorStoreIndex.from_documents(documents, embed_model=embedding)
    index.storage_context.persist(job["place"])
    found: dict[str, Any] = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    found["peak_bytes"] = peak_bytes()
    retriever = index.as_retriever(similarity_top_k=job["hits"])
    found["rankings"] = [[hit.node.ref_doc_id for hit in retriever.retrieve(question)] for question in job["questions"]]
    Path(job["found"]).write_text(json.dumps(found))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
