"""Figures in a text as values: numbers with sign, scale and unit, ranges, dates, times of day.

1,000 EUR is €1000, 5kg is 5000 g, 4 May 2026 is 2026-05-04, "thirty" is 30, 10-20 is "from 10 to 20"; 3,5 is not 35,
-5 is not 5, 500 $ is not 500 €. A version or an address with several dots (1.24.13) is a word, not a figure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import lru_cache
from typing import Literal

from lorag.evaluation.answers.matching.units import AMBIGUOUS, MULTIPLIERS, NUMERALS, Unit, alternation, months, units
from lorag.evaluation.answers.matching.words import UNSPACED

_ONE = Decimal(1)
_LONGEST = 60
"""Characters from which a run of figures is no number."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A figure and where it stands: ``start`` and ``end`` are places in the canonical text."""

    kind: Literal["number", "range", "date", "time", "decade"]
    values: tuple[Decimal, ...]
    """What a number may be, sign and scale included (1.250: two); of a date year, month, day, 0 where not given."""
    dimension: str = ""
    """What is counted, such as ``length`` or ``EUR``; empty where no known unit stands beside the number."""
    size: Decimal = _ONE
    """The size of the unit in its dimension."""
    step: Decimal = _ONE
    """The worth of the last digit written."""
    digits: int = 0
    """Digits that count; 0 of a number in words."""
    decimals: bool = False
    """Whether digits stand behind a decimal separator."""
    bound: Literal["", ">", "<"] = ""
    """Whether the text gives a least or a largest value."""
    parts: tuple[Quantity, ...] = ()
    """The two ends of a range."""
    text: str = field(default="", compare=False)
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


_NUMBER = (
    r"\d{1,3}(?:[, '.]\d{3})+(?!\d)(?:[.,]\d+)?(?![.,]?\d)"
    r"|(?<!\d,)(?:\d{1,3},\d+|\d+,\d{1,2})(?![.,]?\d)|\d+(?:\.\d+)*"
)
_LETTER = "A-Za-z_\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff"
_FRACTION = r"(?:(\d+) )?(\d{1,2})/(2|3|4|5|6|8|10|12|16|32|64)(?![\d/])"
_HALF = r" ?(?:am|pm|a\.m|p\.m|uhr)\b"
_TIME = rf"(?<![\w.,:])(?:\d{{1,2}}[:h]\d{{2}}(?::\d{{2}})?(?![\d:])(?:{_HALF})?|\d{{1,2}}(?:[.]\d{{2}})?{_HALF})"
_MORE = (
    r"at least|more than|over|above|exceed(?:s|ing)?|minimum(?: of)?|min\.|from|no (?:less|fewer) than|not less than"
    r"|mindestens|mehr als|uber|ab|au moins|plus de|al menos|mas de|como minimo|almeno|piu di|pelo menos|mais de|>=?"
)
_LESS = (
    r"at most|less than|fewer than|under|below|up to|maximum(?: of)?|max\.|no more than|not more than|no later than"
    r"|within|hochstens|maximal|weniger als|unter|bis zu|au plus|au maximum|moins de|jusqu'a|como maximo|menos de"
    r"|hasta|al massimo|meno di|fino a|no maximo|ate|<=?"
)
_BOUND = re.compile(rf"(?:(?<!\w)({_MORE})|(?<!\w)({_LESS}))\s*(?:the |a )?$", re.IGNORECASE)
_BOUND_AFTER = re.compile(
    r"\s?(?:(at least|or more|or over|minimum|mindestens|oder mehr|au moins|ou plus|como minimo|o mas)"
    r"|(?:at most|or less|or fewer|or under|maximum|hochstens|maximal|au plus|ou moins|como maximo|o menos))\b",
    re.IGNORECASE,
)
_NEGATIVE = re.compile(r"(?:(?:^|[\s(\[:=~])-|\b(?:minus|negative|moins)\s)$", re.IGNORECASE)
_BELOW_ZERO = re.compile(r"\s*(?:below zero|unter null|bajo cero|sotto zero)", re.IGNORECASE)
_TO = re.compile(r"\s?(?:-|~|\.\.\.?|—)\s?|\s(?:to|bis|a|until|through|до|tot)\s|\s?(?:から|到|至)\s?")
_AND = re.compile(r"\s(?:and|und|et|y|e|en|и)\s")
_BETWEEN = re.compile(r"\b(?:between|zwischen|entre|tra|fra|tussen|между)\s*$", re.IGNORECASE)
_ORDINAL = re.compile(r"(?:st|nd|rd|th|er|º|ª|e|°)\b")
_SHORT_SCALE = re.compile(r"[mb]\b", re.IGNORECASE)
_PART_OF_WORD = re.compile(rf"[{_LETTER}]|-?[{_LETTER}]\d")


@lru_cache(maxsize=1)
def _date_pattern() -> re.Pattern[str]:
    """Dates: groups y, m and d with a number each."""
    month = alternation(months())
    day = r"(?P<{0}>\d{{1,2}})(?:st|nd|rd|th|er|º|\.)?"
    of = r"(?:\s?(?:of|de|del|do)\b)?"
    return re.compile(
        r"(?<![\d.,/-])(?P<y1>\d{4})(?P<s1>[-/.])(?P<m1>\d{1,2})(?P=s1)(?P<d1>\d{1,2})(?!\d|[-/.]\d)"
        r"|(?<![\d.,/-])(?P<d2>\d{1,2})(?P<s2>[-/.])(?P<m2>\d{1,2})(?P=s2)(?P<y2>\d{4})(?!\d|[-/.]\d)"
        r"|(?P<y3>\d{4}) ?[年년](?: ?(?P<m3>\d{1,2}) ?[月월](?: ?(?P<d3>\d{1,2}) ?[日일])?)?(?!間)"
        r"|(?P<m7>\d{1,2}) ?[月월] ?(?P<d7>\d{1,2}) ?[日일]"
        rf"|(?<!\w){day.format('d4')}\s?{of}\s?(?P<m4>{month})\b\.?(?:{of},?\s?(?P<y4>\d{{4}})(?!\d))?"
        rf"|(?<!\w)(?P<m5>{month})\.?\s{day.format('d5')}\b(?!\s?[-:.]\s?\d|\d)(?:,?\s(?P<y5>\d{{4}})(?!\d))?"
        r"|(?<![\w.,/-])(?P<y9>(?:19|20)\d\d)-(?P<m9>0[1-9]|1[0-2])(?![\w-])"
        rf"|(?<!\w)(?P<m6>{month})\.?{of},?\s(?P<y6>\d{{4}})(?!\d)"
        r"|(?<![\w.,/-])(?P<y8>(?:19|20)\d\d)(?P<m8>0[1-9]|1[0-2])(?P<d8>0[1-9]|[12]\d|3[01])(?![\w.,/-])",
        re.IGNORECASE,
    )


@lru_cache(maxsize=1)
def _number_pattern() -> re.Pattern[str]:
    """Numbers that are no dates, one group for each way of writing one."""
    spelled = alternation(name for name in NUMERALS | MULTIPLIERS if len(name) > 2 and not UNSPACED.match(name))
    return re.compile(
        r"(?P<decade>(?<![\w.,])(?:(?:1\d|20)\d0|'\d0) ?'?s\b)"
        rf"|(?P<time>{_TIME})|(?P<fraction>(?<![\w.,/-]){_FRACTION})"
        rf"|(?<![\d{_LETTER}])(?<!\d\.)(?<![{_LETTER}][-_.])(?P<digits>{_NUMBER})"
        r"|(?<=[A-Za-z]\s)(?P<roman>(?-i:I{2,3}|IV|VI{0,3}|IX|XI{1,3}|XIV|XVI{0,3}|XIX|XX))(?!\w)"
        rf"|(?P<words>(?<![\w-])(?!one of\b)(?:{spelled})(?:(?:[ -]| and )(?:{spelled}))*(?!\w))"
        r"|(?P<cjk>[一二两三四五六七八九十百千〇零]+)",
        re.IGNORECASE,
    )


@lru_cache(maxsize=1)
def _unit_pattern() -> re.Pattern[str]:
    """What follows a number: thousands or millions, and a unit."""
    spaced, glued = (
        alternation(name for name in units() if bool(UNSPACED.search(name)) == without) for without in (False, True)
    )
    times, times_glued = (
        alternation(name for name in MULTIPLIERS if bool(UNSPACED.match(name)) == without) for without in (False, True)
    )
    unit = rf"\s?(?:(?P<unit>(?:{spaced})(?:/(?:{spaced}))?)(?![\w/])|(?P<glued>{glued}))"
    times = rf"(?<=\d)k\b|[ -]?(?:{times})\b\.?|\s?(?:{times_glued})"
    return re.compile(rf"(?P<times>{times})?(?:-?{unit})?", re.IGNORECASE)


@lru_cache(maxsize=1)
def _currency_before() -> re.Pattern[str]:
    """A currency at the end of what stands before a number."""
    names = alternation(name for name, unit in units().items() if unit[0].isupper() and not UNSPACED.search(name))
    return re.compile(rf"(?<!\w)({names}) ?-?$", re.IGNORECASE)


def quantities(text: str) -> tuple[Quantity, ...]:
    """Every figure of a canonical ``text``, in order."""
    dates = [found for match in _date_pattern().finditer(text) if (found := _date(match))]
    return tuple(_ranges(_with_numbers(text, dates), text))


def _with_numbers(text: str, dates: Sequence[Quantity]) -> list[Quantity]:
    """The dates, and the numbers outside of them."""
    found = list(dates)
    done = 0
    for match in _number_pattern().finditer(text):
        if match.start() < done or any(match.start() < date.end and date.start < match.end() for date in dates):
            continue
        number = _number(match, text)
        if number is not None:
            found.append(number)
            done = number.end
    return sorted(found, key=lambda quantity: quantity.start)


def _date(match: re.Match[str]) -> Quantity | None:
    given = {name[0]: value for name, value in match.groupdict().items() if value}
    month = given.get("m", "0").casefold()
    year, day = int(given.get("y", 0)), int(given.get("d", 0))
    number = int(month) if month.isdigit() else months()[month]
    if match["d2"] and number > 12 >= day:
        number, day = day, number
    if number > 12 or day > 31:
        return None
    text = match[0]
    values = (Decimal(year), Decimal(number), Decimal(day))
    swapped = match["s2"] in ("/", "-") and day <= 12  # a dot is written behind the day alone
    either = (Quantity("date", (values[0], values[2], values[1])),) if swapped else ()
    return Quantity("date", values, parts=either, text=text, start=match.start(), end=match.end())


def _number(match: re.Match[str], text: str) -> Quantity | None:
    start, end = match.span()
    if end - start > _LONGEST:
        return None
    if decade := match["decade"]:
        year = Decimal(re.sub(r"\D", "", decade))
        return Quantity("decade", (year if year > 99 else year + 1900,), text=decade, start=start, end=end)
    if match["time"] and (minutes := _minutes(match["time"])) is not None:
        return Quantity("time", (minutes,), text=match["time"], start=start, end=end)
    written = _read(match)
    if written is None:
        return None
    if match["cjk"] and len(match[0]) == 1 and not _behind(text, end)[1]:
        return None
    return _with_unit(written, text, start, end, match["digits"] is not None)


def _read(match: re.Match[str]) -> Quantity | None:
    """The bare number of a match."""
    if match["fraction"]:
        inner = re.fullmatch(_FRACTION, match["fraction"])
        whole, over, under = inner.groups() if inner else (None, "0", "1")
        if int(over) < int(under):
            return Quantity("number", (int(whole or 0) + Decimal(over) / Decimal(under),), step=Decimal(0), digits=9)
        return _digits(over)
    if match["roman"]:
        return Quantity("number", (_roman(match["roman"]),))
    if match["words"] or match["cjk"]:
        value = _spelled(match["words"]) if match["words"] else _chinese(match["cjk"])
        return None if value is None else Quantity("number", (value,))
    return _digits(match["digits"] or re.split(r"\D", match["time"] or "")[0])


def _digits(text: str) -> Quantity | None:
    """A number in figures; None where the separators make no number of it, as in a version."""
    parts = re.split(r"[^\d]", text)
    separators = re.findall(r"[^\d]", text)
    grouped = bool(separators) and len(parts[0]) <= 3 and parts[0] != "0" and all(len(p) == 3 for p in parts[1:])
    if not separators or (grouped and len(set(separators)) == 1 and separators != ["."]):
        value = Decimal("".join(parts))
        return Quantity("number", (value,), digits=len(str(value)))
    if len(set(separators)) > 1 or len(separators) == 1:
        whole, decimals = "".join(parts[:-1]), parts[-1]
        if separators[-1] in separators[:-1] or (len(separators) > 1 and any(len(p) != 3 for p in parts[1:-1])):
            return None
        value = Decimal(f"{whole}.{decimals}")
        other = (Decimal(whole + decimals),) if grouped and separators == ["."] else ()
        counted = len((whole + decimals).lstrip("0"))
        return Quantity("number", (value, *other), step=Decimal(10) ** -len(decimals), digits=counted, decimals=True)
    return None


def _spelled(text: str) -> Decimal | None:
    """A number in words, English ones also composed: "one hundred and five thousand"."""
    words = re.findall(r"[^\W\d_]+", text.casefold())
    total, current = 0, 0
    for word in words:
        if word == "and":
            continue
        value = NUMERALS.get(word, MULTIPLIERS.get(word, 0))
        if value >= 1000 and word in MULTIPLIERS:
            total, current = total + max(current, 1) * value, 0
        elif value == 100:
            current = max(current, 1) * 100
        else:
            current += value
    alone = len(words) == 1 and words[0] in AMBIGUOUS
    return None if alone else Decimal(total + current)


def _chinese(text: str) -> Decimal:
    total, current = 0, 0
    for character in text:
        if character in "十百千":
            total += (current or 1) * {"十": 10, "百": 100, "千": 1000}[character]
            current = 0
        else:
            current = current * 10 + NUMERALS.get(character, 0)
    return Decimal(total + current)


def _roman(text: str) -> Decimal:
    worth = [{"I": 1, "V": 5, "X": 10}[letter] for letter in text]
    return Decimal(sum(-one if one < after else one for one, after in zip(worth, [*worth[1:], 0], strict=True)))


def _minutes(text: str) -> Decimal | None:
    found = re.match(r"(\d{1,2})(?:([:h.])(\d{2}))?(?::\d{2})?(?: ?([a-z.]+))?$", text.casefold())
    if found is None:
        return None
    hour, separator, minute, half = int(found[1]), found[2], int(found[3] or 0), (found[4] or "").replace(".", "")
    if hour > 24 or minute > 59 or (separator == "." and not half):
        return None
    if half in ("am", "pm"):
        hour = hour % 12 + (12 if half == "pm" else 0)
    return Decimal(60 * hour + minute)


def _with_unit(number: Quantity, text: str, start: int, end: int, figures: bool) -> Quantity | None:
    """``number`` with its sign, bound, scale and unit; None where it is a part of a word ("P2", "1.2.3", "3D")."""
    scale, unit, stop = _behind(text, end)
    if figures and stop == end and (ordinal := _ORDINAL.match(text, end)):
        stop = ordinal.end()
    before = text[max(0, start - 24) : start]
    currency = _currency_before().search(before)
    if currency and stop == end and (letter := _SHORT_SCALE.match(text, end)):
        scale, stop = Decimal(MULTIPLIERS["million" if letter[0] in "mM" else "billion"]), letter.end()
    if figures and stop == end and _PART_OF_WORD.match(text, end):
        return None
    if currency:
        unit, before = _unit(currency[1]), before[: currency.start()] + ("-" if before.endswith("-") else "")
        start -= len(currency[0])
    if below := _BELOW_ZERO.match(text, stop):
        stop = below.end()
    negative = below or _NEGATIVE.search(before)
    bound = _BOUND.search(re.sub(r"-$", "", before))
    begin = start - len(before) + bound.start() if bound and not currency else start
    if bound is None and (bound := _BOUND_AFTER.match(text, stop)):
        stop = bound.end()
    dimension, size = unit or ("", _ONE)
    factor = -scale if negative else scale
    return replace(
        number,
        values=tuple(value * factor for value in number.values),
        dimension=dimension,
        size=size,
        step=number.step * scale,
        bound="" if not bound else ">" if bound[1] else "<",
        text=text[start:stop],
        start=begin,
        end=stop,
    )


def _behind(text: str, end: int) -> tuple[Decimal, Unit | None, int]:
    """The scale and the unit that stand behind a number which ends at ``end``, and where they end."""
    after = _unit_pattern().match(text, end)
    if after is None or not after[0]:
        return _ONE, None, end
    times, name = (after["times"] or "").strip(" -.").casefold(), after["unit"] or after["glued"]
    scale = Decimal(1000 if times == "k" else MULTIPLIERS[times] if times else 1)
    unit = _unit(name) if name else None
    return scale, unit, after.end() if unit else after.end("times") if times else end


def _unit(name: str) -> Unit | None:
    known = units()
    if found := known.get(name) or (known.get(name.casefold()) if len(name) > 1 else None):
        return found
    over, _, under = name.partition("/")
    if under:
        top, bottom = _unit(over), _unit(under)
        if top and bottom:
            return f"{top[0]}/{bottom[0]}", top[1] / bottom[1]
    return None


def _ranges(found: Sequence[Quantity], text: str) -> Iterator[Quantity]:
    """``found`` with two numbers that are the ends of a range made one."""
    position = 0
    while position < len(found):
        first = found[position]
        second = found[position + 1] if position + 1 < len(found) else None
        if second is not None and (joined := _range(first, second, text)):
            yield joined
            position += 2
        else:
            yield first
            position += 1


def _range(first: Quantity, second: Quantity, text: str) -> Quantity | None:
    if first.kind != second.kind or first.kind not in ("number", "time"):
        return None
    gap = text[first.end : second.start]
    between = _BETWEEN.search(text[max(0, first.start - 12) : first.start]) and _AND.fullmatch(gap)
    if not between and not _TO.fullmatch(gap):
        return None
    if first.dimension and second.dimension and first.dimension != second.dimension:
        return None
    if not first.dimension:
        first = replace(first, dimension=second.dimension, size=second.size)
    elif not second.dimension:
        second = replace(second, dimension=first.dimension, size=first.size)
    first, second = replace(first, bound=""), replace(second, bound="")
    if first.values[0] * first.size >= second.values[0] * second.size:
        return None
    written = text[first.start : second.end]
    return Quantity(
        "range",
        (first.values[0], second.values[0]),
        second.dimension,
        parts=(first, second),
        text=written,
        start=first.start,
        end=second.end,
    )
