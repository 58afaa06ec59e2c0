import base64
from io import BytesIO

import pptx
from lxml import etree  # type: ignore[import-untyped]
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.opc.constants import RELATIONSHIP_TYPE
from pptx.opc.package import Part
from pptx.opc.packuri import PackURI
from pptx.util import Inches

from lorag.documents.parsers.slides import parse_slides
from lorag.types import Place

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def parse(tmp_path, deck):
    file = BytesIO()
    deck.save(file)
    return parse_slides(tmp_path / "x.pptx", file.getvalue())


def test_slides_have_titles_lists_tables_notes_and_places(tmp_path):
    deck = pptx.Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[1])
    first.shapes.title.text = "The gauge\nof Korrin"
    frame = first.placeholders[1].text_frame
    frame.text = "It reads the level"
    deeper = frame.add_paragraph()
    deeper.text, deeper.level = "twice a day", 1
    first.notes_slide.notes_text_frame.text = "Say it slowly."
    second = deck.slides.add_slide(deck.slide_layouts[6])
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, 10, 10).text_frame.text = "# grouped words"
    cells = second.shapes.add_table(2, 2, 0, 0, Inches(2), Inches(1)).table
    for number, cell in enumerate(cells.iter_cells()):
        cell.text = f"c{number}"
    deck.slides.add_slide(deck.slide_layouts[6])
    parsed = parse(tmp_path, deck)
    assert parsed.title == "The gauge of Korrin"
    assert parsed.text == (
        "## The gauge of Korrin\n\n- It reads the level\n  - twice a day\n\nNotes: Say it slowly.\n\n"
        "\\# grouped words\n\n| c0 | c1 |\n| --- | --- |\n| c2 | c3 |"
    )
    assert parsed.places == (Place(0, "slide 1"), Place(parsed.text.index("\\#"), "slide 2"))


def test_a_deck_without_text_has_none(tmp_path):
    assert parse(tmp_path, pptx.Presentation()).text == ""


def test_what_a_merged_cell_says_stands_in_every_place_of_it(tmp_path):
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    table = slide.shapes.add_table(3, 3, 0, 0, Inches(3), Inches(1)).table
    for cell, text in zip(table.iter_cells(), ["pier", "depth", "", "", "low", "high", "A", "4", "6"], strict=True):
        cell.text = text
    table.cell(0, 0).merge(table.cell(1, 0))
    table.cell(0, 1).merge(table.cell(0, 2))
    assert parse(tmp_path, deck).text == (
        "| pier | depth | depth |\n| --- | --- | --- |\n| pier | low | high |\n| A | 4 | 6 |"
    )


def test_charts_are_tables_and_pictures_are_noted(tmp_path):
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    data = CategoryChartData()
    data.categories = ["May", "June"]
    data.add_series("Ships", (12, 7.5))
    data.add_series("Boats", (3, None))
    chart = slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 0, Inches(3), Inches(3), data).chart
    chart.has_title, chart.chart_title.text_frame.text = True, "Traffic"
    picture = slide.shapes.add_picture(BytesIO(PIXEL), 0, 0)
    picture._element.xpath(".//p:cNvPr")[0].set("descr", "the red lead")
    parsed = parse(tmp_path, deck)
    assert parsed.text == (
        "Traffic\n\n|  | Ships | Boats |\n| --- | --- | --- |\n| May | 12 | 3 |\n| June | 7.5 |  |\n\nthe red lead"
    )
    assert parsed.notes == ("has pictures, of which only the alternative text was read",)


def test_comments_and_diagrams_are_counted(tmp_path):
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "The mole"
    frame = slide.shapes.add_table(1, 1, 0, 0, 10, 10)._element
    (data,) = frame.iter("{*}graphicData")
    data.clear()
    data.set("uri", "http://schemas.openxmlformats.org/drawingml/2006/diagram")
    comments = b'<p:cmLst xmlns:p="p"><p:cm><p:text>why?</p:text></p:cm><p:cm/></p:cmLst>'
    part = Part(PackURI("/ppt/comments/comment1.xml"), "application/xml", slide.part.package, comments)
    slide.part.relate_to(part, RELATIONSHIP_TYPE.COMMENTS)
    parsed = parse(tmp_path, deck)
    assert parsed.text == "## The mole"
    assert parsed.notes == ("has 2 comments, which were not read", "has 1 diagram, which was not read")


SPACES = """xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"
xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"
xmlns:a14="http://schemas.microsoft.com/office/drawing/2010/main"
xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"
xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006\""""


def shape(words):
    properties = '<p:nvSpPr><p:cNvPr id="7" name="x"/><p:cNvSpPr/><p:nvPr/></p:nvSpPr><p:spPr/>'
    return f"<p:sp>{properties}<p:txBody><a:bodyPr/><a:p>{words}</a:p></p:txBody></p:sp>"


def run(words):
    return f"<a:r><a:t>{words}</a:t></a:r>"


def test_a_shape_with_a_form_for_older_programs_is_read_once(tmp_path):
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    part = "<m:{0}><m:r><m:t>{1}</m:t></m:r></m:{0}>".format
    formula = f"<a14:m><m:oMath><m:sSup>{part('e', 10)}{part('sup', '2.5')}</m:sSup></m:oMath>"
    frame = '<p:graphicFrame><a:graphic><a:graphicData uri="{}"/></a:graphic></p:graphicFrame>'.format
    forms = [
        (shape(run("It needs ") + formula + "</a14:m>" + run(" Pa.")), shape(run("no picture"))),
        (f"<p:grpSp><p:nvGrpSpPr/><p:grpSpPr/>{shape(run('grouped'))}</p:grpSp>", ""),
        (frame("http://schemas.microsoft.com/office/drawing/2014/chartex"), shape(run("This chart is newer."))),
        (frame("http://schemas.openxmlformats.org/presentationml/2006/ole"), ""),
    ]
    for newer, older in forms:
        both = f"<mc:Choice>{newer}</mc:Choice><mc:Fallback>{older}</mc:Fallback>"
        words = f"<mc:AlternateContent {SPACES}>{both}</mc:AlternateContent>"
        slide.shapes._spTree.append(etree.fromstring(words))
    parsed = parse(tmp_path, deck)
    assert parsed.text == "It needs 10^2.5 Pa.\n\ngrouped"
    assert parsed.notes == ("has 1 chart, which was not read", "has 1 embedded object, which was not read")


def test_powers_and_indices_keep_their_value(tmp_path):
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "12 m"
    cell = slide.shapes.add_table(1, 1, 0, 0, 10, 10).table.cell(0, 0)
    cell.text = "CO"
    for frame, words, baseline in (
        (slide.shapes.title.text_frame, "3", "30000"),
        (cell.text_frame, "2", "-25000"),
        (cell.text_frame, " at 10", "0"),
        (cell.text_frame, "2", "30%"),
        (cell.text_frame, ".5", "30000"),
    ):
        added = frame.paragraphs[0].add_run()
        added.text = words
        added._r.get_or_add_rPr().set("baseline", baseline)
    assert parse(tmp_path, deck).text == "## 12 m³\n\nCO₂ at 10^2.5"
