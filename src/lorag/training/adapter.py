"""What a training leaves on disk: PEFT's own format, or a whole model, beside a manifest that explains it.

The manifest is written last: a folder with one is whole, one without is not an adapter. It holds a fingerprint of the
base's weights, so that an adapter is never put on another model without a word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from lorag.errors import DataError, InputError, ModelError
from lorag.finetune_methods import METHODS, MethodSpec
from lorag.settings import FinetuneSettings, PromptSettings
from lorag.training.forgetting import ControlChange, Forgetting

MANIFEST = "lorag.json"
NOISE = 0.01
"""Nats within which two losses of the same rows count as one: what another order of sums makes of them."""
_SHAPE = ("method", "rank", "alpha", "trained_layers", "virtual_tokens")
"""Settings by which an adapter has its weights."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The adapter whose weights a training began from."""

    folder: str
    weights: str
    """Fingerprint of its weights and their configuration."""
    data: str
    """Fingerprint of the conversations that it was trained on."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A trained adapter and how it came about. Losses are mean cross entropies per learned token, in nats."""

    folder: str
    """Where it lies."""
    method: str
    """What was trained; of ``full`` the folder holds a whole model, of the others an adapter in PEFT's format."""
    base: str
    """Name of the base model."""
    base_weights: str
    """Fingerprint of the base's weights."""
    template: str
    """Fingerprint of the chat template it was trained with."""
    data: str
    """Fingerprint of the conversations."""
    conversations: int
    """Conversations that it was trained on."""
    rehearsed: int
    """How many of them are general questions with the base's own answers, general text that it wrote itself, or old
    conversations that are replayed."""
    too_long: int
    """Conversations that were left out because they are longer than ``max_tokens``."""
    held_out: int
    """Conversations that were kept back to measure the loss on."""
    held_out_kind: str
    """What was held out: other ``wordings`` of what was learned, whole ``documents``, or ``none``."""
    tokens: int
    """Tokens of one epoch, without padding."""
    supervised_tokens: int
    """Tokens of one epoch that are learned."""
    steps: int
    """Updates of the weights."""
    step: str
    """Whose arithmetic a step was: ``fused`` or the ``library``'s."""
    seconds: float
    """What the training took, without loading the model."""
    loss_first: float
    """Training loss of the first step."""
    loss_last: float
    """Training loss of the last step."""
    held_out_loss_before: float | None
    """Loss on what was held out, before the training; None where nothing was."""
    held_out_loss_after: float | None
    """The same when training ended. Both by the library's own forward, as the adapter is served."""
    forgetting: Forgetting | None
    """What the model lost of everything else; None where that was not measured."""
    loss_curve: tuple[float, ...]
    """Training loss of every step, in order."""
    settings: Mapping[str, float | str]
    """Settings of the training, by name."""
    versions: Mapping[str, str]
    """Versions of the libraries, by name."""
    checked_loss: float | None = None
    """Loss, when training ended, of the rows by which serving is checked: those held out, or else a few of those that
    were trained on. None in manifests of earlier versions."""
    served_format: str | None = None
    """The dtype in which the saved folder was loaded again for that: the machine's own, or float32 where all
    weights were trained and the machine's own lost more than noise. None where that was not done."""
    served_loss: float | None = None
    """Loss of the same rows by what was loaded."""
    prompt: PromptSettings = field(default_factory=PromptSettings)
    """What it was trained under, and is asked under where no other prompt is given."""
    parent: Parent | None = None
    """The adapter that it continues; what is measured before the training is then the parent's. None for one that began
    from the base."""
    recalls: tuple[float, ...] = ()
    """Share of the probed facts that were right after each pass; empty where none were probed."""

    @property
    def spec(self) -> MethodSpec:
        """What sets the method apart from the others."""
        return METHODS[self.method]

    @property
    def dtype(self) -> Literal["auto", "float32", "nf4"]:
        """The dtype to load in where none is asked for.

        All weights are trained in float32, and served in bf16 only where that was measured to round nothing away. The
        base of an adapter is served as any model, but for one of 4 bits, whose rounding the adapter learned to correct.
        """
        if self.spec.is_whole_model:
            return "auto" if self.served_format == "bfloat16" else "float32"
        return "nf4" if "nf4" in (self.served_format or "") or self.spec.on_four_bits else "auto"

    @property
    def served(self) -> str:
        """The loss when training ended and the loss as served, in one line."""
        if self.checked_loss is None or self.served_loss is None:
            return "not measured"
        return (
            f"loss {self.checked_loss:.2f} at the end of training, {self.served_loss:.2f} after loading in"
            f" {self.served_format}"
        )

    def to_json(self) -> str:
        """The manifest, without the folder it lies in."""
        fields = asdict(self)
        del fields["folder"]
        return json.dumps(fields, indent=2, sort_keys=True)


def read_adapter(folder: Path | str) -> Adapter:
    """The adapter in ``folder``: how it was trained, and what was measured. No weights are loaded.

    Args:
        folder: What ``finetune`` wrote.

    Returns:
        The manifest of the adapter.

    Raises:
        DataError: The folder holds no adapter of Lorag, or not the whole of one.

    Examples:
        >>> adapter = lorag.read_adapter("adapter")
        >>> print(adapter.method, adapter.conversations, adapter.loss_last)
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(folder, f"is not an adapter of Lorag ({MANIFEST} is missing); train one with `lorag finetune`")
    try:
        fields = json.loads(path.read_text())
        if fields["method"] not in METHODS:
            raise ValueError(f"method {fields['method']!r} is unknown")
        measured = fields["forgetting"]
        if measured is not None and measured.get("control") is not None:
            measured["control"] = ControlChange(**measured["control"])
        whole = {
            "loss_curve": tuple(fields["loss_curve"]),
            "forgetting": None if measured is None else Forgetting(**measured),
            "prompt": PromptSettings(**fields.get("prompt", {})),
            "recalls": tuple(fields.get("recalls", ())),
            "parent": Parent(**fields["parent"]) if fields.get("parent") else None,
        }
        return Adapter(folder=str(folder), **{**fields, **whole})
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(path, f"is not a manifest this version reads: {error}") from error


def trained_model(folder: Path) -> Adapter | None:
    """What a model folder says of its training where all of its weights were trained here; None for any other model.

    Raises ``DataError`` as ``read_adapter`` does.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        fields = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(path, f"is not a manifest this version reads: {error}") from error
    # A fetched model has a manifest too, which knows of no training.
    return read_adapter(folder) if fields.get("method") == "full" else None


def require_base(adapter: Adapter, base: str, base_weights: str) -> None:
    """Raises ``ModelError`` when the adapter was trained on other weights than those of ``base``."""
    if adapter.base_weights != base_weights:
        raise ModelError(
            f"the adapter in {adapter.folder!r} was trained on {adapter.base!r} with the weights"
            f" {adapter.base_weights}, and {base!r} has the weights {base_weights}; name its own base with --model, or"
            " train it again"
        )


def shape_of(adapter: Adapter) -> dict[str, Any]:
    """The settings by which the adapter has its weights: whatever continues it has the same."""
    return {name: adapter.settings[name] for name in _SHAPE if name in adapter.settings}


def require_continuable(adapter: Adapter, settings: FinetuneSettings) -> None:
    """Raises ``InputError`` where no training with ``settings`` can begin from the weights of ``adapter``."""
    if adapter.spec.is_whole_model:
        raise InputError(
            f"{adapter.folder!r} holds a whole model, not an adapter; to continue it, name it as the base with --model"
            f" {adapter.folder} and --method full"
        )
    for name, kept in shape_of(adapter).items():
        if getattr(settings, name) != kept:
            raise InputError(
                f"the adapter in {adapter.folder!r} was trained with {name} {kept} and cannot be continued with"
                f" {getattr(settings, name)}; leave {name} out, or train an adapter that begins from the base"
            )
