"""Models of a hub, through ``huggingface_hub``: cache, token, mirror (``HF_ENDPOINT``) and offline mode are the user's.

Weights are taken as safetensors, ONNX or GGUF. Pickles can run code when they are opened, and code of a repository is
code of a stranger: a repository that has nothing else is refused with the reason. What was fetched once is found again
without a network; a name with a commit in it asks nobody.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any, Literal

from lorag.errors import FetchError, InputError
from lorag.interfaces import Progress, no_progress
from lorag.models.footprint import indexed_files

Kind = Literal["llm", "embedder", "reranker"]
NAME_FORM = "OWNER/NAME[@REVISION]"
_NAME = re.compile(r"(?P<repository>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[\w][\w./-]*))?(:(?P<quantisation>[\w.-]+))?")
_TEXTS = ("*.json", "*.txt", "*.model", "*.jinja", "README.md", "LICENSE*", "NOTICE*")
"""What stands beside weights: configurations, tokenizers, templates, licences; in folders too."""
_WHOLE = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_USUAL_QUANTISATION = "Q4_K_M"
_SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
ONNX_FILES = ("model.onnx", "onnx/model.onnx", "onnx/model_quantized.onnx")
"""Where repositories keep an ONNX model, the most exact one first."""
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class HubName:
    """A model's repository and revision; ``quantisation`` picks one of several GGUF files."""

    repository: str
    revision: str | None = None
    quantisation: str | None = None

    @classmethod
    def parse(cls, name: str) -> HubName | None:
        """The parts of ``OWNER/NAME[@REVISION][:QUANTISATION]``; None for a name of another form."""
        found = _NAME.fullmatch(name)
        return cls(**found.groupdict()) if found is not None else None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.repository}{revision}{f':{self.quantisation}' if self.quantisation else ''}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was fetched of a repository: ``place`` is its folder, or the GGUF file in it; ``name`` has the commit."""

    place: Path
    name: HubName


def snapshot(
    name: HubName, kind: Kind = "llm", progress: Progress = no_progress, *, trainable: bool = False
) -> Snapshot:
    """The model in the user's cache, fetched when it is not there; ``trainable`` asks for weights and not for ONNX.

    Raises ``InputError`` for a repository that is not there, or not for this user, or holds no weights that are loaded
    here, and ``FetchError`` when no hub is reached.
    """
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    folder = _download(name, name.revision, _TEXTS, progress)
    pinned = HubName(name.repository, folder.name, name.quantisation)
    try:
        files = [file.path for file in get_cached_repo_tree(name.repository, revision=folder.name)]
    except CachedRepoTreeNotFoundError:  # fetched by another version of the library
        files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    weights = wanted_weights(name, files, kind, trainable=trainable, indexed=indexed_files(folder))
    _download(name, folder.name, [escape(file) for file in weights], progress)
    is_gguf = weights[0].endswith(".gguf")
    return Snapshot(folder / weights[0] if is_gguf else folder, pinned)


def wanted_weights(
    name: HubName, files: Sequence[str], kind: Kind, *, trainable: bool, indexed: Sequence[str] = ()
) -> list[str]:
    """The files of weights to take; those that an index names (``indexed``) may be called anything.

    Raises ``InputError`` where there are none that are loaded here.
    """
    shards = {file for file in indexed if file.endswith(".safetensors")}
    whole = [file for file in files if file in shards or _WHOLE.fullmatch(file)]
    modules = [file for file in files if re.fullmatch(r"\d+_\w+/model\.safetensors", file)]
    if kind != "llm":
        onnx = next((file for file in ONNX_FILES if file in files), None)
        if onnx is not None and not (trainable and whole):
            return [onnx, *modules, *(file for file in files if file == f"{onnx}_data")]
        return [*whole, *modules] if whole else _refuse(name, files)
    if whole:
        return whole
    gguf = [file for file in files if file.endswith(".gguf")]
    return [_one_gguf(name, gguf)] if gguf else _refuse(name, files)


def _one_gguf(name: HubName, files: Sequence[str]) -> str:
    """The file that the name's quantisation picks, or the usual one. Raises ``InputError`` where it is not clear."""
    asked = name.quantisation or (_USUAL_QUANTISATION if len(files) > 1 else "")
    found = [file for file in files if asked.lower() in Path(file).stem.lower()]
    if len(found) == 1 and not _SPLIT.search(found[0]):
        return found[0]
    if found and all(map(_SPLIT.search, found)):
        raise InputError(
            f"{name} keeps its GGUF in {len(found)} parts; join them with `llama-gguf-split --merge` and name the file"
        )
    listed = ", ".join(sorted(Path(file).name for file in files))
    raise InputError(
        f"{name} holds {len(files)} GGUF files ({listed}); name one as {name.repository}:{_USUAL_QUANTISATION}"
    )


def _refuse(name: HubName, files: Sequence[str]) -> list[str]:
    """Raises ``InputError`` with what a repository holds instead of weights."""
    if "adapter_config.json" in files:
        raise InputError(f"{name} is an adapter, not a model; fetch it and give its base with --model")
    pickles = [file for file in files if file.endswith(_PICKLES)]
    if pickles:
        raise InputError(
            f"{name} holds its weights as {pickles[0]} only, a format that can run code when it is opened; expected"
            f" safetensors or GGUF: look for another copy with `lorag models search {name.repository.split('/')[1]}`,"
            f" or for one among its pull requests ({name.repository}@refs/pr/1)"
        )
    raise InputError(f"{name} holds no weights ({len(files)} files); expected safetensors or GGUF")


def _download(name: HubName, revision: str | None, patterns: Sequence[str], progress: Progress) -> Path:
    """The folder of the repository's files that fit the patterns, from the cache alone where the network fails."""
    from huggingface_hub import errors, snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its transport

    bar = _bar(f"downloading {name.repository}", progress)

    def get(local: bool) -> Path:
        folder = snapshot_download(
            name.repository,
            revision=revision,
            allow_patterns=list(patterns),
            local_files_only=local,
            tqdm_class=bar,
        )
        return Path(folder)

    with hub_errors(str(name)):
        try:
            return get(False)
        except HTTPError as error:
            if isinstance(error, errors.HfHubHTTPError):
                raise
            return get(True)


def download_file(name: HubName, path: str, folder: Path, progress: Progress = no_progress) -> Path:
    """One file of a repository below ``folder``, past the user's cache. Raises what ``hub_errors`` does."""
    from huggingface_hub import hf_hub_download

    bar = _bar(f"downloading {name.repository}", progress)
    with hub_errors(str(name)):
        return Path(hf_hub_download(name.repository, path, revision=name.revision, local_dir=folder, tqdm_class=bar))


def _bar(stage: str, progress: Progress) -> type[Any]:
    """A progress bar of tqdm's kind that draws nothing and reports megabytes."""
    from huggingface_hub.utils.tqdm import tqdm

    furthest = [0]

    class Bar(tqdm):
        monitor_interval = 0  # no thread watches it

        def __init__(self, *arguments: Any, **options: Any) -> None:
            drawn_nowhere = options | {"disable": False, "file": io.StringIO()}
            super().__init__(*arguments, **drawn_nowhere)  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> Any:
            drawn = super().update(n)
            if self.unit == "B" and self.total and self.n > furthest[0]:
                furthest[0] = self.n
                progress(stage, int(self.n // _MEGABYTE), int(self.total // _MEGABYTE), "MB")
            return drawn

    return Bar


@contextmanager
def hub_errors(name: str = "") -> Iterator[None]:
    """Turns what the client raises into errors that name what to do; ``name`` is what was asked for, if one model."""
    from huggingface_hub import constants, errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its transport

    hub = constants.ENDPOINT
    try:
        yield
    except errors.GatedRepoError as error:
        raise InputError(
            f"access to {name} must be requested: ask for it on {hub}/{name.split('@')[0]}, then log in with"
            " `hf auth login`, or set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(
            f"{name} names a revision that {hub} does not have; give a branch, a tag or a commit"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise _not_there(name, hub) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise _unreachable(name, hub, error) from error
    except errors.EntryNotFoundError as error:
        raise FetchError(
            f"{hub} lists a file of {name} that it does not have: {_first_line(error)}; try again"
        ) from error
    except errors.HfHubHTTPError as error:
        if error.response.status_code == 401:
            raise _not_there(name, hub) from error
        raise FetchError(f"{hub} refuses {name}: {_first_line(error)}; try again later, or {_ELSEWHERE}") from error
    except HTTPError as error:
        raise _unreachable(name, hub, error) from error
    except errors.HFValidationError as error:
        raise InputError(f"{name!r} is not the name of a hub model, expected {NAME_FORM}: {error}") from error


_ELSEWHERE = "use a model of the catalogue (`lorag models list`) or a folder"


def _not_there(name: str, hub: str) -> InputError:
    return InputError(
        f"{name} is not a folder here, and {hub} has no such model, or does not show it to you: check the name with"
        f" `lorag models search`, log in with `hf auth login` or set HF_TOKEN if it is private, or {_ELSEWHERE}"
    )


def _unreachable(name: str, hub: str, error: Exception) -> FetchError:
    from huggingface_hub import constants

    if constants.is_offline_mode():
        reason = "HF_HUB_OFFLINE is set, so no hub is asked; unset it"
    else:
        said = _first_line(error.__cause__ or error.__context__ or error)
        reason = f"{hub} cannot be reached ({said}); set HF_ENDPOINT to a mirror, and HF_TOKEN if it needs a token"
    missing = f"{name} is not a folder here and not complete in your cache, and " if name else ""
    return FetchError(f"{missing}{reason}, or {_ELSEWHERE}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
