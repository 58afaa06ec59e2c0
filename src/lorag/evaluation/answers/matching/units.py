"""Names of units, currencies, months and numbers, in fifteen languages (Unicode CLDR, through Babel) and as symbols."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

from lorag.evaluation.answers.matching.words import UNSPACED, canonical

_LOCALES = ("en", "de", "fr", "es", "it", "pt", "nl", "pl", "cs", "sv", "ru", "ja", "zh", "ko", "tr")
_SHORT = ("ja", "zh", "ko", "tr")
"""Where names in full are filed under the short ones."""
_CLDR = """
time second 1, millisecond .001, minute 60, hour 3600, day 86400, week 604800 | duration
months month 1, quarter 3, year 12, decade 120, century 1200 | duration
length millimeter .001, centimeter .01, decimeter .1, meter 1, kilometer 1000, micrometer .000001, nanometer .000000001,
 inch .0254, foot .3048, yard .9144, mile 1609.344 | length
mass milligram .001, gram 1, kilogram 1000, tonne 1000000, ounce 28.349523125, pound 453.59237 | mass
volume milliliter .001, centiliter .01, deciliter .1, liter 1, hectoliter 100, cubic-meter 1000, cubic-centimeter .001,
 gallon 3.785411784 | volume
area square-centimeter .0001, square-meter 1, square-kilometer 1000000, hectare 10000 | area
celsius celsius 1 | temperature
fahrenheit fahrenheit 1 | temperature
kelvin kelvin 1 | temperature
percent percent 1, permille .1 | concentr
data bit .125, byte 1, kilobyte 1000, megabyte 1000000, gigabyte 1000000000, terabyte 1000000000000 | digital
power milliwatt .001, watt 1, kilowatt 1000, megawatt 1000000, gigawatt 1000000000 | power
energy joule 1, kilojoule 1000, kilowatt-hour 3600000, kilocalorie 4184 | energy
volt volt 1 | electric
ampere ampere 1, milliampere .001 | electric
ohm ohm 1 | electric
hertz hertz 1, kilohertz 1000, megahertz 1000000, gigahertz 1000000000 | frequency
pressure pascal 1, hectopascal 100, kilopascal 1000, megapascal 1000000, bar 100000, millibar 100,
 pound-force-per-square-inch 6894.757 | pressure
force newton 1 | force
speed kilometer-per-hour 1, meter-per-second 3.6, mile-per-hour 1.609344 | speed
angle degree 1 | angle
"""
_SYMBOLS = """
time s 1, sec 1, secs 1, ms .001, min 60, mins 60, h 3600, hr 3600, hrs 3600, d 86400, wk 604800
months mo 1, mos 1, mth 1, mths 1, ヶ月 1, ヵ月 1, カ月 1, ケ月 1, 箇月 1, yr 12, yrs 12
length mm .001, cm .01, dm .1, m 1, km 1000, µm .000001, μm .000001, nm .000000001, ft .3048, metre 1, metres 1
mass mg .001, g 1, kg 1000, t 1000000, lb 453.59237, lbs 453.59237, oz 28.349523125
volume ml .001, cl .01, dl .1, l 1, L 1, hl 100, m3 1000, cm3 .001, litre 1, litres 1
area cm2 .0001, m2 1, km2 1000000, ha 10000
celsius °C 1, degc 1, celsius 1
fahrenheit °F 1, degf 1, fahrenheit 1
kelvin K 1
percent % 1, pct 1, ‰ .1
data B 1, kB 1000, MB 1000000, GB 1000000000, TB 1000000000000
power mW .001, W 1, kW 1000, MW 1000000, GW 1000000000
energy J 1, kJ 1000, kWh 3600000, kcal 4184
volt V 1
ampere A 1, mA .001
ohm Ω 1
hertz Hz 1, kHz 1000, MHz 1000000, GHz 1000000000
pressure Pa 1, hPa 100, kPa 1000, MPa 1000000, bar 100000, mbar 100, psi 6894.757
force N 1, kN 1000
torque Nm 1
speed km/h 1, kmh 1, kph 1, m/s 3.6, mph 1.609344
angle ° 1
"""
_CURRENCIES = {
    "USD": "$ usd us$ dollar dollars us-dollar us-dollars us_dollar us_dollars dolar dolares dollaro dollari ドル 美元",
    "EUR": "€ eur euro euros ユーロ 欧元",
    "GBP": "£ gbp sterling",
    "JPY": "jpy yen 円",
    "CNY": "cny rmb yuan 元",
    "CHF": "chf francs franken",
    "INR": "₹ inr rupee rupees",
    "KRW": "₩ krw won",
    "CAD": "cad ca$ canadian_dollar canadian_dollars",
    "AUD": "aud au$ australian_dollar australian_dollars",
    "SEK": "sek",
    "NOK": "nok",
    "DKK": "dkk",
    "PLN": "pln zl zloty",
    "CZK": "czk",
    "BRL": "brl r$",
}
_MULTIPLIERS = """
1000 thousand k tausend mille mil mila duizend тысяч тысячи
1000000 million millions mn mio mln millionen millones milhoes milioni miljoen миллион миллионов
1000000000 billion billions bn mrd mld milliarde milliarden milliard milliards miliardi bilhoes миллиард миллиардов
1000000000000 trillion trillions tn
100 百
1000 千
10000 万 萬 만
100000000 亿 億 억
"""
_NUMERALS = """
0 zero null nul cero
1 one eins 一
2 two zwei deux dos due dois twee два 二 两
3 three drei trois tres tre drie три 三
4 four vier quatre cuatro quattro quatro четыре 四
5 five fuenf funf cinq cinco cinque vijf пять 五
6 six sechs seis sei zes шесть 六
7 seven sieben sept siete sette sete zeven семь 七
8 eight acht huit ocho otto oito восемь 八
9 nine neun neuf nueve nove negen девять 九
10 ten zehn dix diez dieci dez tien десять 十
11 eleven elf onze once undici
12 twelve zwoelf zwolf douze doce dodici twaalf
13 thirteen
14 fourteen vierzehn quatorze catorce
15 fifteen fuenfzehn funfzehn quinze quince quindici
16 sixteen
17 seventeen
18 eighteen
19 nineteen
20 twenty zwanzig vingt veinte venti vinte
30 thirty dreissig trente treinta trenta trinta
40 forty vierzig quarante cuarenta quaranta
50 fifty fuenfzig funfzig cinquante cincuenta cinquanta
60 sixty sechzig soixante sesenta sessanta
70 seventy siebzig
80 eighty achtzig
90 ninety neunzig
100 hundred hundert cent cien cento
"""
_ORDINALS = """
first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth
"""
_OTHER_WORDS = {"an", "ar", "den", "om", "pe", "ma", "mw", "pa"}
"""Spellings of units that are commoner as another word, or as another unit."""

Unit = tuple[str, Decimal]
"""A dimension and the size of the unit in it: (``time``, 60) for a minute."""


def _rows(table: str) -> Iterator[tuple[str, list[str], str]]:
    for line in table.replace(",\n ", ", ").strip().splitlines():
        body, _, group = line.partition(" | ")
        dimension, _, units = body.partition(" ")
        yield dimension, [unit.strip() for unit in units.split(",")], group


def _spellings(unit: str) -> set[str]:
    """The names of a CLDR unit in all languages, as they stand behind 1, 2 and 5."""
    from babel.units import format_unit

    found = set()
    for locale in _LOCALES:
        for count in (1, 2, 5):
            length: Literal["short", "long"] = "short" if locale in _SHORT else "long"
            text = canonical(format_unit(count, unit, length, locale=locale))
            if text.startswith(str(count)):
                found.add(text.removeprefix(str(count)).strip().casefold())
    return {name for name in found if "-" not in name and not (name.isascii() and len(name) < 3)} - _OTHER_WORDS


@lru_cache(maxsize=1)
def units() -> dict[str, Unit]:
    """Each spelling with its unit; symbols as they are written, names in lower case."""
    known: dict[str, Unit] = {}
    for dimension, members, group in _rows(_CLDR):
        for member in members:
            name, _, size = member.rpartition(" ")
            for spelling in _spellings(f"{group}-{name}"):
                known.setdefault(spelling, (dimension, Decimal(size)))
    for dimension, members, _ in _rows(_SYMBOLS):
        for member in members:
            symbol, _, size = member.rpartition(" ")
            known[canonical(symbol)] = (dimension, Decimal(size))
    for code, names in _CURRENCIES.items():
        known |= {name.replace("_", " "): (code, Decimal(1)) for name in names.split()}
        known[code] = (code, Decimal(1))
    for spelling in [s for s in known if s.isalpha() and len(s) > 1]:
        if spelling.casefold() not in _OTHER_WORDS:
            known.setdefault(spelling.casefold(), known[spelling])
    return known


def _numbers(table: str) -> dict[str, int]:
    return {name: int(value) for value, *names in map(str.split, table.strip().splitlines()) for name in names}


MULTIPLIERS = _numbers(_MULTIPLIERS)
AMBIGUOUS = frozenset({"once", "due", "sei", "tre", "elf", "dos", "null", "nul"}) | MULTIPLIERS.keys()
"""Number words that alone are no number, being another word as well ("once", "millions")."""
NUMERALS = _numbers(_NUMERALS) | {name: number for number, name in enumerate(_ORDINALS.split(), start=1)}


@lru_cache(maxsize=1)
def months() -> dict[str, int]:
    """Names of the months in lower case, and their English and German abbreviations, with their numbers."""
    from babel.dates import get_month_names

    known = {"sept": 9}
    forms = [get_month_names("wide", "format", locale) for locale in _LOCALES]
    forms += [get_month_names("wide", "stand-alone", locale) for locale in _LOCALES]
    forms += [get_month_names("abbreviated", "format", locale) for locale in ("en", "de")]
    for names in forms:
        for number in range(1, 13):
            name = canonical(str(names[number])).casefold().rstrip(".")
            if len(name) > 2 and not UNSPACED.search(name):
                known.setdefault(name, number)
    return known


def alternation(names: Iterable[str]) -> str:
    """A regular expression for the longest of ``names``, which looks at each letter once."""
    tree: dict[str, Any] = {}
    for name in names:
        node = tree
        for letter in name:
            node = node.setdefault(letter, {})
        node[""] = {}
    return _branches(tree)


def _branches(tree: dict[str, Any]) -> str:
    ends = "" in tree
    branches = [re.escape(letter) + _branches(node) for letter, node in sorted(tree.items()) if letter]
    if not branches:
        return ""
    return f"(?:{'|'.join(branches)}){'?' if ends else ''}" if ends or len(branches) > 1 else branches[0]
