"""Every error Lorag raises on purpose.

LoragError
├── InputError             the caller can repair it: wrong file, name or setting (the command line exits with 2)
│   ├── DataError          a data file is wrong; knows the path and, for line formats, the line
│   ├── SettingError       a setting is out of range; knows its name
│   ├── UnknownNameError   a name that is not in a catalogue; suggests the nearest
│   ├── MissingExtraError  an optional part is not installed; names the line that installs it
│   └── RunMismatchError   a run directory belongs to other questions, documents or settings
└── OperationError         the surroundings failed (the command line exits with 1)
    ├── FetchError         a model or a data set could not be had from where it is published
    ├── ChecksumError      what was fetched is not what the catalogue promises
    ├── ModelError         weights or an adapter do not load, or do not take part
    ├── EndpointError      a remote model cannot be reached, is too slow, or answers what cannot be read
    ├── BudgetError        the tokens that remote models may take in a run are spent
    ├── StoreError         an index is missing, damaged, or made by another embedder
    └── StorageError       the disk is full or not writable

A message names the mistake, what was expected, and the remedy. With any other exception the command line
exits with 70.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any


class LoragError(Exception):
    """The base class of every error that Lorag raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        """How it reaches another process: by its message and what it knows, whatever its constructor takes."""
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[LoragError], told: tuple[object, ...], known: dict[str, object]) -> LoragError:
    error = kind.__new__(kind, *told)
    error.__dict__ |= known
    return error


class InputError(LoragError):
    """An input is wrong, and the caller can correct it."""


class DataError(InputError):
    """A data file is wrong; the message begins with ``path:line``."""

    def __init__(self, path: Path | str, message: str, line: int | None = None) -> None:
        """``line`` counts from 1; None for a whole file."""
        self.path, self.line, self.message = Path(path), line, message
        super().__init__(f"{path}{f':{line}' if line is not None else ''}: {message}")


class SettingError(InputError):
    """A setting is out of range; ``name`` is the setting's."""

    def __init__(self, name: str, value: object, expected: str) -> None:
        """``expected`` is the range."""
        self.name = name
        super().__init__(f"{name} {value!r} is not valid; expected {expected}")


class UnknownNameError(InputError):
    """A name that is in no catalogue; the message suggests the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        """``known`` are the valid names; the message names the nearest, or all when none is near."""
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names
        super().__init__(f"unknown {kind} {name!r}; did you mean {', '.join(near)}?{f' {hint}' if hint else ''}")


class MissingExtraError(InputError):
    """A library that only an extra brings is not installed."""


class RunMismatchError(InputError):
    """A run directory holds another run than the one asked for."""


class OperationError(LoragError):
    """The surroundings failed: network, disk, or a model."""


class FetchError(OperationError):
    """A package that carries a model, or a data set of a hub, could not be had."""


class ChecksumError(OperationError):
    """A file is not the one the catalogue names."""


class ModelError(OperationError):
    """Weights or an adapter do not load, or do not take part."""


class EndpointError(OperationError):
    """A remote model cannot be reached, is too slow, refuses, or answers what cannot be read."""


class BudgetError(OperationError):
    """The tokens that a run may spend on remote models are spent; what was answered is kept."""


class StoreError(OperationError):
    """An index is missing, damaged, or was made with other settings."""


class StorageError(OperationError):
    """A file could not be written: no space, or no permission."""


def require(module: str, extra: str, purpose: str) -> Any:
    """The imported ``module``. Raises ``MissingExtraError`` with the install line when ``extra`` is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        message = f"{purpose} needs the package {module!r}; install it with `{install_line(extra)}`"
        raise MissingExtraError(message) from error


def install_line(extra: str) -> str:
    """The command that installs Lorag with ``extra``."""
    return f"pip install 'lorag[{extra}]'"
