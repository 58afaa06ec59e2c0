"""Mail messages (eml): the headers people read, the body, the mails and texts attached, and the names of all else. Web
pages that are saved as mails are (mht).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
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
_ENOUGH = 0.98
"""Share of the words of an alternative, and all that have digits, by which another one holds what it does."""
_SHORT = 30
"""Different words in what may be no more than a hint, such as to open the message in another program."""
_WORDS, _ADDRESSES = re.compile(r"[^\W_]+"), re.compile(r"https?://\S+|mailto:\S+")
_APPOINTMENT = "text/calendar"
_UNREAD_FORM = "word{s} in another form of its text that {were} not read"
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

    Other attachments, appointments among them, are named, in the text and in a note, and not read.
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
    if _is_leaf(message):
        if message.get_content_maintype() != "text":
            yield message
    else:
        for part in message.iter_parts():
            if not _is_leaf(part):
                yield from _attached(part)
            elif not _is_body(part):
                yield part


def _is_leaf(part: MIMEPart) -> bool:
    return not part.is_multipart() or part.get_content_maintype() == "message"


def _is_body(part: MIMEPart) -> bool:
    """Whether a part that holds no others is a text for the reader; what has a name or is an appointment is not."""
    is_named = part.is_attachment() or part.get_filename()
    return part.get_content_maintype() == "text" and not is_named and part.get_content_type() != _APPOINTMENT


def _attached_text(path: Path, part: MIMEPart) -> tuple[str, tuple[str, ...]]:
    """The words of an attached text, and notes on them; none where it is no text that can be read."""
    with suppress(DataError):
        return _text(path, part)
    return "", ()


def _body(path: Path, message: MIMEPart) -> tuple[str, tuple[str, ...]]:
    """Every text of the message in order; of alternatives the best."""
    if _is_leaf(message):
        return _text(path, message) if message.get_content_maintype() == "text" else ("", ())
    parts = [part for part in message.iter_parts() if not _is_leaf(part) or _is_body(part)]
    if message.get_content_type() != "multipart/alternative":
        return _together([_body(path, part) for part in parts])
    known = [part for part in parts if not _is_leaf(part) or part.get_content_type() in _TEXTS]
    read = [_body(path, part) for part in known or parts]
    return _best([each for each in read if each[0].strip()] or [("", ())])


def _together(read: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[str, tuple[str, ...]]:
    return blocks(text for text, _ in read), tuple(note for _, notes in read for note in notes)


def _best(read: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[str, tuple[str, ...]]:
    """The first of several forms of a text that holds all others; else the richest, with a note on what others hold.

    Where that one is short too, all are read: each may say something, or only point to another.
    """
    words = [set(_WORDS.findall(_ADDRESSES.sub(" ", text).casefold())) for text, _ in read]
    everything = set[str]().union(*words)
    whole = next((at for at, each in enumerate(words) if _holds(each, everything)), None)
    if whole is not None:
        return read[whole]
    chosen = max(reversed(range(len(read))), key=lambda at: len(words[at]))
    if len(words[chosen]) <= _SHORT:
        return _together(read)
    text, notes = read[chosen]
    return text, (*notes, *counted({_UNREAD_FORM: len(everything - words[chosen])}))


def _holds(words: set[str], others: Set[str]) -> bool:
    missing = others - words
    return not any(map(_is_figure, missing)) and len(missing) <= (1 - _ENOUGH) * len(others)


def _is_figure(word: str) -> bool:
    return any(map(str.isdigit, word))


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
