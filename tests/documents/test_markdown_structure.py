import pytest

from lorag.documents.markdown_structure import Heading, Table, escaped, headings, table, tables


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


def test_where_a_table_is():
    text = "intro 😀\n\n| a | b |\n|---|:-:|\n| 1 | 2 |\nx\n\nafter"
    assert tables(text) == [Table(9, 41, "| a | b |", (29, 39))]
    assert text[9:41].startswith("| a")
    assert text[9:41].endswith("x\n")
    assert text[29:].startswith("| 1 | 2 |\nx")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("| a |\n|---|", 1),
        ("a | b\n-|-\n1 | 2", 1),
        ("| a \\| b |\n|---|\n| 1 |", 1),
        ("| a | b |\n|---|", 0),
        ("| a | b |\n\n|---|---|", 0),
        ("a\n---", 0),
        ("    | a | b |\n    |---|---|", 0),
        ("```\n| a |\n|---|\n```", 0),
        ("| a |\n|---|\n# heading\n| b |\n|---|", 2),
        ("| a |\n|---|\n```\n| b |\n|---|\n```", 1),
        ("| a |\r\n|---|\r\n| 1 |", 1),
        ("|---|\n|---|", 1),
        ("|\n|", 0),
    ],
)
def test_what_is_a_table(text, count):
    assert len(tables(text)) == count


def test_a_table_ends_before_a_heading():
    text = "| a |\n|---|\n| 1 |\n# B"
    (found,) = tables(text)
    assert text[: found.end] == "| a |\n|---|\n| 1 |\n"


def test_a_written_table_is_read_again():
    rows = [["a|b", " c "], [], ["1"], ["", ""], ["x\ny", "2", "3"]]
    written = table(rows)
    assert written == "| a\\|b | c |  |\n| --- | --- | --- |\n| 1 |  |  |\n| x y | 2 | 3 |"
    (found,) = tables(written)
    assert (found.header, len(found.rows)) == ("| a\\|b | c |  |", 2)
    assert table([]) == table([[""]]) == ""


def test_escaped_text_has_no_headings_or_fences():
    text = "# a\n  ## b\n```\n~~~ c\n#tag\nC# d\n####### e"
    assert escaped(text) == "\\# a\n  \\## b\n\\```\n\\~~~ c\n#tag\nC# d\n####### e"
    assert headings(escaped(text) + "\n# end") == [Heading(len(escaped(text)) + 1, 1, "end")]


def test_a_long_line_of_bars_takes_no_time():
    assert tables("|" * 100_000 + "\n" + "|-" * 50_000 + " x") == []


@pytest.mark.parametrize("break_", ["\n", "\r\n", " \n\t\n ", "\v", "\f", "\u2028", "\u2029"])
def test_a_cell_stands_on_one_line(break_):
    assert table([[f" a{break_}b ", "c"]]).startswith("| a b | c |\n")


def test_a_long_row_of_spaces_in_a_cell_takes_no_time():
    cell = "a" + " " * 200_000 + "b"
    assert table([[cell, f"{cell}\n"]]) == f"| {cell} | {cell} |\n| --- | --- |"
