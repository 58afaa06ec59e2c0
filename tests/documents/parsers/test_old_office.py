import shutil
import subprocess
from io import BytesIO

import docx
import pytest

from compound_file import compound
from lorag.documents.load import load_documents, read_file
from lorag.errors import DataError
from lorag.settings import LoadSettings

needs_libreoffice = pytest.mark.skipif(
    not shutil.which("soffice"),
    reason="LibreOffice converts files of Office 97 and is not installed (apt install libreoffice); that such files are"
    " refused without it is tested anyway",
)


def newer():
    document, file = docx.Document(), BytesIO()
    document.add_heading("Warranty", 1)
    document.add_paragraph("It lasts 28 months.")
    document.save(file)
    return file.getvalue()


def test_without_libreoffice_one_line_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    (tmp_path / "a.ppt").write_bytes(compound({"PowerPoint Document": b"x"}))
    with pytest.raises(DataError, match=r"Office 97; install LibreOffice, which converts it, or save it as \.pptx$"):
        read_file(tmp_path / "a.ppt", "a.ppt", LoadSettings())


def test_what_only_has_the_name_is_read_as_what_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    for name, data in (
        ("a.doc", newer()),
        ("b.doc", rb"{\rtf1 It lasts 28 months.}"),
        ("c.xls", b"<html><table><tr><td>It lasts<td>28 months</table></html>"),
    ):
        (tmp_path / name).write_bytes(data)
        (document,), _ = read_file(tmp_path / name, name, LoadSettings())
        assert "28 months" in document.text


@needs_libreoffice
def test_libreoffice_converts_what_is_old(tmp_path):
    (tmp_path / "new.docx").write_bytes(newer())
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    old = ["--headless", "--convert-to", "doc", "--outdir", tmp_path, tmp_path / "new.docx"]
    subprocess.run(["soffice", profile, *old], check=True, capture_output=True)
    (document,) = load_documents(tmp_path / "new.doc").documents
    assert document.text == "# Warranty\n\nIt lasts 28 months."


@pytest.mark.parametrize("data", [b"x", b"x" * 2000, compound({"Book": b"x"})])
def test_what_is_of_another_kind_is_refused(tmp_path, data):
    (tmp_path / "a.doc").write_bytes(data)
    with pytest.raises(DataError, match=r"is not a \.doc file of Office 97; save it as \.docx, or remove it"):
        read_file(tmp_path / "a.doc", "a.doc", LoadSettings())


@needs_libreoffice
def test_what_libreoffice_cannot_convert_is_refused_in_one_line(tmp_path):
    (tmp_path / "a.ppt").write_bytes(compound({"PowerPoint Document": b"x"}))
    with pytest.raises(DataError, match=r"could not be converted by LibreOffice \(.*\); save it as \.pptx") as refused:
        load_documents(tmp_path / "a.ppt")
    assert "\n" not in str(refused.value)
