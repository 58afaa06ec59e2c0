"""Index: a folder of documents becomes an index, or an index is brought in step with its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lorag import build
from lorag.documents.load import Loaded, load_documents
from lorag.interfaces import Progress, no_progress
from lorag.retrieval.backends.location import IndexLocation, replacing
from lorag.retrieval.knowledge import SyncReport
from lorag.settings import DEFAULT_EMBEDDER, CacheSettings, ChunkSettings, SyncSettings


@dataclass(frozen=True, slots=True)
class Indexed:
    """What became of the documents: in the files, and in the index.

    ``from_cache`` is how many vectors were there from earlier runs and cost no model call.
    """

    loaded: Loaded
    report: SyncReport
    from_cache: int


def index(
    documents: Path | str,
    place: IndexLocation,
    *,
    rebuild: bool = False,
    allow_removals: bool = False,
    embedder: str = DEFAULT_EMBEDDER,
    cache: CacheSettings | None = None,
    chunks: ChunkSettings | None = None,
    progress: Progress = no_progress,
) -> Indexed:
    """The index at ``place`` holds every document that can be read; what could not be is in ``loaded.refused``.

    A refused file that the index holds from an earlier time stays in it. ``rebuild`` makes a new index, without such
    files, and replaces the old one with it when it is complete. Raises ``InputError`` when much of what the
    index holds is gone, unless ``allow_removals``.
    """
    loaded = load_documents(documents)
    vectors = build.embedder(embedder, progress, cache)

    def sync(here: IndexLocation) -> Indexed:
        report = build.knowledge(here, vectors, chunks).sync(
            loaded.documents,
            progress,
            unread={file.source for file in loaded.refused},
            settings=SyncSettings(max_removed_share=1) if allow_removals else None,
        )
        return Indexed(loaded, report, vectors.taken)

    if not rebuild:
        return sync(place)
    with replacing(place) as fresh:
        return sync(fresh)
