"""Text of shapes (DrawingML) and of formulas (OMML) in files of Office."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

from lorag.documents.superscripts import Shift, fraction, in_line, joined, lowered, on_line, power, raised

_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
FORMULA = f"{_MATH}oMath"
_DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_PARTS: dict[str, tuple[Callable[..., str], tuple[str, ...]]] = {
    f"{_MATH}f": (fraction, ("num", "den")),
    f"{_MATH}sSup": (lambda base, above: f"{base}{power(above)}", ("e", "sup")),
    f"{_MATH}sSub": (lambda base, below: f"{base}{lowered(below)}", ("e", "sub")),
    f"{_MATH}sSubSup": (lambda base, below, above: f"{base}{lowered(below)}{power(above)}", ("e", "sub", "sup")),
}
"""The elements of formulas whose parts do not stand side by side: what they show, and the names of their parts."""


def formula(element: Any) -> str:
    """The words of a formula, or of a part of one, with exponents, indices and fractions by their signs."""
    if element.tag == f"{_MATH}t":
        return element.text or ""
    if element.tag in _PARTS:
        shown, names = _PARTS[element.tag]
        return shown(*(joined([*map(formula, element.iterchildren(f"{_MATH}{name}"))]) for name in names))
    return joined([*map(formula, element.iterchildren("{*}*"))])


def drawn_line(paragraph: Any) -> str:
    """The words of a paragraph of a shape, from its element; a line break in it is a vertical tab."""
    parts = groupby(paragraph.iterchildren("{*}*"), _shift)
    return in_line((shift, "".join(map(_said, children))) for shift, children in parts)


def _said(element: Any) -> str:
    if element.tag in (f"{_DRAWING}r", f"{_DRAWING}fld"):
        return element.findtext(f"{_DRAWING}t") or ""
    if element.tag == f"{_DRAWING}br":
        return "\v"
    return "".join(formula(each) for each in element.iter(FORMULA))


def _shift(element: Any) -> Shift:
    """What the words of a run become by their place above, below or on the line."""
    look = element.find(f"{_DRAWING}rPr")
    baseline = "" if look is None else look.get("baseline", "").strip("0%")
    return on_line if not baseline else lowered if baseline.startswith("-") else raised
