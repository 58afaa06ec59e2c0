"""Where an index lies: a folder, a PostgreSQL database, or a bucket. The one place that tells them apart."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from lorag.interfaces import Index
from lorag.retrieval.backends.folder_index import FolderIndex, folder_holds_index, folder_made_with, replaced_folder
from lorag.retrieval.backends.postgres_database import Database, is_url
from lorag.retrieval.backends.postgres_index import (
    PostgresIndex,
    PostgresManifest,
    database_holds_index,
    replaced_database,
)
from lorag.retrieval.backends.s3_bucket import Bucket, is_bucket
from lorag.retrieval.backends.s3_index import S3Index, bucket_holds_index, bucket_made_with, replaced_bucket

IndexLocation = Path | str | Database | Bucket
"""A folder, or a database or a bucket, or its URL: ``postgresql://USER@HOST/DATABASE``, ``s3://BUCKET/PREFIX``."""


def open_index(place: IndexLocation, made_with: Mapping[str, str], dim: int, exact_up_to: int) -> Index:
    """The index at ``place`` for vectors of length ``dim``, made when missing.

    Raises ``StoreError`` when it was made with something else than ``made_with``, or is damaged or out of reach.
    """
    if isinstance(found := _place(place), Database):
        return PostgresIndex.open(found, made_with, dim, exact_up_to)
    if isinstance(found, Bucket):
        return S3Index.open(found, made_with, dim, exact_up_to)
    return FolderIndex.open(found, made_with, dim, exact_up_to)


def holds_index(place: IndexLocation) -> bool:
    """Whether there is an index at ``place``."""
    if isinstance(found := _place(place), Database):
        return database_holds_index(found)
    return bucket_holds_index(found) if isinstance(found, Bucket) else folder_holds_index(found)


def made_with(place: IndexLocation) -> dict[str, str]:
    """What the index at ``place`` was made with; empty where there is none."""
    if not holds_index(place):
        return {}
    if isinstance(found := _place(place), Database):
        return PostgresManifest(found).made_with()
    return bucket_made_with(found) if isinstance(found, Bucket) else folder_made_with(found)


def location_name(place: IndexLocation) -> str:
    """``place`` as messages name it: without a password."""
    return str(_place(place))


def full_name(place: IndexLocation) -> str:
    """``location_name`` with the absolute path of a folder: the same in every process."""
    found = _place(place)
    return str(found.absolute() if isinstance(found, Path) else found)


def replacing(place: IndexLocation) -> AbstractContextManager[IndexLocation]:
    """A place beside ``place`` that becomes it when the block ends well; until then, the old index stays."""
    if isinstance(found := _place(place), Database):
        return replaced_database(found)
    return replaced_bucket(found) if isinstance(found, Bucket) else replaced_folder(found)


def _place(place: IndexLocation) -> Path | Database | Bucket:
    """The folder, the database or the bucket. Raises ``InputError`` for a URL that cannot be read."""
    if not isinstance(place, str):
        return place
    if is_bucket(place):
        return Bucket(place)
    return Database(place) if is_url(place) else Path(place)
