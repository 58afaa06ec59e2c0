"""Generates answers side by side: each step gives every row one token; rows join and leave between steps.

This is iteration-level scheduling (Yu et al., "Orca", OSDI 2022). With ``R`` rows in the batch, a vocabulary of ``V``
and a KV cache of ``W`` columns:

1. ``add`` reads new prompts. Sorted, prompts that begin alike are neighbours, and their common beginning is
   computed once. The result: logits after each prompt, ``(new rows, V)``, and, for a probe, hidden states
   ``(new rows, width)``.
2. Their caches join the batch's. All rows end at the same column; the mask, ``(R, W)``, is 0 in the columns to the
   left of a shorter row.
3. Each new row chooses a token from its logits, ``(1, V)``, by its own sampling, seed and schema. A row that the
   probe refuses gets none.
4. ``step`` passes the last tokens, ``(R, 1)``, and a mask with one more column, ``(R, W + 1)``, through the model.
   A position is the number of ones in the mask before it, so padding does not count. From the logits, ``(R, V)``,
   every row chooses as in 3.
5. After each choice, rows that are over leave. A prefix cache may keep their keys and values for later prompts; the
   last rows move into the gaps, and columns that no row needs are cut.

1 and 2 are for models whose prompts merge (``prefill``); any other reads all of its prompts in one padded pass.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Protocol

from lorag.errors import InputError
from lorag.llm.decoding.answerability import refused
from lorag.llm.decoding.json_schema import SchemaConstraint
from lorag.llm.decoding.prefill import Pass, merged, passes
from lorag.llm.decoding.prefix_cache import PrefixCache, common
from lorag.llm.decoding.sampling import choose
from lorag.types import LinearProbe, Sampling

if TYPE_CHECKING:
    import torch
    from transformers import Cache, PreTrainedModel


_SMALLEST_HEAD = 64
"""Tokens that prompts must begin with alike to be given a pass of their own."""


class Computing(Protocol):
    """The model whose answers they are."""

    @property
    def merges(self) -> bool:
        """Whether its prompts share a pass, and its rows a cache; see ``lorag.llm.decoding.prefill``."""
        ...

    @property
    def probe(self) -> LinearProbe | None:
        """What reads the state after a prompt; a prompt that it refuses is not answered."""
        ...

    def applied(self) -> AbstractContextManager[PreTrainedModel]:
        """Its weights, held for the caller alone."""
        ...

    def before(self, rows: int) -> Cache | None:
        """What stands before each prompt, of so many; None where nothing does."""
        ...

    def ended(self, tokens: Sequence[int], sampling: Sampling) -> bool:
        """Whether these tokens are a whole answer."""
        ...


@dataclass(eq=False, slots=True)
class Row:
    """An answer to the prompt of the tokens ``ids``: what it said so far, whether it is over, and what it failed of.

    With a ``constraint``, only tokens that it allows are said. ``logprobs`` has, where they are asked for, the token's
    own log probability in each place, and the likeliest tokens there with theirs. ``refused`` is a row whose prompt the
    model's probe refused: it says nothing.
    """

    ids: Sequence[int]
    sampling: Sampling
    constraint: SchemaConstraint | None = None
    said: list[int] = field(default_factory=list)
    logprobs: list[tuple[float, list[tuple[int, float]]]] = field(default_factory=list)
    over: bool = False
    refused: bool = False
    failure: BaseException | None = None
    _draw: torch.Generator | None = None

    @property
    def length(self) -> int:
        """Tokens of the prompt and of the answer."""
        return len(self.ids) + len(self.said)

    def say(self, logits: torch.Tensor) -> None:
        """Says the next token, by logits of shape ``(1, vocabulary)``; draws depend on the row's own seed alone."""
        import torch

        if self._draw is None:
            self._draw = torch.Generator().manual_seed(self.sampling.seed)
        seen = [{*self.ids, *self.said}] if self.sampling.repetition_penalty != 1 else []
        chance = float(torch.rand((), generator=self._draw, dtype=torch.float64))
        allowed = self.constraint.allowed(logits) if self.constraint is not None else logits
        token = int(choose(allowed, self.sampling, seen, chance))
        if self.constraint is not None:
            self.constraint.say(token)
        if self.sampling.logprobs is not None:
            known = logits[0].log_softmax(-1)
            values, tokens = known.topk(self.sampling.logprobs)
            self.logprobs.append((float(known[token]), list(zip(tokens.tolist(), values.tolist(), strict=True))))
        self.said.append(token)


class Batch:
    """The rows of one model that are not over. For one thread at a time."""

    def __init__(self, model: Computing, kept: PrefixCache | None = None, layer: int | None = None) -> None:
        """With ``kept``, prompts go on from what it holds, and rows that leave are left there.

        Read is the ``layer`` that is given, else the one that the model's probe reads.
        """
        self._layer = layer if layer is not None or model.probe is None else model.probe.layer
        self.rows: list[Row] = []
        self._model, self._kept = model, kept
        self._cache: Cache | None = None
        self._mask: torch.Tensor | None = None

    def add(self, rows: Sequence[Row]) -> None:
        """Reads the prompts of further rows, each of which says its first token.

        What the model raises concerns them alone: the rows that were there stay as they were. Where the model does not
        merge, rows are added once.
        """
        rows = sorted(rows, key=lambda row: list(row.ids))
        logits, states = self._joined(rows) if self._model.merges else self._side_by_side(rows)
        if self._model.probe is not None and states is not None:
            for row, is_refused in zip(rows, refused(self._model.probe, states.float().cpu().numpy()), strict=True):
                row.refused = is_refused
        self.rows += rows
        self._say(rows, logits)

    def step(self) -> None:
        """Each row says a token more. Whatever is raised on the way takes all rows out."""
        import torch

        assert self._mask is not None
        said = torch.tensor([row.said[-1:] for row in self.rows], device=self._mask.device)
        mask = torch.cat([self._mask, self._mask.new_ones(len(self.rows), 1)], dim=1)
        rows, cache = self.rows, self._cache
        self.rows, self._cache, self._mask = [], None, None  # broken off, some layers are longer than others
        logits, cache, _ = self._forward(said, mask, cache)
        self.rows, self._cache, self._mask = rows, cache, mask
        self._say(list(rows), logits)

    def leave(self, leaving: Collection[Row]) -> None:
        """Takes rows out."""
        import torch

        from lorag.llm.decoding.kv_cache import RowCache

        if self._cache is None or self._mask is None or not leaving:
            return
        lengths = self._mask.sum(1).tolist()
        stay = []
        for place, row in enumerate(self.rows):
            if row not in leaving:
                stay.append(place)
            elif self._kept is not None:
                self._kept.put([*row.ids, *row.said][: lengths[place]], self._cache, place)
        if not stay:
            self.rows, self._cache, self._mask = [], None, None
            return
        places = _moved_up(stay)
        self.rows = [self.rows[place] for place in places]
        with torch.inference_mode():
            index = torch.tensor(places, device=self._mask.device)
            self._cache.batch_select_indices(index)
            self._mask = self._mask[index]
            if isinstance(self._cache, RowCache):
                width = max(lengths[place] for place in places)
                self._mask = self._mask[:, -width:]
                self._cache.show(len(places), width)

    def _say(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        for row, each in zip(rows, logits.split(1), strict=True):
            if row.refused:
                row.over = True
                continue
            try:
                row.say(each)
            except InputError as error:  # of its own constraint; the others are answered
                row.failure, row.over = error, True
                continue
            row.over = len(row.said) == row.sampling.max_tokens or self._model.ended(row.said, row.sampling)
        self.leave([row for row in rows if row.over])

    def _joined(self, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The logits after each prompt, ``(rows, vocabulary)``, all in the cache, and the states that are read."""
        import torch

        from lorag.llm.decoding.kv_cache import RowCache

        read = self._passes([row.ids for row in rows])
        lengths = torch.tensor([len(places) for part in read for places in part.places])
        before = self._mask if self._mask is not None else lengths.new_zeros(0, 0)
        width = max(before.shape[1], int(lengths.max()))
        with torch.inference_mode():
            cache = self._cache if isinstance(self._cache, RowCache) else RowCache(read[0].cache)
            cache.join([(part.cache, part.index) for part in read], len(self.rows), width)
            mask = (torch.arange(width) >= width - lengths[:, None]).long().to(read[0].logits.device)
            padded = torch.nn.functional.pad(before.to(mask), (width - before.shape[1], 0))
            self._cache, self._mask = cache, torch.cat([padded, mask])
        return torch.cat([part.logits for part in read]).float().cpu(), _states(read)

    def states(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """What the layer that is read gives after each of the sorted prompts, ``(prompts, width)``."""
        read = (
            self._passes(prompts) if self._model.merges else [self._pass([ids], *self._begun([ids])) for ids in prompts]
        )
        states = _states(read)
        assert states is not None
        return states

    def _passes(self, prompts: Sequence[Sequence[int]], head: int = 0, shared: Cache | None = None) -> list[Pass]:
        """Passes over sorted prompts, whose first ``head`` tokens are in ``shared``.

        What prompts begin with is computed once, also where they take several passes.
        """
        read: list[Pass] = []
        small: list[Sequence[int]] = []
        for family in _families(prompts, head):
            if len(list(passes([ids[head:] for ids in family]))) == 1:
                small += family
                continue
            read += self._joint(small, head, shared)
            small = []
            longer = common([family[0], family[-1]])  # sorted, those between begin so too
            begun, before = self._behind([family[0][: longer + 1]], head, shared)
            if begun < longer:
                before = self._read([family[0][:longer]], begun, before)[2]
            read += self._passes(family, longer, before)
        return read + self._joint(small, head, shared)

    def _joint(self, prompts: Sequence[Sequence[int]], head: int, shared: Cache | None) -> list[Pass]:
        """As few passes over sorted prompts as they take behind their first ``head`` tokens."""
        counts = [len(rests) for rests in passes([ids[head:] for ids in prompts])]
        runs = [prompts[end - count : end] for count, end in zip(counts, accumulate(counts), strict=True)]
        return [self._pass(run, *self._behind(run, head, shared)) for run in runs]

    def _behind(self, prompts: Sequence[Sequence[int]], head: int, shared: Cache | None) -> tuple[int, Cache | None]:
        """How many tokens of all prompts need not be read: ``head``, or more; and a cache to be filled further."""
        begun, before = self._begun(prompts)
        return (begun, before) if begun > head or shared is None else (head, copy.deepcopy(shared))

    def _pass(self, prompts: Sequence[Sequence[int]], begun: int, before: Cache | None) -> Pass:
        if len(prompts) == 1:
            logits, mask, cache, states = self._read(prompts, begun, before)
            return Pass(logits, cache, [list(range(mask.shape[1]))], states)
        with self._model.applied() as model:
            return merged(model, [ids[begun:] for ids in prompts], before, self._layer)

    def _side_by_side(self, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As ``_joined``, for caches that do not take rows: all prompts in one pass, padded."""
        prompts = [row.ids for row in rows]
        logits, self._mask, self._cache, states = self._read(prompts, *self._begun(prompts))
        return logits, states

    def _read(
        self, prompts: Sequence[Sequence[int]], begun: int, before: Cache | None
    ) -> tuple[torch.Tensor, torch.Tensor, Cache, torch.Tensor | None]:
        """The logits after each prompt, ``(rows, vocabulary)``, the mask over the cache, ``(rows, n)``, it, and states.

        The first ``begun`` tokens of each are in ``before``.
        """
        import torch

        rests = [ids[begun:] for ids in prompts]
        longest = max(map(len, rests))
        first = [1] * (before.get_seq_length() if before is not None else 0)
        with self._model.applied() as model:
            ids = torch.tensor([[0] * (longest - len(rest)) + [*rest] for rest in rests], device=model.device)
        mask = torch.tensor([first + [0] * (longest - len(r)) + [1] * len(r) for r in rests], device=ids.device)
        logits, cache, states = self._forward(ids, mask, before, self._layer)
        return logits, mask, cache, states

    def _begun(self, prompts: Sequence[Sequence[int]]) -> tuple[int, Cache | None]:
        """How many tokens of all prompts need not be read, and the cache to be filled further."""
        begun, held = self._kept.take(*prompts) if self._kept is not None else (0, None)
        return begun, held if held is not None else self._model.before(1 if self._model.merges else len(prompts))

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor, cache: Cache | None, layer: int | None = None
    ) -> tuple[torch.Tensor, Cache, torch.Tensor | None]:
        """The logits after ``ids`` of shape ``(rows, n)``, as ``(rows, vocabulary)``, the longer cache, and the states.

        Those are what ``layer`` gives after the last token, ``(rows, width)``; None where none is read.
        """
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with self._model.applied() as model:
            out = model(
                ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
                output_hidden_states=layer is not None,
            )
        states = None if layer is None else out.hidden_states[layer][:, -1]
        return out.logits[:, -1].float().cpu(), out.past_key_values, states


def _families(prompts: Sequence[Sequence[int]], head: int) -> Iterator[list[Sequence[int]]]:
    """Sorted prompts in groups that begin alike for long enough behind their first ``head`` tokens."""
    family = [prompts[0]]
    for last, ids in pairwise(prompts):
        if common([last, ids]) < head + _SMALLEST_HEAD:
            yield family
            family = []
        family.append(ids)
    yield family


def _states(read: Sequence[Pass]) -> torch.Tensor | None:
    """The states after the prompts of several passes; None where none were read."""
    import torch

    states = [part.states for part in read if part.states is not None]
    return torch.cat(states) if states else None


def _moved_up(places: Sequence[int]) -> list[int]:
    """The places, those of the last ones taking the gaps, so that as few as can be change theirs."""
    known = set(places)
    movers = (place for place in places if place >= len(places))
    return [place if place in known else next(movers) for place in range(len(places))]
