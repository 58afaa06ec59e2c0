import pytest

from lorag.documents.markdown_structure import marked_headings
from lorag.documents.parsers.markup.markdown_source import parse_markdown


def parse(tmp_path, text):
    return parse_markdown(tmp_path / "x.md", text.encode())


def test_front_matter_is_title_and_values(tmp_path):
    parsed = parse(
        tmp_path, "---\ntitle: The winch\ntags: [deck, hoist]\nsince: 2025-02-01\n---\n\n# Winch\n\nIt turns.\n"
    )
    assert (parsed.title, parsed.text) == ("The winch", "# Winch\n\nIt turns.\n")
    assert parsed.meta == (("tags", "deck"), ("tags", "hoist"), ("since", "2025-02-01"))
    assert parse(tmp_path, '+++\ntitle = "Hull"\n+++\nText').title == "Hull"


@pytest.mark.parametrize("text", ["---\n\nwords\n\n---\n", "---\nno end", "---\n- a\n- b\n---\n", "--- \na: [\n---\nx"])
def test_what_is_no_front_matter_stays(tmp_path, text):
    assert parse(tmp_path, text).meta == ()
    assert parse(tmp_path, text).text.startswith("---")


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("Mast\n====\n\nTall.\n\nSail\n---\nRed.  \n", "# Mast\n\nTall.\n\n## Sail\nRed.  \n"),
        ("Two\nlines\n===", "# Two lines"),
        ("- item\n---\n", "- item\n---\n"),
        ("```\ncode\n===\n```", "```\ncode\n===\n```"),
        ("a\n\n---\n\nb", "a\n\n---\n\nb"),
        ("| a | b |\n| --- | --- |\n", "| a | b |\n| --- | --- |\n"),
    ],
)
def test_underlined_headings_are_marked(text, marked):
    assert marked_headings(text) == marked


def test_pictures_as_data_leave_their_words(tmp_path):
    data = "data:image/png;base64," + "iVBORw0KGgo" * 300
    parsed = parse(tmp_path, f"Before ![the red buoy]({data}) after.\n\n![ref][1]\n\n[1]: {data}\n\n<img src='{data}'>")
    assert "the red buoy" in parsed.text
    assert "iVBOR" not in parsed.text
    assert "alternative text" in parsed.notes[0]


def test_lines_may_end_as_on_old_computers(tmp_path):
    parsed = parse(tmp_path, "# Bollard\r\rIt holds.\r\r## Paint\r\rGrey.")
    assert (parsed.title, parsed.text) == ("Bollard", "# Bollard\n\nIt holds.\n\n## Paint\n\nGrey.")
