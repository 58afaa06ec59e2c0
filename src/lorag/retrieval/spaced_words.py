"""Words for lexical search: scripts without spaces between words are cut into pairs of letters.

Two letters that follow each other are what a search engine knows best of such a script without a dictionary; a
question and a passage are cut alike. Text of other scripts stays as it is.
"""

from __future__ import annotations

import re
import unicodedata

_LETTERS = (
    # Chinese and Japanese
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0eb9\u0ebb-\u0ece"  # Thai and Lao, with their vowels and tones
    "\u1000-\u103f\u1780-\u17d3"  # Burmese and Khmer
)
_RUN = re.compile(f"[{_LETTERS}]+")


def spaced(text: str) -> str:
    """``text`` with every run of such letters as its pairs, with blanks between them; one letter stays alone.

    Signs above and below a letter, which tokenizers take for the end of a word, are left out.
    """
    return _RUN.sub(_pairs, text)


def _pairs(run: re.Match[str]) -> str:
    letters = "".join(sign for sign in run[0] if unicodedata.category(sign)[0] != "M")
    pairs = [letters[start : start + 2] for start in range(len(letters) - 1)] or [letters]
    return f" {' '.join(pairs)} "
