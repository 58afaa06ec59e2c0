"""A base model in memory: loaded whole or not at all, with any number of adapters beside it.

An adapter is switched on and off around each use, so the base loaded once serves all of them and stays exactly what
it was; ``merged`` adds one into a copy. An adapter is proven to take part where it is applied, not here.
"""

from __future__ import annotations

import copy
import inspect
import math
import os
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from lorag.errors import InputError, ModelError, require
from lorag.llm.decoding.json_schema import schema_tokens
from lorag.llm.decoding.prefill import merges
from lorag.llm.rendering import turn_end
from lorag.machine import free_bytes, gigabytes
from lorag.models.catalogue import CATALOGUE, model_path
from lorag.models.fingerprint import weights_fingerprint
from lorag.models.footprint import needed_bytes, require_whole
from lorag.models.quiet import quiet_transformers
from lorag.models.tokenizer import load_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Dtype = Literal["auto", "float32", "bfloat16", "nf4"]
DTYPE_VARIABLE = "LORAG_NUMBER_FORMAT"
"""The environment variable that says which dtype ``auto`` is."""
_BF16_GAIN = 1.2
"""How many times faster bf16 must multiply before its coarser sums are taken."""


@dataclass
class Weights:
    """A loaded base model, its tokenizer, and the lock that keeps one user at a time."""

    name: str
    folder: Path
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    lock: threading.RLock = field(default_factory=threading.RLock)
    adapted: Any = None
    """The PEFT model around ``model`` once an adapter was attached."""
    now: str | None = ""
    """The adapter the layers compute with now, None for none; the empty string when not known."""

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of the weights in their folder."""
        return weights_fingerprint(self.folder)

    @property
    def context_tokens(self) -> int:
        """The longest sequence the model was built for."""
        return int(self.model.config.get_text_config().max_position_embeddings)

    @cached_property
    def ends(self) -> frozenset[int]:
        """The tokens after which an answer is over: the tokenizer's own, the template's, and those the model names."""
        named = self.model.generation_config.eos_token_id if self.model.generation_config else None
        listed = named if isinstance(named, list) else [named]
        own = (self.tokenizer.eos_token_id, turn_end(self.tokenizer))
        return frozenset(token for token in (*own, *listed) if isinstance(token, int))

    @cached_property
    def schema_tokens(self) -> Any:
        """The tokens as answers are held to a JSON schema by them."""
        return schema_tokens(self.tokenizer, self.model.config.get_text_config().vocab_size, self.ends)

    @cached_property
    def merges(self) -> bool:
        """Whether prompts may be merged into one pass where they begin alike; see ``lorag.llm.decoding.prefill``."""
        with self.applied(None) as model:
            return merges(model)

    @contextmanager
    def applied(self, adapter: str | None) -> Iterator[PreTrainedModel]:
        """The model, held for the caller alone, with exactly that adapter, or with none."""
        import torch

        with self.lock, torch.inference_mode():
            if self.adapted is not None and self.now != adapter:
                if adapter is None:
                    self.adapted.base_model.disable_adapter_layers()
                else:
                    self.adapted.base_model.enable_adapter_layers()
                    self.adapted.set_adapter(adapter, inference_mode=True)
                self.now = adapter
            yield self.model

    def attach(self, folder: Path, adapter: str) -> None:
        """Puts the layers of the adapter in ``folder`` beside the base's, unless one of that name is there.

        Raises ``ModelError`` when it does not fit or any of its weights are missing.
        """
        from peft import PeftConfig, PeftModel

        with self.lock:
            if self.adapted is not None and adapter in self.adapted.peft_config:
                return
            try:
                if self.adapted is None:
                    config = PeftConfig.from_pretrained(str(folder))
                    self.adapted = PeftModel(self.model, config, adapter_name=adapter).eval()
                found = self.adapted.load_adapter(folder, adapter_name=adapter)
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                raise ModelError(f"the adapter in {str(folder)!r} does not fit {self.name}: {error}") from error
            finally:
                self.now = ""
            if found.missing_keys or found.unexpected_keys:
                odd = (found.missing_keys + found.unexpected_keys)[0]
                raise ModelError(
                    f"the adapter in {str(folder)!r} loads only partly into {self.name}: {odd!r} does not match"
                )
            self.adapted.eval()

    def detach(self, adapter: str) -> None:
        """Takes the layers of that adapter out again, where they are beside the base's; others stay."""
        with self.lock:
            if self.adapted is None or adapter not in self.adapted.peft_config:
                return
            if len(self.adapted.peft_config) > 1:
                with warnings.catch_warnings():  # that another one is active now is set before every use
                    warnings.filterwarnings("ignore", message="Adapter .* was active which is now deleted")
                    self.adapted.delete_adapter(adapter)
            else:
                self.adapted.unload()
                self.adapted = None
            self.now = ""

    def merged(self, adapter: str, name: str) -> Weights:
        """A copy of the weights with the adapter added into them: quicker to compute with, and one more model large.

        Raises ``ModelError`` for weights of 4 bits, into which an adapter would be rounded away.
        """
        if getattr(self.model, "is_quantized", False):
            raise ModelError(f"{self.name} is held in 4 bits, and no adapter can be merged into it; load it in float32")
        with self.lock:
            copied = copy.deepcopy(self.adapted)
        copied.set_adapter(adapter)
        model = copied.merge_and_unload(adapter_names=[adapter]).eval()
        return Weights(name, self.folder, model, self.tokenizer)


def read_weights(folder: Path, name: str, dtype: Dtype = "auto", off_device: bool = False) -> Weights:
    """The base model saved in ``folder``; ``off_device`` leaves it in the machine's memory for others to place.

    ``auto`` takes what the environment variable ``LORAG_NUMBER_FORMAT`` names, else bf16 on a GPU, on a CPU that
    multiplies it clearly faster than float32, and, with a warning, where memory holds nothing larger. A row's text does
    not depend on its batch in float32; in bf16, two tokens that are almost equally likely may change places. ``nf4``
    keeps the linear layers in 4 bits and computes as ``auto`` does.

    Raises ``ModelError`` for a folder whose files are missing or damaged, and when memory is too small, both before
    memory is taken, and for a kind of model that takes no positions. Raises ``MissingExtraError`` where ``nf4`` is not
    installed, and ``InputError`` for a value of the environment variable that is not a dtype.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from lorag.llm.decoding.small_batch_linear import use_small_batch_linear

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if off_device and dtype == "auto":
        dtype = automatic_dtype(device)
    place = "cpu" if off_device else device
    chosen = _fitting_dtype(require_whole(folder), name, dtype, place)
    compute = getattr(torch, automatic_dtype(device) if chosen == "nf4" else chosen)
    options = _four_bits(compute, device) if chosen == "nf4" else {}
    tokenizer = load_tokenizer(folder)
    try:
        with quiet_transformers():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=compute,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"the model in {str(folder)!r} does not load: {error}") from error
    model, found = loaded
    if missing := sorted(found["missing_keys"]):
        raise ModelError(
            f"the model in {str(folder)!r} lacks {len(missing)} weights, the first {missing[0]!r}; copy the model again"
        )
    if "position_ids" not in inspect.signature(model.forward).parameters:
        raise ModelError(
            f"the model in {str(folder)!r} is not supported: {type(model).__name__} has no `position_ids` input (like"
            " Mamba, RWKV, BLOOM); choose another model, or run its GGUF file with llama.cpp"
        )
    if chosen == "nf4":
        _keep_trainable(model)
    else:
        model.to(place)
    if (device, compute) == ("cpu", torch.float32):
        use_small_batch_linear(model)
    return Weights(name, folder, model.eval(), tokenizer)


def _four_bits(compute: torch.dtype, device: str) -> dict[str, Any]:
    """The arguments under which transformers loads linear layers as NF4 of bitsandbytes."""
    require("bitsandbytes", "qlora", "a base of 4 bits")
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
    return {"quantization_config": config, "device_map": {"": device}}


def _keep_trainable(model: PreTrainedModel) -> None:
    """Forbids bitsandbytes to repack weights on the first answer on a CPU: no gradient would pass them any more."""
    from bitsandbytes.nn.modules import Linear4bit

    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.support_avx512bf16_for_cpu = False


def _fitting_dtype(files: list[Path], name: str, dtype: Dtype, device: str) -> Dtype:
    """The dtype to load in. If memory is too small, raises ``ModelError`` with what would fit."""
    dtype = asked_dtype() if dtype == "auto" else dtype
    chosen = _fastest_dtype(device) if dtype == "auto" else dtype
    free = free_bytes(device)
    needed = needed_bytes(files, chosen)
    if needed <= free:
        return chosen
    half = needed_bytes(files, "bfloat16")
    said = f"{name} needs about {gigabytes(needed)} of memory in {chosen}, and {gigabytes(free)} are free"
    if half <= free:
        if dtype == "auto":
            warnings.warn(f"{said}; it is loaded in bfloat16, which takes half", stacklevel=4)
            return "bfloat16"
        raise ModelError(f"{said}; load it in bfloat16, in which it would fit")
    fitting = ", ".join(_fetched_models_within(free)) or "none"
    raise ModelError(
        f"{said}; choose a smaller model (fetched and small enough in bfloat16: {fitting}), or end other programs"
    )


def _fetched_models_within(free: int) -> list[str]:
    """The language models of the catalogue that are here and need no more memory than ``free``."""
    folders = {name: model_path(name) for name, model in CATALOGUE.items() if model.kind == "llm"}
    here = {name: require_whole(folder) for name, folder in folders.items() if folder is not None}
    return [name for name, files in here.items() if needed_bytes(files, "bfloat16") <= free]


def asked_dtype() -> Dtype:
    """The dtype that the environment names for ``auto``; ``auto`` where it names none.

    Raises ``InputError`` with the valid ones.
    """
    named = os.environ.get(DTYPE_VARIABLE) or "auto"
    if named not in get_args(Dtype):
        raise InputError(
            f"the environment variable {DTYPE_VARIABLE} is {named!r}; expected one of"
            f" {', '.join(get_args(Dtype))}, or nothing"
        )
    return cast("Dtype", named)


def automatic_dtype(device: str) -> Literal["float32", "bfloat16"]:
    """The dtype that is computed in where none is asked for by a caller."""
    asked = asked_dtype()
    return _fastest_dtype(device) if asked in ("auto", "nf4") else cast('Literal["float32", "bfloat16"]', asked)


def fits(folder: Path, dtype: Dtype) -> bool:
    """Whether memory now holds the model saved in ``folder`` in that dtype, as far as its files tell."""
    import torch

    return needed_bytes(require_whole(folder), dtype) <= free_bytes("cuda" if torch.cuda.is_available() else "cpu")


@cache
def _fastest_dtype(device: str) -> Literal["float32", "bfloat16"]:
    """bf16 where it pays: always on a GPU, and on a CPU whose multiplications it speeds up. Many CPUs emulate it.

    An x86 processor tells by its units, always the same. Others are measured, once per process: on a busy machine
    another measurement may come out otherwise, and what is trained in one format would be served in the other.
    """
    import torch

    if device == "cuda":
        return "bfloat16"
    units: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch do not know
    if units.get("architecture") == "x86_64":
        return "bfloat16" if units.get("amx_bf16") or units.get("avx512_bf16") else "float32"
    seconds: dict[torch.dtype, float] = {}
    for _ in range(5):
        for dtype in (torch.float32, torch.bfloat16):
            a, b = torch.ones(256, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype)
            start = time.perf_counter()
            torch.mm(a, b)
            seconds[dtype] = min(seconds.get(dtype, math.inf), time.perf_counter() - start)
    pays = seconds[torch.bfloat16] * _BF16_GAIN < seconds[torch.float32]
    return "bfloat16" if pays else "float32"
