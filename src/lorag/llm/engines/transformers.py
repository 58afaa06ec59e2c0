"""The reference engine: a causal model of the transformers library, on a CPU or a GPU, with or without an adapter.

One loop decodes for streaming and for batches, so that both give the same text. Batches are sorted by length and
rows leave a batch as soon as they end. The lock is held for one step at a time: a stream nobody reads on blocks
nothing. Adapters stay unmerged: the base loaded once serves every arm, and what an arm adds is exactly its adapter.
Not here: quantised kernels of our own, prompt-prefix reuse, several machines.
"""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lorag.errors import ModelError, require
from lorag.files import fingerprint, sha256_of
from lorag.llm.engines import beams
from lorag.llm.engines.choosing import choose
from lorag.llm.engines.stops import cut, settled
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

    @property
    def ends(self) -> frozenset[int]:
        """The tokens after which an answer is over: the tokenizer's own and those the model names."""
        named = self.model.generation_config.eos_token_id if self.model.generation_config else None
        listed = named if isinstance(named, list) else [named]
        return frozenset(token for token in (self.tokenizer.eos_token_id, *listed) if isinstance(token, int))


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

    @contextmanager
    def _applied(self) -> Iterator[PreTrainedModel]:
        """The weights, held for this model alone, with exactly its adapter, or with none."""
        import torch

        weights = self.weights
        with weights.lock, torch.inference_mode():
            self._apply(self.adapter if self.virtual is None else None)
            yield weights.model

    def _forward(self, ids: torch.Tensor, **arguments: Any) -> Any:
        """One pass of the weights."""
        with self._applied() as model:
            return model(ids, **arguments)

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

    def room(self, prompt: Prompt, sampling: Sampling) -> int:
        """The tokens that the context has left beside ``prompt`` and its longest answer; below 0 they do not fit."""
        return self._room(render(self.weights.tokenizer, prompt, reply=True).ids, sampling)

    def _room(self, ids: Sequence[int], sampling: Sampling) -> int:
        return self.weights.context_tokens - self.virtual_tokens - len(ids) - sampling.max_tokens

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion for each prompt, in order.

        Raises ``ModelError`` when a prompt and its answer do not fit the model's context.
        """
        ids = [self._ids(prompt, sampling) for prompt in prompts]
        done: dict[int, Completion] = {}
        for batch in self._batches(ids):
            clock = _Clock()
            tokens: dict[int, list[int]] = {i: [] for i in batch}
            for step in self._said([ids[i] for i in batch], sampling):
                clock.tick()
                for row, said in step:
                    tokens[batch[row]] += said
            for i in batch:
                done[i] = self._completion(tokens[i], len(ids[i]), sampling, clock.share(len(batch)))
        return [done[i] for i in range(len(prompts))]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str, None, Completion]:
        """Pieces of one completion, which it returns; a piece never ends inside a character or a stop text."""
        ids, clock = self._ids(prompt, sampling), _Clock()
        tokens: list[int] = []
        shown = ""
        for step in self._said([ids], sampling):
            clock.tick()
            tokens += [token for _, said in step for token in said]
            text, _ = cut(self._text(tokens), sampling.stop)
            text = settled(text, sampling.stop).strip()
            if text.startswith(shown) and text != shown:
                yield text[len(shown) :]
                clock.go_on()
                shown = text
        completion = self._completion(tokens, len(ids), sampling, clock.share(1))
        if rest := completion.text[len(shown) :]:
            yield rest
        return completion

    def _ids(self, prompt: Prompt, sampling: Sampling) -> list[int]:
        ids = list(render(self.weights.tokenizer, prompt, reply=True).ids)
        if self._room(ids, sampling) < 0:
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

    def _text(self, tokens: Sequence[int]) -> str:
        """What tokens spell, control tokens and the bytes of a character that is not complete left out."""
        spelled = [token for token in tokens if token not in self.weights.ends]
        return str(self.weights.tokenizer.decode(spelled, skip_special_tokens=True)).rstrip("\ufffd")

    def _ended(self, tokens: Sequence[int], sampling: Sampling) -> bool:
        return tokens[-1] in self.weights.ends or (bool(sampling.stop) and cut(self._text(tokens), sampling.stop)[1])

    def _completion(
        self, tokens: Sequence[int], prompt_tokens: int, sampling: Sampling, seconds: tuple[float, float]
    ) -> Completion:
        text, _ = cut(self._text(tokens), sampling.stop)
        finish: Literal["stop", "length"] = "stop" if self._ended(tokens, sampling) else "length"
        whole, prefill = seconds
        return Completion(text.strip(), prompt_tokens, len(tokens), whole, finish, prefill)

    def _said(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> Iterator[list[tuple[int, Sequence[int]]]]:
        """What rows say, as it comes: ``(row, tokens)``; a searched answer comes whole."""
        if sampling.num_beams < 2:
            yield from self._decode(prompts, sampling)
            return
        if self.virtual is not None:
            raise ModelError(f"beams do not reach the virtual tokens of {self.name}; set num_beams to 0")
        for row, ids in enumerate(prompts):
            with self._applied() as model:
                tokens = beams.search(model, ids, sampling, self.weights.ends)
            yield [(row, tokens)]

    def _decode(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling
    ) -> Iterator[list[tuple[int, Sequence[int]]]]:
        """Decodes a batch: each step yields one token of each row that has not ended."""
        import torch

        device = self.weights.model.device
        longest = max(len(p) for p in prompts)
        ids = torch.tensor([[0] * (longest - len(p)) + list(p) for p in prompts], device=device)
        virtual = [1] * self.virtual_tokens
        mask = torch.tensor([virtual + [0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
        rows = list(range(len(prompts)))
        said: list[list[int]] = [[] for _ in prompts]
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
            seen = [{*prompts[row], *said[row]} for row in rows] if sampling.repetition_penalty != 1 else []
            chance = float(torch.rand((), generator=draw, dtype=torch.float64))
            tokens = choose(out.logits[:, -1].float().cpu(), sampling, seen, chance)
            for row, token in zip(rows, tokens.tolist(), strict=True):
                said[row].append(token)
            yield [(row, said[row][-1:]) for row in rows]
            alive = [place for place, row in enumerate(rows) if not self._ended(said[row], sampling)]
            if not alive:
                return
            if len(alive) < len(rows):
                kept = torch.tensor(alive, device=device)
                rows, tokens, mask = [rows[place] for place in alive], tokens[alive], mask[kept]
                cache.batch_select_indices(kept)
            ids = tokens[:, None].to(device)
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)


class _Clock:
    """Seconds of work, those until the first tick apart; the time of whoever reads a stream is not counted."""

    def __init__(self) -> None:
        self._mark = time.perf_counter()
        self._whole = 0.0
        self._first: float | None = None

    def tick(self) -> None:
        """Counts the work since the last mark."""
        now = time.perf_counter()
        self._whole += now - self._mark
        self._mark = now
        if self._first is None:
            self._first = self._whole

    def go_on(self) -> None:
        """Marks that work begins again."""
        self._mark = time.perf_counter()

    def share(self, among: int) -> tuple[float, float]:
        """All seconds and those until the first tick, divided ``among`` equal shares."""
        return self._whole / among, (self._first or 0.0) / among
