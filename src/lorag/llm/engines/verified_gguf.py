"""The quick form of a model: a GGUF file written once, checked against the reference engine, and kept.

It is used only where it proved to be the same model: what it says to a few prompts is what the reference would say, or
next to equally likely there, with the same probabilities, and with an adapter these are those of the adapted model.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from lorag.errors import ModelError
from lorag.files import folder_whole, write_whole
from lorag.llm.engines.llamacpp import LlamaCppModel
from lorag.models.gguf_writing import Precision, write_gguf
from lorag.models.tokenizer import load_tokenizer
from lorag.types import Message, Sampling

if TYPE_CHECKING:
    from lorag.llm.engines.base_model import Weights
    from lorag.llm.engines.transformers import TransformersModel

GGUF, CHECK = "model.gguf", "check.json"
PRECISION: Precision = "f16"
"""Of the matrices: half the bytes of float32, which is what decoding waits for, and no answer lost by it so far
(docs/decisions/0008-quick-engine.md)."""
FORM = f"{PRECISION}, 2"
"""Grows when quick forms are written or checked in another way, so that old ones are remade."""
KEPT = 4
"""Quick forms kept at a time, the last used ones; each takes two bytes a weight."""
_GAP_TOLERANCE, _DRIFT_TOLERANCE = 0.1, 0.05
_SHORT = Sampling(max_tokens=16)
_PROBES = (
    (Message("user", "What do you know about our product?"),),
    (Message("user", "List three colours."),),
    (Message("system", "Answer in one sentence."), Message("user", "Why does iron rust?")),
    (Message("user", "[1] The gauge measures from 0.2 to 12 m.\n\nFrom where does the gauge measure?"),),
    (
        Message("user", "Hello!"),
        Message("assistant", "Hello, how can I help?"),
        Message("user", "What is 12 plus 30?"),
    ),
)


@dataclass(frozen=True, slots=True)
class Check:
    """How near a quick form came to the reference over the tokens it said; probabilities as logarithms, in nats."""

    tokens: int
    gap: float
    """By how much the reference prefers its own choice to a token that was said, at most; 0 where all are its own."""
    drift: float
    """Mean difference of the probability of a token that was said to its probability in the reference."""
    drift_from_base: float | None
    """The same against the base without its adapter; None without one."""

    @property
    def failure(self) -> str | None:
        """What speaks against using it; None where nothing does."""
        if self.drift_from_base is not None and self.drift_from_base <= self.drift:
            return "the adapter has no effect in it"
        if self.gap > _GAP_TOLERANCE:
            return f"it chooses a token that the reference finds {self.gap:.2f} nats less likely than its own"
        if self.drift > _DRIFT_TOLERANCE:
            return f"its probabilities differ by {self.drift:.2f} nats"
        return None


@dataclass(frozen=True, slots=True)
class Made:
    """What a quick form is written from: the model as the reference engine answers, its base, its weights merged."""

    reference: TransformersModel
    base: TransformersModel | None
    weights: Weights


def llamacpp_is_quickest() -> bool:
    """Whether llama.cpp is installed, on a machine without a GPU."""
    if find_spec("xllamacpp") is None:
        return False
    import torch

    return not torch.cuda.is_available()


def verified_gguf(folder: Path, base: Path, name: str, make: Callable[[], Made]) -> LlamaCppModel:
    """The quick form kept in ``folder``, written and checked there when it is not; ``base`` is the model's own folder.

    Raises ``ModelError`` where it cannot be written, or failed its check, now or earlier.
    """
    if not (folder / CHECK).is_file():
        _write(folder, base, make())
        _forget_old(folder.parent)
    check = Check(**json.loads((folder / CHECK).read_text()))
    if check.failure is not None:
        raise ModelError(f"the GGUF form of {name} is not used: {check.failure}")
    with suppress(OSError):  # a cache of others may be read only
        os.utime(folder)
    return _open(folder / GGUF, base, name)


def _open(file: Path, base: Path, name: str) -> LlamaCppModel:
    context = int(json.loads((base / "config.json").read_text())["max_position_embeddings"])
    return LlamaCppModel(file, load_tokenizer(base), name, context)


def _write(folder: Path, base: Path, made: Made) -> None:
    with folder_whole(folder) as building:
        write_gguf(made.weights.model, made.weights.tokenizer, building / GGUF, PRECISION, made.reference.name)
        check = compared(made.reference, made.base, _open(building / GGUF, base, made.reference.name))
        if check.failure is not None:
            (building / GGUF).unlink()
        write_whole(building / CHECK, json.dumps(asdict(check), indent=2))


def compared(reference: TransformersModel, base: TransformersModel | None, quick: LlamaCppModel) -> Check:
    """The check of ``quick`` against the model it was written from."""
    said = [(prompt, quick.tokens(prompt, _SHORT)) for prompt in _PROBES]

    def against(model: TransformersModel) -> tuple[float, float]:
        gaps, drifts = [], []
        for prompt, tokens in said:
            known = model.logprobs(prompt, [token for token, _ in tokens])
            for (_, ours), (theirs, likeliest) in zip(tokens, known, strict=True):
                gaps.append(likeliest - theirs)
                drifts.append(abs(ours - theirs))
        return max(gaps), fmean(drifts)

    gap, drift = against(reference)
    return Check(sum(len(tokens) for _, tokens in said), gap, drift, against(base)[1] if base is not None else None)


def _forget_old(folder: Path) -> None:
    """Removes all but the last used ones; what another process has open stays with it until it ends."""
    forms = [check.parent for check in folder.glob(f"*/{CHECK}")]
    for form in sorted(forms, key=lambda form: form.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(form, ignore_errors=True)
