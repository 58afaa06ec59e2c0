"""Models of a hub: what a search finds there, and what of it is in the user's cache."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorag.errors import InputError
from lorag.models.hub import HubName, hub_errors

_LICENCE = re.compile(r"^license:\s*(\S+)", re.MULTILINE)
_LOADED = (".safetensors", ".gguf", ".onnx")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that a hub has; ``weights`` is their number where it is known, ``form`` what they are kept in."""

    name: str
    licence: str
    weights: int | None
    form: str
    downloads: int


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A commit of a model in the cache; ``names`` are the branches and tags that it was fetched by."""

    name: str
    commit: str
    names: tuple[str, ...]
    licence: str
    size_bytes: int
    folder: Path


_PATIENCE = 10.0
"""Seconds within which a hub answers that is there."""


def search(words: str, limit: int = 20) -> list[FoundModel]:
    """Models with these words in their names whose weights are loaded here, by downloads.

    Raises ``FetchError`` when no hub is reached.
    """
    from huggingface_hub import HfApi, constants, get_session

    with hub_errors():
        if (
            not constants.is_offline_mode()
        ):  # the client itself tries for half a minute to reach a hub that is not there
            get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
        found = list(
            HfApi().list_models(
                search=words, limit=limit, sort="downloads", expand=["downloads", "tags", "safetensors", "gguf"]
            )
        )
    models = []
    for model in found:
        tags = model.tags or []
        form = next((form for form in ("safetensors", "gguf", "onnx") if form in tags), None)
        if form is not None:
            licence = next((tag.partition(":")[2] for tag in tags if tag.startswith("license:")), "")
            counted = model.safetensors.total if model.safetensors else (model.gguf or {}).get("total")
            models.append(FoundModel(model.id, licence, counted, form, model.downloads or 0))
    return models


def cached() -> list[CachedModel]:
    """The models in the user's cache whose weights are loaded here, by name."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return []
    return sorted(
        (
            CachedModel(
                repository.repo_id,
                revision.commit_hash,
                tuple(sorted(revision.refs)),
                _licence(revision.snapshot_path),
                revision.size_on_disk,
                revision.snapshot_path,
            )
            for repository in repositories
            if repository.repo_type == "model"
            for revision in repository.revisions
            if any(file.file_name.endswith(_LOADED) for file in revision.files)
        ),
        key=lambda model: (model.name, model.commit),
    )


def cached_as(name: HubName) -> list[CachedModel]:
    """What the cache holds of a repository: at a revision, where one is named. Raises ``InputError`` for nothing."""
    found = [
        model
        for model in cached()
        if model.name == name.repository and name.revision in (None, model.commit, *model.names)
    ]
    if not found:
        raise InputError(f"{name} is not on this machine; get it with `lorag models fetch {name}`")
    return found


def remove(models: Sequence[CachedModel]) -> int:
    """Takes these commits out of the cache; returns the bytes that are free again. Files of other commits stay."""
    from huggingface_hub import constants, scan_cache_dir

    plan = scan_cache_dir(constants.HF_HUB_CACHE).delete_revisions(*(model.commit for model in models))
    plan.execute()
    return int(plan.expected_freed_size)


def _licence(folder: Path) -> str:
    """The licence that the model's card begins with; empty where it names none."""
    card = folder / "README.md"
    if not card.is_file():
        return ""
    front = card.read_text(encoding="utf-8", errors="replace").split("---")[1:2]
    named = _LICENCE.search(front[0]) if front else None
    return named[1] if named else ""
