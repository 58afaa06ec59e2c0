"""Superscripts, subscripts and fractions in a line of plain text, with the value that they show."""

from __future__ import annotations

import re

_NORMAL, _ABOVE, _BELOW = "0123456789+-−()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁽⁾ⁿ", "₀₁₂₃₄₅₆₇₈₉₊₋₋₍₎ₙ"
_ORDINAL = re.compile(r"(?:st|nd|rd|th|e|er|ers|re|nde|ème|me|lle|te|ter|ste|de|os?|as?|º|ª|tm|sm)\.?", re.IGNORECASE)
"""Letters that are raised and multiply nothing: 1st, 2e, 3o, ™."""
_SINGLE = re.compile(r"[+−-]?\w+(?:[.,]\w+)*")
_ENCLOSED = re.compile(r"\[.*\]|\(.*\)", re.DOTALL)


def raised(words: str) -> str:
    """``words`` above the line of a text: as ``power``, but ordinals, footnote marks and what is in brackets stay."""
    bare = words.strip()
    is_mark = _ORDINAL.fullmatch(bare) or _ENCLOSED.fullmatch(bare) or not any(map(str.isalnum, bare))
    return words if is_mark and not _is_plain(bare) else power(words)


def power(words: str) -> str:
    """An exponent: ``m²`` if such characters exist, else ``10^2.5`` and ``x^(1/2)``."""
    return _shifted(words, _ABOVE, "^")


def lowered(words: str) -> str:
    """``words`` below the line: ``H₂O`` if such characters exist, ``p_0.5``; letters stay as they are."""
    has_digits = any(map(str.isdigit, words)) and not _ENCLOSED.fullmatch(words.strip())
    return _shifted(words, _BELOW, "_") if has_digits or _is_plain(words.strip()) else words


def fraction(above: str, below: str) -> str:
    """``1/2``, with brackets around what is more than one number or name."""
    return "/".join(_operand(part.strip()) for part in (above, below))


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
