import pytest

from lorag.documents.parsers.delimited import parse_separated, separator

TABLE = "| plan | price |\n| --- | --- |\n| Harbour | 12,50 |\n| Open sea | 30 |"


def parse(tmp_path, text, name="x.csv"):
    return parse_separated(tmp_path / name, text.encode()).text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", 'plan,price\nHarbour,"12,50"\nOpen sea,30\n'),
        ("x.csv", "plan;price\r\nHarbour;12,50\r\nOpen sea;30\r\n"),
        ("x.CSV", "plan|price\nHarbour|12,50\nOpen sea|30"),
        ("x.csv", "plan\tprice\nHarbour\t12,50\nOpen sea\t30"),
        ("x.tsv", "plan\tprice\nHarbour\t12,50\n\nOpen sea\t30"),
    ],
)
def test_the_delimiter_is_found(tmp_path, name, text):
    assert parse(tmp_path, text, name) == TABLE


def test_cells_may_hold_anything(tmp_path):
    text = 'a,b,c\n"x|y","two\nlines",\n,,\n1,"he said ""no"""\n'
    assert parse(tmp_path, text) == (
        '| a | b | c |\n| --- | --- | --- |\n| x\\|y | two lines |  |\n| 1 | he said "no" |  |'
    )


def test_only_ends_of_lines_end_a_row(tmp_path):
    assert parse(tmp_path, "a,b\none\u2028two\x0bthree,2") == "| a | b |\n| --- | --- |\n| one two three | 2 |"


def test_a_single_column_is_a_table_and_a_single_cell_a_line(tmp_path):
    assert parse(tmp_path, "name\nMara\n") == "| name |\n| --- |\n| Mara |"
    assert parse(tmp_path, "# a, b") == "| # a | b |\n| --- | --- |"
    assert parse(tmp_path, "# just words\n") == "\\# just words"


def test_a_cell_may_be_as_long_as_its_file(tmp_path):
    assert "x" * 200_000 in parse(tmp_path, "a,b\n" + "x" * 200_000 + ",1\n")


def test_the_line_that_tells_excel_the_separator_is_none_of_the_table(tmp_path):
    assert parse(tmp_path, "sep=;\r\nplan;price\r\nHarbour;12,50\r\nOpen sea;30\r\n") == TABLE


def test_lines_may_end_as_on_old_computers(tmp_path):
    assert parse(tmp_path, "plan;price\rHarbour;12,50\rOpen sea;30\r") == TABLE


@pytest.mark.parametrize(
    ("text", "suffix", "sign"),
    [
        ("sep=|\na|b;c\n", ".tsv", "|"),
        ("a, b\tc\n", ".TSV", "\t"),
        ("Prices of 2026\nplan;price\nHarbour;12\n", ".csv", ";"),
    ],
)
def test_the_separator_is_that_of_the_first_line_of_the_suffix_or_of_most_rows(text, suffix, sign):
    assert separator(text, suffix) == (sign, text.removeprefix("sep=|\n"))


def test_names_of_columns_hold_the_separator():
    text = "text\na; b\nc; d\n"
    assert separator(text, ".csv")[0] == ";"
    assert separator(text, ".csv", has_names=True)[0] == ","
    assert separator("question|answer\na, b|c, d\n", ".csv", has_names=True)[0] == "|"
