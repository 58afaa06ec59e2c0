"""What tokens and machines cost, as the user's ``prices.toml`` has it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lorag.errors import DataError, UnknownNameError
from lorag.files import read_toml

_OF_ONE_ARM = {"build", "update"}
"""Prices that stand in an arm's table only."""
_LONGEST_CURRENCY = 12
"""Characters: it stands in the heading of a row."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of one currency. Where tokens have a price, answers are paid by tokens, else by the machine's time.

    Searching, indexing and training are always paid by the machine's time.
    """

    machine_hour: float = 0.0
    million_tokens_in: float = 0.0
    """A million tokens of prompts."""
    million_tokens_out: float = 0.0
    """A million tokens of answers."""
    build: float = 0.0
    """What building an arm costs once beside the machine's time, such as a training that a provider sells."""
    update: float = 0.0
    """What an update of the documents costs an arm beside the machine's time."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Rates of every arm, and how much the assistant will be used."""

    currency: str = "money"
    questions: int | None = None
    """How many questions will be asked in all, over which building and updates are spread; None: not known."""
    updates: int = 0
    """How many updates of the documents there will be meanwhile."""
    rates: Rates = field(default_factory=Rates)
    arms: Mapping[str, Rates] = field(default_factory=dict)
    """The rates of arms that have others."""

    def of(self, arm: str) -> Rates:
        """The rates of an arm."""
        return self.arms.get(arm, self.rates)


MACHINE_HOURS = Prices("machine hours", rates=Rates(machine_hour=1.0))
"""Stands where no prices are given: what the machine's time amounts to."""


def read_prices(path: Path, arms: Collection[str]) -> Prices:
    """The prices in a TOML file: keys of ``Prices`` and ``Rates``, and tables ``[arms.NAME]`` with keys of ``Rates``.

    A table's keys go before the file's. Raises ``DataError`` for broken TOML, for a name that is not known, with the
    nearest (``arms`` are those that there are), and for a value that is no price.
    """
    given = read_toml(path)
    rates = {each.name for each in fields(Rates)}
    _require_known(path, "price", given, rates - _OF_ONE_ARM | {"currency", "questions", "updates", "arms"})
    tables = given.get("arms", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise DataError(path, "arms is not a table; expected [arms.NAME] with prices below it")
    _require_known(path, "arm", tables, arms)
    every = _rates(path, {name: given[name] for name in rates & given.keys()})
    own: dict[str, Rates] = {}
    for arm, table in tables.items():
        _require_known(path, "price", table, rates)
        own[arm] = _rates(path, {**asdict(every), **table})
    if not any(any(asdict(each).values()) for each in (every, *own.values())):
        raise DataError(path, f"holds no price above 0; expected one of {', '.join(sorted(rates))}")
    return Prices(
        _currency(path, given.get("currency", Prices().currency)),
        _count(path, "questions", given["questions"], least=1) if "questions" in given else None,
        _count(path, "updates", given.get("updates", 0), least=0),
        every,
        own,
    )


def _require_known(path: Path, kind: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    for name in given.keys() - known:
        raise DataError(path, str(UnknownNameError(kind, name, known)))


def _rates(path: Path, given: Mapping[str, Any]) -> Rates:
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise DataError(path, f"{name} is {value!r}; expected a number of 0 or above")
    return Rates(**given)


def _count(path: Path, name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise DataError(path, f"{name} is {value!r}; expected a whole number of {least} or above")
    return value


def _currency(path: Path, value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value.strip()) <= _LONGEST_CURRENCY:
        raise DataError(path, f"currency is {value!r}; expected 1 to {_LONGEST_CURRENCY} characters, such as EUR")
    return value.strip()
