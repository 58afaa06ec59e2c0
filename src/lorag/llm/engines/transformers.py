"""The reference engine: a causal model of the transformers library, on a CPU or a GPU, with or without an adapter.

One loop decodes for streaming and for batches, so that both give the same text. In a batch, what prompts begin with
alike is computed once, and rows leave as soon as they end; streams read at once share one, and begin where an earlier
one agrees with them. The lock is held for one step at a time: a stream nobody reads on blocks nothing. Adapters stay
unmerged unless asked: the base loaded once serves every arm, and what an arm adds is exactly its adapter. Not here:
quantised kernels of our own, several machines.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from lorag.errors import InputError, ModelError
from lorag.files import fingerprint, sha256_of
from lorag.llm.decoding import beam_search as beams
from lorag.llm.decoding.batch import Batch, Row
from lorag.llm.decoding.json_schema import SchemaConstraint
from lorag.llm.decoding.likelihoods import Told, likelihoods
from lorag.llm.decoding.prefill import passes
from lorag.llm.decoding.prefix_cache import PrefixCache
from lorag.llm.decoding.shared_batch import SharedBatch
from lorag.llm.decoding.stop_texts import cut, settled, tokens_before
from lorag.llm.engines.base_model import Dtype, Weights, read_weights
from lorag.llm.rendering import prompt_ids, render
from lorag.llm.virtual_tokens import virtual_tokens
from lorag.machine import free_bytes
from lorag.types import Completion, LinearProbe, Message, Prompt, Sampling, TokenLogprob

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache, PreTrainedModel

_PROBE: Prompt = (Message("user", "What do you know about our product?"),)


def load(
    folder: Path, name: str | None = None, dtype: Dtype = "auto", *, off_device: bool = False
) -> TransformersModel:
    """The base model saved in ``folder``, without an adapter; see ``read_weights``."""
    return TransformersModel(read_weights(folder, name or folder.name, dtype, off_device))


def adapter_fingerprint(folder: Path) -> str:
    """16 hex digits that tell an adapter in PEFT's format, its configuration included, from any other."""
    return fingerprint([sha256_of(path) for path in sorted(folder.glob("adapter_*"))])


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
        self.probe: LinearProbe | None = None
        self.adapter_folder: Path | None = None
        """Where the adapter was read."""
        self._kept = PrefixCache() if virtual is None else None
        self._shared = SharedBatch(batch_tokens, self._kept)
        self._probing: dict[LinearProbe | None, TransformersModel] = {None: self}
        self.name = weights.name if adapter is None else f"{weights.name}+{adapter}"

    @property
    def dtype(self) -> str:
        """The dtype of the weights, such as ``float32``; for ``nf4`` with the one that they are computed in."""
        computed = str(self.weights.model.dtype).removeprefix("torch.")
        return f"nf4 computed in {computed}" if self.stored_dtype == "nf4" else computed

    @property
    def stored_dtype(self) -> Dtype:
        """The dtype in which the weights are loaded again as they are here."""
        if getattr(self.weights.model, "is_quantized", False):
            return "nf4"
        return cast("Dtype", str(self.weights.model.dtype).removeprefix("torch."))

    @property
    def weight_bytes(self) -> int:
        """What the weights take in memory, adapters that are attached included."""
        return sum(weight.numel() * weight.element_size() for weight in self.weights.model.parameters())

    @property
    def merges(self) -> bool:
        """Whether prompts share a pass, and answers a cache that they join and leave."""
        return self.weights.merges

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
        name = adapter_fingerprint(folder)
        with self.weights.lock:
            virtual = self._virtual(folder)
            if virtual is None:
                self.weights.attach(folder, name)
            adapted = TransformersModel(self.weights, name, self.batch_tokens, virtual)
            adapted.adapter_folder = folder
            adapted._prove_participation(folder)
        return adapted

    def probing(self, probe: LinearProbe | None) -> TransformersModel:
        """The same model, answering no prompt that ``probe`` refuses; without a probe where it is None.

        What prompts begin with is kept for all of them. Raises ``ModelError`` for a probe of another model.
        """
        width = self.weights.model.config.get_text_config().hidden_size
        if probe is not None and (probe.model != self.name or len(probe.weights) != width):
            raise ModelError(f"the probe was fitted to {probe.model} and does not apply to {self.name}")
        if probe not in self._probing:
            made = copy.copy(self)
            made.probe, made._shared = probe, SharedBatch(self.batch_tokens, self._kept)
            self._probing[probe] = made
        return self._probing[probe]

    def _virtual(self, folder: Path) -> DynamicCache | None:
        """The virtual tokens of an adapter that consists of them, as the base sees them; None for other kinds."""
        from peft import PeftConfig, PeftModel

        try:
            if not PeftConfig.from_pretrained(str(folder)).is_prompt_learning:
                return None
            with self.weights.applied(None) as model:
                return virtual_tokens(PeftModel.from_pretrained(model, folder), rows=1)
        except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
            raise ModelError(f"the adapter in {str(folder)!r} does not fit {self.weights.name}: {error}") from error

    @property
    def is_mergeable(self) -> bool:
        """Whether merging rounds nothing away that could be seen, and memory holds one more copy of the weights.

        Virtual tokens stand before the weights, not in them.
        """
        free = free_bytes(self.weights.model.device.type)
        return self.virtual is None and self.dtype == "float32" and self.weight_bytes < free

    def merged(self) -> TransformersModel:
        """The same model with its adapter added into a copy of the weights, which is quicker; itself without one.

        The sums are rounded in another order: in float32 answers differ where two tokens are all but equally likely;
        in bf16 a small adapter is partly rounded away, so what is to be compared stays unmerged.
        """
        if self.adapter is None:
            return self
        if self.virtual is not None:
            raise ModelError(f"the virtual tokens of {self.name} are not in the weights and cannot be merged into them")
        return TransformersModel(self.weights.merged(self.adapter, self.name), None, self.batch_tokens)

    def _prove_participation(self, folder: Path) -> None:
        """Raises ``ModelError`` when the adapter leaves the logits of a probe as they were."""
        import torch

        ids = torch.tensor([render(self.weights.tokenizer, _PROBE, reply=True).ids], device=self.weights.model.device)
        base = TransformersModel(self.weights)._forward(ids, logits_to_keep=1).logits
        if torch.equal(self._forward(ids, logits_to_keep=1, past_key_values=self.before(1)).logits, base):
            raise ModelError(
                f"the adapter in {str(folder)!r} changes nothing: it is untrained or was dropped on loading"
            )

    def _forward(self, ids: torch.Tensor, **arguments: Any) -> Any:
        """One pass of the weights with exactly this model's adapter, or with none."""
        with self.applied() as model:
            return model(ids, **arguments)

    def applied(self) -> AbstractContextManager[PreTrainedModel]:
        """The weights, held for the caller alone, with the layers that this model computes with; see ``before``."""
        return self.weights.applied(self.adapter if self.virtual is None else None)

    def before(self, rows: int) -> DynamicCache | None:
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
        ids = prompt_ids(self.weights.tokenizer, prompt, sampling)
        return self._room(ids, sampling.within(self.weights.context_tokens))

    def _room(self, ids: Sequence[int], sampling: Sampling) -> int:
        return self.weights.context_tokens - self.virtual_tokens - len(ids) - sampling.max_tokens

    def logprobs(self, prompt: Prompt, tokens: Sequence[int]) -> list[tuple[float, float]]:
        """For each token of an answer that began with the ones before it, the logarithms of two probabilities.

        They are its own, and that of the likeliest token in its place.
        """
        import torch

        device = self.weights.model.device
        ids = torch.tensor([[*self._ids(prompt, Sampling(max_tokens=len(tokens))), *tokens]], device=device)
        logits = self._forward(ids, logits_to_keep=len(tokens) + 1, past_key_values=self.before(1)).logits[0, :-1]
        known = logits.float().log_softmax(-1)
        own = known.gather(-1, torch.tensor(tokens, device=device)[:, None]).flatten()
        return list(zip(own.tolist(), known.max(-1).values.tolist(), strict=True))

    @property
    def layers(self) -> int:
        """How many layers the model has."""
        return int(self.weights.model.config.get_text_config().num_hidden_layers)

    def states(self, prompts: Sequence[Prompt], layer: int) -> NDArray[np.float32]:
        """What ``layer`` gives after each prompt, ``(prompts, width)``; layer 0 are the token embeddings.

        What prompts begin with alike is computed once. Raises ``ModelError`` for one that does not fit the context.
        """
        ids = [self._ids(prompt, Sampling(max_tokens=1)) for prompt in prompts]
        found: dict[int, NDArray[np.float32]] = {}
        for batch in self._batches(ids):
            read = Batch(self, layer=layer).states([ids[i] for i in batch])
            found |= dict(zip(batch, read.float().cpu().numpy(), strict=True))
        return np.stack([found[i] for i in range(len(ids))])

    def likelihoods(self, answered: Sequence[tuple[Prompt, str]]) -> list[list[float]]:
        """For each answer to a prompt, the logarithm of the probability of each of its tokens; its end is left out.

        What prompts, and answers to one prompt, begin with alike is computed once. Raises ``ModelError`` when a prompt
        and its answer do not fit the model's context.
        """
        told = [self._sequence(prompt, answer) for prompt, answer in answered]
        order = sorted(range(len(told)), key=told.__getitem__)
        merging = self.weights.merges
        runs = passes([told[i].ids for i in order]) if merging else ([told[i].ids] for i in order)
        found: list[list[float]] = []
        for run in runs:
            part = [told[i] for i in order[len(found) : len(found) + len(run)]]
            with self.applied() as model:
                found += likelihoods(model, part, self.before(1))
        return [values for _, values in sorted(zip(order, found, strict=True), key=lambda pair: pair[0])]

    def _sequence(self, prompt: Prompt, answer: str) -> Told:
        rendered = render(self.weights.tokenizer, (*prompt, Message("assistant", answer)), reply=False)
        said = [place for place, learned in enumerate(rendered.supervised) if learned]
        if self._room(rendered.ids[: said[-1]], Sampling(max_tokens=1)) < 0:
            raise ModelError(
                f"a prompt and its answer of {said[-1]} tokens do not fit {self.weights.name}'s context of"
                f" {self.weights.context_tokens}; lower the context budget"
            )
        return Told(rendered.ids[: said[-1]], said[0])

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion for each prompt, in order.

        Raises ``ModelError`` when a prompt and its answer do not fit the model's context.
        """
        rows = [self._row(prompt, sampling) for prompt in prompts]
        done: dict[int, Completion] = {}
        for batch in self._batches([row.ids for row in rows]):
            clock = _Clock()
            for _ in self._steps([rows[i] for i in batch]):
                clock.tick()
            for i in batch:
                done[i] = self._completion(rows[i], clock.share(len(batch)))
        return [done[i] for i in range(len(prompts))]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str, None, Completion]:
        """Pieces of one completion, which it returns; a piece never ends inside a character or a stop text.

        Streams that are read at once, by several threads, share their steps.
        """
        row, clock = self._row(prompt, sampling), _Clock()
        shares = self.merges and sampling.num_beams < 2
        shown = ""
        for _ in self._shared.steps(self, row) if shares else self._steps([row], self._kept):
            clock.tick()
            text, _ = cut(self._text(row.said), sampling.stop)
            text = settled(text, sampling.stop).strip()
            if text.startswith(shown) and text != shown:
                yield text[len(shown) :]
                clock.go_on()
                shown = text
        completion = self._completion(row, clock.share(1))
        if rest := completion.text[len(shown) :]:
            yield rest
        return completion

    def _row(self, prompt: Prompt, sampling: Sampling) -> Row:
        """An answer that is to be decoded. Raises ``InputError`` for a schema that no answer can be held to."""
        sampling = sampling.within(self.weights.context_tokens)
        ids, schema = self._ids(prompt, sampling), sampling.json_schema
        for value, asked in ((schema, "answers under a JSON schema"), (sampling.logprobs, "log probabilities")):
            if sampling.num_beams > 1 and value is not None:
                raise InputError(f"num_beams {sampling.num_beams!r} does not support {asked}; set it to 0")
        if schema is None:
            return Row(ids, sampling)
        return Row(ids, sampling, SchemaConstraint(self.weights.schema_tokens, schema))

    def _ids(self, prompt: Prompt, sampling: Sampling) -> list[int]:
        ids = prompt_ids(self.weights.tokenizer, prompt, sampling)
        if self._room(ids, sampling) < 0:
            raise ModelError(
                f"a prompt of {len(ids)} tokens and an answer of up to {sampling.max_tokens} do not fit"
                f" {self.weights.name}'s context of {self.weights.context_tokens}; lower the context budget"
            )
        return ids

    def _batches(self, ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Positions of prompts, alike ones together, in batches of at most ``batch_tokens`` padded tokens."""
        batch: list[int] = []
        longest = 0
        for i in sorted(range(len(ids)), key=lambda i: list(ids[i])):
            longest = max(longest, len(ids[i]))
            if batch and (len(batch) + 1) * longest > self.batch_tokens:
                yield batch
                batch, longest = [], len(ids[i])
            batch.append(i)
        if batch:
            yield batch

    def _text(self, tokens: Sequence[int]) -> str:
        """What tokens spell, control tokens and the bytes of a character that is not complete left out."""
        spelled = [token for token in tokens if token not in self.weights.ends]
        return str(self.weights.tokenizer.decode(spelled, skip_special_tokens=True)).rstrip("\ufffd")

    def ended(self, tokens: Sequence[int], sampling: Sampling) -> bool:
        """Whether an answer is over with the last of its tokens."""
        return tokens[-1] in self.weights.ends or (bool(sampling.stop) and cut(self._text(tokens), sampling.stop)[1])

    def _completion(self, row: Row, seconds: tuple[float, float]) -> Completion:
        if row.failure is not None:
            raise row.failure
        whole, prefill = seconds
        if row.refused:
            return Completion("", len(row.ids), 0, whole, "refused", prefill)
        text, _ = cut(self._text(row.said), row.sampling.stop)
        finish: Literal["stop", "length"] = "stop" if self.ended(row.said, row.sampling) else "length"
        return Completion(text.strip(), len(row.ids), len(row.said), whole, finish, prefill, self._told(row))

    def _told(self, row: Row) -> tuple[TokenLogprob, ...]:
        """The log probabilities of an answer's tokens; none where they were not asked for."""
        if not row.logprobs:
            return ()
        spelled = self._spelling()
        told = [
            TokenLogprob(spelled(token), own, tuple((spelled(each), value) for each, value in likeliest))
            for token, (own, likeliest) in zip(row.said, row.logprobs, strict=False)
            if token not in self.weights.ends
        ]
        return tokens_before(told, row.sampling.stop)

    def _spelling(self) -> Callable[[int], str]:
        """Gives the text of one token inside a text; many tokenizers leave out the space that a text begins with."""
        tokenizer = self.weights.tokenizer
        anchor = tokenizer("a", add_special_tokens=False)["input_ids"]
        before = len(str(tokenizer.decode(anchor)))
        return lambda token: str(tokenizer.decode([*anchor, token]))[before:]

    def _steps(self, rows: Sequence[Row], kept: PrefixCache | None = None) -> Iterator[None]:
        """A pause after each step of a batch of these rows alone; a searched answer comes whole."""
        if rows[0].sampling.num_beams > 1:
            yield from self._searched(rows)
            return
        batch = Batch(self, kept)
        try:
            batch.add(rows)
            yield
            while batch.rows:
                batch.step()
                yield
        finally:
            batch.leave(batch.rows)

    def _searched(self, rows: Sequence[Row]) -> Iterator[None]:
        if self.probe is not None:
            raise ModelError(f"beam search cannot use the probe of {self.name}; set num_beams to 0")
        if self.virtual is not None:
            raise ModelError(f"beam search cannot use the virtual tokens of {self.name}; set num_beams to 0")
        for row in rows:
            with self.applied() as model:
                row.said += beams.search(model, row.ids, row.sampling, self.weights.ends)
            yield


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
