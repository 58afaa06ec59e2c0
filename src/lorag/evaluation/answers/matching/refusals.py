"""Whether an answer declines, in eleven languages: by its words for not knowing, unless it states something as well.

"The documents do not say how long it lasts, but the fee is 5 EUR" is an answer. Apologies, advice whom to ask, and
what the sources are about instead state nothing.
"""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from importlib.resources import files

from lorag.evaluation.answers.matching.quantities import quantities
from lorag.evaluation.answers.matching.words import FUNCTION_WORDS, UNSPACED, canonical

_PARTS = re.compile(
    r"\W?\s+(?:but|however|though|although|yet|still|aber|jedoch|allerdings|sondern|mais|cependant|toutefois|pero"
    r"|sin embargo|aunque|ma|tuttavia|mas|porem|contudo|maar|echter|но|однако)\b,?\s*"
    r"|但是?|不过|然而|(?<=[んすだるた])が、|けれども?|しかし|ただし|하지만|그러나|지만|(?<=[\u3040-\u9fff]),|、|;\s*|\s[-\u2014]\s"
)
"""Where a part of a sentence ends, which may decline while the next one states something."""
_CONCESSION = re.compile(
    r"^(?:although|though|even though|while|obwohl|auch wenn|wenngleich|bien que|meme si|aunque|si bien|sebbene"
    r"|anche se|embora|hoewel|хотя)\b[^,]*,"
)
_SENTENCES = re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?<=[\u3040-\u9fff])[!?]|[。\n]+")
_CONJUNCTION = r"^(?:(?:and|so|but|however|also|und|aber|auch|et|mais|y|pero|e|ma|mas)\s)?(?:"
_MARKUP = re.compile(r"[*_`#>]+|\[\d+\]")
_CONTRACTIONS = {
    "can't": "cannot",
    "won't": "will not",
    "n't": " not",
    "i'm": "i am",
    "we're": "we are",
    "i'd": "i would",
}


@lru_cache(maxsize=1)
def _patterns() -> dict[str, re.Pattern[str]]:
    """The four tables of ``refusals.toml``, each as one pattern."""
    tables = tomllib.loads((files(__package__) / "refusals.toml").read_text(encoding="utf-8"))
    words = tables.pop("words")
    patterns = {}
    for name, languages in tables.items():
        joined = "|".join(f"(?:{pattern})" for patterns_of_one in languages.values() for pattern in patterns_of_one)
        for word, choice in words.items():
            joined = joined.replace(f"<{word}>", choice)
        patterns[name] = re.compile(f"{_CONJUNCTION}{joined})" if name == "empty" else joined)
    return patterns


@lru_cache(maxsize=2**12)
def declines(text: str, template: str = "") -> bool:
    """Whether ``text`` is a refusal: it declines, by ``template`` or in other words, and states nothing beside."""
    plain, wanted = _plain(text), _plain(template).rstrip(".!。 ")
    if wanted:
        plain = plain.replace(wanted, "i do not know")
    sentences = [sentence for sentence in _SENTENCES.split(plain) if sentence.strip(" .!?\"'")]
    declining = [_patterns()["declines"].search(sentence) is not None for sentence in sentences]
    return any(declining) and not any(
        any(map(_part_states, _parts(sentence))) if declined else _sentence_states(sentence)
        for sentence, declined in zip(sentences, declining, strict=True)
    )


def _plain(text: str) -> str:
    plain = _MARKUP.sub("", canonical(text)).casefold().strip()
    for short, long in _CONTRACTIONS.items():
        plain = plain.replace(short, long)
    return re.sub(r"[ \t]+", " ", plain)


def _parts(sentence: str) -> list[str]:
    """The parts of a sentence of which one may decline and another state something."""
    conceded = _CONCESSION.match(sentence)
    pieces = [conceded[0], sentence[conceded.end() :]] if conceded else [sentence]
    first, comma, rest = sentence.partition(",")
    if comma and not conceded and _part_states(first):
        pieces = [first, rest]
    return [part for piece in pieces for part in _PARTS.split(piece)]


def _has_figure(text: str) -> bool:
    """Whether a text holds a number; "one" is none, being a pronoun as well."""
    return any(figure.digits or figure.kind != "number" or figure.values[0] != 1 for figure in quantities(text))


def _is_empty(text: str) -> bool:
    """Whether a sentence or a part of one only excuses, advises, asks, or speaks about the sources."""
    patterns = _patterns()
    if not text or patterns["declines"].search(text) or patterns["empty"].match(text):
        return True
    return patterns["about_sources"].search(text) is not None and not _has_figure(text)


def _sentence_states(sentence: str) -> bool:
    """Whether a sentence that does not decline says something."""
    sentence = sentence.strip(" ,.;:!?\"'()")
    words = [word for word in re.findall(r"\w+", sentence) if word not in FUNCTION_WORDS]
    said = len(words) > 1 or UNSPACED.search(sentence) is not None or _has_figure(sentence)
    return said and not _is_empty(sentence)


def _part_states(part: str) -> bool:
    """Whether a part of a sentence that declines says something all the same."""
    part = part.strip(" ,.;:!?\"'()")
    return not _is_empty(part) and (_has_figure(part) or _patterns()["states"].search(part) is not None)
