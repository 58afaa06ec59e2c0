"""Documents of Office 97 (doc, xls, ppt): LibreOffice, where it is installed, writes them in the form that is read.

Its copy lies in a folder of its own for as long as that takes; macros are not run and links are not followed.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from lorag.documents.parsers.parsed import Parsed
from lorag.documents.parsers.sheets import parse_sheets
from lorag.documents.parsers.slides import parse_slides
from lorag.documents.parsers.word import parse_word
from lorag.errors import DataError

_READERS = {".doc": parse_word, ".xls": parse_sheets, ".ppt": parse_slides}
_STREAMS = {".doc": ("WordDocument",), ".xls": ("Workbook", "Book"), ".ppt": ("PowerPoint Document",)}
"""What a file of each kind holds; of anything else LibreOffice would make text, whatever it is."""
OLD_KINDS = tuple(_READERS)
_PROGRAMS = ("soffice", "libreoffice")
_SAFE = """\
<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Common/Security/Scripting">
<prop oor:name="DisableMacrosExecution"><value>true</value></prop>
<prop oor:name="BlockUntrustedRefererLinks"><value>true</value></prop>
<prop oor:name="DisableActiveContent"><value>true</value></prop></item>
</oor:items>
"""


def real_kind(suffix: str, data: bytes) -> str:
    """The suffix that fits what a file holds: many that are named like Office 97 hold rich text, a web page, or the
    format of today.
    """
    if suffix not in OLD_KINDS:
        return suffix
    head = data[:200].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return ".html"
    return f"{suffix}x" if head.startswith(b"pk\3\4") else ".rtf" if head.startswith(b"{\\rtf") else suffix


def parse_old_office(path: Path, data: bytes) -> Parsed:
    """As of the newer kind. Raises ``DataError`` where LibreOffice is not installed, or cannot convert the file."""
    suffix = path.suffix.lower()
    if not _holds(data, _STREAMS[suffix]):
        raise DataError(path, f"is not a {suffix} file of Office 97; save it as {suffix}x, or remove it")
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        raise DataError(
            path, f"is in a format of Office 97; install LibreOffice, which converts it, or save it as {suffix}x"
        )
    return _READERS[suffix](path, _converted(path, program, data))


def _holds(data: bytes, names: tuple[str, ...]) -> bool:
    """Whether a compound file has one of the streams."""
    import olefile  # type: ignore[import-untyped]

    if len(data) < olefile.MINIMAL_OLEFILE_SIZE or not olefile.isOleFile(data):
        return False
    with suppress(OSError), olefile.OleFileIO(BytesIO(data)) as file:
        return any(map(file.exists, names))
    return False


def _converted(path: Path, program: str, data: bytes) -> bytes:
    """The file in the newer form."""
    suffix = path.suffix.lower()
    with tempfile.TemporaryDirectory(prefix="lorag-") as folder:
        given, settings = Path(folder, f"given{suffix}"), Path(folder, "profile/user/registrymodifications.xcu")
        settings.parent.mkdir(parents=True)
        settings.write_text(_SAFE)
        given.write_bytes(data)
        options = ["--headless", "--norestore", "--convert-to", f"{suffix[1:]}x", "--outdir", folder, str(given)]
        profile = f"-env:UserInstallation={Path(folder, 'profile').as_uri()}"
        done = subprocess.run([program, profile, *options], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        converted = given.with_suffix(f"{suffix}x")
        if not converted.is_file():
            said = " ".join(done.stderr.decode(errors="replace").split())[:200]
            raise DataError(
                path,
                f"could not be converted by LibreOffice ({said or f'exit code {done.returncode}'}); save it as"
                f" {suffix}x without a password, or remove it",
            )
        return converted.read_bytes()
