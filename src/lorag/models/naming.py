"""What a model's name means; the one place where names of models on this machine, or for it, are read.

In this order: a folder, a ``.gguf`` file, a name of the catalogue, ``OWNER/NAME[@REVISION]`` of a hub. What is reached
under an address (``openai:MODEL@URL``, ``ollama:MODEL``) is no model of this machine; ``lorag.build`` asks first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lorag.errors import InputError
from lorag.interfaces import Progress, no_progress
from lorag.models import catalogue, hub
from lorag.models.hub import HubName, Kind

Form = Literal["folder", "gguf", "catalogue", "hub"]
GGUF = ".gguf"


def form_of(name: str, kind: Kind | None = None) -> Form:
    """What kind of name it is; nothing is fetched.

    Raises ``InputError`` for a path that holds no model, ``UnknownNameError`` with the nearest names of the catalogue.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        if (path / "config.json").is_file():
            return "folder"
        files = sorted(path.glob(f"*{GGUF}"))
        hint = f"; name the file {str(files[0])!r} in it" if files else ""
        raise InputError(f"{name!r} is a folder without config.json; expected a model saved by save_pretrained{hint}")
    if path.suffix == GGUF:
        if path.is_file():
            return "gguf"
        raise InputError(f"there is no file {name!r}; give the path of a GGUF file")
    if name not in catalogue.CATALOGUE and HubName.parse(name) is not None:
        return "hub"
    catalogue.entry(name, kind)
    return "catalogue"


def local_folder(name: str) -> Path | None:
    """``name`` as a local model folder, or None when it is not one. Raises when the folder holds no model."""
    path = Path(name).expanduser()
    return path if path.is_dir() and form_of(name) == "folder" else None


def pinned(name: str, kind: Kind, progress: Progress = no_progress) -> str:
    """``name``, with its commit where it is a hub's, fetched when it is not here: it always means the same weights."""
    parsed = HubName.parse(name) if form_of(name, kind) == "hub" else None
    return name if parsed is None else str(hub.snapshot(parsed, kind, progress).name)


def located(name: str, kind: Kind, progress: Progress = no_progress, *, trainable: bool = False) -> Path:
    """The folder or GGUF file that is meant, fetched when it is not here; ``trainable`` asks for weights, not ONNX."""
    form = form_of(name, kind)
    if form == "catalogue":
        return catalogue.fetch(name, progress)
    parsed = HubName.parse(name) if form == "hub" else None
    if parsed is not None:
        return hub.snapshot(parsed, kind, progress, trainable=trainable).place
    return Path(name).expanduser()


def resolve(name: str, kind: Kind, progress: Progress = no_progress, *, trainable: bool = False) -> Path:
    """The model's folder, as transformers reads it; a GGUF file is converted once.

    Raises ``ModelError`` for a GGUF file of an architecture that has no other form.
    """
    place = located(name, kind, progress, trainable=trainable)
    if place.suffix != GGUF:
        return place
    if kind != "llm":
        raise InputError(
            f"{name!r} is a GGUF file, which cannot be used as {kind}; give a folder or the name of a hub model"
        )
    from lorag.models.gguf_reading import converted

    return converted(place, catalogue.cache_folder() / "gguf", progress)
