"""A few documents of a harbour and an embedder that counts: what tests of knowledge have in common."""

from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.settings import ChunkSettings, RetrievalSettings
from lorag.types import Document

DIM = 64
CHUNKS, RETRIEVAL = ChunkSettings(max_tokens=16), RetrievalSettings(candidates=20)


class CountingHashes(HashEmbedder):
    """Remembers what it embedded, and can give up."""

    def __init__(self):
        super().__init__(DIM)
        self.passages, self.patience = [], 10**9

    def embed(self, texts, kind):
        if kind == "passage":
            self.passages += texts
            if len(self.passages) > self.patience:
                raise KeyboardInterrupt
        return super().embed(texts, kind)


def document(name, text, title=""):
    return Document(name, text, f"{name}.md", title)


WARRANTY = document(
    "warranty",
    "# Warranty\n\nThe warranty lasts two years.\n\n## Batteries\n\nThey are left out of it, as are seals and floats.",
)
PLANS = document("plans", "The harbour plan costs twelve euros.", "Plans")
HOURS = document("hours", "Support answers between nine and five.", "Hours")
