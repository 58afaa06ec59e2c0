import pytest

from lorag.documents.symbol_fonts import readable, sign


@pytest.mark.parametrize(
    ("font", "code", "shown"),
    [
        *(("Symbol", 0xF0B3, "≥"), ("symbol", 0xA3, "≤"), ("Symbol", 0xB1, "±"), ("Symbol", 0x6D, "μ")),
        *(("Symbol", 0xD6, "√"), ("Symbol", 0xFE, "⎭"), ("Symbol", 0x57, "Ω"), ("Symbol", 0x80, "\ufffd")),
        *(
            ("Wingdings", 0xF0FE, "☒"),
            ("Wingdings", 0xA8, "☐"),
            ("Wingdings", 0x82, "②"),
            ("Wingdings", 0x24, "\ufffd"),
        ),
        *(("Symbol", 0xFF, "\ufffd"), ("Symbol", 0x05, "\ufffd"), ("Symbol", 0x20, " ")),
    ],
)
def test_a_sign_is_what_it_looks_like_in_its_font(font, code, shown):
    assert sign(font, code) == shown


def test_only_what_is_kept_for_such_fonts_is_changed():
    assert readable("5 \uf0b3 4 – é \ue000", "Symbol") == "5 ≥ 4 – é \ue000"
