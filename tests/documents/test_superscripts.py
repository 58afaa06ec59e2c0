import pytest

from lorag.documents.superscripts import fraction, lowered, raised


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        *(("3", "³"), ("-12", "⁻¹²"), ("n", "ⁿ"), (" 2 ", " ² "), ("", ""), (" ", " ")),
        *(("2.5", "^2.5"), ("-0,5", "^-0,5"), ("x", "^x"), ("1/2", "^(1/2)"), ("a + b", "^(a + b)")),
        *(("st", "st"), ("TM", "TM"), ("*", "*"), ("[^2]", "[^2]"), ("(a)", "(a)")),
    ],
)
def test_what_stands_above_the_line_keeps_its_value(words, shown):
    assert raised(words) == shown


@pytest.mark.parametrize(("words", "shown"), [("2", "₂"), ("max", "max"), ("0.5", "_0.5"), ("2,min", "_2,min")])
def test_what_stands_below_the_line_is_kept_from_the_digits_before_it(words, shown):
    assert lowered(words) == shown


def test_a_fraction_is_one_value():
    assert fraction(" 1 ", "2") == "1/2"
    assert fraction("a+1", "(b-2)") == "(a+1)/(b-2)"
