"""Which documents are searched: keys and patterns, as people give them and as a manifest is asked for them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from lorag.errors import InputError, UnknownNameError
from lorag.interfaces import Manifest
from lorag.types import Where

_LONGEST_PATTERN = 10_000
"""Characters; a database has a limit of its own somewhere above."""


def read_pairs(pairs: Sequence[str]) -> Where:
    """What ``KEY=PATTERN`` texts mean together; a key given twice has two patterns, of which one has to fit."""
    where: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        key, sign, pattern = pair.partition("=")
        if not key or not sign:
            raise InputError(f"{pair!r} names no key; expected KEY=VALUE, such as type=pdf")
        where[key] = (*where.get(key, ()), pattern)
    return where


def read_where(where: Mapping[str, str | Sequence[str]]) -> Where:
    """``where`` with a tuple of patterns for every key. Raises ``InputError`` where there is none, or a huge one."""
    read = {key: (patterns,) if isinstance(patterns, str) else tuple(patterns) for key, patterns in where.items()}
    for key, patterns in read.items():
        if not patterns:
            raise InputError(f"no value is given for {key!r}; give one, or leave the key out")
        if (longest := max(map(len, patterns))) > _LONGEST_PATTERN:
            raise InputError(f"a value of {longest} characters for {key!r}; expected at most {_LONGEST_PATTERN}")
    return read


def condition(where: Where, select: str, like: str, as_pattern: Callable[[str], str]) -> tuple[str, list[str]]:
    """A statement that selects what has for every key a value like one of its patterns, and its parameters.

    ``select`` takes the documents out of a table with a row for every ``name`` and ``value``; ``like`` compares a value
    with a parameter, to which ``as_pattern`` brings a pattern.
    """
    mark = like.split()[-1]
    each = [f"{select} WHERE name = {mark} AND ({' OR '.join([like] * len(patterns))})" for patterns in where.values()]
    parameters = [text for key, patterns in where.items() for text in (key, *map(as_pattern, patterns))]
    return " INTERSECT ".join(each), parameters


def refuse(where: Where, manifest: Manifest) -> NoReturn:
    """Raises ``InputError`` that says why ``where`` means no document: with the nearest keys and values there are."""
    values: dict[str, set[str]] = {}
    for entry in manifest.entries().values():
        for key, value in entry.attributes:
            values.setdefault(key, set()).add(value)
    if not values:
        raise InputError("the index holds no documents to choose from; make it with `lorag index DOCS`")
    for key, patterns in where.items():
        if key not in values:
            raise UnknownNameError("key of documents", key, values)
        if not manifest.chosen({key: patterns}):
            there = sorted(values[key])
            near = difflib.get_close_matches(patterns[0], there, n=3) or there[:3]
            more = f" and {len(there) - len(near)} more" if len(there) > len(near) else ""
            raise InputError(
                f"no document has a {key} like {_either(patterns)}; the index has {', '.join(map(repr, near))}{more}"
            )
    told = " and ".join(f"a {key} like {_either(patterns)}" for key, patterns in where.items())
    raise InputError(f"no document has {told} at once; leave one out")


def _either(texts: Sequence[str]) -> str:
    return " or ".join(map(repr, texts))
