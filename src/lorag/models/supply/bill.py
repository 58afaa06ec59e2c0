"""What the catalogue brings, as a CycloneDX bill of materials: models, licences, hashes, and where they come from."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from lorag.models.catalogue import CATALOGUE, CatalogueModel
from lorag.models.supply.carriers import Published, Wheel


def bill_of_materials() -> dict[str, Any]:
    """A CycloneDX 1.6 document with a component a model, in which its wheels and files are components again."""
    program = {"type": "application", "name": "lorag", "version": version("lorag")}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": program},
        "components": [_model(model) for model in CATALOGUE.values()],
    }


def _model(model: CatalogueModel) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": model.name,
        "name": model.name,
        "description": model.what,
        "licenses": [{"license": {"id": model.licence}}],
        "hashes": _hash(model.gguf_sha256 or model.files[0].sha256),
        "components": [*map(_wheel, model.wheels), *map(_file, model.files)],
    }


def _wheel(wheel: Wheel) -> dict[str, Any]:
    name, _, number = wheel.requirement.partition("==")
    return {"type": "library", "name": name, "version": number, "purl": wheel.url, "hashes": _hash(wheel.sha256)}


def _file(file: Published) -> dict[str, Any]:
    told = {"type": "file", "name": file.name, "hashes": _hash(file.sha256)}
    if file.is_address:
        return told | {"externalReferences": [{"type": "distribution", "url": file.url}]}
    return told | {"purl": file.url}


def _hash(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]
