"""Where the index of ``index``, ``search``, ``ask`` and ``chat`` lies: the same option in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lorag.errors import InputError
from lorag.workspace import Workspace

if TYPE_CHECKING:
    from lorag.retrieval.backends.location import IndexLocation

IndexOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="LORAG_STORE",
        help="Where the index lies: a folder (default .lorag/index), or postgresql://USER@HOST/DATABASE.",
    ),
]


def place_of(store: str | None) -> IndexLocation:
    """The folder or database that ``store`` names, or the workspace's own folder."""
    return Workspace().index if store is None else store


def place_with_index(store: str | None) -> IndexLocation:
    """``place_of``, where there is an index. Raises ``InputError`` with the command that makes one."""
    from lorag.retrieval.backends.location import holds_index, location_name

    place = place_of(store)
    if not holds_index(place):
        named = "" if store is None else f" --store {location_name(place)}"
        raise InputError(f"{location_name(place)}: there is no index yet; make one with `lorag index FOLDER{named}`")
    return place
