"""What files of Office, OpenDocument and epub have in common: they are zip archives, which may be traps.

Nothing is unpacked to the disk, here or in the parsers.
"""

from __future__ import annotations

import re
import zipfile
from copy import copy
from io import BytesIO
from pathlib import Path
from typing import Any

from lorag.documents.parsers.parsed import raising
from lorag.errors import DataError
from lorag.settings import LoadSettings

_COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/(\w+)")
_RELATIONS = "_rels/.rels"
"""The part that says where the document is, and in which form."""
_PIECE_BYTES = 1 << 16


def require_sound_archive(path: Path, data: bytes, settings: LoadSettings) -> None:
    """Raises ``DataError`` for an archive that is encrypted, damaged, over a limit, or not as large as it declares.

    The sizes it declares are added up first. Then every entry is unpacked, a small piece at a time, and counted:
    readers of these formats unpack an entry in one go and would meet a false size in memory.
    """
    if data.startswith(_COMPOUND):
        state = "is encrypted with a password" if _ENCRYPTED in data else "is in the old format of Office 97"
        raise DataError(path, f"{state}; save it as {path.suffix.lower()} without a password")
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > settings.max_parts:
                expected = f"expected at most {settings.max_parts:,}; split it, or {raising('max_parts')}"
                raise DataError(path, f"holds {len(entries):,} parts, {expected}")
            declared = sum(entry.file_size for entry in entries)
            if declared > settings.max_unpacked_bytes:
                raise DataError(path, _too_large(declared, settings.max_unpacked_bytes))
            for entry in entries:
                if entry.flag_bits & 1 or entry.compress_type not in _KINDS:
                    raise DataError(
                        path,
                        f"holds {entry.filename!r}, which is encrypted or packed in an unsupported way; save it again",
                    )
                if _unpacked_bytes(archive, entry) != entry.file_size:
                    raise DataError(path, f"gives a false size for {entry.filename!r}; pack it again")
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError) as error:
        raise DataError(
            path, f"is not a valid {path.suffix.lower()} file ({error}); save it again, or remove it"
        ) from error


def opened(data: bytes) -> zipfile.ZipFile:
    """The archive, whose entries were found sound."""
    return zipfile.ZipFile(BytesIO(data))


def xml_part(archive: zipfile.ZipFile, name: str) -> Any:
    """An entry as an lxml element; nothing outside of it is fetched, and no entity is unfolded."""
    from lxml import etree  # type: ignore[import-untyped]

    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    return etree.fromstring(archive.read(name), parser)


def as_transitional(data: bytes) -> bytes:
    """An Office file in the strict form of Open XML in the form that its readers know; every other one as it is."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        if not any(_STRICT.search(archive.read(name)) for name in archive.namelist() if name == _RELATIONS):
            return data
        parts = {entry: archive.read(entry) for entry in archive.infolist()}
    written = BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, part in parts.items():
            is_xml = entry.filename.endswith((".xml", ".rels"))
            archive.writestr(entry.filename, _STRICT.sub(_transitional, part) if is_xml else part)
    return written.getvalue()


def _transitional(match: re.Match[bytes]) -> bytes:
    name = {b"extendedProperties": b"extended-properties", b"customProperties": b"custom-properties"}
    return b"http://schemas.openxmlformats.org/%s/2006/%s" % (match[1], name.get(match[2], match[2]))


def _unpacked_bytes(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """The real size of an entry, counted to one byte over the size it declares."""
    reached = copy(entry)
    reached.file_size = entry.file_size + 1  # zipfile reads as far as this says,
    del reached.CRC  # and checks a sum only where there is one
    with archive.open(reached) as file:
        return sum(map(len, iter(lambda: file.read(_PIECE_BYTES), b"")))


def _too_large(size: int, limit: int) -> str:
    return (
        f"unpacks to {size / 1e6:.0f} MB, expected at most {limit / 1e6:.0f} MB; split it, or"
        f" {raising('max_unpacked_bytes')}"
    )
