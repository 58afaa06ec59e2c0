"""Where an index lies: a folder, or a PostgreSQL database. The one place that tells them apart."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from lorag.interfaces import Index
from lorag.retrieval.folder import FolderIndex, folder_holds_index, replaced_folder

Place = Path | str
"""A folder, or the URL of a database: ``postgresql://USER@HOST/DATABASE``."""


def open_index(place: Place, made_with: Mapping[str, str], dim: int, exact_up_to: int) -> Index:
    """The index at ``place`` for vectors of length ``dim``, made when missing.

    Raises ``StoreError`` when it was made with something else than ``made_with``, or is damaged or out of reach.
    """
    return FolderIndex.open(Path(place), made_with, dim, exact_up_to)


def holds_index(place: Place) -> bool:
    """Whether there is an index at ``place``."""
    return folder_holds_index(Path(place))


def in_place_of(place: Place) -> AbstractContextManager[Place]:
    """A place beside ``place`` that becomes it when the block ends well; until then, the old index stays."""
    return replaced_folder(Path(place))
