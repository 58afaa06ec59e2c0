"""Compound files written by hand, the containers of Outlook's messages and of Office 97 (MS-CFB)."""

import struct
from itertools import pairwise
from typing import Any

_SECTOR, _MINI, _CUTOFF = 512, 64, 4096
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


def compound(tree):
    """The bytes of a file with the streams (bytes) and storages (dictionaries) of ``tree``."""
    entries: list[Any] = []
    sectors: list[bytes] = []
    chains: list[int] = []
    small = b""

    def keep(data):
        """The first sector of ``data``, which is cut into sectors that follow each other."""
        first, pieces = len(sectors), [data[at : at + _SECTOR] for at in range(0, len(data), _SECTOR)]
        sectors.extend(piece.ljust(_SECTOR, b"\0") for piece in pieces)
        chains.extend([*range(first + 1, first + len(pieces)), _END][: len(pieces)])
        return first if pieces else _END

    def add(name, kind, value=b""):
        nonlocal small
        number, start, size = len(entries), 0, 0
        entries.append(None)
        below = []
        if kind == 2:
            start, size = len(small) // _MINI, len(value)
            if size >= _CUTOFF:
                start = keep(value)
            else:
                small += value.ljust(-(-size // _MINI) * _MINI, b"\0")
        else:
            below = [add(each, 1 if isinstance(inner, dict) else 2, inner) for each, inner in (value or {}).items()]
        entries[number] = [name, kind, _FREE, below[0] if below else _FREE, start, size]
        for one, following in pairwise(below):
            entries[one][2] = following
        return number

    add("Root Entry", 5, tree)
    counts = [0] * (len(small) // _MINI)
    for _, kind, _, _, start, size in entries:
        if kind == 2 and size < _CUTOFF:
            for at in range(start, start + -(-size // _MINI)):
                counts[at] = at + 1 if at + 1 < start + -(-size // _MINI) else _END
    entries[0][4:] = keep(small), len(small)
    mini_fat = keep(struct.pack(f"<{len(counts)}I", *counts))
    directory = keep(b"".join(map(_entry, entries)))
    fat_sectors = -(-(len(sectors) + 4) // 127)
    fat = [*chains, *[_FAT] * fat_sectors]
    fat += [_FREE] * (fat_sectors * 128 - len(fat))
    first_fat = len(sectors)
    sectors.append(struct.pack(f"<{len(fat)}I", *fat))
    places = [*range(first_fat, first_fat + fat_sectors), *[_FREE] * (109 - fat_sectors)]
    mini_sectors = -(-len(counts) * 4 // _SECTOR)
    head = struct.pack(
        "<8s16xHHHHH6x9I109I",
        *(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6, 0, fat_sectors, directory, 0, _CUTOFF),
        *(mini_fat, mini_sectors, _END, 0, *places),
    )
    return head + b"".join(sectors)


def _entry(entry):
    name, kind, right, child, start, size = entry
    letters = name.encode("utf-16-le") + b"\0\0"
    return struct.pack("<64sHBBIII16x4x8x8xIQ", letters, len(letters), kind, 1, _FREE, right, child, start, size)


def outlook(texts, inner=(), attached=(), fixed=b""):
    """A message of Outlook: texts by the numbers of their properties, messages and files that are attached to it."""
    return compound(_message(texts, inner, attached, b"\0" * 32 + fixed))


def message_within(texts):
    """A message to be attached to another one."""
    return _message(texts, (), (), b"\0" * 24)


def _message(texts, inner, attached, properties):
    tree = {"__properties_version1.0": properties}
    for number, text in texts.items():
        kind, data = ("001F", text.encode("utf-16-le")) if isinstance(text, str) else ("0102", text)
        tree[f"__substg1.0_{number:04X}{kind}"] = data
    for count, each in enumerate((*inner, *attached)):
        storage: dict[str, Any] = {"__properties_version1.0": b"\0" * 8}
        if isinstance(each, dict):
            storage["__substg1.0_3701000D"] = each
        else:
            storage["__substg1.0_3707001F"] = each[0].encode("utf-16-le")
            storage["__substg1.0_37010102"] = each[1]
        tree[f"__attach_version1.0_#{count:08X}"] = storage
    return tree
