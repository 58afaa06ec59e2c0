"""``lorag index``, and where the index of every command lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.cli.screen import (
    FAILED,
    Json,
    output,
    print_error,
    print_json,
    print_warning,
    progress_bars,
    translated_errors,
)
from lorag.cli.shared_options import EmbedderName
from lorag.errors import InputError
from lorag.settings import DEFAULT_EMBEDDER
from lorag.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lorag.documents.load import Loaded
    from lorag.retrieval.backends.location import IndexLocation
    from lorag.settings import ChunkSettings

DOCUMENTS = "A folder of documents (text, pdf, office, html, mail, csv, ...), or one file, such as a docs.jsonl"
_LISTED = 20
IndexOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="LORAG_STORE",
        help="Where the index is stored: a folder (default .lorag/index), postgresql://USER@HOST/DB, or s3://BUCKET/PREFIX.",
    ),
]
AllowRemovals = Annotated[
    bool,
    typer.Option("--allow-removals", help="Remove documents even if more than a third are gone from the folder."),
]


def place_of(store: str | None) -> IndexLocation:
    """The folder, database or bucket that ``store`` names, or the workspace's own folder."""
    return Workspace().index if store is None else store


def place_with_index(store: str | None) -> IndexLocation:
    """``place_of``, where there is an index. Raises ``InputError`` with the command that makes one."""
    from lorag.retrieval.backends.location import holds_index, location_name

    place = place_of(store)
    if not holds_index(place):
        named = "" if store is None else f" --store {location_name(place)}"
        raise InputError(f"{location_name(place)}: there is no index yet; make one with `lorag index FOLDER{named}`")
    return place


def chunks_of_place(place: IndexLocation | None) -> ChunkSettings | None:
    """The sizes of chunks that the index of this workspace should have; None for another, which keeps its own."""
    workspace = Workspace()
    return workspace.chosen().chunks if place == workspace.index else None


def index(
    documents: Annotated[Path, typer.Argument(help=f"{DOCUMENTS}.")],
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Replace the index with a new one.")] = False,
    add_only: Annotated[bool, typer.Option("--add-only", help="Remove nothing from the index.")] = False,
    allow_removals: AllowRemovals = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Embed every text again, without the cache of vectors.")
    ] = False,
    embedder: EmbedderName = DEFAULT_EMBEDDER,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Read and embed on a Ray cluster: HOST:PORT of its head, auto, or local for this machine's cores.",
        ),
    ] = None,
    store: IndexOption = None,
    json: Json = False,
) -> None:
    """Update the index from a folder of documents: add, replace and remove."""
    from dataclasses import asdict

    from lorag.retrieval.backends.location import location_name
    from lorag.settings import CacheSettings
    from lorag.workflows.index import index as run_index

    place = place_of(store)
    with translated_errors(), progress_bars() as progress:
        done = run_index(
            documents,
            place,
            rebuild=rebuild,
            add_only=add_only,
            allow_removals=allow_removals,
            embedder=embedder,
            cache=CacheSettings(max_bytes=0) if no_cache else None,
            chunks=Workspace().chosen().chunks,
            ray=ray,
            progress=progress,
        )
    report, loaded = done.report, done.loaded
    if json:
        refused = [asdict(file) for file in loaded.refused]
        left_out = {"refused": refused, "passed_over": loaded.passed_over, "notes": loaded.notes}
        print_json({**asdict(report), "from_cache": done.from_cache, **left_out})
    else:
        known = f", {done.from_cache} vectors known from earlier runs" if done.from_cache else ""
        output.print(
            f"{report.added} added, {report.updated} updated, {report.removed} removed, {report.unchanged} unchanged;"
            f" {report.chunks} passages in {location_name(place)}{known}"
        )
        if report.removed:
            one = f"1 document that is not in {documents} was"
            what = one if report.removed == 1 else f"{report.removed} documents that are not in {documents} were"
            output.print(f"{what} removed from the index; --add-only keeps such documents.", markup=False)
        if report.recall is not None:
            output.print(f"Semantic search is approximate: it finds {report.recall:.1%} of the 10 nearest passages.")
        _print_left_out(loaded, () if add_only else report.kept)
    if loaded.refused:
        raise typer.Exit(FAILED)


def _print_left_out(loaded: Loaded, kept: Sequence[str]) -> None:
    """On the error stream: the files that are not in the index, or not wholly, and why."""
    for note in loaded.notes:
        print_warning(note)
    if other := loaded.passed_over:
        what = "1 file of another kind was" if len(other) == 1 else f"{len(other)} files of other kinds were"
        print_warning(f"{what} skipped: {_listed(other)}")
    if kept:
        one = "1 document stays in the index as it was when it"
        what = one if len(kept) == 1 else f"{len(kept)} documents stay in the index as they were when they"
        print_warning(f"{what} could be read: {_listed(kept)}")
    for file in loaded.refused:
        print_error(file.reason)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more (--json names all)" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
