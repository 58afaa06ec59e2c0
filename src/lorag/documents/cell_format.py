"""Values of a spreadsheet as the sheet shows them: numbers, fractions, percentages, currencies, dates and durations.

Colours and the blanks that align numbers are left out.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Sequence
from datetime import date, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

from lorag.documents.date_format import shown_date, shown_time

_LITERAL = re.compile(r'"([^"]*)"|\\(.)|\[\$([^\]-]*)[^\]]*\]|_.|\*.|\[[^\]]*\]')
_SECTIONS = re.compile(r';(?=(?:[^"]*"[^"]*")*[^"]*$)')
_CONDITION = re.compile(r"\[(<=|>=|<>|<|>|=)(-?[\d.]+)\]")
_BRACKETS = re.compile(r"\[[^\]]*\]")
_FRACTION = re.compile(r"([#0?]+[\0 ]+)?([#0?]+) */ *([#0?]+|\d+)")
_SCIENTIFIC = re.compile(r"([#0?,]+(?:\.[#0?]+)?)E([+-])([#0?]+)", re.IGNORECASE)
_DIGITS = re.compile(r"[#0?](?:[^.]*[#0?])?(?:\.[#0?]*)?(,*)|\.[#0?]+(,*)|General", re.IGNORECASE)
_COMPARED = {
    **{"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge},
    **{"=": operator.eq, "<>": operator.ne},
}
_PLAIN = ("General", "@", "")
_EXACT = 400
"""Digits that are reckoned with: enough for every number that a sheet can hold."""


def shown(value: object, number_format: str) -> str:
    """``value`` by its format, in the words of an English sheet; nothing as the empty string.

    A date of which the format shows day, month and year in digits is 2026-10-05.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, timedelta | time):
        return shown_time(value, _SECTIONS.split(number_format)[0])
    if isinstance(value, date):
        return shown_date(value, _SECTIONS.split(number_format)[0])
    if isinstance(value, int | float):
        return _number(value, number_format)
    return _text(str(getattr(value, "text", value)), number_format)


def _text(text: str, number_format: str) -> str:
    """``text`` with the words that a format puts around it."""
    section = _SECTIONS.split(number_format)[-1]
    pattern, literals = _pattern(section)
    return _with_literals(pattern.replace("@", "\1"), literals).replace("\1", text) if "@" in pattern else text


def _number(value: int | float, number_format: str) -> str:
    stored = _stored(value)
    if number_format in _PLAIN:
        return stored
    section, value = _section(value, _SECTIONS.split(number_format))
    pattern, literals = _pattern(section)
    digits = _FRACTION.search(pattern) or _SCIENTIFIC.search(pattern) or _DIGITS.search(pattern)
    if not digits:
        return _with_literals(pattern, literals) or stored
    size = abs(value)
    if digits.re is _FRACTION:
        number = _fraction(size, digits)
    elif digits.re is _SCIENTIFIC:
        number = _scientific(size, digits)
    else:
        number = _decimal(size, digits, pattern.count("%"))
    text = _with_literals(f"{pattern[: digits.start()]}{number}{pattern[digits.end() :]}", literals)
    return f"{'-' if value < 0 else ''}{text}" if text else stored


def _section(value: int | float, sections: list[str]) -> tuple[str, int | float]:
    """The section of a format that a number is shown by, and the number without the sign that it shows itself."""
    conditions = [_CONDITION.search(section) for section in sections]
    if any(conditions):
        before: re.Match[str] | None = None
        for section, condition in zip(sections, conditions, strict=True):
            if condition is None or _COMPARED[condition[1]](value, float(condition[2])):
                return section, _without_sign(value, section, sections) if _is_negative(condition, before) else value
            before = condition
        return "General", value
    if value < 0 and len(sections) > 1:
        return sections[1], _without_sign(value, sections[1], sections[:2])
    return sections[2 if value == 0 and len(sections) > 2 else 0], value


def _is_negative(condition: re.Match[str] | None, before: re.Match[str] | None) -> bool:
    """Whether a section is for no number above zero, by its own condition, or else by the one before it."""
    decisive, signs = (condition, ("<", "<=")) if condition else (before, (">", ">="))
    return decisive is not None and decisive[1] in signs and float(decisive[2]) <= 0


def _without_sign(value: int | float, section: str, sections: Sequence[str]) -> int | float:
    """A negative number without its sign, which its section shows; with it where only the colour differs."""
    bare = [_BRACKETS.sub("", each) for each in sections]
    return value if bare.count(_BRACKETS.sub("", section)) > 1 else -value


def _pattern(section: str) -> tuple[str, Iterator[str]]:
    """A section with a null character for each of its literal texts, and these texts."""
    literals = []

    def keep(match: re.Match[str]) -> str:
        literals.append(match[1] or match[2] or match[3] or "")
        return "\0"

    return _LITERAL.sub(keep, section), iter(literals)


def _with_literals(pattern: str, literals: Iterator[str]) -> str:
    return " ".join(re.sub("\0", lambda _: next(literals), pattern).split())


def _decimal(size: int | float, digits: re.Match[str], percents: int) -> str:
    """A number with the decimals and thousands that ``digits`` ask for; literals among them stay where they are."""
    if digits[0].lower() == "general":
        return _stored(size)
    scale = digits[1] or digits[2] or ""
    before, _, after = digits[0].removesuffix(scale).partition(".")
    with localcontext(prec=_EXACT, rounding=ROUND_HALF_UP):
        exact = Decimal(repr(size)) * 100**percents / 1000 ** len(scale)
        whole, _, decimals = f"{exact:.{len(after)}f}".partition(".")
    for _ in range(len(after) - len(after.rstrip("#?"))):
        decimals = decimals.removesuffix("0")
    places = re.sub("[^#0?]", "", before)
    whole = whole.lstrip("0").zfill(places.count("0"))
    if "," in before:
        whole = f"{int(whole):,}" if whole and whole[0] != "0" else whole
    elif len(places) < len(before):
        whole = _spread(whole, before)
    return f"{whole}.{decimals}" if decimals else whole


def _spread(digits: str, places: str) -> str:
    """Digits, the last ones last, on their places in a format like ``000-0000``; those in front of all are together."""
    shown, left = "", digits
    first = re.search("[#0?]", places)
    for at in range(len(places) - 1, -1, -1):
        if places[at] not in "#0?":
            shown = places[at] + shown
        elif first and at == first.start():
            shown = left + shown
        else:
            shown, left = left[-1:] + shown, left[:-1]
    return shown


def _fraction(size: int | float, digits: re.Match[str]) -> str:
    """``1 1/4``, or ``5/4`` where a format has no place for wholes."""
    places, below = digits[1] or "", digits[3]
    whole = int(size) if places else 0
    exact = Fraction(repr(size)) - whole
    if below.strip("0").isdigit():
        parts, of = round(exact * int(below)), int(below)
    else:
        parts, of = exact.limit_denominator(10 ** len(below) - 1).as_integer_ratio()
    if places:
        whole, parts = whole + parts // of, parts % of
    gap = places.lstrip("#0?")
    before = str(whole) if places and (whole or not parts or "0" in places) else ""
    return f"{before}{gap}{parts}/{of}" if parts or not places else f"{before}{gap}"


def _scientific(size: int | float, digits: re.Match[str]) -> str:
    """``1.23E+04``; with several places before the point the exponent is a multiple of their number."""
    before, _, after = digits[1].partition(".")
    step = len(re.sub("[^#0?]", "", before))
    with localcontext(prec=_EXACT, rounding=ROUND_HALF_UP):
        exact = Decimal(repr(size))
        exponent = exact.adjusted() // step * step if exact else 0
        mantissa = f"{exact.scaleb(-exponent):.{len(after)}f}"
        if Decimal(mantissa) >= 10**step:
            exponent += step
            mantissa = f"{exact.scaleb(-exponent):.{len(after)}f}"
    for _ in range(len(after) - len(after.rstrip("#?"))):
        mantissa = mantissa.removesuffix("0").removesuffix(".")
    sign = "-" if exponent < 0 else "+" if digits[2] == "+" else ""
    return f"{mantissa}E{sign}{str(abs(exponent)).zfill(digits[3].count('0'))}"


def _stored(value: int | float) -> str:
    """A number without format: ``7``, ``7.5``; of one that binary cannot hold, the fifteen digits that sheets keep."""
    return str(value) if isinstance(value, int) else f"{value:.15g}"
