from datetime import datetime, time, timedelta

import pytest

from lorag.documents.cell_format import shown
from lorag.documents.grid import Cell, filled


def test_what_a_cell_says_holds_in_every_place_that_it_covers():
    rows = [[Cell("deck", rows=3), Cell("load", columns=2)], [Cell("min"), Cell("max")], [Cell("1"), Cell("9")]]
    assert filled(rows) == [["deck", "load", "load"], ["deck", "min", "max"], ["deck", "1", "9"]]
    assert filled([[Cell("a"), Cell("b", rows=2)], [Cell("c")]]) == [["a", "b"], ["c", "b"]]
    assert filled([[Cell("a", rows=2, columns=2)], [], [Cell("c")]]) == [["a", "a"], ["a", "a"], ["c"]]


NUMBERS = [
    (0.0725, "0.0%", "7.3%"),
    (-0.5, "0%", "-50%"),
    (98765.4, '"CHF "#,##0.00', "CHF 98,765.40"),
    (12.5, "#,##0.00 [$€-407]", "12.50 €"),
    (-3, "0.00;(0.00)", "(3.00)"),
    (7, "00000", "00007"),
    (0.1 + 0.2, "General", "0.3"),
    (7, "General", "7"),
    (5.5, 'General" kg"', "5.5 kg"),
    (True, "General", "TRUE"),
    (1234567, '#,##0,"k"', "1,235k"),
    (1e30, "0.0", "1" + "0" * 30 + ".0"),
    (5551234567, "(000) 000-0000", "(555) 123-4567"),
    (20261, '0"/"0000', "2/0261"),
    (0, '_-* #,##0.00 €_-;-* #,##0.00 €_-;_-* "-"?? €_-', "- €"),
    (0, '0;-0;"none"', "none"),
    (0, "#", "0"),
    (None, "0", ""),
    (-5, "0;;", "-5"),
    (-5, ";;;", "-5"),
    (-1234.1, "#,##0.00;[Red]#,##0.00", "-1,234.10"),
    (-3, "0;-0;-0", "-3"),
]
FRACTIONS = [
    (0.5, "# ?/?", "1/2"),
    (-1.25, r"#\ ??/??", "-1 1/4"),
    (1.25, "?/?", "5/4"),
    (2.4, "# ?/8", "2 3/8"),
    (1.999, "# ?/?", "2"),
    (12345, "0.00E+00", "1.23E+04"),
    (0.00012, "##0.0E+0", "120.0E-6"),
    (99999, "0.0E-0", "1.0E5"),
]
CONDITIONS = [
    (1_500_000, '[>=1000000]0.0,,"M";#,##0', "1.5M"),
    (1500, '[>=1000000]0.0,,"M";#,##0', "1,500"),
    (0.3, '[<0.1]"low";[>=0.5]"high";"mid"', "mid"),
    (-5, "[Red][<0]-0.0;0.0", "-5.0"),
    (-5, "[Red][<0]0.0;0.0", "-5.0"),
    (-5, "[<=-1](0.0);0.0", "(5.0)"),
    (-5, "[>=0]0.0;-0.0", "-5.0"),
    (-5, "[<10]0.0;0", "-5.0"),
    ("words", "@", "words"),
    ("words", "0.00", "words"),
    ("12/7", '0;-0;0;"No. "@', "No. 12/7"),
]
DATES = [
    (datetime(2026, 3, 4), "dd.mm.yyyy", "2026-03-04"),
    (datetime(2026, 3, 4, 9, 30), "dd.mm.yyyy hh:mm", "2026-03-04 09:30"),
    (datetime(2026, 3, 4, 9, 30), "m/d/yy", "2026-03-04"),
    (datetime(2026, 3, 4, 9, 30), "General", "2026-03-04 09:30:00"),
    (datetime(2026, 10, 1), "mmm yyyy", "Oct 2026"),
    (datetime(2026, 10, 5), "dddd", "Monday"),
    (datetime(2026, 10, 5), "[$-407]d. mmmm yyyy", "5. Oktober 2026"),
    (datetime(2026, 10, 5), "[$-fr-FR]mmmm yy;@", "octobre 26"),
    (datetime(2026, 10, 5), "[$-F800]dddd, mmmm dd, yyyy", "Monday, October 05, 2026"),
    (datetime(2026, 10, 5), 'yyyy"年"m"月"d"日"', "2026年10月5日"),
    (datetime(2026, 1, 5), '"due "dd.mm.yyyy', "due 2026-01-05"),
    (datetime(2026, 1, 5, 9, 30), 'dd.mm.yyyy" at "hh:mm', "2026-01-05 at 09:30"),
    (datetime(2026, 10, 5), "d/m", "2026-10-05"),
    (datetime(2026, 10, 5, 9, 30), "m/d h:mm", "2026-10-05 09:30"),
    (datetime(2026, 10, 5), "mm/yyyy", "10/2026"),
    (datetime(2026, 10, 5), 'm"月"d"日"', "10月5日"),
    (datetime(2026, 10, 5), '[$-411]ggge"年"m"月"d"日";@', "2026-10-05"),
    (datetime(2026, 10, 5), "e/m/d", "2026-10-05"),
    (datetime(2026, 10, 5), '[$-411]e"年"m"月"d"日"', "2026年10月5日"),
    (datetime(2026, 10, 5), "[$-411]m/d(aaa)", "10/5(月)"),
    (datetime(2026, 10, 5), "aaaa", "Monday"),
    (datetime(2026, 10, 5, 9, 30), "bbbb", "2026-10-05 09:30:00"),
    (datetime(2026, 10, 5, 9, 30), "[$-411]General", "2026-10-05 09:30:00"),
    (datetime(2026, 10, 5), "[$-415]mmmm yyyy", "październik 2026"),
    (datetime(2026, 10, 5), "[$-415]d mmmm yyyy", "5 października 2026"),
    (datetime(2026, 10, 5), "[$-405]mmmm", "říjen"),
    (datetime(1900, 1, 1, 12), "h:mm", "12:00"),
    (datetime(2026, 10, 5, 15, 4), "d mmm h:mm AM/PM", "5 Oct 3:04 PM"),
]
TIMES = [
    (time(0, 30), "h:mm AM/PM", "12:30 AM"),
    (time(9, 5, 7), "hh:mm:ss", "09:05:07"),
    (time(9, 5), "General", "09:05:00"),
    (time(9, 5), "dd.mm.yyyy", "09:05:00"),
    (timedelta(hours=50, minutes=5), "[h]:mm", "50:05"),
    (timedelta(hours=50, minutes=5, seconds=20), '[h]" h "mm" min"', "50 h 05 min"),
    (timedelta(minutes=90), "[mm]:ss", "90:00"),
    (timedelta(seconds=62.35), "mm:ss.0", "01:02.4"),
    (-timedelta(hours=30), "[h]:mm", "-30:00"),
]


@pytest.mark.parametrize(("value", "number_format", "text"), [*NUMBERS, *FRACTIONS, *CONDITIONS, *DATES, *TIMES])
def test_values_are_written_as_the_sheet_shows_them(value, number_format, text):
    assert shown(value, number_format) == text
