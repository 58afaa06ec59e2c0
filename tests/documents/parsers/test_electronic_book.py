import zipfile
from io import BytesIO

import pytest

from lorag.documents.parsers.markup.electronic_book import parse_book
from lorag.errors import DataError

CONTAINER = """<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
PACKAGE = """<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title>The harbour</dc:title></metadata><manifest>
<item id="two" href="text/two%20b.xhtml" media-type="application/xhtml+xml"/>
<item id="one" href="text/one.xhtml" media-type="application/xhtml+xml"/>
<item id="toc" href="toc.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="cover" href="cover.xhtml" media-type="application/xhtml+xml"/>
<item id="lost" href="lost.xhtml" media-type="application/xhtml+xml"/>
</manifest><spine><itemref idref="cover"/><itemref idref="toc"/><itemref idref="one"/><itemref idref="two"/>
<itemref idref="lost"/></spine></package>"""
PAGE = '<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml"><body>{}</body></html>'.format
PARTS = {
    "META-INF/container.xml": CONTAINER,
    "OEBPS/book.opf": PACKAGE,
    "OEBPS/toc.xhtml": PAGE("<p>contents</p>"),
    "OEBPS/cover.xhtml": PAGE('<img src="a.png"/>'),
    "OEBPS/text/one.xhtml": PAGE("<h1>The mole – 1</h1><p>It is 212 m long.</p>"),
    "OEBPS/text/two b.xhtml": PAGE("<h1>The quay</h1><table><tr><td>A</td><td>4 m</td></tr></table>"),
}


def parse(tmp_path, parts):
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return parse_book(tmp_path / "x.epub", file.getvalue())


def test_chapters_are_read_in_their_order(tmp_path):
    parsed = parse(tmp_path, PARTS)
    assert parsed.title == "The harbour"
    assert parsed.text == "# The mole – 1\n\nIt is 212 m long.\n\n# The quay\n\n| A | 4 m |\n| --- | --- |"
    assert [(place.name, parsed.text[place.start :][:5]) for place in parsed.places] == [
        ("part 2", "# The"),
        ("part 3", "# The"),
    ]
    assert parsed.notes == (
        "lacks its part OEBPS/lost.xhtml",
        "has 1 picture, of which only the alternative text was read",
    )
    text = PAGE('<p>one</p><img src="a.png" alt="a crane"/><img src="b.png"/>')
    assert "has 3 pictures, of which" in parse(tmp_path, {**PARTS, "OEBPS/text/one.xhtml": text}).notes[1]


def test_a_book_of_encrypted_chapters_is_refused_and_one_of_hidden_fonts_is_read(tmp_path):
    def locks(name):
        return f'<encryption xmlns:e="x"><e:CipherReference URI="{name}"/></encryption>'

    assert parse(tmp_path, {**PARTS, "META-INF/encryption.xml": locks("OEBPS/a.otf")}).text
    with pytest.raises(DataError, match="is encrypted; save a copy without protection"):
        parse(tmp_path, {**PARTS, "META-INF/encryption.xml": locks("OEBPS/text/one.xhtml")})
