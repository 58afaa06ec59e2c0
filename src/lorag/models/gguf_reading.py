"""GGUF files: what their headers hold, their tokenizer, and their weights as an ordinary model folder.

A header and a tokenizer are read in a moment, whatever the architecture. The weights of an architecture that
transformers knows are converted once; then they train, save and load in about a second.
"""

from __future__ import annotations

import hashlib
import io
import math
import struct
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorag.errors import LoragError, ModelError
from lorag.files import folder_whole, locked, storage_errors
from lorag.interfaces import Progress, no_progress
from lorag.machine import free_bytes, gigabytes
from lorag.models.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SAMPLES, _SAMPLE_BYTES = 64, 65536
_DAMAGE = (OSError, ValueError, KeyError, TypeError, IndexError, struct.error)
"""What reading a file raises that is cut short, or is no such file."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a file holds of its model's shape; ``cache_bytes`` are those of a token's keys and values in 16 bits.

    They are 0 for a model without attention.
    """

    architecture: str
    context_tokens: int
    cache_bytes: int


def read_header(gguf: Path) -> GgufHeader:
    """The header of a file. Raises ``ModelError`` for one that is cut short, or no GGUF file of a language model."""
    from transformers.integrations.gguf.reader import read_gguf_metadata

    try:
        found, _ = read_gguf_metadata(str(gguf))
        kind = str(found["general.architecture"])

        def number(key: str, default: Any = None) -> int:
            value = found.get(f"{kind}.{key}", default)
            return int(max(value) if isinstance(value, list) else value)

        heads = number("attention.head_count")
        head = number("embedding_length") // heads if heads else 0  # Mamba and RWKV keep no keys and values
        width = number("attention.key_length", head) + number("attention.value_length", head)
        keys = number("block_count") * number("attention.head_count_kv", heads)
        header = GgufHeader(kind, number("context_length"), keys * width * 2)
    except _DAMAGE as error:
        raise ModelError(
            f"{str(gguf)!r} is not a complete GGUF file of a language model ({error}); fetch it again"
        ) from error
    _require_whole(gguf)
    return header


def _require_whole(gguf: Path) -> None:
    """Raises ``ModelError`` for a file that ends before its last tensor does."""
    from transformers.integrations.gguf.reader import GgufHeader as Tensors

    with suppress(ValueError):  # numbers of a kind that only llama.cpp knows
        found = Tensors.from_file(str(gguf))
        size = found.data_start + max((tensor.offset + tensor.nbytes for tensor in found.tensors), default=0)
        if gguf.stat().st_size < size:
            raise ModelError(f"{str(gguf)!r} is cut short: {gguf.stat().st_size:,} bytes of {size:,}; fetch it again")


def read_tokenizer(gguf: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a file. Raises ``ModelError`` for one of a kind that transformers does not know."""
    from transformers import PreTrainedTokenizerFast

    try:
        with quiet_transformers():
            found: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(
                gguf.parent, gguf_file=gguf.name, local_files_only=True
            )
    except Exception as error:  # the library for tokenizers has no errors of its own
        raise ModelError(f"the tokenizer in {str(gguf)!r} cannot be read: {error}") from error
    return found


def converted(gguf: Path, kept: Path, progress: Progress = no_progress) -> Path:
    """The folder below ``kept`` that holds the file's model as transformers reads it, made when it is not there.

    Raises ``ModelError`` for an architecture that transformers does not know, and when memory is too small.
    """
    kind = read_header(gguf).architecture
    folder = kept / gguf_fingerprint(gguf)
    if folder.is_dir():  # also in a cache that cannot be written
        return folder
    with locked(kept / f".{folder.name}.lock"):
        if folder.is_dir():
            return folder
        progress(f"converting {gguf.name}", 0, 1)
        try:
            _require_memory(gguf)
            with folder_whole(folder) as temporary:
                convert(gguf, temporary, None)
        except LoragError:
            raise
        except Exception as error:
            raise ModelError(
                f"{str(gguf)!r} of the architecture {kind} cannot be converted ({error}): it answers through llama.cpp,"
                " after pip install 'lorag[fast]'; to train it, use its safetensors from a hub"
            ) from error
        progress(f"converting {gguf.name}", 1, 1)
    return folder


def _require_memory(gguf: Path) -> None:
    from transformers.integrations.gguf.reader import GgufHeader as Tensors

    needed = 4 * sum(math.prod(tensor.shape) for tensor in Tensors.from_file(str(gguf)).tensors)
    free = free_bytes("cpu")
    if needed > free:
        raise ModelError(
            f"converting {str(gguf)!r} needs about {gigabytes(needed)} of memory, and {gigabytes(free)} are free;"
            " use its safetensors from a hub, or end other programs"
        )


def gguf_fingerprint(gguf: Path) -> str:
    """16 hex digits over a file's size and pieces from all over it: training moves every weight of a tensor."""
    size = gguf.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with gguf.open("rb") as file:
        for sample in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * sample // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:16]


def _ends(gguf: Path) -> list[int]:
    """The tokens that end an answer, as a file names them."""
    from transformers.integrations.gguf.reader import read_gguf_metadata

    found, _ = read_gguf_metadata(str(gguf))
    ends = (found.get(f"tokenizer.ggml.{role}_token_id") for role in ("eos", "eot", "eom"))
    return sorted({int(token) for token in ends if token is not None})


def convert(gguf: Path, folder: Path, pad_token: str | None) -> None:
    """Writes the model and tokenizer of a GGUF file into ``folder`` as transformers saves them.

    The weights are dequantised, or the model would be marked as quantised and neither train nor save, and stored
    as float16, which holds a 4-bit weight to within 2^-11 in half the space. ``pad_token`` must not be the token
    that ends a turn. The tokenizer's own length limit is absent in GGUF; the model's is taken.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # The conversion draws a bar of its own on the error stream.
    with quiet_transformers(), redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
        if pad_token is not None:
            tokenizer.pad_token = pad_token
        tokenizer.model_max_length = model.config.max_position_embeddings
        model.config.pad_token_id = tokenizer.pad_token_id
        model.generation_config.pad_token_id = tokenizer.pad_token_id
        model.generation_config.eos_token_id = _ends(gguf) or tokenizer.eos_token_id
        with storage_errors(folder):
            model.half().save_pretrained(folder)
            tokenizer.save_pretrained(folder)
