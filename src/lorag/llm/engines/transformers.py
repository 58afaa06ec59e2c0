"""The reference engine: a causal model of the transformers library, on a CPU or a GPU, with or without an adapter.

One loop decodes for streaming and for batches, so that both give the same text. Batches are sorted by length and
rows leave a batch as soon as they end. Adapters stay unmerged: the base loaded once serves every arm, and what an
arm adds is exactly its adapter. Not here: quantised kernels of our own, prompt-prefix reuse, several machines.
"""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lorag.errors import ModelError, require
from lorag.files import fingerprint, sha256_of
from lorag.llm.quiet import quiet_transformers
from lorag.llm.rendering import render
from lorag.llm.tokenizer import load_tokenizer
from lorag.llm.virtual import virtual_tokens
from lorag.llm.weights import weights_fingerprint
from lorag.types import Completion, Message, Prompt, Sampling

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

NumberFormat = Literal["auto", "float32", "bfloat16", "nf4"]
_BF16_GAIN = 1.2
"""How many times faster bf16 must multiply before its coarser sums are taken."""
_PROBE: Prompt = (Message("user", "What do you know about our product?"),)


@dataclass
class Weights:
    """A loaded base model, its tokenizer, and the lock that keeps one user at a time."""

    name: str
    folder: Path
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    lock: threading.RLock
    adapted: Any = None
    """The PEFT model around ``model`` once an adapter was attached."""
    applied: str | None = ""
    """The adapter the layers compute with now, None for none; the empty string when not known."""

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of the weights in their folder."""
        return weights_fingerprint(self.folder)

    @property
    def context_tokens(self) -> int:
        """The longest sequence the model was built for."""
        return int(self.model.config.max_position_embeddings)


def load(folder: Path, name: str | None = None, dtype: NumberFormat = "auto") -> TransformersModel:
    """The base model saved in ``folder``, without an adapter.

    ``auto`` takes bf16 on a GPU, and on a CPU that multiplies it clearly faster than float32. A row's text does not
    depend on its batch in float32; in bf16, two tokens that are almost equally likely may change places. ``nf4``
    keeps the linear layers in 4 bits and computes as ``auto`` does. Raises ``ModelError`` for a folder whose files are
    missing or damaged, and ``MissingExtraError`` where ``nf4`` is not installed.
    """
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = getattr(torch, _fastest_format(device) if dtype in ("auto", "nf4") else dtype)
    options = _four_bits(chosen, device) if dtype == "nf4" else {}
    tokenizer = load_tokenizer(folder)
    try:
        with quiet_transformers():
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=chosen, local_files_only=True, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"the model in {str(folder)!r} does not load: {error}") from error
    if dtype == "nf4":
        _keep_trainable(model)
    else:
        model.to(device)  # type: ignore[arg-type]
    model.eval()
    weights = Weights(name or folder.name, folder, model, tokenizer, threading.RLock())
    return TransformersModel(weights)


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


def _fastest_format(device: str) -> NumberFormat:
    """bf16 where it pays: always on a GPU, and on a CPU whose multiplications it speeds up. Many CPUs emulate it."""
    import torch

    if device == "cuda":
        return "bfloat16"
    seconds: dict[torch.dtype, float] = {}
    for _ in range(5):
        for dtype in (torch.float32, torch.bfloat16):
            a, b = torch.ones(256, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype)
            start = time.perf_counter()
            torch.mm(a, b)
            seconds[dtype] = min(seconds.get(dtype, math.inf), time.perf_counter() - start)
    pays = seconds[torch.bfloat16] * _BF16_GAIN < seconds[torch.float32]
    return "bfloat16" if pays else "float32"


class TransformersModel:
    """A ``LanguageModel`` over loaded weights: the base itself, or the base with one adapter applied."""

    def __init__(
        self,
        weights: Weights,
        adapter: str | None = None,
        batch_tokens: int = 12288,
        virtual: DynamicCache | None = None,
    ) -> None:
        """``adapter`` names one already attached; ``batch_tokens`` bounds a batch's rows times its longest prompt.

        ``virtual`` are the virtual tokens that the adapter puts before a prompt; its layers are then the base's.
        """
        self.weights = weights
        self.adapter = adapter
        self.batch_tokens = batch_tokens
        self.virtual = virtual
        self.name = weights.name if adapter is None else f"{weights.name}+{adapter}"

    @property
    def dtype(self) -> str:
        """The number format of the weights, such as ``float32``."""
        computed = str(self.weights.model.dtype).removeprefix("torch.")
        return f"nf4 computed in {computed}" if getattr(self.weights.model, "is_quantized", False) else computed

    @property
    def virtual_tokens(self) -> int:
        """How many virtual tokens stand before a prompt."""
        return self.virtual.get_seq_length() if self.virtual is not None else 0

    def with_adapter(self, folder: Path) -> TransformersModel:
        """The same weights with the adapter of ``folder`` applied; the base stays available beside it.

        Raises ``ModelError`` when the adapter does not fit, does not load whole, or changes nothing.
        """
        if not (folder / "adapter_config.json").is_file():
            raise ModelError(f"{str(folder)!r} holds no adapter (adapter_config.json is missing)")
        name = fingerprint([sha256_of(path) for path in sorted(folder.glob("adapter_*"))])
        with self.weights.lock:
            virtual = self._virtual(folder)
            if virtual is None and (self.weights.adapted is None or name not in self.weights.adapted.peft_config):
                self._attach(folder, name)
            adapted = TransformersModel(self.weights, name, self.batch_tokens, virtual)
            adapted._prove_participation(folder)
        return adapted

    def _virtual(self, folder: Path) -> DynamicCache | None:
        """The virtual tokens of an adapter that consists of them, as the base sees them; None for other kinds."""
        import torch
        from peft import PeftConfig, PeftModel

        weights = self.weights
        try:
            config = PeftConfig.from_pretrained(str(folder))
            if not config.is_prompt_learning:
                return None
            self._apply(None)
            with torch.inference_mode():
                return virtual_tokens(PeftModel.from_pretrained(weights.model, folder), rows=1)
        except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
            raise ModelError(f"the adapter in {str(folder)!r} does not fit {weights.name}: {error}") from error

    def _attach(self, folder: Path, name: str) -> None:
        """Puts the adapter's layers beside the base's. Raises ``ModelError`` when any of its weights are missing."""
        from peft import PeftConfig, PeftModel

        weights = self.weights
        try:
            if weights.adapted is None:
                config = PeftConfig.from_pretrained(str(folder))
                weights.adapted = PeftModel(weights.model, config, adapter_name=name).eval()
            found = weights.adapted.load_adapter(folder, adapter_name=name)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"the adapter in {str(folder)!r} does not fit {weights.name}: {error}") from error
        if found.missing_keys or found.unexpected_keys:
            odd = (found.missing_keys + found.unexpected_keys)[0]
            raise ModelError(f"the adapter in {str(folder)!r} does not load whole into {weights.name}: {odd!r}")
        weights.adapted.eval()
        weights.applied = ""

    def _prove_participation(self, folder: Path) -> None:
        """Raises ``ModelError`` when the adapter leaves the logits of a probe as they were."""
        import torch

        ids = torch.tensor([render(self.weights.tokenizer, _PROBE, reply=True).ids], device=self.weights.model.device)
        base = TransformersModel(self.weights)._forward(ids, logits_to_keep=1).logits
        if torch.equal(self._forward(ids, logits_to_keep=1, past_key_values=self._before(1)).logits, base):
            raise ModelError(
                f"the adapter in {str(folder)!r} changes nothing: it is untrained or was dropped on loading"
            )

    def _forward(self, ids: torch.Tensor, **arguments: Any) -> Any:
        """One pass of the weights with exactly this model's adapter, or with none."""
        import torch

        weights = self.weights
        with weights.lock, torch.inference_mode():
            self._apply(self.adapter if self.virtual is None else None)
            return weights.model(ids, **arguments)

    def _apply(self, adapter: str | None) -> None:
        """Switches the layers to those of one attached adapter, or to the base's own."""
        weights = self.weights
        if weights.adapted is None or weights.applied == adapter:
            return
        if adapter is None:
            weights.adapted.base_model.disable_adapter_layers()
        else:
            weights.adapted.base_model.enable_adapter_layers()
            weights.adapted.set_adapter(adapter, inference_mode=True)
        weights.applied = adapter

    def _before(self, rows: int) -> DynamicCache | None:
        """A cache of the virtual tokens before each of ``rows`` rows, to be filled further."""
        if self.virtual is None:
            return None
        begun = copy.deepcopy(self.virtual)
        begun.batch_repeat_interleave(rows)
        return begun

    def count_tokens(self, text: str) -> int:
        """The number of tokens of a plain text."""
        return len(self.weights.tokenizer(text, add_special_tokens=False)["input_ids"])

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion for each prompt, in order.

        Raises ``ModelError`` when a prompt and its answer do not fit the model's context.
        """
        ids = [self._ids(prompt, sampling) for prompt in prompts]
        done: dict[int, Completion] = {}
        for batch in self._batches(ids):
            start = time.perf_counter()
            tokens: dict[int, list[int]] = {i: [] for i in batch}
            for step in self._decode([ids[i] for i in batch], sampling):
                for row, token in step:
                    tokens[batch[row]].append(token)
            seconds = (time.perf_counter() - start) / len(batch)
            for i in batch:
                done[i] = self._completion(tokens[i], len(ids[i]), seconds)
        return [done[i] for i in range(len(prompts))]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[str]:
        """Pieces of one completion; a piece never ends inside a character."""
        tokens: list[int] = []
        shown = ""
        for step in self._decode([self._ids(prompt, sampling)], sampling):
            tokens += [token for _, token in step]
            text = self._text(tokens)
            if text.startswith(shown) and not text.endswith("\ufffd") and text != shown:
                yield text[len(shown) :]
                shown = text
        rest = self._text(tokens)[len(shown) :]
        if rest:
            yield rest

    def _ids(self, prompt: Prompt, sampling: Sampling) -> list[int]:
        ids = list(render(self.weights.tokenizer, prompt, reply=True).ids)
        if self.virtual_tokens + len(ids) + sampling.max_tokens > self.weights.context_tokens:
            raise ModelError(
                f"a prompt of {len(ids)} tokens and an answer of up to {sampling.max_tokens} do not fit"
                f" {self.weights.name}'s context of {self.weights.context_tokens}; lower the context budget"
            )
        return ids

    def _batches(self, ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Positions of prompts, longest first, in batches of at most ``batch_tokens`` padded tokens."""
        batch: list[int] = []
        for i in sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i)):
            if batch and (len(batch) + 1) * len(ids[batch[0]]) > self.batch_tokens:
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch

    def _text(self, tokens: list[int]) -> str:
        return str(self.weights.tokenizer.decode(tokens, skip_special_tokens=True))

    def _completion(self, tokens: list[int], prompt_tokens: int, seconds: float) -> Completion:
        ended = bool(tokens) and tokens[-1] == self.weights.tokenizer.eos_token_id
        text = self._text(tokens).strip()
        return Completion(text, prompt_tokens, len(tokens), seconds, "stop" if ended else "length")

    def _decode(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> Iterator[list[tuple[int, int]]]:
        """Decodes a batch: each step yields ``(row, token)`` for the rows that have not ended."""
        import torch

        weights, device = self.weights, self.weights.model.device
        longest = max(len(p) for p in prompts)
        ids = torch.tensor([[0] * (longest - len(p)) + list(p) for p in prompts], device=device)
        seen = [1] * self.virtual_tokens
        mask = torch.tensor([seen + [0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
        rows = torch.arange(len(prompts))
        draw = torch.Generator().manual_seed(sampling.seed)
        cache = self._before(len(prompts))
        for _ in range(sampling.max_tokens):
            positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            out = self._forward(
                ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = out.past_key_values
            tokens = _choose(out.logits[:, -1].float().cpu(), sampling, draw)
            yield list(zip(rows.tolist(), tokens.tolist(), strict=True))
            alive = (tokens != weights.tokenizer.eos_token_id).nonzero().flatten()
            if len(alive) == 0:
                return
            if len(alive) < len(rows):
                rows, tokens, mask = rows[alive], tokens[alive], mask[alive.to(device)]
                cache.batch_select_indices(alive.to(device))
            ids = tokens[:, None].to(device)
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)


def _choose(logits: torch.Tensor, sampling: Sampling, draw: torch.Generator) -> torch.Tensor:
    """The next token of each row of ``(rows, vocabulary)`` logits."""
    import torch

    if sampling.temperature == 0:
        return logits.argmax(-1)
    shares = torch.softmax(logits / sampling.temperature, dim=-1)
    ordered, order = shares.sort(descending=True)
    ordered[ordered.cumsum(-1) - ordered > sampling.top_p] = 0.0
    return order.gather(-1, torch.multinomial(ordered, 1, generator=draw)).flatten()
