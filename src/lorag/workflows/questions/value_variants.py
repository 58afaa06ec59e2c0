"""Other ways to write a value, so that a question has several references; and a number changed into a wrong one."""

from __future__ import annotations

import re
from calendar import month_name
from datetime import date

_MONTHS = [month_name[number] for number in range(1, 13)]
_MONTH = "(?:" + "|".join(_MONTHS) + ")"
DATE = (
    rf"\d{{4}}-\d\d-\d\d|\d{{1,2}} {_MONTH} \d{{4}}|{_MONTH} \d{{1,2}},? \d{{4}}|{_MONTH} \d{{4}}"
    r"|(?:1\d|20)\d\d(?![\w.,]\d)"
)
"""A day, a month or a year."""
_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_CURRENCIES = {"EUR": ("€", "euros"), "USD": ("$", "dollars"), "GBP": ("£", "pounds")}
_NUMBER = re.compile(rf"(?<![\w.,-])(?:\d[\d.,]*\d|\d|(?:{'|'.join(_WORDS[2:])}))(?![\w-]|[.,]\d)")


def has_number(text: str) -> bool:
    """Whether a figure stands in a text, or a number word up to twelve."""
    return bool(re.search(r"\d", text) or _NUMBER.search(text))


def variants(value: str, question: str = "") -> tuple[str, ...]:
    """``value`` and other ways to write it: dates, number words, percentages, currencies, names without articles.

    For a question that counts, the figure alone as well.
    """
    found = [value, *_dates(value)]
    if amount := re.fullmatch(r"(EUR|USD|GBP) ?(\d[\d.,]*)", value):
        sign, name = _CURRENCIES[amount[1]]
        found += [f"{amount[2]} {amount[1]}", f"{sign}{amount[2]}", f"{amount[2]} {name}"]
    if share := re.fullmatch(r"(\d[\d.,]*) ?(?:%|percent|per cent)", value):
        found += [f"{share[1]}%", f"{share[1]} percent", f"{share[1]} per cent"]
    if counted := re.fullmatch(rf"(\d+|{'|'.join(_WORDS[1:])}) (?!{_MONTH})(.+)", value):
        number, unit = counted[1], counted[2]
        other = _WORDS[int(number)] if number.isdigit() and int(number) <= 12 else ""
        other = str(_WORDS.index(number)) if number in _WORDS else other
        found += [f"{other} {unit}"] if other else []
        if re.search(r"\bhow many\b", question, re.IGNORECASE):
            found += [number, other]
    if article := re.match(r"(?:an?|the) (?=\S+ \S+)", value, re.IGNORECASE):
        found.append(value[article.end() :])
    if question.startswith("By whom") and len(value.split()) == 2:
        found.append(value.split()[-1])
    return tuple(dict.fromkeys(each for each in found if each))


def _dates(value: str) -> list[str]:
    day = _day(value)
    if day is None:
        return []
    month = _MONTHS[day.month - 1]
    return [day.isoformat(), f"{day.day} {month} {day.year}", f"{month} {day.day}, {day.year}"]


def _day(value: str) -> date | None:
    """The day that a value names; None where it names none."""
    forms = (
        (r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)", int),
        (rf"(?P<d>\d{{1,2}}) (?P<m>{_MONTH}) (?P<y>\d{{4}})", lambda name: _MONTHS.index(name) + 1),
        (rf"(?P<m>{_MONTH}) (?P<d>\d{{1,2}}),? (?P<y>\d{{4}})", lambda name: _MONTHS.index(name) + 1),
    )
    for form, month in forms:
        if match := re.fullmatch(form, value):
            try:
                return date(int(match["y"]), month(match["m"]), int(match["d"]))
            except ValueError:
                return None
    return None


def changed_number(text: str, away_from: str) -> str | None:
    """``text`` with its first number changed by about a third into one that is not in ``away_from``, if it has one.

    Of a date the year is changed.
    """
    match = re.search(r"(?P<year>\d{4})(?=-\d\d-\d\d)", text) or _NUMBER.search(text)
    if match is None:
        return None
    for step in range(1, 9):
        other = _other(match[0], step)
        if other and not re.search(rf"(?<![\w.,-]){re.escape(other)}(?!\w|[.,-]\d)", away_from):
            return text[: match.start()] + other + text[match.end() :]
    return None


def _other(number: str, step: int) -> str:
    """Another number of the same form."""
    if number in _WORDS:
        return _WORDS[(_WORDS.index(number) + step - 2) % 11 + 2]
    if re.fullmatch(r"(?:1\d|20)\d\d", number):
        return str(int(number) - step)
    digits = re.fullmatch(r"(\d+)(.*)", number)
    assert digits is not None
    return f"{int(digits[1]) + max(step, round(int(digits[1]) * step / 3))}{digits[2]}"
