"""Mail messages (eml): the headers people read, the body, and the names of what is attached."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from pathlib import Path
from typing import Any, cast

from lorag.documents.markdown_structure import escaped
from lorag.documents.parsers.html import parse_html
from lorag.documents.parsers.parsed import Parsed, blocks
from lorag.documents.parsers.text import decode
from lorag.errors import DataError

_HEADERS = ("From", "To", "Cc", "Date")
_LONGEST, _LONGEST_OF_PART = 10_000, 2000
"""Characters of a header that the library takes apart, and of one that describes a part: it takes minutes over a long
one that is damaged."""


class _Bounded(policy.EmailPolicy):
    """The library's usual policy, but for headers that are too long to be taken apart."""

    def header_fetch_parse(self, name: str, value: str) -> Any:
        """The header's value; as it stands where it is long, and without its end where it describes a part."""
        if name.lower().startswith("content-"):
            return super().header_fetch_parse(name, value[:_LONGEST_OF_PART])
        return super().header_fetch_parse(name, value) if len(value) <= _LONGEST else value


_POLICY = _Bounded()


def parse_mail(path: Path, data: bytes) -> Parsed:
    """The subject as a heading, sender, receivers and date, then the body: its plain text, or else its HTML.

    Attachments are named, in the text and in a note, and not read.
    """
    message = cast("EmailMessage", message_from_bytes(data, policy=_POLICY))
    subject = " ".join(str(message["Subject"] or "").split())
    headers = [f"{name}: {message[name]}" for name in _HEADERS if message[name]]
    body = message.get_body(("plain", "html"))
    if not subject and not headers and not message.is_multipart():
        raise DataError(path, "holds none of a mail's headers; expected a message as mail programs save it")
    text, notes = _text(path, body) if body is not None else ("", ())
    names = [part.get_filename() or part.get_content_type() for part in message.iter_attachments()]
    if names:
        headers.append(f"Attachments: {', '.join(names)}")
        notes = (*notes, f"has attachments that were not read: {', '.join(names)}; save them as files beside it")
    heading = f"# {subject}" if subject else ""
    return Parsed(blocks([heading, escaped("\n".join(headers)), text]), subject, notes=notes)


def _text(path: Path, part: MIMEPart) -> tuple[str, tuple[str, ...]]:
    """A part's text and notes, decoded by our own rules: the library's would replace what does not fit."""
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    if not data.strip():
        return "", ()
    charset = part.get_content_charset()
    if part.get_content_subtype() == "html":
        meta = f'<meta charset="{charset}">'.encode() if charset else b""
        page = parse_html(path, meta + data)
        return page.text, page.notes
    text, notes = decode(path, data, charset)
    return escaped(text), notes
