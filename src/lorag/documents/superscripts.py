"""Superscripts, subscripts and fractions in a line of plain text, with the value that they show."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

Shift = Callable[[str, str, str], str]
"""What words become by their place above, below or on the line, from them and what stands before and after them."""
_NORMAL, _ABOVE, _BELOW = "0123456789+-−()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁽⁾ⁿ", "₀₁₂₃₄₅₆₇₈₉₊₋₋₍₎ₙ"
_VARIABLE = re.compile(r"[ijkmnpqtxyzα-ω]")
"""Letters that are exponents by themselves; others end an ordinal or a title, or lead to a footnote: 1st, Dr, a."""
_OPERATOR = re.compile(r"[+−×·*=^]|(?<![^\W\d_]{2})[-/]|[-/](?![^\W\d_]{2})")
"""A hyphen or a slash between two words is none."""
_LIST = re.compile(r"[1-9]\d*(?:\s*[,;–-]\s*[1-9]\d*)+")
_WORD_END, _NEAR = re.compile(r"(?:[^\W\d_]{2}|[^\w\s])\s*$"), 20
"""What a list of footnotes stands behind, within so many characters: a word or its punctuation, no digit or unit."""
_OPEN = re.compile(r"(?:\^[+−-]?|\w/)\w+(?:[.,]\w+)*$")
"""An exponent or a fraction that a digit or letter behind it would extend."""
_FRACTION = re.compile(r"\w+(?:[.,]\w+)*/\w")
_SINGLE = re.compile(r"[+−-]?\w+(?:[.,]\w+)*")
_ENCLOSED = re.compile(r"\[.*\]|\(.*\)", re.DOTALL)


def raised(words: str, before: str = "", after: str = "") -> str:
    """``words`` above the line of a text: as ``power``, but ordinals, small print, footnote marks and their lists, and
    what is in brackets stay.
    """
    bare = words.strip()
    number, note, _ = words.partition("[^")
    if note:
        return words.replace(number, power(number), 1) if number and _is_plain(number) else words
    if _LIST.fullmatch(bare):
        return words if _WORD_END.search(before[-_NEAR:]) else _ended(power(words), after)
    is_name = bare.rstrip(".").isalpha() and not _VARIABLE.fullmatch(bare)
    is_mark = is_name or _is_said(bare) or _ENCLOSED.fullmatch(bare) or not any(map(str.isalnum, bare))
    return words if is_mark and not _is_plain(bare) else _ended(power(words), after)


def power(words: str) -> str:
    """An exponent: ``m²`` if such characters exist, else ``10^2.5`` and ``x^(1/2)``."""
    return _shifted(words, _ABOVE, "^")


def lowered(words: str, before: str = "", after: str = "") -> str:
    """``words`` below the line: ``H₂O`` if such characters exist, ``p_0.5``; letters, small print and footnote marks
    stay as they are.
    """
    bare = words.strip()
    has_digits = any(map(str.isdigit, bare)) and not (_ENCLOSED.fullmatch(bare) or _is_said(bare) or "[^" in bare)
    return _shifted(words, _BELOW, "_") if has_digits or _is_plain(bare) else words


def fraction(above: str, below: str) -> str:
    """``1/2``, with brackets around what is more than one number or name."""
    return "/".join(_operand(part.strip()) for part in (above, below))


def on_line(words: str, before: str = "", after: str = "") -> str:
    """``words`` on the line: as they are."""
    return words


def in_line(parts: Iterable[tuple[Shift, str]]) -> str:
    """The words one after the other, each as its place on, above or below the line makes them."""
    text, given = "", list(parts)
    for number, (shift, words) in enumerate(given, start=1):
        text += shift(words, text[-_NEAR:], given[number][1] if number < len(given) else "")
    return text


def joined(parts: Sequence[str]) -> str:
    """The parts of a formula, with a blank where two would be read as one number."""
    text = last = ""
    for part in filter(None, parts):
        meets = last[-1:].isalnum() and part[0].isalnum() and (_OPEN.search(last) or _FRACTION.match(part))
        text += f" {part}" if meets else part
        last = part
    return text


def _ended(shown: str, after: str) -> str:
    return f"{shown} " if shown[-1:].isalnum() and after[:1].isalnum() and _OPEN.fullmatch(shown) else shown


def _is_said(bare: str) -> bool:
    """Whether it is several words, and no calculation."""
    words = bare.split()
    return len(words) > 1 and any(map(_has_word, words)) and not _OPERATOR.search(bare)


def _has_word(text: str) -> bool:
    return sum(map(str.isalpha, text)) > 1


def _shifted(words: str, signs: str, mark: str) -> str:
    bare = words.strip()
    if not bare:
        return words
    shifted = bare.translate(str.maketrans(_NORMAL, signs)) if _is_plain(bare) else mark + _operand(bare)
    return words.replace(bare, shifted, 1)


def _is_plain(bare: str) -> bool:
    """Whether all characters exist above and below the line."""
    return all(sign in _NORMAL for sign in bare)


def _operand(bare: str) -> str:
    return bare if _SINGLE.fullmatch(bare) or _ENCLOSED.fullmatch(bare) else f"({bare})"
