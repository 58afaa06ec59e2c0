"""Signs that are written with a font of symbols, as the characters that they look like."""

from __future__ import annotations

_SYMBOL = (
    " !∀#∃%&∋()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼" + "\ufffd" * 33
) + ("€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊〈®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪\ufffd〉∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭")
"""The font Symbol from 0x20 on, as Adobe encodes it."""
_WINGDINGS = {
    **dict.fromkeys((0x52, 0x53, 0x54, 0x78, 0xFD, 0xFE), "☒"),
    **dict.fromkeys((0x6F, 0x71, 0xA3, 0xA8), "☐"),
    **{0x28: "☎", 0x2A: "✉", 0x46: "☞", 0x4A: "☺", 0x4C: "☹", 0x6C: "●", 0x6E: "■", 0x76: "❖", 0x9F: "•", 0xA1: "○"},
    **{0xA7: "▪", 0xB7: "•", 0xD8: "➢", 0xDF: "←", 0xE0: "→", 0xE1: "↑", 0xE2: "↓", 0xE8: "→", 0xF0: "⇨", 0xFB: "✗"},
    **{0xFC: "✓", **{0x81 + number: chr(0x2460 + number) for number in range(10)}},
    **{0x8C + number: chr(0x2776 + number) for number in range(10)},
}
"""Those of Wingdings and its kin that people write with; all boxes with something in them are ticked."""
_PRIVATE = range(0xF020, 0xF100)


def sign(font: str, code: int) -> str:
    """The character for a code of a font of symbols; the sign for unknown ones where it is not known."""
    code &= 0xFF
    if font.strip().lower() == "symbol":
        return _SYMBOL[code - 0x20] if 0x20 <= code < 0x20 + len(_SYMBOL) else "\ufffd"
    return _WINGDINGS.get(code, "\ufffd")


def readable(text: str, font: str) -> str:
    """``text`` of a ``font`` with the characters that programs keep for fonts of symbols as what they look like."""
    return "".join(sign(font, ord(each)) if ord(each) in _PRIVATE else each for each in text)
