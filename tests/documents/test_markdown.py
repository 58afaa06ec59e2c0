import pytest

from lorag.documents.markdown import Heading, headings


def titles(text):
    return [(heading.level, heading.title) for heading in headings(text)]


def test_offsets_are_those_of_the_line():
    text = "intro 😀\n\n# One\ntext\n  ## Two"
    assert headings(text) == [Heading(9, 1, "One"), Heading(20, 2, "Two")]
    assert text[9:].startswith("# One")
    assert text[20:].startswith("  ## Two")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("# A", [(1, "A")]),
        ("###### Six", [(6, "Six")]),
        ("####### seven", []),
        ("#no space", []),
        ("#\ttab", [(1, "tab")]),
        ("## closed ##", [(2, "closed")]),
        ("## closed   #######  ", [(2, "closed")]),
        ("# C#", [(1, "C#")]),
        ("# a # b", [(1, "a # b")]),
        ("## ##", []),
        ("#", []),
        ("   # three spaces", [(1, "three spaces")]),
        ("    # four are code", []),
        ("text # not", []),
        ("# CRLF\r", [(1, "CRLF")]),
        ("# Гарантия", [(1, "Гарантия")]),
    ],
)
def test_what_is_a_heading(line, expected):
    assert titles(line) == expected
    assert titles(f"before\n{line}\nafter") == expected


@pytest.mark.parametrize(
    "fenced",
    [
        "```\n# no\n```",
        "```python\n# no\n```",
        "~~~\n# no\n~~~",
        "````\n```\n# no\n````",
        "```\n~~~\n# no\n```",
        "```\n# no\n``` not closing\n# no\n```",
        "  ```\n# no\n   ```  ",
    ],
)
def test_fenced_code_holds_no_headings(fenced):
    assert titles(f"# before\n{fenced}\n# after") == [(1, "before"), (1, "after")]


def test_an_open_fence_reaches_to_the_end():
    assert titles("# a\n```\n# b") == [(1, "a")]


def test_backticks_within_a_line_open_nothing():
    assert titles("``` inline ``` code\n# yes") == [(1, "yes")]


def test_a_long_line_of_spaces_and_marks_takes_no_time():
    assert titles("# a" + " " * 200_000 + "# b" + "#" * 200_000)[0][0] == 1
