import pytest

from lorag.documents.superscripts import fraction, joined, lowered, raised


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        *(("3", "³"), ("-12", "⁻¹²"), ("n", "ⁿ"), (" 2 ", " ² "), ("", ""), (" ", " ")),
        *(("2.5", "^2.5"), ("-0,5", "^-0,5"), ("x", "^x"), ("1/2", "^(1/2)"), ("a + b", "^(a + b)")),
        *(("st", "st"), ("TM", "TM"), ("*", "*"), ("[^2]", "[^2]"), ("(a)", "(a)"), ("1,[^2]", "1,[^2]")),
        *(("b", "b"), ("ère", "ère"), ("ième", "ième"), ("r", "r"), ("k", "^k"), ("2[^1]", "²[^1]")),
        *(("Prices are without tax.", "Prices are without tax."), ("tax-free goods", "tax-free goods")),
    ],
)
def test_what_stands_above_the_line_keeps_its_value(words, shown):
    assert raised(words) == shown


@pytest.mark.parametrize(
    ("words", "shown"), [("2", "₂"), ("max", "max"), ("0.5", "_0.5"), ("2,min", "_2,min"), ("Figure 1: the pump",) * 2]
)
def test_what_stands_below_the_line_is_kept_from_the_digits_before_it(words, shown):
    assert lowered(words) == shown


@pytest.mark.parametrize(
    ("before", "words", "shown"),
    [
        *(("word", "1,2", "1,2"), ("word.", "1–3", "1–3"), ("the word", "1, 2", "1, 2")),
        *(("10", "1,2", "^1,2"), ("10", "2.5", "^2.5"), ("m", "2", "²"), ("word", "0,5", "^0,5")),
    ],
)
def test_a_list_of_footnotes_is_no_power(before, words, shown):
    assert raised(words, before) == shown


def test_parts_of_a_formula_do_not_become_one_number():
    assert joined(["3", "1/2"]) == "3 1/2"
    assert joined(["10^2.5", "3", "", "x", "+", "1/2"]) == "10^2.5 3x+1/2"


def test_a_fraction_is_one_value():
    assert fraction(" 1 ", "2") == "1/2"
    assert fraction("a+1", "(b-2)") == "(a+1)/(b-2)"
