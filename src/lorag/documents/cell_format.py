"""Values of a spreadsheet as the sheet shows them: percentages, currencies, thousands, dates, times and durations.

What a format asks for beyond that (fractions, colours, padding) is left out, and the value stands as it is stored.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal

_LITERAL = re.compile(r'"([^"]*)"|\\(.)|\[\$([^\]-]*)[^\]]*\]|_.|\*.|\[[^\]]*\]')
_DIGITS = re.compile(r"[#0?][#0?,]*(?:\.([#0?]+))?(,*)")
_ELAPSED = re.compile(r"\[(h+|m+|s+)\]", re.IGNORECASE)
_PLAIN = ("General", "@", "")


def shown(value: object, number_format: str) -> str:
    """``value`` by its format, in the words of an English sheet; dates as 2026-10-05, nothing as the empty string."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, timedelta):
        return _elapsed(value, number_format)
    if isinstance(value, datetime):
        is_day = value.time() == time()
        return value.date().isoformat() if is_day else _without_seconds(value.isoformat(" "), number_format)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return _without_seconds(value.isoformat(), number_format)
    if isinstance(value, int | float):
        return _number(value, number_format)
    return str(getattr(value, "text", value))


def _bare(number_format: str) -> str:
    return _LITERAL.sub("", number_format)


def _without_seconds(text: str, number_format: str) -> str:
    is_full = "s" in _bare(number_format).lower() or not text.endswith(":00") or number_format in _PLAIN
    return text if is_full else text.removesuffix(":00")


def _elapsed(value: timedelta, number_format: str) -> str:
    """Hours and minutes that have passed, more than a day's of them too."""
    seconds = round(abs(value.total_seconds()))
    sign = "-" if value < timedelta() else ""
    text = f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}"
    wants = "s" in _ELAPSED.sub("", number_format).lower() or seconds % 60
    return f"{text}:{seconds % 60:02}" if wants else text


def _number(value: int | float, number_format: str) -> str:
    if number_format in _PLAIN:
        return _stored(value)
    sections = re.split(r';(?=(?:[^"]*"[^"]*")*[^"]*$)', number_format)
    section = sections[0]
    if value < 0 and len(sections) > 1:
        section, value = sections[1], -value
    elif value == 0 and len(sections) > 2:
        section = sections[2]
    literals: list[str] = []

    def keep(match: re.Match[str]) -> str:
        literals.append(match[1] or match[2] or match[3] or "")
        return "\0"

    pattern = _LITERAL.sub(keep, section)
    digits = _DIGITS.search(pattern)
    if not digits:
        return "".join(literals).strip() if pattern.strip("\0 ") in ("", "-") and literals else _stored(value)
    if "/" in pattern or "E" in pattern.upper():
        return _stored(value)
    before, after = pattern[: digits.start()], pattern[digits.end() :]
    shown_digits = _rounded(value, digits, "%" in pattern)
    kept = iter(literals)
    around = [re.sub("\0", lambda _: next(kept), part) for part in (before, after)]
    text = f"{around[0]}{shown_digits}{around[1]}".strip()
    return f"-{text.replace('-', '', 1)}" if "-" in shown_digits and not text.startswith("-") else text


def _rounded(value: int | float, digits: re.Match[str], is_percent: bool) -> str:
    """The number with the decimals and thousands that ``digits`` ask for."""
    exact = Decimal(repr(value)) * (100 if is_percent else 1) / 1000 ** len(digits[2])
    asked = digits[1] or ""
    rounded = exact.quantize(Decimal(1).scaleb(-len(asked)), ROUND_HALF_UP)
    grouped = "," in digits[0].removesuffix(digits[2] or "\0")
    text = f"{rounded:,f}" if grouped else f"{rounded:f}"
    optional = len(asked) - len(asked.rstrip("#?"))
    for _ in range(optional):
        text = text.removesuffix("0")
    whole, point, decimals = text.removesuffix(".").partition(".")
    least = len(re.sub("[^0]", "", digits[0].split(".")[0]))
    sign, whole = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{whole if ',' in whole else whole.zfill(least)}{point}{decimals}"


def _stored(value: int | float) -> str:
    """A number without format: ``7``, ``7.5``; of one that binary cannot hold, the fifteen digits that sheets keep."""
    return str(value) if isinstance(value, int) else f"{value:.15g}"
