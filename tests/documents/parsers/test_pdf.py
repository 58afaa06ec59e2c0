import importlib.util

import numpy as np
import pytest

from lorag.documents.load import load_documents
from lorag.documents.parsers import pdf as module
from lorag.documents.parsers.pdf import parse_pdf
from lorag.errors import DataError
from lorag.settings import LoadSettings
from lorag.types import Place

PICTURE = np.zeros((40, 300, 3), dtype=np.uint8)


@pytest.fixture
def without_ocr(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "rapidocr" else real(name))


def test_pages_are_read_in_order_and_have_their_places(tmp_path, write_pdf):
    data = write_pdf(["The warranty lasts\n28 months.", "", "Größe: 5 m³ (net)"], title="Gauge Ж")
    parsed = parse_pdf(tmp_path / "x.pdf", data)
    assert parsed.text == "The warranty lasts\n28 months.\n\nGröße: 5 m³ (net)"
    assert parsed.title == "Gauge Ж"
    assert parsed.places == (Place(0, "page 1"), Place(31, "page 3"))
    assert parsed.text[31:].startswith("Größe")
    assert parsed.notes == ()


def test_headings_are_those_of_the_outline(tmp_path, write_pdf):
    pages = ["Contents\n2.1 Power\nsee below", "2.1  Power\nIt needs little.\n# no heading", "Power\nonce more"]
    parsed = parse_pdf(tmp_path / "x.pdf", write_pdf(pages, outline=[("Power", 1), ("Absent", 2)]))
    assert parsed.text == (
        "Contents\n2.1 Power\nsee below\n\n# 2.1 Power\n\nIt needs little.\n\\# no heading\n\nPower\nonce more"
    )
    assert [parsed.text[place.start :].split("\n")[0] for place in parsed.places] == [
        "Contents",
        "# 2.1 Power",
        "Power",
    ]


def test_a_word_divided_at_the_end_of_a_line_is_whole(tmp_path, write_pdf):
    parsed = parse_pdf(tmp_path / "x.pdf", write_pdf(["The long warranty of the instru-\nment lasts 28 months."]))
    assert "instrument lasts" in parsed.text.replace("\n", "")
    assert "\ufffe" not in parsed.text


def test_pictures_without_the_extra_are_named_with_its_install_line(tmp_path, write_pdf, without_ocr):
    parsed = parse_pdf(tmp_path / "x.pdf", write_pdf(["words", PICTURE, "more", PICTURE]))
    assert parsed.text == "words\n\nmore"
    assert parsed.notes == (
        "has pages that are pictures (2, 4), which were not read; to read them: pip install 'lorag[ocr]'",
    )
    with pytest.raises(DataError, match=r"pictures \(1, .*, 10 and 2 more\), which were not read; .*lorag\[ocr\]"):
        parse_pdf(tmp_path / "x.pdf", write_pdf([PICTURE] * 12))


def test_pictures_are_read_by_ocr(tmp_path, write_pdf):
    pytest.importorskip("rapidocr", reason="the extra `ocr` is not installed")
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (900, 160), "white")
    ImageDraw.Draw(image).text((30, 40), "The warranty lasts 28 months.", "black", ImageFont.load_default(48))
    parsed = parse_pdf(tmp_path / "x.pdf", write_pdf(["words", np.asarray(image)]))
    assert parsed.text == "words\n\nThe warranty lasts 28 months."
    assert parsed.places[1] == Place(7, "page 2")
    assert parsed.notes == (
        "has pages that are pictures (2), which were read by OCR: Latin, Greek, Chinese and Japanese letters only",
    )


WHOLE, QUARTER = "612 0 0 792 0 0", "306 0 0 396 200 100"
"""Where a picture stands on a page: on all of it, on a quarter."""
LITTLE = "has pages with little text that are mostly pictures (1), whose pictures were {}"


def test_a_scan_with_a_stamp_is_a_picture_and_a_page_with_a_picture_is_none(tmp_path, write_pdf, without_ocr):
    story = "The mole is long and wide.\n" * 20
    pages = [("Page 1", PICTURE, WHOLE), (story, PICTURE, WHOLE), ("The lead", PICTURE, QUARTER), "words"]
    parsed = parse_pdf(tmp_path / "x.pdf", write_pdf(pages))
    assert parsed.text.startswith("Page 1\n\nThe mole")
    assert parsed.notes == (
        LITTLE.format("not read; to read them: pip install 'lorag[ocr]'"),
        "has pictures, which were not read",
    )
    assert parse_pdf(tmp_path / "x.pdf", write_pdf(["words", ("", PICTURE, "3 0 0 700 9 9")])).notes[1:] == ()


@pytest.mark.parametrize(
    "words",
    ["one\ntwo\nthree", "The feed pump stands behind the boiler, and the valve is in front of it, at eye level."],
)
def test_a_slide_with_a_background_is_no_scan(tmp_path, write_pdf, without_ocr, words):
    parsed = parse_pdf(tmp_path / "x.pdf", write_pdf([(words, PICTURE, WHOLE)]))
    assert parsed.notes == ("has pictures, which were not read",)


def test_pictures_on_each_other_cover_a_page_once(tmp_path, write_pdf, without_ocr):
    place = f"q {QUARTER} cm /I Do Q " * 3 + QUARTER
    assert parse_pdf(tmp_path / "x.pdf", write_pdf([("Page 1", PICTURE, place)])).notes == (
        "has pictures, which were not read",
    )


def test_what_ocr_reads_with_other_signs_is_read_once(tmp_path, write_pdf):
    pytest.importorskip("rapidocr", reason="the extra `ocr` is not installed")
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (1224, 1584), "white")
    drawing, font = ImageDraw.Draw(image), ImageFont.load_default(48)
    drawing.text((150, 700), "It lasts 28 months.", "black", font)
    words = "The pump’s valve – open"
    parsed = parse_pdf(tmp_path / "x.pdf", write_pdf([(words, np.asarray(image), WHOLE)]))
    assert parsed.text == f"{words}\n\nIt lasts 28 months."


def test_a_scan_may_be_cut_into_strips(tmp_path, write_pdf, without_ocr):
    strips = " ".join(f"q 612 0 0 8 0 {8 * number} cm /I Do Q" for number in range(60))
    data = write_pdf([("Page 1", PICTURE, f"612 0 0 8 0 480 cm /I Do Q {strips} q 1 0 0 1 0 -9")])
    assert parse_pdf(tmp_path / "x.pdf", data).notes == (
        LITTLE.format("not read; to read them: pip install 'lorag[ocr]'"),
    )


def test_a_picture_within_a_form_is_noted(tmp_path, write_pdf):
    data = write_pdf([("The mole is long.", PICTURE, QUARTER)])
    form = b"90 0 obj\n<< /Type /XObject /Subtype /Form /BBox [0 0 612 792] /Resources << /XObject << /I 7 0 R >> >>"
    form += b" /Length 27 >>\nstream\n0.5 0 0 0.5 0 0 cm /I Do   \nendstream\nendobj\n"
    moved = data.replace(b"/XObject << /I 7 0 R >> >> /Contents", b"/XObject << /I 90 0 R >> >> /Contents")
    assert moved != data
    parsed = parse_pdf(tmp_path / "x.pdf", moved.replace(b"xref\n", form + b"xref\n", 1))
    assert (parsed.text, parsed.notes) == ("The mole is long.", ("has pictures, which were not read",))


def test_of_a_scan_with_a_stamp_both_are_read(tmp_path, write_pdf):
    pytest.importorskip("rapidocr", reason="the extra `ocr` is not installed")
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (1224, 1584), "white")
    drawing, font = ImageDraw.Draw(image), ImageFont.load_default(48)
    drawing.text((150, 500), "The warranty lasts 28 months.", "black", font)
    drawing.text((150, 700), "5 May", "black", font)
    parsed = parse_pdf(tmp_path / "x.pdf", write_pdf([("Received 5 May", np.asarray(image), WHOLE)]))
    assert parsed.text == "Received 5 May\n\nThe warranty lasts 28 months.\n5 May"
    assert parsed.notes == (LITTLE.format("read by OCR: Latin, Greek, Chinese and Japanese letters only"),)


def test_only_pages_that_are_pictures_have_ten_times_as_long(tmp_path, write_pdf):
    pytest.importorskip("rapidocr", reason="the extra `ocr` is not installed")
    (tmp_path / "long.pdf").write_bytes(write_pdf(["The mole is long.\n" * 50] * 8000))
    with pytest.raises(DataError, match=r"long\.pdf: was not read within 1 seconds"):
        load_documents(tmp_path / "long.pdf", LoadSettings(max_seconds=1))
    (tmp_path / "scan.pdf").write_bytes(write_pdf(["words", PICTURE]))
    assert load_documents(tmp_path / "scan.pdf", LoadSettings(max_seconds=6)).documents[0].text == "words"


def test_a_small_file_that_is_slow_to_read_is_refused_at_the_limit(tmp_path, write_pdf):
    letters = "BT /F 12 Tf 72 720 Td 0 -14 Td (The mole is long and wide) Tj ET "
    (tmp_path / "slow.pdf").write_bytes(write_pdf([letters * 300_000], drawn=True))
    assert (tmp_path / "slow.pdf").stat().st_size < 100_000
    with pytest.raises(DataError, match=r"slow\.pdf: was not read within"):
        load_documents(tmp_path / "slow.pdf", LoadSettings(max_seconds=1))


def test_a_locked_file_is_refused(tmp_path, write_pdf):
    with pytest.raises(DataError, match="is encrypted with a password; save a copy without it"):
        parse_pdf(tmp_path / "x.pdf", write_pdf(["words"], locked=True))


@pytest.mark.parametrize("data", [b"%PDF-1.7\n", b"no pdf", b"%PDF-1.7\n1 0 obj\n<< >>\nendobj\n%%EOF"])
def test_a_damaged_file_is_refused(tmp_path, data):
    with pytest.raises(DataError, match="is not a PDF that can be opened"):
        parse_pdf(tmp_path / "x.pdf", data)


def test_a_file_of_blank_pages_has_no_text(tmp_path, write_pdf):
    parsed = parse_pdf(tmp_path / "x.pdf", write_pdf(["", ""]))
    assert (parsed.text, parsed.places, parsed.notes) == ("", (), ())


def test_columns_of_running_text_are_read_one_after_the_other(tmp_path, write_pdf):
    left = [
        "The lighthouse keeper lives",
        "in a small house on the",
        "rock and rows to the town",
        "on every second day.",
    ]
    right = [
        "A ferry leaves the quay at",
        "eight and comes back when",
        "the tide allows it, which",
        "is late in winter.",
    ]
    drawn = "BT /F 12 Tf 72 720 Td (Harbour news of the whole town, the islands and the coast around) Tj ET"
    for at, (west, east) in enumerate(zip(left, right, strict=True)):
        drawn += f" BT /F 12 Tf 72 {680 - 14 * at} Td ({west}) Tj ET BT /F 12 Tf 320 {680 - 14 * at} Td ({east}) Tj ET"
    data = write_pdf([drawn], drawn=True)
    text = parse_pdf(tmp_path / "x.pdf", data).text
    assert text.startswith("Harbour news")
    assert [line.strip() for line in text.split("\n") if line.strip()][1:] == [*left, *right]


def test_a_title_that_nobody_gave_is_none(tmp_path, write_pdf):
    assert parse_pdf(tmp_path / "x.pdf", write_pdf(["words"], title="Untitled")).title == ""


def form(page, fields):
    """The file with fields, whose rectangles are in points, or annotations of another ``/Subtype``.

    Readers find the objects again where they have moved.
    """
    numbers = range(90, 90 + len(fields))
    listed = " ".join(f"{number} 0 R" for number in numbers).encode()
    kinds = ["" if "/Subtype" in keys else "/Subtype /Widget" for _, keys in fields]
    objects = "".join(
        f"{number} 0 obj\n<< /Type /Annot {kind} /Rect [{box}] {keys} >>\nendobj\n"
        for number, kind, (box, keys) in zip(numbers, kinds, fields, strict=True)
    )
    page = page.replace(b"/Type /Catalog", b"/Type /Catalog /AcroForm << /Fields [" + listed + b"] >>")
    page = page.replace(b"/MediaBox", b"/Annots [" + listed + b"] /MediaBox")
    return page.replace(b"xref\n", objects.encode() + b"xref\n", 1)


def test_what_is_filled_into_a_form_stands_with_the_words_beside_it(tmp_path, write_pdf):
    words = "BT /F 12 Tf 72 720 Td (Name:) Tj 200 0 Td (Date:) Tj -200 -40 Td (Insured) Tj 100 0 Td (yes) Tj ET"
    ticked = "/AP << /N << /On 90 0 R /Off 90 0 R >> >> /AS /On /V /On"
    fields = [
        ("110 715 250 735", "/FT /Tx /T (f1) /V (Kim Berg)"),
        ("310 715 400 735", "/FT /Tx /T (f2) /V (4 May 2026)"),
        ("150 676 165 691", f"/FT /Btn /T (f3) {ticked}"),
        ("72 500 400 600", "/FT /Tx /T (f4) /TU (Remarks) /V (none)"),
        ("72 400 400 420", "/FT /Tx /T (f5)"),
    ]
    parsed = parse_pdf(tmp_path / "x.pdf", form(write_pdf([words], drawn=True), fields))
    assert parsed.text.endswith("\n\nName: Kim Berg\nDate: 4 May 2026\nyes: ☒\nRemarks: none")


def test_annotations_with_words_are_counted(tmp_path, write_pdf):
    data = write_pdf(["The mole is long."])
    notes = [("100 700 120 720", "/Subtype /Text /Contents (How long?)"), ("100 600 120 620", "/Subtype /Highlight")]
    link = ("100 500 120 520", "/Subtype /Link /Contents (the quay)")
    field = ("100 400 300 420", "/FT /Tx /T (f1) /Contents (a name)")
    parsed = parse_pdf(tmp_path / "x.pdf", form(data, [*notes, link, field]))
    assert parsed.text == "The mole is long."
    assert parsed.notes == ("has 1 annotation, which was not read",)
