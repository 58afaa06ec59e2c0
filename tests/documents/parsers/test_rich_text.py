import pytest

from lorag.documents.parsers.markup.rich_text import parse_rich_text
from lorag.errors import DataError

FONTS = r"{\f0\fnil Arial;}{\f1\fcharset204 Arial;}{\f2\fcharset2 Wingdings;}{\f3\fcharset2 Symbol;}"
HEAD = rf"{{\rtf1\ansi\ansicpg1252\deff0{{\fonttbl{FONTS}}}"


def read(tmp_path, body, head=HEAD):
    return parse_rich_text(tmp_path / "x.rtf", f"{head}{body}}}".encode("latin-1"))


def cell(words):
    return rf"\pard\intbl {words}\cell "


def row(*cells, declared=(r"\cellx1000", r"\cellx2000", r"\cellx3000")):
    return rf"\trowd {''.join(declared)}{''.join(map(cell, cells))}\row "


def test_headings_and_paragraphs(tmp_path):
    styles = r"{\stylesheet{\s0 Normal;}{\s1\outlinelevel0 Kopf;}{\s2 heading 2;}{\*\cs9 Strong;}}"
    body = r"{\info{\title The gauge}{\author Kim}}\pard\s1 Warranty\par\pard\s2 Parts\par\pard # 28 months.\par"
    parsed = read(tmp_path, styles + body)
    assert parsed.text == "# Warranty\n\n## Parts\n\n\\# 28 months."
    assert parsed.title == "Warranty"
    assert read(tmp_path, styles + body.replace(r"\s1 ", "")).title == "The gauge"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r"Gr\'f6\'dfe \'80 5", "Größe € 5"),
        (r"{\f1 \'e4\'ee\'ec} \'e4", "дом ä"),
        (r"\u8364?5 \u-10179?\u-8704? end", "€5 😀 end"),
        (r"{\uc2\u228\'e4\'e4x}\u228\'e4 y", "äxä y"),
        (r"{\f2 \'fe} yes {\f2 \'a8} no", "☒ yes ☐ no"),
        (r"{\f3 \'b3 5, \u61603?}", "≥ 5, ≤"),
        (r"a\emdash b\~c\_d\-e\{f\}\\", "a—b\u00a0c-de{f}\\"),
        (r"one\line two\tab three", "one\ntwo\tthree"),
        (r"{\upr{Gro}{\*\ud{Gro\u223?e}}}", "Große"),
        (r"see {\field{\*\fldinst HYPERLINK x}{\fldrslt the page}} now", "see the page now"),
        (r"{\shp{\*\shpinst{\sp{\sn a}{\sv b}}{\shptxt In a box}}{\shprslt again}}", "In a box"),
        (r"{\strike old }new {\deleted gone }here", "~~old~~ new here"),
        (r"{\*\unknown words}{\header page}{\*\annotation why}text", "text"),
        ("over\r\n two\nlines", "over twolines"),
        (r"{\bin3 }}{ok", "ok"),
    ],
)
def test_every_sign_is_what_a_reader_sees(tmp_path, body, text):
    assert read(tmp_path, body).text == text


def test_double_byte_code_pages(tmp_path):
    assert read(tmp_path, r"{\f5 \'91\'71\'8c\'c9}", r"{\rtf1\ansi{\fonttbl{\f5\fcharset128 x;}}").text == "倉庫"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r"\'83e\'83X\'83g", "テスト"),
        (r"\'83\\\'83t\'83g x", "ソフト x"),
        (r"\'83e\'83X\'83g\'83\{ \'83\} {\b \'83e}nd", "テストボ マ テnd"),
        (r"\u12486?\'83X", "テス"),
        (r"\'83 x", "\ufffd x"),
    ],
)
def test_the_second_byte_of_a_letter_may_stand_as_it_is(tmp_path, body, text):
    assert read(tmp_path, rf"{{\f5 {body}}}", r"{\rtf1\ansi{\fonttbl{\f5\fcharset128 x;}}").text == text


def test_a_long_text_in_a_double_byte_code_page_is_read_quickly(tmp_path):
    body = r"\'83e" * 100_000
    text = read(tmp_path, rf"{{\f5 {body}}}", r"{\rtf1\ansi{\fonttbl{\f5\fcharset128 x;}}").text
    assert text == "テ" * 100_000


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r"10{\super 2.5} Pa, 12 m\super 3\nosupersub , CO{\sub 2}", "10^2.5 Pa, 12 m³, CO₂"),
        (r"10{\super 2}{\super\b .5} or 10{\super -}{\super 6}", "10^2.5 or 10⁻⁶"),
        (r"the 1{\super st}, x{\super 2\plain y}", "the 1st, x²y"),
        (r"a{\super\chftn{\footnote\pard Since 2.}}", "a[^1]\n\n[^1]: Since 2."),
        (r"x{\sub 1}{\super 2}", "x₁²"),
        (r"mole{\super 1,\chftn{\footnote\pard Since 2.}}, 10{\super 2.5}3", "mole1,[^1], 10^2.5 3\n\n[^1]: Since 2."),
        (r"mole{\super 1,2}, 10{\super 1,2}", "mole1,2, 10^1,2"),
        (r"{\super cut", "cut"),
    ],
)
def test_powers_and_indices_keep_their_value(tmp_path, body, text):
    assert read(tmp_path, body).text == text


def test_headers_footers_comments_and_objects_are_counted(tmp_path):
    body = r"{\header\pard Port {\b authority}\par}{\headerf\pard\par}{\footer Page {\field{\fldrslt 1}}}"
    body += r"The mole{\*\atnid KB}{\*\atnauthor Kim}\chatn{\*\annotation\pard why?}{\*\annotation because} is long."
    body += r"{\object\objemb{\*\objdata 00ff}{\result{\pict 00}}}{\*\unknown words}{\*\template a.dot}"
    parsed = read(tmp_path, body)
    assert parsed.text == "The mole is long."
    assert parsed.notes == (
        "has 1 header, which was not read",
        "has 1 footer, which was not read",
        "has 2 comments, which were not read",
        "has 1 embedded object, which was not read",
    )


def test_lists_keep_their_numbers(tmp_path):
    items = r"{\listtext 3.2.\tab}Payment\par{\listtext\f2\'b7\tab}Scope\par\pard Then.\par"
    assert read(tmp_path, items).text == "3.2. Payment\n- Scope\n\nThen."


def test_tables_fill_what_merged_cells_cover(tmp_path):
    wide = row("Both", "c", declared=(r"\cellx2000", r"\cellx3010"))
    first = row("Press", "daily", "clean", declared=(r"\clvmgf\cellx1000", r"\cellx2000", r"\cellx3000"))
    below = row("", "weekly", "oil", declared=(r"\clvmrg\cellx1000", r"\cellx2000", r"\cellx3000"))
    text = read(tmp_path, f"Before\\par {wide}{first}{below}\\pard After\\par").text
    table = "| Both | Both | c |\n| --- | --- | --- |\n| Press | daily | clean |\n| Press | weekly | oil |"
    assert text == f"Before\n\n{table}\n\nAfter"


def test_a_table_in_a_cell_keeps_its_cells_apart(tmp_path):
    inner = r"\pard\intbl\itap2 DN50\nestcell 30 l\nestcell{\*\nesttableprops\trowd\cellx1\cellx2\nestrow}"
    text = read(
        tmp_path, rf"\trowd\cellx1000\cellx2000\pard\intbl Pump\cell {inner}\pard\intbl\itap1 more\cell\row"
    ).text
    assert text == "| Pump | DN50, 30 l more |\n| --- | --- |"


def test_footnotes_stand_at_the_end_and_what_is_not_read_is_noted(tmp_path):
    body = r"Rent{\super\chftn}{\footnote\pard\chftn Since May.\par} is due.{\v secret}{\*\shppict{\pict 00ff}}\par"
    parsed = read(tmp_path, body)
    assert parsed.text == "Rent[^1] is due.\n\n[^1]: Since May."
    assert parsed.notes == ("has hidden text, which was not read", "has pictures that were not read")


@pytest.mark.parametrize("body", [r"\trowd\intbl left in a cell", r"{\footnote left in a note", r"{{{left"])
def test_what_is_cut_off_is_still_read(tmp_path, body):
    assert "left" in read(tmp_path, body).text


def test_what_is_no_rich_text_is_refused(tmp_path):
    with pytest.raises(DataError, match="is not rich text"):
        parse_rich_text(tmp_path / "x.rtf", b"plain words")
