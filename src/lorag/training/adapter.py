"""What a training leaves on disk: PEFT's own format, or a whole model, beside a manifest that explains it.

The manifest is written last: a folder with one is whole, one without is no adapter. It holds a fingerprint of the
base's weights, so that an adapter is never put on another model without a word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lorag.errors import DataError, ModelError
from lorag.training.forgetting import ControlChange, Forgetting

MANIFEST = "lorag.json"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A trained adapter and how it came about. Losses are mean cross entropies a supervised token, in nats."""

    folder: str
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
    rehearsed: int
    """How many of them are general questions with the base's own answers."""
    too_long: int
    held_out: int
    held_out_kind: str
    """What was held out: other ``wordings`` of what was learned, whole ``documents``, or ``none``."""
    tokens: int
    """Tokens of one epoch, without padding."""
    supervised_tokens: int
    steps: int
    step: str
    """Whose arithmetic a step was: ``fused`` or the ``library``'s."""
    seconds: float
    loss_first: float
    loss_last: float
    held_out_loss_before: float | None
    held_out_loss_after: float | None
    forgetting: Forgetting | None
    """What the model lost of everything else; None where that was not measured."""
    loss_curve: tuple[float, ...]
    """Training loss of every step, in order."""
    settings: Mapping[str, float | str]
    versions: Mapping[str, str]

    def to_json(self) -> str:
        """The manifest, without the folder it lies in."""
        fields = asdict(self)
        del fields["folder"]
        return json.dumps(fields, indent=2, sort_keys=True)


def read_adapter(folder: Path) -> Adapter:
    """The adapter in ``folder``. Raises ``DataError`` when there is none, or it is not whole."""
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(folder, f"is no adapter of Lorag ({MANIFEST} is missing); train one with `lorag finetune`")
    try:
        fields = json.loads(path.read_text())
        measured = fields["forgetting"]
        if measured is not None and measured.get("control") is not None:
            measured["control"] = ControlChange(**measured["control"])
        whole = {
            "loss_curve": tuple(fields["loss_curve"]),
            "forgetting": None if measured is None else Forgetting(**measured),
        }
        return Adapter(folder=str(folder), **{**fields, **whole})
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(path, f"is not a manifest this version reads: {error}") from error


def require_base(adapter: Adapter, base: str, base_weights: str) -> None:
    """Raises ``ModelError`` when the adapter was trained on other weights than those of ``base``."""
    if adapter.base_weights != base_weights:
        raise ModelError(
            f"the adapter in {adapter.folder!r} was trained on {adapter.base!r} with the weights"
            f" {adapter.base_weights}, and {base!r} has the weights {base_weights}; name its own base with --model, or"
            " train it anew"
        )
