"""Messages of Outlook (msg), read as the mails that they are.

Properties by their numbers: MS-OXPROPS; their streams: MS-OXMSG 2.1 to 2.4; compressed rich text: MS-OXRTFCP 2.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_string, policy
from email.message import EmailMessage
from io import BytesIO
from mimetypes import guess_type
from pathlib import Path
from typing import Any

from lorag.documents.parsers.mail import parse_message
from lorag.documents.parsers.markup.rich_text import known_codec, parse_rich_text
from lorag.documents.parsers.parsed import Parsed
from lorag.errors import DataError

_SUBJECT, _HEADERS, _TO, _CC, _BODY, _HTML, _RICH = 0x0037, 0x007D, 0x0E04, 0x0E03, 0x1000, 0x1013, 0x1009
_SENDER, _ADDRESSES, _SENT = 0x0C1A, (0x5D01, 0x0C1F), (0x0039, 0x0E06)
_NAMES, _CONTENT, _CODE_PAGES = (0x3707, 0x3704, 0x3001), 0x3701, (0x3FFD, 0x3FDE)
_UNICODE, _BYTES, _OBJECT, _TEXT = 0x001F, 0x0102, 0x000D, 0x001E
_TIME, _NUMBER = 0x0040, 0x0003
_HEAD_OF_MESSAGE, _HEAD_OF_INNER = 32, 24
"""Bytes before the first property of a fixed size."""
_PROPERTIES, _DEEPEST = "__properties_version1.0", 8
_OTHER = "is not a message of Outlook; save it again as .msg or .eml, or remove it"
_KNOWN_TEXT = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans Serif"
    rb"SymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)
"""What compressed rich text may refer to from its first byte on."""


class _AsTheyAre(policy.EmailPolicy):
    """Headers are kept as they are given, not taken apart as in a mail; but for those that describe a part."""

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        """A header on one line."""
        return super().header_store_parse(name, value) if _describes(name) else (name, " ".join(str(value).split()))

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        """The header as it was stored."""
        return super().header_fetch_parse(name, value) if _describes(name) else value


def _describes(name: str) -> bool:
    return name.lower().startswith(("content-", "mime-"))


_POLICY = _AsTheyAre()


def parse_outlook(path: Path, data: bytes) -> Parsed:
    """The message as a mail is read, with those that are attached to it."""
    import olefile  # type: ignore[import-untyped]

    if len(data) < olefile.MINIMAL_OLEFILE_SIZE or not olefile.isOleFile(data):
        raise DataError(path, _OTHER)
    with olefile.OleFileIO(BytesIO(data)) as file:
        if not file.exists(_PROPERTIES):
            raise DataError(path, _OTHER)
        # The library would follow a chain of sectors that bites its tail for as long as the size says.
        if max(file.root.size, *map(file.get_size, file.listdir())) > len(data):
            raise DataError(path, "gives a false size for one of its streams; save it again, or remove it")
        return parse_message(path, _message(path, file, []))


def _message(path: Path, file: Any, within: list[str]) -> EmailMessage:
    """The message whose streams lie ``within`` a storage of the file."""
    fixed = dict(_fixed(file, within, _HEAD_OF_INNER if within else _HEAD_OF_MESSAGE))
    codec = next((_codec(fixed[page]) for page in _CODE_PAGES if page in fixed), "cp1252")

    def text(number: int) -> str:
        return _text(file, within, number, codec)

    message = EmailMessage(policy=_POLICY)
    headers = message_from_string(text(_HEADERS), policy=_POLICY)
    address = next((found for number in _ADDRESSES if "@" in (found := text(number))), "")
    sender = f"{text(_SENDER)} <{address}>" if address and address != text(_SENDER) else text(_SENDER)
    sent = next((_time(fixed[number]) for number in _SENT if fixed.get(number)), "")
    for name, value in (
        ("Subject", text(_SUBJECT)),
        ("From", sender or headers["From"]),
        ("To", text(_TO) or headers["To"]),
        ("Cc", text(_CC) or headers["Cc"]),
        ("Date", headers["Date"] or sent),
    ):
        if value and str(value).strip():
            message[name] = value
    plain, page = text(_BODY), text(_HTML).encode() or _stream(file, within, _HTML, _BYTES)
    if not plain.strip() and not page.strip() and (rich := _stream(file, within, _RICH, _BYTES)):
        plain = parse_rich_text(path, _unpacked(rich)).text
    message.set_content(plain)
    if page.strip():
        charset = "utf-8" if text(_HTML) else codec
        message.add_alternative(page, maintype="text", subtype="html", params={"charset": charset})
    _attach(path, message, file, within, codec)
    return message


def _attach(path: Path, message: EmailMessage, file: Any, within: list[str], codec: str) -> None:
    """Adds what is attached; of what kind it is its name tells."""
    for storage in _attachments(file, within):
        inner = [*storage, f"__substg1.0_{_CONTENT:04X}{_OBJECT:04X}"]
        if file.exists([*inner, _PROPERTIES]) and len(inner) <= 2 * _DEEPEST:
            message.add_attachment(_message(path, file, inner))
        else:
            name = next(filter(None, (_text(file, storage, number, codec) for number in _NAMES)), "without a name")
            content = _stream(file, storage, _CONTENT, _BYTES)
            maintype, subtype = (guess_type(name)[0] or "application/octet-stream").split("/")
            message.add_attachment(content, maintype=maintype, subtype=subtype, filename=name)


def _attachments(file: Any, within: list[str]) -> Iterator[list[str]]:
    depth = len(within) + 1
    for storage in file.listdir(streams=False, storages=True):
        if len(storage) == depth and storage[:-1] == within and storage[-1].startswith("__attach_version1.0_"):
            yield storage


def _fixed(file: Any, within: list[str], head: int) -> Iterator[tuple[int, int]]:
    """The numbers and times of a message, by the numbers of their properties."""
    properties = _read(file, [*within, _PROPERTIES])[head:]
    for kind, number, value in struct.iter_unpack("<HH4xQ", properties[: len(properties) // 16 * 16]):
        if kind in (_TIME, _NUMBER):
            yield number, value if kind == _TIME else value & 0xFFFFFFFF


def _text(file: Any, within: list[str], number: int, codec: str) -> str:
    wide, narrow = (_stream(file, within, number, kind) for kind in (_UNICODE, _TEXT))
    return (wide.decode("utf-16-le", "replace") or narrow.decode(codec, "replace")).replace("\0", "")


def _stream(file: Any, within: list[str], number: int, kind: int) -> bytes:
    return _read(file, [*within, f"__substg1.0_{number:04X}{kind:04X}"])


def _read(file: Any, name: list[str]) -> bytes:
    if not file.exists(name) or file.get_type(name) != 2:
        return b""
    with file.openstream(name) as stream:
        return bytes(stream.read())


def _codec(page: int) -> str:
    """The codec of a code page of Windows; the usual one where Python does not know it."""
    names = {1200: "utf-16-le", 20127: "cp1252", 28591: "cp1252", 28592: "iso8859-2", 54936: "gb18030"}
    return known_codec(names.get(page, f"cp{page}"))


def _time(ticks: int) -> str:
    """A time that is counted in tenths of microseconds since 1601, to the minute; empty where it is none."""
    try:
        return f"{datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks // 10):%Y-%m-%d %H:%M} UTC"
    except OverflowError:
        return ""


def _unpacked(data: bytes) -> bytes:
    """The rich text of a message, which is stored as it is or compressed."""
    if len(data) < 16:
        return b""
    size, kind = struct.unpack_from("<4xI4s", data)
    if kind == b"MELA":
        return data[16 : 16 + size]
    window, at = bytearray(_KNOWN_TEXT), 16
    while at < len(data) and len(window) - len(_KNOWN_TEXT) < size:
        control, at = data[at], at + 1
        for bit in range(8):
            if control >> bit & 1:
                if at + 2 > len(data):
                    break
                (pair,) = struct.unpack_from(">H", data, at)
                at += 2
                start, length = pair >> 4, (pair & 15) + 2
                end = len(window) % 4096
                if start == end:
                    return bytes(window[len(_KNOWN_TEXT) :])
                back = (end - start) % 4096
                for _ in range(length):
                    window.append(window[-back] if back <= len(window) else 32)
            elif at < len(data):
                window.append(data[at])
                at += 1
    return bytes(window[len(_KNOWN_TEXT) : len(_KNOWN_TEXT) + size])
