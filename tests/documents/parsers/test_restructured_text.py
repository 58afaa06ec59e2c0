import pytest

from lorag.documents.parsers.markup.restructured_text import parse_restructured


def read(tmp_path, text):
    return parse_restructured(tmp_path / "x.rst", text.encode())


def test_titles_are_headings_in_the_order_of_their_marks(tmp_path):
    text = "====\nPump\n====\n\nIt lifts\n9 m.\n\nPower\n-----\n\nCord\n~~~~\n\nCare\n-----\n保証\n====\n"
    parsed = read(tmp_path, text)
    expected = "# Pump\n\nIt lifts\n9 m.\n\n## Power\n\n### Cord\n\n## Care\n#### 保証"
    assert parsed.text.strip() == expected
    assert parsed.title == "Pump"


@pytest.mark.parametrize(
    "text",
    [
        "Before\n\n----\n\nAfter",
        "A line\nthat runs on\n---",
        "   Indented\n   --------",
        "Longer than its line\n---",
        "::\n\n       # wait\n       run",
        ".. note:: Mind the gap.",
        "====== ==\nno end",
        "+--+--+\n| spans |\n+--+--+",
    ],
)
def test_all_else_stays_as_it_is(tmp_path, text):
    assert read(tmp_path, text).text == text


def test_a_comment_of_a_script_is_no_heading(tmp_path):
    assert read(tmp_path, ".. code:: sh\n\n   # wait\n").text == ".. code:: sh\n\n   \\# wait\n"


def test_tables_are_tables(tmp_path):
    simple = "=====  =====\n Key   Value\n=====  =====\n a     one\n       two\n b     x | y\n=====  =====\n"
    grid = (
        "+-----+-------+\n| Key | Value |\n+=====+=======+\n| a   | one   |\n|     | two   |\n"
        "+-----+-------+\n| b   | x     |\n+-----+-------+\n"
    )
    header = "| Key | Value |\n| --- | --- |\n| a | one two |\n"
    assert read(tmp_path, f"{simple}\n{grid}").text == f"{header}| b | x \\| y |\n\n{header}| b | x |\n"
