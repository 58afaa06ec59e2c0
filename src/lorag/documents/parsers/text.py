"""Plain text, in whatever encoding they are: every character as it is, or an error.

UTF-8 is tried first, then a byte order mark, then what the file declares. What is left is decided by how its letters
follow each other, among the code pages that people's files are in; where two of them fit equally well and read
differently, the file is refused rather than guessed.
"""

from __future__ import annotations

import codecs
from pathlib import Path

from lorag.documents.parsers.parsed import Parsed
from lorag.errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CODE_PAGES = (
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp866", "cp874"),
    *("koi8_r", "koi8_u", "iso8859_2", "iso8859_5", "iso8859_7"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
)
_ESCAPE, _ESCAPING = b"\x1b$", "iso2022_jp"
"""The one code page whose bytes are all ASCII, so that they are UTF-8 too."""
_MAX_MESS = 0.05
"""Share of unlikely neighbours, as charset-normalizer measures it: 0 for text, above this for another code page."""
_REPAIR = "save it as UTF-8, or remove it from the folder"


def parse_plain(path: Path, data: bytes) -> Parsed:
    """The text as it is; its ends of lines become those of Unix."""
    text, notes = decode(path, data)
    return Parsed(text, notes=notes)


def decode(path: Path, data: bytes, declared: str | None = None) -> tuple[str, tuple[str, ...]]:
    """The text of ``data`` and, where its code page was found out from its letters, a note that names it.

    ``declared`` is the encoding that the file gives itself, if any. Ends of lines become those of Unix. Raises
    ``DataError`` for bytes that are no text, or whose code page cannot be determined.
    """
    text, notes = _decoded(path, data, declared)
    if "\0" in text:
        raise DataError(path, "is binary, expected text; convert it or remove it from the folder")
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


def _decoded(path: Path, data: bytes, declared: str | None) -> tuple[str, tuple[str, ...]]:
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    escaping = [_ESCAPING] if _ESCAPE in data else []
    for name in [marked] if marked else [*escaping, "utf-8", *_meant(declared)]:
        try:
            return data.decode(name), ()
        except UnicodeError as error:
            if marked:
                raise DataError(
                    path, f"begins with the byte order mark of {marked} but is not valid ({error}); {_REPAIR}"
                ) from error
    if b"\0" in data:
        raise DataError(path, "is binary, expected text; convert it or remove it from the folder")
    return _guessed(path, data)


def _meant(declared: str | None) -> list[str]:
    """The codec of a declared encoding, none where it is unknown. Who declares Latin-1 writes Windows-1252."""
    try:
        name = codecs.lookup(declared).name if declared else None
    except LookupError:
        return []
    return ["cp1252" if name in ("ascii", "iso8859-1") else name] if name else []


def _guessed(path: Path, data: bytes) -> tuple[str, tuple[str, ...]]:
    """The text in the code page that fits it best. Raises ``DataError`` where none fits, or several do."""
    from charset_normalizer import CharsetMatch, from_bytes

    def fit(match: CharsetMatch) -> tuple[float, float, float]:
        return match.chaos, match.coherence, match.multi_byte_usage

    matches = from_bytes(data, cp_isolation=list(_CODE_PAGES))
    best = matches.best()
    if best is None or best.chaos > _MAX_MESS:
        raise DataError(path, f"is not UTF-8, and its code page cannot be recognised; {_REPAIR}")
    rivals = [match.encoding for match in matches if fit(match) == fit(best) and str(match) != str(best)]
    if rivals:
        raise DataError(path, f"is not UTF-8, and could be {best.encoding} or {', '.join(rivals)}; {_REPAIR}")
    # Of a large file the library looks at samples only: decoding all of it is what proves the match.
    try:
        return data.decode(best.encoding), (
            f"is not UTF-8 and was read as {best.encoding}; {_REPAIR} if that is wrong",
        )
    except UnicodeError as error:
        raise DataError(path, f"is not UTF-8, and only partly {best.encoding} ({error}); {_REPAIR}") from error
