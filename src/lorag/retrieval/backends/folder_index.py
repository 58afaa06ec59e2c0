"""An index in a folder: chunks in a LanceDB table, the manifest in an SQLite file, a lock file for whoever writes.

The two cannot commit together. ``Knowledge`` writes new chunks first, then the manifest, then takes old chunks out, so
the manifest's transaction is the moment of change: what a process killed before or after it leaves over is never shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lorag.errors import StoreError
from lorag.files import folder_whole, storage_errors
from lorag.retrieval.backends.lance_store import LanceStore
from lorag.retrieval.backends.sqlite_manifest import SqliteManifest, require_same

_WAIT_SECONDS = 60.0
"""How long a second writer waits for the first."""


@dataclass(frozen=True, slots=True)
class FolderIndex:
    """An ``Index`` in a folder. Many processes may read while one writes."""

    folder: Path
    store: LanceStore
    manifest: SqliteManifest

    @classmethod
    def open(cls, folder: Path, made_with: Mapping[str, str], dim: int, exact_up_to: int) -> FolderIndex:
        """The index in ``folder``, made when missing.

        Raises ``StoreError`` when it was made with something else than ``made_with``, or is damaged.
        """
        path, store_folder = _manifest_file(folder), folder / "store"
        rebuild = f"lorag index DOCS --store {folder} --rebuild"
        if not path.is_file():
            with storage_errors(folder), only_writer(folder):
                if not path.is_file():  # two processes may have found it missing
                    if LanceStore(store_folder, dim, exact_up_to).count():
                        raise StoreError(f"{str(path)!r} is missing; rebuild the index with `{rebuild}`")
                    SqliteManifest.create(path, made_with)
        manifest = SqliteManifest(path)
        require_same(f"the index in {str(folder)!r}", manifest.made_with(), made_with, rebuild)
        if not store_folder.is_dir():
            raise StoreError(f"{str(store_folder)!r} is missing; rebuild it with `{rebuild}`")
        return cls(folder, LanceStore(store_folder, dim, exact_up_to), manifest)

    def writing(self) -> AbstractContextManager[None]:
        """See ``Index``. Writers take turns by a file lock, which a killed process gives back."""
        return only_writer(self.folder)

    def __str__(self) -> str:
        """The folder."""
        return f"the index in {str(self.folder)!r}"


def folder_holds_index(folder: Path) -> bool:
    """Whether there is an index, whole or damaged."""
    return _manifest_file(folder).is_file()


def folder_made_with(folder: Path) -> dict[str, str]:
    """What the index that is there was made with. Raises ``StoreError`` for a damaged one."""
    return SqliteManifest(_manifest_file(folder)).made_with()


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of the index in ``folder`` when the block ends well.

    What was there stays until then, and for good when the block fails. The change waits for a process that writes.
    """
    with ExitStack() as lock, folder_whole(folder) as fresh:
        yield fresh
        lock.enter_context(only_writer(folder))


def _manifest_file(folder: Path) -> Path:
    return folder / "manifest.sqlite"


@contextmanager
def only_writer(folder: Path, name: str | None = None) -> Iterator[None]:
    """Holds the folder's writer lock; ``StoreError`` when another process keeps it.

    ``name`` is what the message calls the index, where it is not the folder.
    """
    from filelock import FileLock, Timeout

    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock(folder / "write.lock").acquire(timeout=_WAIT_SECONDS)
        except Timeout as error:
            raise StoreError(
                f"another process has been writing to {name or repr(str(folder))} for {_WAIT_SECONDS:.0f} seconds; "
                "let it finish, or choose another place"
            ) from error
    with lock:
        yield
