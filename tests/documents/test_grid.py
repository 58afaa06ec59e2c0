from datetime import datetime, timedelta

import pytest

from lorag.documents.cell_format import shown
from lorag.documents.grid import Cell, filled


def test_what_a_cell_says_holds_in_every_place_that_it_covers():
    rows = [[Cell("deck", rows=3), Cell("load", columns=2)], [Cell("min"), Cell("max")], [Cell("1"), Cell("9")]]
    assert filled(rows) == [["deck", "load", "load"], ["deck", "min", "max"], ["deck", "1", "9"]]
    assert filled([[Cell("a"), Cell("b", rows=2)], [Cell("c")]]) == [["a", "b"], ["c", "b"]]
    assert filled([[Cell("a", rows=2, columns=2)], [], [Cell("c")]]) == [["a", "a"], ["a", "a"], ["c"]]


@pytest.mark.parametrize(
    ("value", "number_format", "text"),
    [
        (0.0725, "0.0%", "7.3%"),
        (-0.5, "0%", "-50%"),
        (98765.4, '"CHF "#,##0.00', "CHF 98,765.40"),
        (12.5, "#,##0.00 [$€-407]", "12.50 €"),
        (-3, "0.00;(0.00)", "(3.00)"),
        (7, "00000", "00007"),
        (0.1 + 0.2, "General", "0.3"),
        (7, "General", "7"),
        (True, "General", "TRUE"),
        (timedelta(hours=50, minutes=5), "[h]:mm", "50:05"),
        (datetime(2026, 3, 4), "dd.mm.yyyy", "2026-03-04"),
        (datetime(2026, 3, 4, 9, 30), "dd.mm.yyyy hh:mm", "2026-03-04 09:30"),
        (None, "0", ""),
        ("words", "@", "words"),
    ],
)
def test_values_are_written_as_the_sheet_shows_them(value, number_format, text):
    assert shown(value, number_format) == text
