"""A finetune that was made elsewhere: a model that a server holds, or an adapter in a folder. Nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorag import build
from lorag.errors import InputError
from lorag.interfaces import Progress
from lorag.llm.engines.openai import Address
from lorag.llm.engines.transformers import TransformersModel, adapter_fingerprint
from lorag.models.adapter_fit import base_named, read_peft_config
from lorag.models.fingerprint import weights_fingerprint
from lorag.training.adapter import MANIFEST, Adapter, read_adapter


@dataclass(frozen=True, slots=True)
class Brought:
    """Where a finetune is: under the name ``served``, or in the folder ``adapter``."""

    served: str | None
    adapter: Path | None
    trained: Adapter | None
    """Lorag's manifest of the adapter; None for one of another program."""
    config: dict[str, Any]
    """PEFT's description of the adapter, where Lorag has none."""

    @property
    def named_base(self) -> str | None:
        """The base as PEFT's own file names it, which may be a name of hubs or a path on another machine."""
        return self.config.get("base_model_name_or_path")

    @property
    def identity(self) -> str:
        """A name or a fingerprint that no other finetune has."""
        if self.adapter is None:
            return str(self.served)
        is_whole = self.trained is not None and self.trained.spec.is_whole_model
        return weights_fingerprint(self.adapter) if is_whole else adapter_fingerprint(self.adapter)

    def __str__(self) -> str:
        """Where it is and what it is."""
        if self.adapter is None:
            return f"{self.served}, as its server answers"
        if self.trained is not None:
            return f"{str(self.adapter)!r}, trained by `lorag finetune` ({self.trained.method})"
        modules = self.config.get("target_modules")
        layers = modules if isinstance(modules, str) else ", ".join(sorted(modules or ()))
        return (
            f"the adapter in {str(self.adapter)!r} ({str(self.config.get('peft_type', 'PEFT')).lower()}, rank"
            f" {self.config.get('r', 'unknown')}, on {layers or 'unnamed layers'})"
        )

    def base(self, model: str | None) -> str | None:
        """The name of the base: ``model``, or the one that the manifest knows.

        Raises ``InputError`` where it cannot be the base of this finetune, or is not named.
        """
        if self.served is not None:
            if model is None or not build.is_remote(model) or model == self.served:
                raise InputError(
                    f"the finetune {self.served} is compared with its base, which has to be served as well, under"
                    f" another name; expected --model openai:MODEL@URL, not {model!r}"
                )
            return model
        if model is not None and build.is_remote(model):
            raise InputError(
                f"{str(self.adapter)!r} cannot be applied to {model}; let its server load it, and name it with"
                " --finetuned"
            )
        if self.trained is None and self.adapter is not None:
            return base_named(self.adapter, model)
        return model if model is not None or self.trained is None else self.trained.base

    def require_base(self, model: str, progress: Progress) -> None:
        """Raises ``ModelError`` where the adapter was made for another base; nothing is loaded."""
        if self.adapter is not None:
            build.base_folder(self.adapter, self.trained, model, progress)

    def on(self, base: TransformersModel) -> TransformersModel:
        """``base`` with the adapter applied. Raises ``ModelError`` when it does not fit, or changes nothing."""
        if self.adapter is None:
            raise TypeError(f"{self.served} is not an adapter")
        return build.finetuned_model(base, self.trained) if self.trained else base.with_adapter(self.adapter)


def read_brought(finetuned: str | None, adapter: Path | str | None) -> Brought | None:
    """The finetune that was made elsewhere; None where there is none. Raises ``InputError`` for what is none."""
    if finetuned is not None and adapter is not None:
        raise InputError(
            "one finetune is compared; give --finetuned (a served model) or --adapter (a folder), not both"
        )
    if finetuned is not None:
        Address.parse(finetuned)
        return Brought(finetuned, None, None, {})
    if adapter is None:
        return None
    folder = Path(adapter)
    if (folder / MANIFEST).is_file():
        return Brought(None, folder, read_adapter(folder), {})
    return Brought(None, folder, None, read_peft_config(folder))
