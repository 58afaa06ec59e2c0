import re
import struct
import zipfile
from io import BytesIO

import docx
import openpyxl  # type: ignore[import-untyped]
import pptx
import pytest

from lorag.documents.load import load_documents
from lorag.documents.parsers.archive import require_sound_archive
from lorag.errors import DataError
from lorag.settings import LoadSettings

LIMITS = LoadSettings(max_unpacked_bytes=10_000_000)


def archive(entries, kind=zipfile.ZIP_DEFLATED):
    file = BytesIO()
    with zipfile.ZipFile(file, "w", kind) as written:
        for name, data in entries.items():
            written.writestr(name, data)
    return file.getvalue()


def refused(tmp_path, data, limits=LIMITS):
    with pytest.raises(DataError) as caught:
        require_sound_archive(tmp_path / "x.docx", data, limits)
    return str(caught.value)


def test_what_office_programs_save_is_sound(tmp_path):
    for make in (docx.Document, pptx.Presentation, openpyxl.Workbook):
        file = BytesIO()
        make().save(file)
        require_sound_archive(tmp_path / "x.docx", file.getvalue(), LIMITS)


def test_a_bomb_is_refused_by_the_size_that_it_declares(tmp_path):
    data = archive({f"word/{n}.xml": bytes(5_000_001) for n in range(2)})
    assert len(data) < 20_000
    assert refused(tmp_path, data).endswith(
        "unpacks to 10 MB, expected at most 10 MB; split it, or raise LoadSettings.max_unpacked_bytes or the"
        " environment variable LORAG_MAX_UNPACKED_BYTES"
    )


def test_an_archive_of_very_many_entries_is_refused_before_they_are_read(tmp_path):
    data = archive({f"word/{n}.xml": "" for n in range(10_001)}, zipfile.ZIP_STORED)
    assert refused(tmp_path, data).endswith(
        "holds 10,001 parts, expected at most 10,000; split it, or raise LoadSettings.max_parts or the environment"
        " variable LORAG_MAX_PARTS"
    )
    require_sound_archive(tmp_path / "x.docx", data, LoadSettings(max_parts=10_001))


@pytest.mark.parametrize("false", [10, 10_000_000])
def test_a_bomb_that_declares_another_size_is_refused_by_the_real_one(tmp_path, false):
    data = archive({"word/document.xml": bytes(9_000_000)})
    lying = data.replace(struct.pack("<L", 9_000_000), struct.pack("<L", false))
    assert lying != data
    assert "gives a false size for 'word/document.xml'" in refused(tmp_path, lying)


def test_an_office_bomb_stops_no_other_file(tmp_path):
    (tmp_path / "a.txt").write_text("fine")
    for name in ("x.docx", "x.pptx", "x.xlsx"):
        (tmp_path / name).write_bytes(archive({"word/document.xml": bytes(3_000_000)}))
    loaded = load_documents(tmp_path, LoadSettings(max_unpacked_bytes=1_000_000))
    assert [document.id for document in loaded.documents] == ["a.txt"]
    assert all("unpacks to 3 MB, expected at most 1 MB" in file.reason for file in loaded.refused)


def test_encrypted_and_old_office_files_are_refused(tmp_path):
    compound = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)
    assert "is in the old format of Office 97; save it as .docx" in refused(tmp_path, compound)
    locked = compound + "EncryptedPackage".encode("utf-16-le")
    assert "is encrypted with a password; save it as .docx without" in refused(tmp_path, locked)


def test_encrypted_or_oddly_packed_entries_are_refused(tmp_path):
    data = bytearray(archive({"a.xml": b"x"}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert "holds 'a.xml', which is encrypted or packed in" in refused(tmp_path, bytes(data))
    assert "holds 'a.xml', which is encrypted" in refused(tmp_path, archive({"a.xml": b"x"}, zipfile.ZIP_LZMA))


@pytest.mark.parametrize(
    "data",
    [b"", b"PK\x03\x04", b"no archive", archive({"a.xml": b"x" * 99})[:-30]],
    ids=["empty", "signature", "text", "shortened"],
)
def test_what_is_no_archive_is_refused(tmp_path, data):
    assert "is not a valid .docx file" in refused(tmp_path, data)


def test_an_entry_with_a_path_outside_is_written_nowhere(tmp_path):
    inside = tmp_path / "docs"
    inside.mkdir()
    document = docx.Document()
    document.add_paragraph("harmless")
    document.save(inside / "x.docx")
    with zipfile.ZipFile(inside / "x.docx", "a") as written:
        written.writestr("../../evil.txt", "evil")
        written.writestr("/evil.txt", "evil")
    before = sorted(tmp_path.rglob("*"))
    assert load_documents(inside).documents[0].text == "harmless"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("suffix", ["docx", "pptx", "xlsx"])
def test_an_archive_of_another_kind_is_refused(tmp_path, suffix):
    (tmp_path / f"x.{suffix}").write_bytes(archive({"readme.txt": b"hello"}))
    with pytest.raises(DataError, match=f"is damaged or not a .{suffix} file"):
        load_documents(tmp_path / f"x.{suffix}")


def test_entities_are_not_expanded(tmp_path):
    bomb = (
        '<!DOCTYPE x [<!ENTITY a "'
        + "b" * 1000
        + '">'
        + "".join(f'<!ENTITY {name} "{f"&{before};" * 100}">' for before, name in zip("acde", "cdef", strict=True))
    )
    for name, make, part, tag in (
        ("x.docx", docx.Document, "word/document.xml", "<w:body>"),
        ("x.xlsx", openpyxl.Workbook, "xl/workbook.xml", "<sheets>"),
    ):
        file = BytesIO()
        make().save(file)
        with zipfile.ZipFile(file) as archive_:
            entries = {entry: archive_.read(entry) for entry in archive_.namelist()}
        xml = entries[part].decode()
        start = xml.index("<", xml.index("?>") + 2) if xml.startswith("<?xml") else 0
        entries[part] = f"{xml[:start]}{bomb}]>{xml[start:].replace(tag, f'{tag}&f;', 1)}".encode()
        (tmp_path / name).write_bytes(archive(entries))
        with pytest.raises(DataError):
            load_documents(tmp_path / name)


@pytest.mark.parametrize("suffix", [".docx", ".pptx", ".xlsx"])
def test_the_strict_form_of_open_xml_is_read(tmp_path, suffix):
    file = BytesIO()
    if suffix == ".docx":
        text = docx.Document()
        text.add_heading("Slipway", 1)
        text.add_table(1, 2).cell(0, 0).text = "12 m"
        text.save(file)
    elif suffix == ".pptx":
        show = pptx.Presentation()
        title = show.slides.add_slide(show.slide_layouts[0]).shapes.title
        assert title is not None
        title.text = "Slipway 12 m"
        show.save(file)
    else:
        book = openpyxl.Workbook()
        book.active.append(["Slipway", "12 m"])
        book.save(file)
    with zipfile.ZipFile(file) as packed:
        entries = {name: packed.read(name) for name in packed.namelist()}
    usual = re.compile(rb"http://schemas\.openxmlformats\.org/(officeDocument|\w+ml)/2006/([\w-]+)")

    def strict(found):
        return b"http://purl.oclc.org/ooxml/%s/%s" % (found[1], found[2].replace(b"extended-p", b"extendedP"))

    path = tmp_path / f"x{suffix}"
    path.write_bytes(archive({name: usual.sub(strict, data) for name, data in entries.items()}))
    (document,) = load_documents(path).documents
    assert "Slipway" in document.text
    assert "12 m" in document.text
