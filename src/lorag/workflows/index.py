"""Index: a folder of documents becomes an index, or an index is brought in step with its folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lorag import build
from lorag.documents.load import Loaded, load_documents
from lorag.errors import InputError
from lorag.interfaces import Progress, no_progress
from lorag.models import catalogue
from lorag.retrieval.backends.location import IndexLocation, full_name, made_with, replacing
from lorag.retrieval.encoders.vector_cache import CachedEmbedder
from lorag.retrieval.knowledge import SyncReport
from lorag.settings import DEFAULT_EMBEDDER, CacheSettings, ChunkSettings, SyncSettings


@dataclass(frozen=True, slots=True)
class Indexed:
    """What an indexing read from the files and changed in the index."""

    loaded: Loaded
    """The documents that were read, and the files that were refused."""
    report: SyncReport
    """What changed in the index: numbers of documents."""
    from_cache: int
    """Number of vectors taken from the cache of earlier runs, without a call of the embedder."""


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
    """An index that holds the documents as they are now; only what is new or changed is embedded.

    Args:
        documents: A folder, or one file.
        place: Where the index lies: a folder, or the URL of a database or bucket. It is made where there is none.
        rebuild: Makes a new index, and replaces the old one when it is complete. Files that cannot be read are not in
            it; without ``rebuild``, what the index holds of them stays.
        add_only: Keeps documents that are gone from the folder.
        allow_removals: Removes any number of documents. Otherwise a large share of them is not removed at once, because
            half of a folder that was not mounted looks like half of its documents deleted.
        embedder: The name of the embedder; the same for every later call on this index.
        cache: How many vectors are kept for other indexes.
        chunks: How documents are cut. None: as the index was made, or by the defaults.
        ray: The address of a Ray cluster that reads the files and embeds their passages, or ``local``. The index is the
            same.
        progress: Called as the work proceeds, with a stage and how much of it is done.

    Returns:
        What became of the files and of the index. Files that could not be read are in ``loaded.refused``.

    Raises:
        InputError: Much of what the index holds is gone; ``rebuild`` and ``add_only`` are both given; or the cluster
            does not answer.
        DataError: ``documents`` does not exist or holds no documents.
        StoreError: The index was made with another embedder or chunk size, or another process is writing.

    Examples:
        >>> indexed = lorag.index("docs", "index")
        >>> indexed.report.added, indexed.report.chunks
        (2, 2)
        >>> lorag.index("docs", "index").report.unchanged
        2
    """
    if rebuild and add_only:
        raise InputError("--rebuild makes an index of the folder alone, and --add-only keeps the rest; choose one")
    embedder = catalogue.available_embedder(embedder, {} if rebuild else made_with(place), progress)
    if ray is None:
        loaded, vectors = load_documents(documents, progress=progress), build.embedder(embedder, progress, cache)
        return _indexed(loaded, vectors, place, rebuild, add_only, allow_removals, chunks, progress)
    from lorag.workflows.on_ray.cluster import cluster
    from lorag.workflows.on_ray.indexing import ClusterEmbedder, read_on

    with cluster(ray) as on:
        loaded = load_documents(documents, read=partial(read_on, on), at_once=on.at_once, progress=progress)
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
    with vectors.keeping(f"the index in {full_name(place)}"), replacing(place) as fresh:
        return sync(fresh)
