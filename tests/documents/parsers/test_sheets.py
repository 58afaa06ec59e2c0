import zipfile
from datetime import datetime, time, timedelta
from io import BytesIO

import openpyxl  # type: ignore[import-untyped]
import pytest
from openpyxl.chart import BarChart, Reference  # type: ignore[import-untyped]
from openpyxl.comments import Comment  # type: ignore[import-untyped]

from lorag.documents.parsers.sheets import parse_sheets
from lorag.types import Place


def parse(tmp_path, book):
    file = BytesIO()
    book.save(file)
    return parse_sheets(tmp_path / "x.xlsx", file.getvalue())


@pytest.fixture
def book():
    return openpyxl.Workbook()


def test_sheets_are_sections_of_tables(tmp_path, book):
    sheet = book.active
    sheet.title = "Prices"
    for row in (["Plans of Korrin"], [], ["plan", None, "price"], ["Harbour|Sea", None, 12], ["Open", None, 7.5]):
        sheet.append(row)
    book.create_sheet("Empty")
    dates = book.create_sheet("Даты")
    dates["B3"], dates["C3"], dates["B4"], dates["C4"] = (
        "day",
        "at",
        datetime(2026, 10, 5),
        datetime(2026, 10, 5, 9, 30),
    )
    book.properties.title = "Korrin"
    parsed = parse(tmp_path, book)
    assert parsed.text == (
        "## Prices\n\nPlans of Korrin\n\n| plan | price |\n| --- | --- |\n| Harbour\\|Sea | 12 |\n| Open | 7.5 |\n\n"
        "## Даты\n\n| day | at |\n| --- | --- |\n| 2026-10-05 | 2026-10-05 09:30:00 |"
    )
    assert parsed.title == "Korrin"
    assert parsed.places == (Place(0, "sheet Prices"), Place(parsed.text.index("## Даты"), "sheet Даты"))


def test_merged_cells_are_filled_and_hidden_sheets_are_noted(tmp_path, book):
    sheet = book.active
    for row in (["plan", "first year", "later"], ["Harbour", 12, 9], [None, 14, None]):
        sheet.append(row)
    sheet.merge_cells("A2:A3")
    sheet.merge_cells("B3:C3")
    internal = book.create_sheet("Internal")
    internal["A1"], internal.sheet_state = "margin 30 %", "hidden"
    parsed = parse(tmp_path, book)
    assert "| Harbour | 12 | 9 |" in parsed.text
    assert "| Harbour | 14 | 14 |" in parsed.text
    assert "margin 30 %" in parsed.text
    assert "has hidden sheets, which were read too: Internal" in parsed.notes


def test_values_are_those_that_the_sheet_shows(tmp_path, book):
    given = [
        (0.153, "0.0 %"),
        (1234.5, '"EUR "#,##0.00'),
        (timedelta(hours=36, minutes=15), "[h]:mm"),
        (1.25, "# ?/?"),
        (datetime(2026, 10, 5), "mmmm yyyy"),
        (time(15, 4), "h:mm AM/PM"),
        (datetime(2026, 10, 5), "dd.mm.yyyy"),
    ]
    for column, (value, number_format) in enumerate(given, start=1):
        cell = book.active.cell(1, column, value)
        cell.number_format = number_format
    expected = "| 15.3 % | EUR 1,234.50 | 36:15 | 1 1/4 | October 2026 | 3:04 PM | 2026-10-05 |"
    assert expected in parse(tmp_path, book).text


def test_a_formula_without_a_stored_value_is_read_as_written(tmp_path, book):
    book.active.append(["net", "gross"])
    book.active.append([10, "=A2*1.2"])
    parsed = parse(tmp_path, book)
    assert "| 10 | =A2*1.2 |" in parsed.text
    assert parsed.notes == (
        "has formulas without values, which were read as they are written; save it in a spreadsheet program: Sheet",
    )


def test_a_far_away_cell_costs_nothing(tmp_path, book):
    book.active["A1"], book.active["XFD1048576"] = "here", "there"
    assert parse(tmp_path, book).text == "## Sheet\n\nhere\n\nthere"


def test_a_book_without_values_has_no_text(tmp_path, book):
    assert (parse(tmp_path, book).text, parse(tmp_path, book).places) == ("", ())


def test_charts_comments_and_pictures_are_counted(tmp_path, book):
    sheet = book.active
    for row in (["May", 12], ["June", 7.5]):
        sheet.append(row)
    for place in ("D1", "D20"):
        chart = BarChart()
        chart.add_data(Reference(sheet, min_col=2, min_row=1, max_row=2))
        sheet.add_chart(chart, place)
    sheet["A1"].comment, sheet["A2"].comment = Comment("why?", "Kim"), Comment("because", "Mara")
    file = BytesIO()
    book.save(file)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(
            "xl/drawings/drawing2.xml", '<xdr:wsDr xmlns:xdr="x"><xdr:pic><xdr:spPr/></xdr:pic></xdr:wsDr>'
        )
    parsed = parse_sheets(tmp_path / "x.xlsx", file.getvalue())
    assert parsed.text == "## Sheet\n\n| May | 12 |\n| --- | --- |\n| June | 7.5 |"
    assert parsed.notes == (
        "has 2 charts, which were not read",
        "has 2 comments, which were not read",
        "has 1 picture, which was not read",
    )


def test_powers_in_a_cell_keep_their_value(tmp_path, book):
    parts = [("10", ""), ("2", "superscript"), (".5", "superscript"), (" of CO", "baseline"), ("2", "subscript")]
    runs = "".join(f'<r><rPr><vertAlign val="{where or "baseline"}"/></rPr><t>{text}</t></r>' for text, where in parts)
    book.active["A1"], book.active["B1"] = "first", "12"
    file, written = BytesIO(), BytesIO()
    book.save(file)
    shared = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    changes = {  # as Excel writes it, whose texts all stand in one part
        "<Default ": f'<Override PartName="/xl/sharedStrings.xml" ContentType="{shared}"/><Default ',
        't="inlineStr"><is><t>first</t></is>': 't="s"><v>0</v>',
    }
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            part = old.read(name).decode()
            for before, after in changes.items():
                part = part.replace(before, after, 1)
            new.writestr(name, part)
        space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
        new.writestr("xl/sharedStrings.xml", f'<sst xmlns="{space}"><si>{runs}</si></sst>')
    assert "| 10^2.5 of CO₂ | 12 |" in parse_sheets(tmp_path / "x.xlsx", written.getvalue()).text


DRAWING = """<xdr:wsDr xmlns:xdr="x" xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"
xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"><xdr:grpSp><xdr:sp><xdr:txBody><a:p><a:r><a:t>Only
 at</a:t></a:r><a:br/><a:r><a:t>low water: 10</a:t></a:r><a:r><a:rPr baseline="30000"/><a:t>3</a:t></a:r></a:p><a:p/>
</xdr:txBody></xdr:sp></xdr:grpSp><mc:AlternateContent><mc:Choice><xdr:sp><xdr:txBody><a:p><a:r><a:t># new</a:t></a:r>
</a:p></xdr:txBody></xdr:sp></mc:Choice><mc:Fallback><xdr:sp><xdr:txBody><a:p><a:r><a:t>old</a:t></a:r></a:p>
</xdr:txBody></xdr:sp></mc:Fallback></mc:AlternateContent></xdr:wsDr>"""


@pytest.mark.parametrize("target", ["/xl/drawings/drawing9.xml", "../drawings/drawing9.xml"])
def test_text_boxes_follow_the_tables_of_their_sheet(tmp_path, book, target):
    book.active["A1"] = "Depth"
    book.create_sheet("Notes")
    file = BytesIO()
    book.save(file)
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/drawing"
    relations = f'<Relationships xmlns="r"><Relationship Type="{kind}" Target="{target}"/></Relationships>'
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("xl/drawings/drawing9.xml", DRAWING)
        archive.writestr("xl/worksheets/_rels/sheet2.xml.rels", relations)
    parsed = parse_sheets(tmp_path / "x.xlsx", file.getvalue())
    assert parsed.text.replace("\n at", " at") == (
        "## Sheet\n\nDepth\n\n## Notes\n\nOnly at\nlow water: 10³\n\n\\# new"
    )
    assert [place.name for place in parsed.places] == ["sheet Sheet", "sheet Notes"]
