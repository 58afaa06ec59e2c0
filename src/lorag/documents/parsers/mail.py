"""Mail messages (eml): the headers people read, the body, the mails and texts attached, and the names of all else. Web
pages that are saved as mails are (mht).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from pathlib import Path
from typing import Any, cast

from lorag.documents.markdown_structure import escaped
from lorag.documents.parsers.html import read_page
from lorag.documents.parsers.markup.markdown_source import plain_markdown
from lorag.documents.parsers.parsed import Parsed, blocks, counted
from lorag.documents.parsers.text import decode
from lorag.errors import DataError

_HEADERS = ("From", "To", "Cc", "Date")
_LONGEST, _LONGEST_OF_PART = 10_000, 2000
"""Characters of a header that the library takes apart, and of one that describes a part: it takes minutes over a long
one that is damaged."""
_DEEPEST = 6
"""Mails inside each other; what is attached to the last is named."""
_STUB = 2
"""A text that holds less than one in so many words of the last alternative only points to it."""
_WORDS = re.compile(r"\w+")
_TEXTS = ("text/plain", "text/html", "text/markdown", "text/csv")
"""What is read where it is attached."""


class _Bounded(policy.EmailPolicy):
    """The library's usual policy, but for headers that are too long to be taken apart."""

    def header_fetch_parse(self, name: str, value: str) -> Any:
        """The header's value; as it stands where it is long, and without its end where it describes a part."""
        if name.lower().startswith("content-"):
            return super().header_fetch_parse(name, value[:_LONGEST_OF_PART])
        return super().header_fetch_parse(name, value) if len(value) <= _LONGEST else value


_POLICY = _Bounded()


def parse_mail(path: Path, data: bytes) -> Parsed:
    """A mail as ``parse_message`` reads it."""
    message = cast("EmailMessage", message_from_bytes(data, policy=_POLICY))
    if not message["Subject"] and not any(message[name] for name in _HEADERS) and not message.is_multipart():
        raise DataError(path, "has no mail headers; expected a message as mail programs save it")
    return parse_message(path, message)


def parse_message(path: Path, message: EmailMessage) -> Parsed:
    """The subject as a heading, sender, receivers and date, then the body: its plain text, or its HTML where the
    plain text does not hold the same. Mails and texts that are attached follow in the same form.

    Other attachments are named, in the text and in a note, and not read.
    """
    text, notes = _read(path, message, 1)
    return Parsed(text, _subject(message), notes=notes)


def parse_web_archive(path: Path, data: bytes) -> Parsed:
    """The text of a page that a browser saved with its pictures in one file (mht), and of the frames in it."""
    message = cast("MIMEPart", message_from_bytes(data, policy=_POLICY))
    read = [_page(path, part) for part in message.walk() if part.get_content_type() == "text/html"]
    if not read:
        raise DataError(path, "holds no web page; save it again in the browser, as HTML or MHTML")
    text = blocks(page.text for page, _ in read)
    notes = dict.fromkeys(note for page, _ in read for note in page.notes)
    counts = sum((counts for _, counts in read), Counter[str]())
    return Parsed(text, _subject(message), notes=(*notes, *counted(counts)))


def _subject(message: MIMEPart) -> str:
    return " ".join(str(message["Subject"] or "").split())


def _read(path: Path, message: EmailMessage, depth: int) -> tuple[str, tuple[str, ...]]:
    """A message and those within it, and notes on what was not read."""
    subject = _subject(message)
    headers = [f"{name}: {message[name]}" for name in _HEADERS if message[name]]
    text, notes = _body(path, message)
    inner, names = list[str](), list[str]()
    for part in _attached(message):
        within = part.get_payload()
        if part.get_content_type() == "message/rfc822" and isinstance(within, list) and within and depth < _DEEPEST:
            words, said = _read(path, cast("EmailMessage", within[0]), depth + 1)
            inner, notes = [*inner, words], (*notes, *said)
        elif part.get_content_type() in _TEXTS and (read := _attached_text(path, part))[0]:
            inner += [f"{'#' * (depth + 1)} {part.get_filename() or 'Attachment'}", read[0]]
            notes = (*notes, *read[1])
        else:
            names.append(part.get_filename() or part.get_content_type())
    if names:
        headers.append(f"Attachments: {', '.join(names)}")
        notes = (*notes, f"has attachments that were not read: {', '.join(names)}; save them as files beside it")
    heading = f"{'#' * depth} {subject}" if subject else ""
    return blocks([heading, escaped("\n".join(headers)), text, *inner]), notes


def _attached(message: MIMEPart) -> Iterator[MIMEPart]:
    """What is attached, also to a part of the message; a message of nothing but another one has that."""
    if message.get_content_type() == "message/rfc822":
        yield message
    elif message.is_multipart():
        body = {id(part) for part in (message.get_body((kind,)) for kind in ("plain", "html")) if part is not None}
        for part in message.iter_parts():
            if part.get_content_type() == "message/rfc822" or not part.is_multipart():
                if id(part) not in body and (part.get_content_maintype() != "text" or part.get_filename()):
                    yield part
            else:
                yield from _attached(part)


def _attached_text(path: Path, part: MIMEPart) -> tuple[str, tuple[str, ...]]:
    """The words of an attached text, and notes on them; none where it is no text that can be read."""
    with suppress(DataError):
        return _text(path, part)
    return "", ()


def _body(path: Path, message: EmailMessage) -> tuple[str, tuple[str, ...]]:
    """Every text of the message in order; of alternatives the first that holds what the last does."""
    if message.get_content_type() == "message/rfc822":
        return "", ()
    if not message.is_multipart():
        return _text(path, message) if message.get_content_maintype() == "text" else ("", ())
    parts = [part for part in message.iter_parts() if not part.is_attachment() and not part.get_filename()]
    read = [_body(path, cast("EmailMessage", part)) for part in parts if part.get_content_type() != "message/rfc822"]
    if message.get_content_type() == "multipart/alternative":
        said = [each for each in read if each[0].strip()] or [("", ())]
        all_words = [set(_WORDS.findall(text.casefold())) for text, _ in said]
        richest = all_words[-1]  # as whoever writes a mail orders them
        fits = [_STUB * len(words & richest) >= len(richest) for words in all_words]
        return said[fits.index(True)]
    return blocks(text for text, _ in read), tuple(note for _, notes in read for note in notes)


def _page(path: Path, part: MIMEPart) -> tuple[Parsed, Counter[str]]:
    """A part that is a web page, and the notes that count what was left out of it."""
    charset = part.get_content_charset()
    meta = f'<meta charset="{charset}">'.encode() if charset else b""
    try:
        return read_page(path, meta + _data(part))
    except DataError as error:
        return Parsed("", notes=(f"has an HTML part that was not read: {error.message}",)), Counter()


def _text(path: Path, part: MIMEPart) -> tuple[str, tuple[str, ...]]:
    """A part's text and notes, decoded by our own rules: the library's would replace what does not fit."""
    data = _data(part)
    if not data.strip():
        return "", ()
    if part.get_content_subtype() == "html":
        page, counts = _page(path, part)
        return page.text, (*page.notes, *counted(counts))
    text, notes = decode(path, data, part.get_content_charset())
    if part.get_content_type() == "text/markdown":
        text, said = plain_markdown(text)
        return text, (*notes, *said)
    return escaped(text), notes


def _data(part: MIMEPart) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""
