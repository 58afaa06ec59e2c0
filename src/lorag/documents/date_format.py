"""Dates, times and durations of a spreadsheet by their formats: ``mmm yyyy``, ``h:mm AM/PM``, ``[h]:mm``.

Names of months and days are in the language that a format names, or else English.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from locale import windows_locale
from typing import Literal

_TOKEN = re.compile(
    r'"([^"]*)"|\\(.)|\[\$([^\]-]*)-?([^\]]*)\]'  # literal texts, a currency and a language
    r"|(\[(?:h+|m+|s+)\]|AM/PM|A/P|y+|e+|m+|d+|aaaa?|h+|\.0+|s+)|_.|\*.|\[[^\]]*\]|General|(?P<unknown>[a-z])|(.)",
    re.IGNORECASE,
)
_PLAIN = ("general", "@", "")
_SECONDS = {"h": 3600, "n": 60, "m": 60, "s": 1}
_DAY = 24 * 3600

Part = tuple[str, str]
"""What stands for a part of a date, in small letters (``n`` for minutes), or a literal; the other one is empty."""


def shown_date(value: date, section: str) -> str:
    """A date by a section of a format; 2026-10-05 where the format shows day and month as numbers, or has letters of
    unknown meaning.

    Midnight beside such a date is left out, because programs write most dates with a time.
    """
    if not isinstance(value, datetime):
        value = datetime.combine(value, time())
    parts, language = _parts(section)
    names = {name for name, _ in parts if name}
    clock = {name.strip("[")[0] for name in names} & {"h", "n", "s"}
    if not names or section.lower() in _PLAIN:
        clock = {"s"}
    elif not any(match["unknown"] for match in _TOKEN.finditer(section)):
        dates = [at for at, (name, _) in enumerate(parts) if name and name[0] in "ymd"]
        begin, end = min(dates, default=0), max(dates, default=-1) + 1
        if not _are_numbers(names) or _has_words(parts[begin:end]):
            return _written(value, parts, language)
        parts[begin:end] = [("", value.date().isoformat())]
        if _has_words([*parts[:begin], *parts[begin + 1 :]]):
            return _written(value, parts, language)
    if not clock or value.time() == time():
        return value.date().isoformat()
    return value.isoformat(" ", "seconds" if "s" in clock else "minutes")


def shown_time(value: time | timedelta, section: str) -> str:
    """A time of the day or a duration by a section of a format."""
    parts, language = _parts(section)
    names = [name for name, _ in parts if name]
    if not names or section.lower() in _PLAIN or any(name[0] in "ymd" for name in names):
        parts, _ = _parts("[h]:mm:ss" if isinstance(value, timedelta) else "hh:mm:ss")
    return _written(value, parts, language)


def _are_numbers(names: Collection[str]) -> bool:
    """Whether the parts of a format are a day and a month in digits, perhaps a year, and no names."""
    dates = [name for name in names if name[0] in "dmy"]
    return {name[0] for name in dates} >= set("dm") and all(len(name) < 3 or name[0] == "y" for name in dates)


def _has_words(parts: Iterable[Part]) -> bool:
    return any(sign.isalnum() for _, literal in parts for sign in literal)


def _parts(section: str) -> tuple[list[Part], str]:
    """The parts and literals of a section, and the language that it names."""
    parts: list[Part] = []
    language = "en"
    for match in _TOKEN.finditer(section):
        quoted, escaped, currency, code, name, unknown, sign = match.groups()
        language = _language(code) if code else language
        name = (name or "").lower()
        name = "yyyy" if name.startswith("e") else name.replace("a", "d") if name.startswith("aaa") else name
        parts.append((name, quoted or escaped or currency or unknown or sign or ""))
    places = [at for at, (name, _) in enumerate(parts) if name]
    for before, at, after in zip([None, *places], places, [*places[1:], None], strict=False):
        follows = before is not None and parts[before][0].strip("[").startswith("h")
        if parts[at][0] in ("m", "mm") and (follows or (after is not None and parts[after][0].startswith("s"))):
            parts[at] = ("n" * len(parts[at][0]), "")
    return parts, language


def _language(code: str) -> str:
    """The language of a code such as ``407`` or ``de-DE``; English where there is none."""
    from babel import Locale, UnknownLocaleError

    try:
        name = windows_locale.get(int(code, 16) & 0xFFFF, "en")
    except ValueError:
        name = code.replace("-", "_")
    try:
        return str(Locale.parse(name))
    except (UnknownLocaleError, ValueError):
        return "en"


def _written(value: datetime | time | timedelta, parts: Sequence[Part], language: str) -> str:
    """The parts and literals one after the other; seconds are rounded to the decimals that are shown."""
    decimals = max((len(name) - 1 for name, _ in parts if name.startswith(".")), default=0)
    if isinstance(value, timedelta):
        seconds, sign = round(abs(value.total_seconds()), decimals), "-" if value < timedelta() else ""
    else:
        passed = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
        seconds, sign = min(round(passed.total_seconds(), decimals), _DAY - 10**-decimals), ""
    halves = any(name in ("am/pm", "a/p") for name, _ in parts)
    has_day = any(name.startswith("d") for name, _ in parts)
    text = ""
    for name, literal in parts:
        if name and name[0] in "ymd" and isinstance(value, datetime):
            text += _day(value, name, language, "format" if has_day else "stand-alone")
        else:
            text += _clock(seconds, name, halves) if name else literal
    return sign + " ".join(text.split())


def _day(day: date, name: str, language: str, context: Literal["format", "stand-alone"]) -> str:
    """A year, month or day, as a number or by its name; a month beside a day has another form in some languages."""
    from babel.dates import get_day_names, get_month_names

    if name[0] == "y":
        return f"{day.year:04}" if len(name) > 2 else f"{day.year % 100:02}"
    if len(name) < 3:
        return str(day.day if name[0] == "d" else day.month).zfill(len(name))
    width: Literal["abbreviated", "wide"] = "abbreviated" if len(name) == 3 else "wide"
    if name[0] == "d":
        word = str(get_day_names(width, locale=language)[day.weekday()])
    else:
        word = str(get_month_names(width, context, language)[day.month])
    return word[:1] if len(name) == 5 else word.removesuffix(".")


def _clock(seconds: float, name: str, halves: bool) -> str:
    """Hours, minutes or seconds of a day, or with brackets of all time that has passed."""
    whole = int(seconds)
    if name.startswith("["):
        return str(whole // _SECONDS[name[1]]).zfill(len(name) - 2)
    if name.startswith("."):
        return f"{seconds - whole:.{len(name) - 1}f}"[1:]
    hour = whole // 3600 % 24
    if name in ("am/pm", "a/p"):
        half = "PM" if hour >= 12 else "AM"
        return half if name == "am/pm" else half[0]
    if name[0] == "h":
        return str((hour % 12 or 12) if halves else hour).zfill(len(name))
    return str(whole // _SECONDS[name[0]] % 60).zfill(len(name))
