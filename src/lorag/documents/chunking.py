"""A document cut into chunks along its own structure.

Cuts fall at headings first, then between blocks, sentences and words, as far up as a chunk's size allows. Tables are
kept whole where they fit, and are cut between their rows where they do not. Chunks do not overlap: overlap gains
nothing once cuts follow the structure. Text that is not Markdown is cut by its blank lines and sentences; a line of it
that begins with ``# `` is taken for a heading.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter, itemgetter

from lorag.documents.markdown_structure import Heading, Table, headings, tables
from lorag.settings import ChunkSettings
from lorag.types import Chunk, Document, Place

_SEPARATOR = " > "
_SENTENCE_END = re.compile(r"[.!?。！？]+[\"')\]]*\s+|\n+|[。！？]")
_WORD = re.compile(r"\w")
_WORD_END = re.compile(r"\s+|[\u3040-\u9fff]")

CountTokens = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of the text, with the header row of the table that it continues."""

    start: int
    end: int
    table_header: str = ""


def passages(
    document: Document, settings: ChunkSettings, count_tokens: CountTokens, limit: int | None = None
) -> list[tuple[Chunk, list[str]]]:
    """The chunks of ``document`` in order, each with the texts by which it is found: one, or one for each piece of it.

    With ``search_tokens``, pieces of that size (see ``split``) that follow each other make up a chunk as far as
    ``max_tokens`` allows, so that a small piece is found and all around it is read.
    """
    if settings.search_tokens is None:
        chunks = split(document, settings.max_tokens, count_tokens, limit)
        return [(chunk, [searched_text(chunk)]) for chunk in chunks]
    groups: list[list[Chunk]] = []
    for piece in split(document, settings.search_tokens, count_tokens, limit):
        if groups and count_tokens(document.text[groups[-1][0].start : piece.end]) <= settings.max_tokens:
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return [(_joined(document, group), [searched_text(piece) for piece in group]) for group in groups]


def split(document: Document, max_tokens: int, count_tokens: CountTokens, limit: int | None = None) -> list[Chunk]:
    """The chunks of ``document`` in order, each of at most ``max_tokens`` as ``count_tokens`` measures its text.

    Offsets are Python string offsets. Without blank pieces every character is in exactly one chunk, so the texts
    joined equal the document's; a piece of nothing but white space is in none. A chunk may begin and end with white
    space. A single character longer than ``max_tokens`` is a chunk of its own.

    ``limit`` is what an embedder holds: ``searched_text`` of a chunk is no longer either. For that the chunks of a
    document with long headings are smaller; a heading path that takes more than half of the limit is shortened.
    """
    text, version = document.text, document.version
    outline = headings(text)
    starts, paths = [heading.start for heading in outline], _paths(document.title, outline)
    size = max_tokens
    if limit is not None:
        longest = max(count_tokens(_SEPARATOR.join(path)) for path in paths)
        size = max(1, min(max_tokens, limit - min(longest, limit // 2)))
    chunks = []
    pieces = [piece for piece in _pieces(text, starts, size, count_tokens) if text[piece.start : piece.end].strip()]
    for piece in _with_last_heading(text, pieces, size, count_tokens):
        passage = text[piece.start : piece.end]
        first, last = piece.end - len(passage.lstrip()), piece.start + len(passage.rstrip())
        path = paths[bisect_right(starts, first)]
        where = _place(document.places, first, last)
        heading = _SEPARATOR.join(path)
        chunk = Chunk(document.id, version, piece.start, piece.end, passage, heading, piece.table_header, where)
        chunks.append(chunk if limit is None else _fitting(chunk, path, limit, count_tokens))
    return chunks


def searched_text(chunk: Chunk) -> str:
    """What is embedded and indexed: the heading path, the header of a table that continues here, and the passage."""
    return "\n".join(part for part in (chunk.heading, chunk.table_header, chunk.text) if part)


def _joined(document: Document, pieces: Sequence[Chunk]) -> Chunk:
    """One chunk from the start of the first piece to the end of the last, under the headings of the first."""
    start, end = pieces[0].start, pieces[-1].end
    text = document.text[start:end]
    place = _place(document.places, start + len(text) - len(text.lstrip()), start + len(text.rstrip()))
    return replace(pieces[0], end=end, text=text, place=place)


def _paths(title: str, outline: Sequence[Heading]) -> list[list[str]]:
    """The titles above the first heading and below each: ``title``, then the headings that are open there.

    A heading of level 1 that repeats the title counts once.
    """
    paths, open_headings = [[title] if title else []], list[Heading]()
    for heading in outline:
        while open_headings and open_headings[-1].level >= heading.level:
            open_headings.pop()
        open_headings.append(heading)
        names = [each.title for each in open_headings]
        paths.append(names if title in ("", names[0]) else [title, *names])
    return paths


def _place(places: Sequence[Place], start: int, end: int) -> str:
    """Where the characters from ``start`` up to ``end`` stand: one place, or from the first to the last of several."""
    first = bisect_right(places, start, key=attrgetter("start")) - 1
    last = bisect_left(places, end, key=attrgetter("start"))
    names = [place.name for place in places[max(0, first) : last]]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}" if names else ""


def _fitting(chunk: Chunk, path: Sequence[str], limit: int, count_tokens: CountTokens) -> Chunk:
    """``chunk`` with as much of its heading path as ``limit`` leaves room for: outer titles go first."""
    names = list(path)
    while names and count_tokens(searched_text(chunk)) > limit:
        names = names[1:] or ([names[0][: len(names[0]) // 2]] if len(names[0]) > 1 else [])
        chunk = replace(chunk, heading=_SEPARATOR.join(names))
    return chunk


def _pieces(text: str, headed: Sequence[int], size: int, count_tokens: CountTokens) -> Iterator[_Piece]:
    """The whole of ``text`` in pieces; ``headed`` are the starts of its headings. Those right above a table go with it.

    Tables that are too large stand alone; between them, the text is cut where it does not cut a table.
    """
    done = 0
    whole: list[tuple[int, int]] = []
    for table in tables(text):
        first, last = _headings_above(text, headed, table.start)
        start = headed[first] if first < last else table.start
        few_rows = len(table.rows) <= size  # and where there are many, counting them all only takes time
        fits = few_rows and count_tokens(text[start : table.end]) <= size
        # One heading that leaves its table too little room is cut off from it; several would be left alone.
        if fits or (few_rows and last - first < 2 and count_tokens(text[table.start : table.end]) <= size):
            whole.append((start if fits else table.start, table.end))
        else:
            yield from _cut_text(text, done, start, whole, size, count_tokens)
            yield from _cut_table(text, start, table, size, count_tokens)
            done, whole = table.end, []
    yield from _cut_text(text, done, len(text), whole, size, count_tokens)


def _headings_above(text: str, headed: Sequence[int], start: int) -> tuple[int, int]:
    """Which of the headings stand right above ``start`` and each other: from one index up to another."""
    first = last = bisect_left(headed, start)
    while first and "\n" not in text[headed[first - 1] : start].strip():
        first -= 1
        start = headed[first]
    return first, last


def _cut_text(
    text: str, start: int, end: int, whole: Sequence[tuple[int, int]], size: int, count_tokens: CountTokens
) -> Iterator[_Piece]:
    """``text`` from ``start`` to ``end``, cut at headings, blocks, sentences, words, as far up as ``size`` allows.

    The stretches in ``whole`` are kept whole: each fits, and a cut inside one moves to its edges.
    """
    from semantic_text_splitter import MarkdownSplitter

    splitter = MarkdownSplitter.from_callback(count_tokens, size, trim=False)
    cuts = [start + offset for offset, _ in splitter.chunk_indices(text[start:end])] + [end]
    for left, right in whole:
        inside = slice(bisect_right(cuts, left), bisect_left(cuts, right))
        if cuts[inside]:
            cuts[inside] = sorted({left, right} - {cuts[inside.start - 1], cuts[inside.stop]})
            for edge in (left, right):  # which is no cut where both sides fit together
                at = bisect_left(cuts, edge)
                if 0 < at < len(cuts) - 1 and count_tokens(text[cuts[at - 1] : cuts[at + 1]]) <= size:
                    del cuts[at]
    for left, right in pairwise(_with_what_they_head(text, cuts, whole, size, count_tokens)):
        yield _Piece(left, right)


def _with_what_they_head(
    text: str, cuts: Sequence[int], whole: Sequence[tuple[int, int]], size: int, count_tokens: CountTokens
) -> list[int]:
    """``cuts`` moved where a piece would be nothing but headings: as much of the next one joins it as fits.

    That is whole sentences, or else the first words of one, but for the tables in ``whole``.
    """
    kept = list(cuts[:1])
    for at, (left, right) in enumerate(pairwise(cuts)):
        if kept[-1] < left and _only_headings(text[kept[-1] : left]):
            moved = left
            for match in _SENTENCE_END.finditer(text, left, right):
                if count_tokens(text[kept[-1] : match.end()]) > size:
                    break
                moved = match.end()
            if count_tokens(text[kept[-1] : right]) > size:
                table = bisect_right(whole, left, key=itemgetter(0)) - 1
                in_table = table >= 0 and left < whole[table][1]
                kept.append(moved if in_table else _with_words(text, kept[-1], moved, right, size, count_tokens))
        elif kept[-1] < left:
            kept.append(left)
        if at == len(cuts) - 2:
            kept.append(right)
    return kept


def _with_words(text: str, start: int, end: int, most: int, size: int, count_tokens: CountTokens) -> int:
    """``end``, or, where there are only headings up to it, the end of as many words up to ``most`` as fit with them."""
    following = headings(text[end:most])
    is_heading = bool(following) and not text[end : end + following[0].start].strip()
    if is_heading or not _only_headings(text[start:end]):
        return end
    ends = [match.end() for match in _WORD_END.finditer(text, end, most)]
    fitting = bisect_right(ends, size, key=lambda at: count_tokens(text[start:at]))
    return ends[fitting - 1] if fitting else end


def _with_last_heading(text: str, pieces: Sequence[_Piece], size: int, count_tokens: CountTokens) -> Sequence[_Piece]:
    """``pieces`` whose last one, if it heads nothing, begins with as little of the end of the one before it as fits.

    If all of that one fits, both are one.
    """
    if len(pieces) < 2 or not _only_headings(text[pieces[-1].start : pieces[-1].end]):
        return pieces
    *rest, before, last = pieces
    for start, header in _ends(text, before):
        header_tokens = count_tokens(f"{header}\n") if header else 0
        if header_tokens + count_tokens(text[start : last.end]) <= size:
            kept = [replace(before, end=start)] if start > before.start else []
            return [*rest, *kept, _Piece(start, last.end, header)]
    return pieces


def _ends(text: str, piece: _Piece) -> Iterator[tuple[int, str]]:
    """Where the end of a piece may begin, with the header of the table that continues there: at its own beginning, at
    its last sentence or row, and between the words of the second half of that sentence.
    """
    yield piece.start, piece.table_header
    inside = [table for table in tables(text[piece.start : piece.end]) if table.rows]
    sentence = piece.start
    for match in reversed([*_SENTENCE_END.finditer(text, piece.start, piece.end)]):
        at = match.end() - piece.start
        table = next((table for table in inside if table.start < at < table.end), None)
        is_whole = at in table.rows if table else not piece.table_header or match[0].endswith("\n")
        if is_whole and _has_word(text[match.end() : piece.end]) and _has_word(text[piece.start : match.end()]):
            yield match.end(), piece.table_header or (table.header.strip() if table else "")
            sentence = match.end()
            break
    if not inside and not piece.table_header:
        for match in _WORD_END.finditer(text, (sentence + piece.end) // 2, piece.end):
            if _has_word(text[match.end() : piece.end]) and _has_word(text[piece.start : match.end()]):
                yield match.end(), ""


def _has_word(text: str) -> bool:
    """Whether a text holds a word beside its headings."""
    return bool(_WORD.search(text)) and not _only_headings(text)


def _only_headings(text: str) -> bool:
    lines = [line for line in text.split("\n") if line.strip()]
    return bool(lines) and len(headings(text)) == len(lines)


def _cut_table(text: str, start: int, table: Table, size: int, count_tokens: CountTokens) -> Iterator[_Piece]:
    """A table that is too large, cut between its rows; a row that is too large itself is cut like text.

    Parts below the first carry the header, which counts in their size, unless it alone takes half of it.
    """
    header = table.header.strip()
    if 2 * count_tokens(header) >= size:
        header = ""
    header_tokens = count_tokens(f"{header}\n") if header else 0

    def part(begin: int, end: int) -> Iterator[_Piece]:
        room = size - header_tokens if begin > start else size
        if count_tokens(text[begin:end]) <= room:
            yield _Piece(begin, end, header if begin > start else "")
        else:
            for piece in _cut_text(text, begin, end, (), max(1, size - header_tokens), count_tokens):
                below = bool(table.rows) and piece.start >= table.rows[0]
                yield replace(piece, table_header=header if below else "")

    begin, tokens = start, 0
    for row, after in pairwise((start, *table.rows[1:], table.end)):
        added = count_tokens(text[row:after])
        if row > begin and tokens + added > size:
            yield from part(begin, row)
            begin, tokens = row, header_tokens
        tokens += added
    yield from part(begin, table.end)
