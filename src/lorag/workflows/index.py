"""Index: a folder of documents becomes an index, or an index is brought in step with its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lorag import build
from lorag.documents.load import Loaded, load_documents
from lorag.errors import InputError
from lorag.interfaces import Progress, no_progress
from lorag.retrieval.backends.location import IndexLocation, replacing
from lorag.retrieval.encoders.vector_cache import CachedEmbedder
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
    add_only: bool = False,
    allow_removals: bool = False,
    embedder: str = DEFAULT_EMBEDDER,
    cache: CacheSettings | None = None,
    chunks: ChunkSettings | None = None,
    ray: str | None = None,
    progress: Progress = no_progress,
) -> Indexed:
    """The index at ``place`` holds every document that can be read; what could not be is in ``loaded.refused``.

    A refused file that the index holds from an earlier time stays in it. ``rebuild`` makes a new index, without such
    files, and replaces the old one with it when it is complete. With ``add_only``, documents that are gone from the
    folder stay in the index too. ``ray`` is the address of a Ray cluster that reads the files and embeds their
    passages, or ``local``; the index is the same. Raises ``InputError`` when much of what the index holds is gone,
    unless ``allow_removals``, for ``rebuild`` with ``add_only``, and when there is no such cluster.
    """
    if rebuild and add_only:
        raise InputError("--rebuild makes an index of the folder alone, and --add-only keeps the rest; choose one")
    if ray is None:
        loaded, vectors = load_documents(documents, progress=progress), build.embedder(embedder, progress, cache)
        return _indexed(loaded, vectors, place, rebuild, add_only, allow_removals, chunks, progress)
    from lorag.workflows.indexing.on_ray import ClusterEmbedder, cluster

    with cluster(ray) as on:
        loaded = load_documents(documents, read=on.read, at_once=on.at_once, progress=progress)
        here = build.embedder(embedder, progress, CacheSettings(max_bytes=0))
        vectors = build.cached(ClusterEmbedder(here, on), cache)
        return _indexed(loaded, vectors, place, rebuild, add_only, allow_removals, chunks, progress, on.at_once)


def _indexed(
    loaded: Loaded,
    vectors: CachedEmbedder,
    place: IndexLocation,
    rebuild: bool,
    add_only: bool,
    allow_removals: bool,
    chunks: ChunkSettings | None,
    progress: Progress,
    at_once: int = 1,
) -> Indexed:
    """See ``index``."""

    def sync(here: IndexLocation) -> Indexed:
        report = build.knowledge(here, vectors, chunks).sync(
            loaded.documents,
            progress,
            unread={file.source for file in loaded.refused},
            add_only=add_only,
            settings=SyncSettings(max_removed_share=1) if allow_removals else None,
            at_once=at_once,
        )
        return Indexed(loaded, report, vectors.taken)

    if not rebuild:
        return sync(place)
    with replacing(place) as fresh:
        return sync(fresh)
