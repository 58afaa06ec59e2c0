import pytest

from lorag.documents.list_numbers import Level, ListNumbers


@pytest.mark.parametrize(
    ("kind", "number", "written"),
    [
        *(("decimal", 12, "12"), ("decimalZero", 3, "03"), ("lowerRoman", 14, "xiv"), ("upperRoman", 1999, "MCMXCIX")),
        *(("lowerLetter", 26, "z"), ("upperLetter", 28, "BB"), ("ordinalText", 2, "2"), ("lowerRoman", 0, "0")),
        *(("lowerLetter", -4, "-4"), ("upperRoman", 99_999_999, "99999999")),
    ],
)
def test_numbers_are_written_as_their_kind_says(kind, number, written):
    assert ListNumbers().following("a", {0: Level(kind, "%1", number)}, 0) == written


def test_a_level_that_was_not_reached_counts_from_its_start():
    levels = {0: Level("decimal", "%1."), 1: Level("decimal", "%1.%2")}
    numbers = ListNumbers()
    assert numbers.following("a", levels, 1) == "1.1"
    assert numbers.following("b", levels, 0) == "1."
    assert numbers.following("a", levels, 0) == "1."
