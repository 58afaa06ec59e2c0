"""Words for lexical search in every language: as stems, and scripts without spaces between words as pairs of letters.

The stores stem English. A text in another language that Snowball stems (Porter 2001, "Snowball: A language for stemming
algorithms") keeps its words as stems of that language, behind its code: "Schrauben" becomes "de0schraub". A question
may be too short to show its language, so it is asked in its own words and in the stems of every language, and only
those of a text's language can meet it. English texts stay as they are.

Two letters that follow each other are what a search engine knows best of a script without spaces when it has no
dictionary; a question and a passage are cut alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
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
_FEWEST_WORDS = 8
_LONGEST = 36
"""Letters of a stem: with its mark it is no longer than the longest word that LanceDB's index keeps (40)."""
_stemming = Lock()


def indexed_words(text: str) -> str:
    """``text`` as it is indexed: the words of a stemmed language as marked stems, and a sign of that language."""
    language = language_of(text)
    if language is None:
        return _spaced(text)
    return f"{_sign(language)} {_WORD.sub(lambda word: _marked(word[0], language), _spaced(text))}"


def asked_words(query: str, languages: Collection[str] = STEMMED.keys()) -> str:
    """``query`` as it is looked up among texts in English, in ``languages``, and in others."""
    own = _spaced(query)
    words = dict.fromkeys(_WORD.findall(own))
    stems = dict.fromkeys(_marked(word, language) for language in languages for word in words)
    return " ".join([own, *(stem for stem in stems if stem not in words)])


def signs_of_languages() -> dict[str, str]:
    """The word that stands in every text of a language, by the language's code."""
    return {language: _sign(language) for language in STEMMED}


def language_of(text: str) -> str | None:
    """The code in ``STEMMED`` of a text's language; None for English, others, and where it cannot be known."""
    if len(_WORD.findall(text)) < _FEWEST_WORDS:
        return None
    language, probability = _identifier().classify(text)
    language = str(_ALSO.get(language, language))
    return language if language in STEMMED and probability >= _SURE else None


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _sign(language: str) -> str:
    return f"{language}0"


@lru_cache(maxsize=100_000)
def _marked(word: str, language: str) -> str:
    """The stem of ``word`` with the sign of the language; a word with digits or in another alphabet stays."""
    if not word.isalpha() or unicodedata.name(word[0], "").split(" ")[0] not in _ALPHABETS[language]:
        return word
    return _sign(language) + _stem(unicodedata.normalize("NFC", word).lower(), language)[:_LONGEST]


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
