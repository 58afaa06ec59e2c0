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
    """The adapter that a training continued."""

    folder: str
    weights: str
    """Fingerprint of its weights and their configuration."""
    data: str
    """Fingerprint of the conversations that it was trained on."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A trained adapter and its training. Losses are mean cross entropies per learned token, in nats."""

    folder: str
    """Folder of the adapter."""
    method: str
    """Method of the training. For ``full``, the folder contains a whole model, otherwise an adapter in PEFT's
    format."""
    base: str
    """Name of the base model."""
    base_weights: str
    """Fingerprint of the base's weights."""
    template: str
    """Fingerprint of the chat template used in training."""
    data: str
    """Fingerprint of the conversations."""
    conversations: int
    """Number of conversations trained on."""
    rehearsed: int
    """How many of these were added against forgetting: general questions with the base's own answers, general text that
    it generated, or old conversations."""
    too_long: int
    """Number of conversations left out because they are longer than ``max_tokens``."""
    held_out: int
    """Number of conversations held out to measure the loss."""
    held_out_kind: str
    """What was held out: other ``wordings`` of what was learned, whole ``documents``, or ``none``."""
    tokens: int
    """Tokens per epoch, without padding."""
    supervised_tokens: int
    """Learned tokens per epoch."""
    steps: int
    """Number of updates of the weights."""
    step: str
    """Implementation of a training step: ``fused`` (Lorag's own kernels) or ``library``."""
    seconds: float
    """Duration of the training in seconds, without loading the model. If it was interrupted, the time up to the
    checkpoint from which it resumed is included."""
    loss_first: float
    """Training loss of the first step."""
    loss_last: float
    """Training loss of the last step."""
    held_out_loss_before: float | None
    """Loss on held-out conversations before the training; None if nothing was held out."""
    held_out_loss_after: float | None
    """The same after the training. Both use the library's forward pass, as when the adapter is served."""
    forgetting: Forgetting | None
    """What the model lost in other skills; None if that was not measured."""
    loss_curve: tuple[float, ...]
    """Training loss of every step, in order."""
    settings: Mapping[str, float | str]
    """Settings of the training, by name."""
    versions: Mapping[str, str]
    """Versions of the libraries, by name."""
    checked_loss: float | None = None
    """Loss at the end of training on the rows that check serving: held-out rows, or else some that were trained on.
    None in manifests of earlier versions."""
    served_format: str | None = None
    """Dtype in which the saved folder was loaded for that check: the machine's own, or float32 if all weights were
    trained and the machine's own dtype lost more than noise. None if it was not checked."""
    served_loss: float | None = None
    """Loss on the same rows after loading; None if it was not checked."""
    prompt: PromptSettings = field(default_factory=PromptSettings)
    """The prompt used in training, and in serving if no other prompt is given."""
    parent: Parent | None = None
    """The adapter that it continues; losses and forgetting before the training are then the parent's. None if it was
    trained from the base."""
    recalls: tuple[float, ...] = ()
    """Share of the probed facts recalled after each epoch; empty if none were probed."""
    strength: float = 1.0
    """The share of its strength that is kept. Below 1, ``held_out_loss_after``, ``served_loss`` and ``forgetting`` are
    measured at that strength; the other losses are those of the training, at the whole one."""
    epochs: int | None = None
    """Number of epochs trained, fewer than in ``settings`` if the training stopped early. None in manifests of earlier
    versions."""
    out_of_time: bool = False
    """Whether it stopped because the budget had no time for another epoch."""

    @property
    def spec(self) -> MethodSpec:
        """The properties of the method."""
        return METHODS[self.method]

    @property
    def dtype(self) -> Literal["auto", "float32", "nf4"]:
        """The dtype to load in where none is asked for.

        All weights are trained in float32, and served in bf16 only where that was measured to round nothing away. The
        base of an adapter is served as any model, but for one of 4 bits, whose rounding the adapter learned to correct.
        """
        if self.spec.is_whole_model:
            return "auto" if self.served_format == "bfloat16" else "float32"
        return "nf4" if self.served_format == "nf4" or self.spec.on_four_bits else "auto"

    @property
    def served(self) -> str:
        """The loss when training ended and the loss as served, in one line."""
        if self.checked_loss is None or self.served_loss is None:
            return "not measured"
        weaker = f" at {self.strength:g} of its strength" if self.strength != 1 else ""
        return (
            f"loss {self.checked_loss:.2f} at the end of training, {self.served_loss:.2f} after loading{weaker} in"
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
            # Earlier versions wrote in what 4 bits are computed as well.
            "served_format": (fields.get("served_format") or "").partition(" ")[0] or None,
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
    spec = METHODS.get(fields.get("method"))
    return read_adapter(folder) if spec is not None and spec.is_whole_model else None


def checkpoints_of(out: Path) -> Path:
    """Where a training that will be saved in ``out`` keeps what it resumes from."""
    return out.with_name(f".{out.name}.checkpoints")


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
