"""Words as a comparison of answers sees them: folded, cut up where a script has no spaces, equal but for endings.

Text is normalised as SQuAD does (lower case; punctuation and the articles a, an, the dropped; white space squeezed;
rajpurkar/SQuAD-explorer, ``evaluate-v2.0.py``) with departures that only make it stricter or fairer: a period between
two digits stays, so that 3.5 is not 35; punctuation and width are Unicode's, so that typographic quotes go too and
full-width digits are digits; and each character of Chinese, Japanese, Korean, Thai, Lao, Khmer or Burmese is a word.
"""

from __future__ import annotations

import re
import string
import unicodedata
from functools import lru_cache

ARTICLES = frozenset({"a", "an", "the"})
_ENGLISH = """
about also am and are as at be because been being but by can could did do does doing each for from had has
have having he her hers him his how i if in into is it its itself just may me might much must my of on or
other our ours own per shall she should so some such than that their theirs them then there these they this
those through to too us very was we were what when where which while who whom whose why will with would you
your yours
"""
_OTHERS = """
der das dem ein eine einer eines einem einen und oder ist sind wird werden wurde wurden hat haben mit von vom zu zum
zur im auf bei nach aus ueber durch es sie er wir ihr ihre sein seine dass wie als auch sich
le la les un une et ou est sont dans du de des au aux en par avec ce cette ces il elle ils elles qui que se sa ses
el los las una unos unas y es su sus del al con por para como lo ha han fue
il gli uno e di da nel nella della delle dei degli ed sono che si
o os um uma do dos das na nos nas em ao aos foi sao com
het een en van op aan voor met zijn wordt deze dit dat
w z na do sie jest i и в на с по от до из у о за к для это что как
"""
STOP_WORDS = ARTICLES | frozenset(_ENGLISH.split())
"""English function words. Negations ("no", "not") and bounds ("over", "before", "all") are content of an answer."""
FUNCTION_WORDS = STOP_WORDS | frozenset(_OTHERS.split())
"""Function words of eight languages, but for those that mean something in English ("die", "war", "den")."""

UNSPACED_RANGES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
)
UNSPACED = re.compile(f"[{UNSPACED_RANGES}]")
"""A character of a script that is written without spaces, or, as Korean, with endings glued on."""
_TYPOGRAPHY = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "−": "-", "‐": "-", "‑": "-"}
    | {"–": "-", "⁄": "/", "～": "~", "〜": "~", "\u00ad": None, "\u200b": None, "\ufeff": None}
    | {"≠": "!=", "≤": "<=", "≥": ">="}
    | {"ß": "ss", "æ": "ae", "Æ": "Ae", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "œ": "oe", "ı": "i"}
)


def canonical(text: str) -> str:
    """``text`` in one spelling: compatibility forms, quotes and dashes made equal, accents of letters dropped.

    The slash through a sign is kept: "∉" denies what "∈" states.
    """
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY)
    apart = unicodedata.normalize("NFD", plain)
    return unicodedata.normalize("NFC", re.sub("[\u0300-\u0337\u0339-\u036f]", "", apart))


def normalise(text: str) -> str:
    """``text`` in lower case without punctuation and articles, words separated by one space."""
    return " ".join(tokens(text))


@lru_cache(maxsize=2**12)
def tokens(text: str, keep_articles: bool = False) -> tuple[str, ...]:
    """The normalised words of ``text``, repetitions included."""
    kept = []
    lower = unicodedata.normalize("NFKC", text).lower()
    for position, character in enumerate(lower):
        decimal = (
            character == "."
            and lower[position - 1 : position].isdigit()
            and lower[position + 1 : position + 2].isdigit()
        )
        if decimal or not (character in string.punctuation or unicodedata.category(character).startswith("P")):
            kept.append(character)
    words = UNSPACED.sub(r" \g<0> ", unicodedata.normalize("NFKC", "".join(kept))).split()
    return tuple(words if keep_articles else [word for word in words if word not in ARTICLES])


def content_words(text: str) -> set[str]:
    """The distinct normalised words of ``text`` that are not English function words."""
    return set(tokens(text)) - STOP_WORDS


_ENDINGS = "s es ed d ing ings ly e n en er ern em a o i as os an ish ese"
_SWAPPED = frozenset({"a", "o", "e", "i", "as", "os", "es", "us", "um", "is", "y", "ies", "ied"})
_ENDING = frozenset(_ENDINGS.split()) | _SWAPPED | {""}


@lru_cache(maxsize=2**16)
def stems(word: str) -> tuple[str, ...]:
    """What ``word`` may be without an ending, itself first: two words are one where these meet.

    Endings are those of inflection, of plurals and of inhabitants (Colombia, Colombian) in the languages of Europe;
    at least four letters stay (three before an s), and six where one vowel is swapped for another.
    """
    if not word.isalpha() or len(word) < 4 or UNSPACED.match(word):
        return (word,)
    found = [word]
    if not word.isascii():
        return (word, *(word[:-cut] for cut in (1, 2, 3) if len(word) - cut >= 4))
    for cut in range(1, 5):
        stem, ending = word[:-cut], word[-cut:]
        if ending in _ENDING and len(stem) >= (3 if ending == "s" else 4):
            found.append(stem)
            if ending in ("ed", "ing", "er") and stem[-1] == stem[-2]:
                found.append(stem[:-1])
    return tuple(found)
