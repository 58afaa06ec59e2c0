"""Indexes documents and searches for questions with Haystack's defaults: reads a job, writes the measurement.

The defaults are the splitter (200 words, no overlap), the batches of 32 texts, and the document store, which is kept in
memory and then written to the disk.
"""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

from encoder import Encoder
from haystack import Document, Pipeline, component
from haystack.components.preprocessors import DocumentSplitter
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore
from memory import peak_bytes

_BATCH = 32


@component
class Embedder:
    """The encoder as a Haystack component."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator, unused-ignore]
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """The documents with their vectors."""
        vectors = self._encoder.encode([document.content or "" for document in documents], _BATCH)
        return {"documents": [replace(d, embedding=vector) for d, vector in zip(documents, vectors, strict=True)]}


def main(job: dict[str, Any]) -> None:
    """Indexes, writes, and searches."""
    encoder, store = Encoder(job["model"], job["window"]), InMemoryDocumentStore()
    pipeline = Pipeline()
    pipeline.add_component("splitter", DocumentSplitter())
    pipeline.add_component("embedder", Embedder(encoder))
    pipeline.add_component("writer", DocumentWriter(store))
    pipeline.connect("splitter", "embedder")
    pipeline.connect("embedder", "writer")
    documents = [Document(content=text, meta={"name": name}) for name, text in job["documents"]]
    wall, cpu = time.perf_counter(), time.process_time()
    pipeline.run({"splitter": {"documents": documents}})
    Path(job["place"]).mkdir()
    store.save_to_disk(str(Path(job["place"]) / "store.json"))
    found: dict[str, Any] = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    found["peak_bytes"] = peak_bytes()
    retriever = InMemoryEmbeddingRetriever(store, top_k=job["hits"])
    found["rankings"] = [
        [hit.meta["name"] for hit in retriever.run(encoder.encode([job["prefix"] + question], 1)[0])["documents"]]
        for question in job["questions"]
    ]
    Path(job["found"]).write_text(json.dumps(found))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
