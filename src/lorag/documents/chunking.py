"""A document cut into chunks along its own structure.

Cuts fall at headings first, then between blocks, sentences and words, as far up as a chunk's size allows. Chunks do
not overlap: overlap gains nothing once cuts follow the structure. Text that is not Markdown is cut by its blank
lines and sentences; a line of it that begins with ``# `` is taken for a heading.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from lorag.documents.markdown import Heading, headings
from lorag.types import Chunk, Document

_SEPARATOR = " > "


def split(document: Document, max_tokens: int, count_tokens: Callable[[str], int]) -> list[Chunk]:
    """The chunks of ``document`` in order, each of at most ``max_tokens`` as ``count_tokens`` measures its text.

    Offsets are Python string offsets. Without blank pieces every character is in exactly one chunk, so the texts
    joined equal the document's; a piece of nothing but white space is in none. A chunk may begin and end with white
    space. A single character longer than ``max_tokens`` is a chunk of its own. The heading path is not counted.
    """
    from semantic_text_splitter import MarkdownSplitter

    splitter = MarkdownSplitter.from_callback(count_tokens, max_tokens, trim=False)
    outline = headings(document.text)
    starts, paths = [heading.start for heading in outline], _paths(document.title, outline)
    version = document.version
    chunks = []
    for start, text in splitter.chunk_indices(document.text):
        if text.strip():
            first_word = start + len(text) - len(text.lstrip())
            heading = paths[bisect_right(starts, first_word)]
            chunks.append(Chunk(document.id, version, start, start + len(text), text, heading))
    return chunks


def _paths(title: str, outline: Sequence[Heading]) -> list[str]:
    """The heading path before the first heading and after each: ``title``, then the headings that are open there.

    A heading of level 1 that repeats the title counts once.
    """
    paths, levels = [title], list[Heading]()
    for heading in outline:
        while levels and levels[-1].level >= heading.level:
            levels.pop()
        levels.append(heading)
        names = [each.title for each in levels]
        paths.append(_SEPARATOR.join(names if title in ("", names[0]) else [title, *names]))
    return paths
