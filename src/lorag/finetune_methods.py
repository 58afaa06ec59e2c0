"""The methods of finetuning: one row for each, with everything in which it differs from the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Method = Literal["lora", "rslora", "dora", "pissa", "qlora", "full", "prompt", "prefix"]
"""What is trained of a model, or put into or before it."""


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """What a method trains, and what follows for those that train, load and export."""

    rate: float
    """Peak learning rate where none is given."""
    trains: Literal["low-rank layers", "all weights", "virtual tokens"] = "low-rank layers"
    root_scale: bool = False
    """Whether its layers are scaled by the root of their rank instead of the rank."""
    length_apart: bool = False
    """Whether the direction and the length of a weight are learned apart."""
    principal_parts: bool = False
    """Whether its layers begin as the principal parts of the weights; they are saved as layers of twice the rank."""
    in_every_layer: bool = False
    """Whether its virtual tokens are keys and values of every layer, not embeddings before the first one."""
    on_four_bits: bool = False
    """Whether it learns on a base of 4 bits, so that it is served on one."""
    shards: bool = False
    """Whether several processes may each hold a part of the model."""
    rate_is_chosen: bool = False
    """Whether a recipe tries several learning rates."""

    @property
    def is_whole_model(self) -> bool:
        """Whether what is saved is a model of its own, not an adapter."""
        return self.trains == "all weights"

    @property
    def is_virtual(self) -> bool:
        """Whether what is trained stands before the conversation, as tokens that no weight contains."""
        return self.trains == "virtual tokens"

    @property
    def needs_whole_base(self) -> bool:
        """Whether it begins at the weights of the base, so that these cannot be held in 4 bits."""
        return self.is_whole_model or self.principal_parts

    @property
    def fits_published_base(self) -> bool:
        """Whether what was learned is a difference to the published weights, which any engine adds at any strength."""
        return not self.is_virtual and not self.on_four_bits

    @property
    def kept_rank(self) -> int:
        """How many times the rank of the training the saved layers have."""
        return 2 if self.principal_parts else 1


METHODS: Mapping[str, MethodSpec] = {
    "lora": MethodSpec(2e-4, shards=True, rate_is_chosen=True),
    "rslora": MethodSpec(5e-5, root_scale=True, shards=True),
    "dora": MethodSpec(2e-4, length_apart=True),
    "pissa": MethodSpec(1e-4, principal_parts=True),
    "qlora": MethodSpec(2e-4, on_four_bits=True),
    "full": MethodSpec(5e-5, "all weights", shards=True),
    "prompt": MethodSpec(1e-2, "virtual tokens"),
    "prefix": MethodSpec(1e-3, "virtual tokens", in_every_layer=True),
}
"""By the name of the method (``Method``). ``FinetuneSettings`` gives the reasons for the rates."""
