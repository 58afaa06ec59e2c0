"""Words for lexical search in every language: as stems, and scripts without spaces between words as pairs of letters.

The stores stem English. A text in another language that Snowball stems (Porter 2001, "Snowball: A language for stemming
algorithms") is indexed by its words and, behind the code of the language, by their stems: "Schrauben" and "de0schraub".
A question is asked in its own words and in the stems of the languages that it may be in. Not in those of all: few
texts have the stems of a rare language, so BM25 would rank these texts first for every English question.

Two letters that follow each other are what a search engine knows best of a script without spaces when it has no
dictionary; a question and a passage are cut alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_LETTERS = (
    # Chinese and Japanese
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0eb9\u0ebb-\u0ece"  # Thai and Lao, with their vowels and tones
    "\u1000-\u103f\u1780-\u17d3"  # Burmese and Khmer
)
_RUN, _WORD = re.compile(f"[{_LETTERS}]+"), re.compile(r"[^\W_]+")

STEMMED = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "es": "spanish",
    "et": "estonian",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "tr": "turkish",
}
"""Languages other than English whose words are stemmed, by their code (ISO 639-1), with Snowball's names."""
_ALSO = {"nb": "no", "nn": "no", "hr": "sr", "bs": "sr"}
"""Languages that are stemmed as another one."""
_ALPHABETS = {
    **dict.fromkeys(STEMMED, ("LATIN",)),
    **{"ar": ("ARABIC",), "el": ("GREEK",), "fa": ("ARABIC",), "hy": ("ARMENIAN",), "ru": ("CYRILLIC",)},
    "sr": ("LATIN", "CYRILLIC"),
}
"""Whose words are stemmed in a text of that language; those in other letters are names, and stay."""
_SURE = 0.6
"""Least probability of a language; below it a text is taken for English. Near relatives share what is left."""
_TO_ENGLISH, _TO_THE_BEST = 0.5, 0.05
"""Shares of the probability of English, and of the most probable language of all, from which a question may be in a
language. Single words in 14 languages are looked up in their own; of 3,551 English questions 9 in any other."""
_FEWEST_WORDS = 8
_LONGEST = 36
"""Letters of a stem: with its mark it is no longer than the longest word that LanceDB's index keeps (40)."""
_stemming = Lock()


def indexed_words(text: str) -> str:
    """``text`` as it is indexed: with the marked stems of its words behind it, where its language is stemmed."""
    own, language = _spaced(text), language_of(text)
    return own if language is None else " ".join([own, *_stems(_WORD.findall(own), language)])


def asked_words(query: str) -> str:
    """``query`` as it is looked up: with the marked stems of its words in every language that it may be in."""
    own = _spaced(query)
    words = dict.fromkeys(_WORD.findall(own))
    return " ".join([own, *(stem for language in _possible_languages(query) for stem in _stems(words, language))])


def language_of(text: str) -> str | None:
    """The code in ``STEMMED`` of a text's language; None for English, others, and where it cannot be known."""
    if len(_WORD.findall(text)) < _FEWEST_WORDS:
        return None
    found = _probabilities(text)
    language = max(found, key=found.__getitem__)
    return language if language in STEMMED and found[language] >= _SURE else None


def _possible_languages(query: str) -> list[str]:
    """The codes in ``STEMMED`` of the languages that are not much less probable than English and than the best one."""
    found = _probabilities(query)
    least = max(_TO_ENGLISH * found["en"], _TO_THE_BEST * max(found.values()))
    return [language for language in STEMMED if found[language] >= least]


def _probabilities(text: str) -> dict[str, float]:
    """The probability of every language of a text, by its code."""
    found: dict[str, float] = {}
    for language, probability in _identifier().rank(text):
        known = str(_ALSO.get(language, language))
        found[known] = found.get(known, 0.0) + float(probability)
    return found


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _stems(words: Iterable[str], language: str) -> list[str]:
    """The marked stems of the words that have one."""
    return [stem for word in words if (stem := _marked(word, language))]


@lru_cache(maxsize=100_000)
def _marked(word: str, language: str) -> str:
    """The stem of ``word`` behind the code of the language; empty for a word with digits or in another alphabet."""
    if not word.isalpha() or unicodedata.name(word[0], "").split(" ")[0] not in _ALPHABETS[language]:
        return ""
    return f"{language}0{_stem(unicodedata.normalize('NFC', word).lower(), language)[:_LONGEST]}"


def _stem(word: str, language: str) -> str:
    with _stemming:  # a stemmer keeps the word that it works on
        return str(_stemmer(language).stemWord(word))


@cache
def _stemmer(language: str) -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer(STEMMED[language])


def _spaced(text: str) -> str:
    """``text`` with every run of such letters as its pairs, with blanks between them; one letter stays alone.

    Signs above and below a letter, which tokenizers take for the end of a word, are left out.
    """
    return _RUN.sub(_pairs, text)


def _pairs(run: re.Match[str]) -> str:
    letters = "".join(sign for sign in run[0] if unicodedata.category(sign)[0] != "M")
    pairs = [letters[start : start + 2] for start in range(len(letters) - 1)] or [letters]
    return f" {' '.join(pairs)} "
