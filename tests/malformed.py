"""Requests that no client should send, drawn at random: bodies of JSON, contents of files, names and queries."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

ROUNDS = 100
Draw = random.Random
Body = Callable[[Draw, Mapping[str, Any]], bytes]
"""A body of one kind, from one that is as it should be."""
_PARTS: Sequence[Any] = (None, 1, [], [1], [{}], [{"type": "text"}], {"type": "text"}, "\udfff")
ODD: Sequence[Any] = [
    *(None, True, -1, 0, 1e-308, 1e308, 2**63, -(2**70), 10**300, "", "x", "\ud800", "\0", "x" * 20_000),
    *([], {}, [[]], [{}], [None], ["x"] * 5000, {"x": {"y": []}}, {"role": "user"}),
    *([{"role": "user"}], [{"role": [], "content": {}}]),
    *([{"role": "user", "content": part}] for part in _PARTS),
    [{"role": "assistant", "content": "a", "tool_calls": [{"id": 1}]}, {"role": "tool", "content": "b"}],
    *(float("nan"), float("inf"), -float("inf")),
]
_NAMES = [
    *("", ".", "..", "/", "//", "\\", "%", "%zz", "%ff", "%00", "%0a", "%ed%a0%80", "%2e%2e%2f", "*", "?", "#", ";"),
    *("a" * 300, "a" * 5000, "9" * 5000, "-1", "1e9", "nan", "true", "null", "{}", "[]", "é.md", "😀.md", "con.md"),
    *("a\u202e.md", "a.md/", "a.md%00.pdf", "<script>.md", "../" * 50, "%25" * 50, "a b.md", "~", "$HOME", "`id`.md"),
]


def odd_fields(draw: Draw, usual: Mapping[str, Any]) -> bytes:
    """One to three fields with values of other kinds."""
    fields = [*usual, "metadata", "unheard_of"]
    chosen = {draw.choice(fields): draw.choice(ODD) for _ in range(draw.randint(1, 3))}
    return json.dumps({**usual, **chosen}).encode()


def cut(draw: Draw, usual: Mapping[str, Any]) -> bytes:
    """The beginning alone."""
    whole = json.dumps(usual).encode()
    return whole[: draw.randrange(len(whole))]


def flipped(draw: Draw, usual: Mapping[str, Any]) -> bytes:
    """Some bytes changed."""
    data = bytearray(json.dumps(usual).encode())
    for _ in range(draw.randint(1, 8)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


def nested(draw: Draw, usual: Mapping[str, Any]) -> bytes:
    """A field of lists or objects in each other."""
    depth = draw.choice((100, 900, 5_000, 300_000))
    field = draw.choice(("metadata", *usual))
    inner = draw.choice(("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth))
    return json.dumps(usual)[:-1].encode() + f', "{field}": {inner}}}'.encode()


def other_bytes(draw: Draw, usual: Mapping[str, Any]) -> bytes:
    """Not JSON, or JSON in another encoding."""
    return draw.choice(
        (draw.randbytes(draw.randrange(500)), "{}".encode("utf-16"), b"\xed\xa0\x80", b'"\xed\xa0\x80"', b"9" * 9000)
    )


BODIES: Sequence[Body] = (odd_fields, cut, flipped, nested, other_bytes)


def odd_name(draw: Draw) -> str:
    """The last part of an address, quoted or not."""
    name = draw.choice(_NAMES)
    if draw.random() < 0.3:
        name += draw.choice(_NAMES)
    quoted = quote(name, safe="") if draw.random() < 0.5 or not name.isascii() else name.replace(" ", "+")
    return quoted.replace("#", "%23")


def odd_query(draw: Draw, fields: Sequence[str]) -> str:
    """A query in which some of the ``fields`` are missing, repeated, or hold a small number or something else."""
    given = [field for field in fields if draw.random() < 0.8]
    given += [draw.choice(fields) for _ in range(draw.randrange(2))]
    return "&".join(f"{field}={draw.randrange(9) if draw.random() < 0.2 else odd_name(draw)}" for field in given)
