import zipfile
from io import BytesIO

import pytest

from lorag.documents.parsers.markup.open_document import parse_open_document
from lorag.errors import DataError
from lorag.types import Place

SPACES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{space}:1.0"'
    for name, space in {
        **{name: name for name in ("office", "text", "table", "presentation", "style")},
        "draw": "drawing",
        "svg": "svg-compatible",
    }.items()
)

BODY = "<text:note-body><text:p>At low water.</text:p></text:note-body>"
NOTE = f'<text:note text:id="ftn1"><text:note-citation>1</text:note-citation>{BODY}</text:note>'
COMMENT = "<office:annotation><text:p>comment</text:p></office:annotation>"


def packed(kind, content, automatic="", **parts):
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(
            "content.xml",
            f"<office:document-content {SPACES}>{automatic}<office:body><office:{kind}>{content}</office:{kind}>"
            "</office:body></office:document-content>",
        )
        for name, data in parts.items():
            archive.writestr(name.replace("__", "/") + ".xml", data)
    return file.getvalue()


def parse(tmp_path, kind, content, automatic="", **parts):
    return parse_open_document(tmp_path / "x.odt", packed(kind, content, automatic, **parts))


def cells(*texts):
    return "".join(f"<table:table-cell><text:p>{text}</text:p></table:table-cell>" for text in texts)


def test_a_text_keeps_headings_lists_tables_notes_and_alternative_texts(tmp_path):
    content = f"""<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>
    <text:h text:outline-level="1">Mole <text:span>and</text:span> quay</text:h>
    <text:section><text:p>It is<text:s text:c="2"/>212 m{NOTE} long.{COMMENT}</text:p></text:section>
    <text:list><text:list-item><text:p>oak</text:p><text:list><text:list-item><text:p>old</text:p></text:list-item>
    </text:list></text:list-item><text:list-item><text:p># elm</text:p></text:list-item></text:list>
    <text:p><draw:frame><draw:image/><svg:desc>a red lamp</svg:desc></draw:frame></text:p>
    <table:table><table:table-header-rows><table:table-row><table:table-cell table:number-columns-spanned="2">
    <text:p>Depth</text:p></table:table-cell><table:covered-table-cell/></table:table-row></table:table-header-rows>
    <table:table-row>{cells("low", "high")}</table:table-row></table:table>"""
    parsed = parse(tmp_path, "text", content)
    assert parsed.title == "Mole and quay"
    assert parsed.notes == (
        "has pictures, of which only the alternative text was read",
        "has comments, which were not read",
    )
    assert parsed.text == (
        "# Mole and quay\n\nIt is  212 m[^ftn1] long.\n\n- oak\n  - old\n- # elm\n\na red lamp\n\n"
        "| Depth | Depth |\n| --- | --- |\n| low | high |\n\n[^ftn1]: At low water."
    )


def level(number, form, behind=".", **more):
    given = "".join(f' {name.replace("__", ":").replace("_", "-")}="{value}"' for name, value in more.items())
    known = f'text:level="{number}" style:num-format="{form}" style:num-suffix="{behind}"'
    return f"<text:list-level-style-number {known}{given}/>"


def item(text, inner="", more=""):
    return f"<text:list-item{more}><text:p>{text}</text:p>{inner}</text:list-item>"


def test_items_have_the_numbers_that_are_shown(tmp_path):
    levels = level(1, "1") + level(2, "a", ")") + level(3, "1", text__display_levels="3")
    bullets = '<text:list-level-style-bullet text:level="1" text:bullet-char="*"/>'
    styles = f"""<office:automatic-styles><text:list-style style:name="L1">{levels}</text:list-style>
    <text:list-style style:name="L2">{bullets}</text:list-style></office:automatic-styles>"""
    deepest = f"<text:list>{item('deepest')}</text:list>"
    content = f"""<text:list text:style-name="L1" xml:id="first">{
        item("one", f"<text:list>{item('in', deepest)}{item('beside')}</text:list>")
    }{item("two")}</text:list>
    <text:p>between</text:p>
    <text:list text:style-name="L1" text:continue-list="first">{item("three")}</text:list>
    <text:list text:style-name="L1">{item("one again")}<text:list-header><text:p>without</text:p></text:list-header>
    {item("nine", more=' text:start-value="9"')}</text:list>
    <text:list text:style-name="L1" text:continue-numbering="true">{item("ten")}</text:list>
    <text:list text:style-name="L2">{item("round")}</text:list>"""
    assert parse(tmp_path, "text", content, styles).text == (
        "1. one\n  a) in\n    1.a.1. deepest\n  b) beside\n2. two\n\nbetween\n\n3. three\n\n"
        "1. one again\n- without\n9. nine\n\n10. ten\n\n- round"
    )


def test_headings_have_the_numbers_of_their_outline_or_of_their_list(tmp_path):
    levels = "".join(
        f'<text:outline-level-style text:level="{number}" style:num-format="{form}" text:display-levels="{number}"/>'
        for number, form in ((1, "I"), (2, "1"), (3, ""))
    )
    outline = f"<office:styles {SPACES}><text:outline-style>{levels}</text:outline-style></office:styles>"
    list_style = f'<text:list-style style:name="L1">{level(1, "A", "")}</text:list-style>'
    content = """<text:h text:outline-level="1">Mole</text:h><text:h text:outline-level="2">Lamp</text:h>
    <text:h text:outline-level="3">Glass</text:h><text:h text:outline-level="2">Rail</text:h>
    <text:h text:outline-level="1" text:is-list-header="true">Notes</text:h>
    <text:h text:outline-level="1"><text:number>II</text:number>Quay</text:h>
    <text:list text:style-name="L1"><text:list-item><text:h text:outline-level="1">Annex</text:h>
    <text:p>its text</text:p></text:list-item><text:list-item><text:p>an item</text:p></text:list-item></text:list>"""
    parsed = parse(tmp_path, "text", content, f"<office:styles>{list_style}</office:styles>", styles=outline)
    assert parsed.text.split("\n\n") == [
        *("# I Mole", "## I.1 Lamp", "### Glass", "## I.2 Rail", "# Notes", "# II Quay", "# A Annex", "its text"),
        "B an item",
    ]


@pytest.mark.parametrize(
    "odd", ['text:level="999999999999"', 'text:display-levels="999999999999"', 'text:start-value="-3"']
)
def test_odd_levels_cost_nothing(tmp_path, odd):
    styles = (
        f'<text:list-style style:name="L1"><text:list-level-style-number style:num-format="1" {odd}/></text:list-style>'
    )
    content = f'<text:list text:style-name="L1">{item("one")}</text:list>'
    assert parse(tmp_path, "text", content, styles).text.endswith(" one")


def test_sheets_are_read_as_they_are_shown_with_merged_and_repeated_cells(tmp_path):
    content = f"""<table:table table:name="Tariff"><table:table-row>{cells("Berth", "Rate", "From")}</table:table-row>
    <table:table-row><table:table-cell table:number-rows-spanned="2"><text:p>North</text:p></table:table-cell>
    <table:table-cell office:value="0.153"><text:p>15.3 %</text:p></table:table-cell>{cells("Monday")}
    <table:table-cell table:number-columns-repeated="16381"/></table:table-row>
    <table:table-row><table:covered-table-cell/><table:table-cell table:number-columns-repeated="2"><text:p>7</text:p>
    </table:table-cell></table:table-row>
    <table:table-row table:number-rows-repeated="1048000"><table:table-cell table:number-columns-repeated="16384"/>
    </table:table-row><table:table-row>{cells("below")}</table:table-row></table:table>
    <table:table table:name="Empty"/>"""
    parsed = parse(tmp_path, "spreadsheet", content)
    assert parsed.text == (
        "## Tariff\n\n| Berth | Rate | From |\n| --- | --- | --- |\n| North | 15.3 % | Monday |\n| North | 7 | 7 |\n\n"
        "below"
    )
    assert parsed.places == (Place(0, "sheet Tariff"),)


def test_hidden_sheets_are_read_and_noted(tmp_path):
    styles = "".join(
        f'<style:style style:name="{name}"><style:table-properties table:display="{display}"/></style:style>'
        for name, display in (("ta1", "true"), ("ta2", "false"))
    )
    content = "".join(
        f'<table:table table:name="{name}" table:style-name="{style}"><table:table-row>{cells(*texts)}'
        "</table:table-row></table:table>"
        for name, style, texts in (("Open", "ta1", ["a", "b"]), ("Margin", "ta2", ["30 %", "x"]), ("Empty", "ta2", []))
    )
    parsed = parse(tmp_path, "spreadsheet", content, f"<office:automatic-styles>{styles}</office:automatic-styles>")
    assert parsed.text.startswith("## Open\n\n| a | b |")
    assert "| 30 % | x |" in parsed.text
    assert parsed.notes == ("has hidden sheets, which were read too: Margin",)


def test_a_cell_without_text_has_its_stored_value(tmp_path):
    given = [
        ("float", 'value="7.5"'),
        ("percentage", 'value="0.153"'),
        ("percentage", 'value=""'),
        ("currency", 'value="12" office:currency="EUR"'),
        ("date", 'date-value="2026-10-05T09:30:00"'),
        ("time", 'time-value="PT36H15M00S"'),
        ("boolean", 'boolean-value="true"'),
        ("string", 'string-value="words"'),
    ]
    row = "".join(f'<table:table-cell office:value-type="{kind}" office:{value}/>' for kind, value in given)
    content = f'<table:table table:name="T"><table:table-row>{row}</table:table-row></table:table>'
    text = parse(tmp_path, "spreadsheet", content).text
    assert "| 7.5 | 15.3% | 12 EUR | 2026-10-05 09:30:00 | 36:15:00 | TRUE | words |" in text


def test_slides_have_titles_text_and_notes(tmp_path):
    def frame(words, kind="outline"):
        box = f"<draw:text-box><text:p>{words}</text:p></draw:text-box>"
        return f'<draw:frame presentation:class="{kind}">{box}</draw:frame>'

    notes = f"<presentation:notes>{frame('Say it slowly.')}</presentation:notes>"
    content = f"""<draw:page>{frame("twelve metres")}{frame("The gauge", "title")}{notes}</draw:page>
    <draw:page><draw:g><draw:custom-shape><text:p>grouped</text:p></draw:custom-shape></draw:g></draw:page>"""
    dc = "http://purl.org/dc/elements/1.1/"
    parsed = parse(tmp_path, "presentation", content, meta=f'<m xmlns:dc="{dc}"><dc:title>Harbour</dc:title></m>')
    assert parsed.title == "Harbour"
    assert parsed.text == "## The gauge\n\ntwelve metres\n\nNotes: Say it slowly.\n\ngrouped"
    assert [place.name for place in parsed.places] == ["slide 1", "slide 2"]


def test_an_encrypted_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="is encrypted with a password; save a copy without it"):
        parse(tmp_path, "text", "", **{"META-INF__manifest": "<m><encryption-data/></m>"})


def test_of_pictures_on_slides_the_alternative_text_is_read(tmp_path):
    said = "<svg:title>Lead</svg:title><svg:desc># a red lamp</svg:desc>"
    content = f"""<draw:page><draw:frame><draw:image/>{said}</draw:frame><draw:g><draw:custom-shape><svg:desc>an arrow
    </svg:desc><text:p>flow</text:p></draw:custom-shape></draw:g></draw:page>"""
    parsed = parse(tmp_path, "presentation", content)
    assert parsed.text.split("\n\n") == ["Lead", "\\# a red lamp", "an arrow", "flow"]
    assert parsed.notes == ("has pictures, of which only the alternative text was read",)
    inline = f"<text:p>See<draw:frame><draw:image/>{said}</draw:frame>first.</text:p>"
    assert parse(tmp_path, "text", inline).text.split() == ["See", "Lead", "#", "a", "red", "lamp", "first."]


def style(name, looks, parent=""):
    return (
        f'<style:style style:name="{name}" style:parent-style-name="{parent}"><style:text-properties {looks}/>'
        "</style:style>"
    )


def test_powers_and_indices_keep_their_value_and_hidden_text_is_noted(tmp_path):
    named = style("Up", 'style:text-position="33% 58%"')
    named = f"<office:styles {SPACES}>{named}</office:styles>"
    automatic = (
        style("T1", 'style:text-position="super 58%"')
        + style("T2", "", "Up")
        + style("T3", 'style:text-position="sub 58%"')
        + style("T4", 'text:display="none"')
        + style("T5", 'style:text-position="0% 100%"', "Up")
        + style("P1", "", "P2")
        + style("P2", "", "P1")
    )
    span = '<text:span text:style-name="{}">{}</text:span>'.format
    words = f"10{span('T1', 2)}{span('T2', '.5')} of CO{span('T3', 2)}, 12 m{span('T2', 3)}{span('T1', NOTE)}, "
    words += f"{span('T4', 'secret')}the 1{span('T1', 'st')}{span('T5', 2)}"
    content = f'<text:p text:style-name="P1">{words}</text:p><text:p text:style-name="T4">internal</text:p>'
    parsed = parse(tmp_path, "text", content, f"<office:styles>{automatic}</office:styles>", styles=named)
    assert parsed.text == "10^2.5 of CO₂, 12 m³[^ftn1], the 1st2\n\n[^ftn1]: At low water."
    assert parsed.notes == ("has hidden text, which was not read",)


def test_what_stands_around_the_text_or_is_embedded_is_noted(tmp_path):
    around = "<style:header><text:p>Port</text:p></style:header><style:footer><text:p/></style:footer>"
    around += "<style:footer-left><text:p>Page <text:page-number>2</text:page-number></text:p></style:footer-left>"
    styles = f"<office:styles {SPACES}><style:master-page>{around}</style:master-page></office:styles>"
    content = "<text:p>The mole.</text:p><draw:frame><draw:object/></draw:frame>"
    parsed = parse(tmp_path, "text", content, styles=styles)
    assert parsed.text == "The mole."
    assert parsed.notes == (
        "has embedded objects, which were not read",
        "has 1 header, which was not read",
        "has 1 footer, which was not read",
    )
