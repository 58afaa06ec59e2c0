"""A fingerprint of a model folder's weights, made without reading all of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lorag.errors import ModelError
from lorag.models.footprint import read_tensors

_TELLING_BYTES = 4096


def weights_fingerprint(folder: Path) -> str:
    """16 hex digits of SHA-256 over the name, shape and first bytes of every tensor in the folder.

    Training moves every weight of a tensor, so a few of each tell one model from another; reading gigabytes would
    take longer than loading them. Raises ``ModelError`` for a folder without weights in safetensors files, and for a
    file with a damaged header.
    """
    digest = hashlib.sha256()
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{str(folder)!r} holds no weights in safetensors files; save the model with save_pretrained")
    for path in files:
        start, tensors = read_tensors(path)
        with path.open("rb") as file:
            for name, tensor in sorted(tensors.items()):
                begin, end = tensor["data_offsets"]
                file.seek(start + begin)
                digest.update(f"{name} {tensor['dtype']} {tensor['shape']}".encode())
                digest.update(file.read(min(end - begin, _TELLING_BYTES)))
    return digest.hexdigest()[:16]
