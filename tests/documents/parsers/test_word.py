import base64
from email.message import EmailMessage
from io import BytesIO

import docx
import pytest
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from lorag.documents.parsers.word import parse_word

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def parse(tmp_path, document):
    file = BytesIO()
    document.save(file)
    return parse_word(tmp_path / "x.docx", file.getvalue())


@pytest.fixture
def document():
    return docx.Document()


def append(document, xml):
    document.element.body.insert(len(document.element.body) - 1, parse_xml(xml))


def test_headings_lists_and_tables_come_in_reading_order(tmp_path, document):
    document.add_heading("Gauge", 0)
    document.add_paragraph("It reads the level.")
    document.add_heading("Power", 2)
    document.add_paragraph("one", "List Bullet")
    document.add_paragraph("two", "List Number")
    table = document.add_table(2, 2)
    for cell, text in zip(table._cells, ["plan", "price", "Harbour|Sea", "12\nEUR"], strict=True):
        cell.text = text
    document.add_paragraph("# after, Привет 電池 😀")
    parsed = parse(tmp_path, document)
    assert parsed.title == "Gauge"
    assert parsed.text == (
        "# Gauge\n\nIt reads the level.\n\n## Power\n\n- one\n1. two\n\n"
        "| plan | price |\n| --- | --- |\n| Harbour\\|Sea | 12 EUR |\n\n\\# after, Привет 電池 😀"
    )


def test_a_style_made_from_a_heading_is_one(tmp_path, document):
    style = document.styles.add_style("Clause", 1)
    style.base_style = document.styles["Heading 3"]
    document.add_paragraph("Scope", "Clause")
    assert parse(tmp_path, document).text == "### Scope"


def test_text_in_controls_links_boxes_and_tracked_changes_is_read(tmp_path, document):
    append(
        document,
        f"<w:sdt {nsdecls('w')}><w:sdtContent><w:p><w:r><w:t>in a control</w:t></w:r></w:p></w:sdtContent></w:sdt>",
    )
    append(
        document,
        f"<w:p {nsdecls('w')}><w:ins w:id='1' w:author='a'><w:r><w:t>inserted</w:t></w:r></w:ins>"
        "<w:del w:id='2' w:author='a'><w:r><w:delText>deleted</w:delText></w:r></w:del>"
        "<w:hyperlink><w:r><w:tab/><w:t>link</w:t><w:br/><w:t>line</w:t></w:r></w:hyperlink></w:p>",
    )
    append(
        document,
        f"<w:p {nsdecls('w')} xmlns:mc='http://schemas.openxmlformats.org/markup-compatibility/2006'><w:r>"
        "<mc:AlternateContent><mc:Choice><w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent>"
        "</mc:Choice><mc:Fallback><w:p><w:r><w:t>boxed</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent>"
        "</w:r></w:p>",
    )
    assert parse(tmp_path, document).text == "in a control\n\ninserted\tlink\nline\n\nboxed"


def test_footnotes_follow_the_text(tmp_path, document):
    append(
        document,
        f"<w:p {nsdecls('w')}><w:r><w:t>Two years.</w:t></w:r><w:r><w:footnoteReference w:id='2'/></w:r></w:p>",
    )
    notes = (
        f"<w:footnotes {nsdecls('w')}><w:footnote w:id='-1' w:type='separator'><w:p/></w:footnote>"
        "<w:footnote w:id='2'><w:p><w:r><w:t>Without batteries.</w:t></w:r></w:p></w:footnote></w:footnotes>"
    )
    part = Part(PackURI("/word/footnotes.xml"), "application/xml", notes.encode(), document.part.package)
    document.part.relate_to(part, RELATIONSHIP_TYPE.FOOTNOTES)
    assert parse(tmp_path, document).text == "Two years.[^2]\n\n[^2]: Without batteries."


def test_merged_and_nested_cells_keep_their_columns(tmp_path, document):
    table = document.add_table(3, 3)
    for number, cell in enumerate(table._cells):
        cell.text = f"c{number}"
    table.cell(0, 0).merge(table.cell(0, 1))
    inner = table.cell(2, 2).add_table(1, 2)
    inner.cell(0, 0).text, inner.cell(0, 1).text = "left", "right"
    assert parse(tmp_path, document).text == (
        "| c0 c1 | c0 c1 | c2 |\n| --- | --- | --- |\n| c3 | c4 | c5 |\n| c6 | c7 | c8 left, right |"
    )


def test_the_title_is_the_property_where_no_heading_gives_one(tmp_path, document):
    document.core_properties.title = "From the properties"
    document.add_paragraph("text")
    assert parse(tmp_path, document).title == "From the properties"


def test_ticks_struck_and_hidden_text_are_what_a_reader_sees(tmp_path, document):
    run = "<w:r>{}</w:r>".format
    append(
        document,
        f"<w:p {nsdecls('w')}>"
        + run('<w:sym w:font="Wingdings" w:char="F0FE"/>')
        + run("<w:t> paid </w:t>")
        + run("<w:rPr><w:strike/></w:rPr><w:t>70</w:t>")
        + run('<w:rPr><w:strike w:val="false"/></w:rPr><w:t xml:space="preserve"> 80</w:t>')
        + run("<w:rPr><w:vanish/></w:rPr><w:t>secret</w:t>")
        + "</w:p>",
    )
    parsed = parse(tmp_path, document)
    assert parsed.text == "☒ paid ~~70~~ 80"
    assert parsed.notes == ("has hidden text, which was not read",)


def test_a_cell_that_is_merged_downwards_stands_in_every_row(tmp_path, document):
    table = document.add_table(3, 2)
    for cell, text in zip(table._cells, ["dock", "depth", "A", "4 m", "", "5 m"], strict=True):
        cell.text = text
    table.cell(1, 0).merge(table.cell(2, 0)).text = "A"
    assert parse(tmp_path, document).text.endswith("| A | 4 m |\n| A | 5 m |")


def numbered(document, *levels):
    """The number of a new list with the kinds and patterns of its levels."""
    root = document.part.numbering_part.element
    inner = "".join(
        f'<w:lvl w:ilvl="{depth}"><w:start w:val="1"/><w:numFmt w:val="{kind}"/><w:lvlText w:val="{pattern}"/></w:lvl>'
        for depth, (kind, pattern) in enumerate(levels)
    )
    root.insert(0, parse_xml(f'<w:abstractNum {nsdecls("w")} w:abstractNumId="77">{inner}</w:abstractNum>'))
    for number, start in (("78", ""), ("79", '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="9"/></w:lvlOverride>')):
        root.append(parse_xml(f'<w:num {nsdecls("w")} w:numId="{number}"><w:abstractNumId w:val="77"/>{start}</w:num>'))


def item(document, words, depth, number="78", style=None):
    paragraph = document.add_paragraph(words, style)
    place = f'<w:ilvl w:val="{depth}"/><w:numId w:val="{number}"/>'
    paragraph._p.get_or_add_pPr().append(parse_xml(f"<w:numPr {nsdecls('w')}>{place}</w:numPr>"))


def test_headings_and_items_have_the_numbers_that_word_shows(tmp_path, document):
    numbered(document, ("decimal", "%1."), ("lowerLetter", "%1.%2)"), ("upperRoman", "(%3)"), ("bullet", "x"))
    item(document, "Rent", 0, style="Heading 1")
    for words, depth in (("due", 1), ("monthly", 2), ("yearly", 2), ("paid", 1), ("in cash", 3)):
        item(document, words, depth)
    item(document, "Deposit", 0, style="Heading 1")
    item(document, "kept", 1)
    item(document, "other list", 0, "79")
    item(document, "no list", 0, "0")
    assert parse(tmp_path, document).text == (
        "# 1. Rent\n\n  1.a) due\n    (I) monthly\n    (II) yearly\n  1.b) paid\n      - in cash\n\n"
        "# 2. Deposit\n\n  2.a) kept\n9. other list\n\nno list"
    )


def test_a_paragraph_with_an_outline_level_is_a_heading(tmp_path, document):
    for words, level in (("Annex", 0), ("Running text", 9)):
        properties = document.add_paragraph(words)._p.get_or_add_pPr()
        properties.append(parse_xml(f'<w:outlineLvl {nsdecls("w")} w:val="{level}"/>'))
    assert parse(tmp_path, document).text == "# Annex\n\nRunning text"


def test_of_a_picture_the_alternative_text_is_read_and_it_is_noted(tmp_path, document):
    paragraph = document.add_paragraph("See")
    paragraph.add_run().add_picture(BytesIO(PIXEL))
    paragraph._p.xpath(".//wp:docPr")[0].set("descr", "the red lead")
    paragraph.add_run("first.")
    comment = document.add_comment(paragraph.runs, "", "Kim")
    assert parse(tmp_path, document).notes == ("has pictures, of which only the alternative text was read",)
    comment.add_paragraph("why?")
    parsed = parse(tmp_path, document)
    assert parsed.text == "See the red lead first."
    assert parsed.notes == (
        "has pictures, of which only the alternative text was read",
        "has comments, which were not read",
    )


def test_signs_of_symbol_fonts_are_what_they_look_like(tmp_path, document):
    paragraph = document.add_paragraph("p ")
    run = paragraph.add_run("\uf0b3")
    run.font.name = "Symbol"
    paragraph.add_run(" 5 bar, ").add_text("or ")
    paragraph._p.append(parse_xml(f'<w:r {nsdecls("w")}><w:sym w:font="Symbol" w:char="F0A3"/><w:t> 9</w:t></w:r>'))
    assert parse(tmp_path, document).text == "p ≥ 5 bar, or ≤ 9"


def test_what_stands_around_the_text_or_is_embedded_is_counted(tmp_path, document):
    document.add_paragraph("The mole is long.")
    section, other = document.sections[0], document.add_section()
    section.header.paragraphs[0].text = "Port authority"
    other.header.is_linked_to_previous = False
    other.header.paragraphs[0].text = "Annex"
    section.footer.paragraphs[0].text = "Confidential"
    other.footer.is_linked_to_previous = False
    for number, kind in enumerate(("CHART", "DIAGRAM_DATA", "OLE_OBJECT", "PACKAGE")):
        part = Part(PackURI(f"/word/embeddings/x{number}.xml"), "application/xml", b"<x/>", document.part.package)
        document.part.relate_to(part, getattr(RELATIONSHIP_TYPE, kind))
    parsed = parse(tmp_path, document)
    assert parsed.text == "The mole is long."
    assert set(parsed.notes) == {
        "has 2 headers, which were not read",
        "has 1 footer, which was not read",
        "has 1 chart, which was not read",
        "has 1 diagram, which was not read",
        "has 2 embedded objects, which were not read",
    }


def shifted(paragraph, words, where="superscript", style=None):
    run = paragraph.add_run(words, style)
    if where:
        setattr(run.font, where, True)


def test_powers_and_indices_keep_their_value(tmp_path, document):
    paragraph = document.add_paragraph("10")
    for words in ("2", ".5"):
        shifted(paragraph, words)
    paragraph.add_run(" Pa, 12 m")
    shifted(paragraph, "3")
    paragraph.add_run(" CO")
    shifted(paragraph, "2", "subscript")
    paragraph.add_run(", the 1")
    shifted(paragraph, "st")
    style = document.styles.add_style("Raised", 2)
    style.font.superscript = True
    paragraph.add_run(", 10")
    shifted(paragraph, "-6", None, style)
    assert parse(tmp_path, document).text == "10^2.5 Pa, 12 m³ CO₂, the 1st, 10⁻⁶"


def test_formulas_keep_their_value(tmp_path, document):
    def part(name, words):
        return f"<m:{name}><m:r><m:t>{words}</m:t></m:r></m:{name}>"

    formula = f"""<m:oMath xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math">
    <m:sSup>{part("e", 10)}{part("sup", "2.5")}</m:sSup><m:f>{part("num", 1)}{part("den", 2)}</m:f>
    <m:sSubSup>{part("e", "x")}{part("sub", 1)}{part("sup", 2)}</m:sSubSup><m:sSup>{part("e", "y")}</m:sSup>
    </m:oMath>"""
    append(document, f"<w:p {nsdecls('w')}>{formula}</w:p>")
    assert parse(tmp_path, document).text == "10^2.5 1/2 x₁²y"


def test_text_that_a_style_hides_or_strikes_is_as_if_it_were_formatted_itself(tmp_path, document):
    hidden, based = document.styles.add_style("Internal", 1), document.styles.add_style("Internal 2", 1)
    hidden.font.hidden, based.base_style = True, hidden
    mark = document.styles.add_style("Secret", 2)
    mark.font.hidden = True
    struck = document.styles.add_style("Gone", 2)
    struck.font.strike = True
    document.add_paragraph("margin 30 %", based)
    paragraph = document.add_paragraph("The price is ")
    for words, style in (("internal ", mark), ("12", struck), (" 14 EUR.", None)):
        paragraph.add_run(words, style)
    shown = document.add_paragraph("", hidden).add_run("Shown.")
    shown.font.hidden = False
    parsed = parse(tmp_path, document)
    assert parsed.text == "The price is ~~12~~ 14 EUR.\n\nShown."
    assert parsed.notes == ("has hidden text, which was not read",)


def test_styles_that_are_based_on_each_other_end(tmp_path, document):
    one, other = document.styles.add_style("One", 1), document.styles.add_style("Other", 1)
    one.base_style, other.base_style = other, one
    document.add_paragraph("words", one)
    assert parse(tmp_path, document).text == "words"


def test_documents_of_other_formats_within_it_are_read_in_place(tmp_path, document):
    page = EmailMessage()
    page.set_content("<h2>Care</h2><p>Weekly.</p><p hidden>draft</p>", subtype="html")
    given = {"html": b"<h1>Pump</h1>", "mht": page.as_bytes(), "rtf": rb"{\rtf1 Oil.}", "txt": b"End.", "xml": b"<a/>"}
    for number, (suffix, data) in enumerate(given.items()):
        part = Part(PackURI(f"/word/chunk{number}.{suffix}"), "application/x", data, document.part.package)
        name = document.part.relate_to(part, RELATIONSHIP_TYPE.A_F_CHUNK)
        place = f'<w:altChunk {nsdecls("w", "r")} r:id="{name}"/>'
        append(document, place if suffix != "txt" else f"<w:p {nsdecls('w')}>{place}</w:p>")
        document.add_paragraph(f"after {suffix}")
    parsed = parse(tmp_path, document)
    assert parsed.title == "Pump"
    assert parsed.text.replace("\n\n", "; ") == (
        "# Pump; after html; ## Care; Weekly.; after mht; Oil.; after rtf; after txt; after xml; End."
    )
    assert parsed.notes == (
        "has hidden text, which was not read",
        "has 1 document of another format in it, which was not read",
    )
