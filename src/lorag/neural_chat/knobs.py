"""Knobs of the old configuration that change nothing here: declared where they stand, named when they are turned."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Annotated, Any, TypeVar, get_type_hints

from lorag.errors import UnknownNameError

T = TypeVar("T")


_IDLE = "idle"
Idle = Annotated[T, _IDLE]
"""A dataclass field that is accepted and changes nothing; its default is what happens here anyway."""


def idle_fields(kind: type) -> list[str]:
    """The names of the fields of a configuration that change nothing."""
    hints = get_type_hints(kind, include_extras=True)
    return [name for name, hint in hints.items() if _IDLE in getattr(hint, "__metadata__", ())]


def turned(config: Any) -> list[str]:
    """The idle fields of a configuration that ask for something else than what happens."""
    kind = type(config)
    defaults = {each.name: each.default for each in fields(config)}
    return [f"{kind.__name__}.{name}" for name in idle_fields(kind) if getattr(config, name) != defaults[name]]


def warn_idle(names: Iterable[str]) -> None:
    """Says by their names that knobs were turned that have no effect."""
    if listed := ", ".join(names):
        warnings.warn(f"no effect here: {listed} (docs/migrating-from-neuralchat.md)", stacklevel=3)


def made(kind: type[T], given: Mapping[str, Any]) -> T:
    """The configuration with these values. Raises ``UnknownNameError`` with the nearest names for one it lacks."""
    known = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    for name in given:
        require_known(f"keyword of {kind.__name__}", name, known)
    return kind(**given)


def require_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Raises ``UnknownNameError`` with the nearest names when ``name`` is not among the known."""
    if name not in set(known):
        raise UnknownNameError(kind, name, known)
