import pytest

from lorag.documents.load import load_documents
from lorag.documents.parsers.text import decode
from lorag.errors import DataError

SENTENCES = {
    "Гарантия на прибор составляет два года. Батареи в неё не входят.": ["cp1251", "koi8_r", "iso8859_5", "cp866"],
    "Гарантія на прилад становить два роки. Батареї до неї не входять.": ["cp1251", "koi8_u"],
    "Die Gewährleistung für das Messgerät beträgt zwei Jahre. Größe: 5 m³ – „geprüft“": ["cp1252"],
    "La garantie de la jauge est de deux années. Les piles ne sont pas couvertes, à moins que…": ["cp1252"],
    "Záruka na měřidlo je dva roky. Baterie, těsnění a plováky jsou z ní vyňaty. Přístroj se dvakrát ročně kalibruje. "
    "Když hladina stoupne nad mez, ozve se poplach a zpráva jde správci stanice. Účet lze zrušit kdykoli.": ["cp1250"],
    "Η εγγύηση διαρκεί δύο χρόνια. Οι μπαταρίες δεν καλύπτονται.": ["cp1253", "iso8859_7"],
    "תקופת האחריות היא שנתיים. הסוללות והאטמים אינם כלולים.": ["cp1255"],
    "مدة الضمان سنتان. البطاريات والأختام غير مشمولة بالضمان.": ["cp1256"],
    "ระยะเวลารับประกันสองปี แบตเตอรี่ไม่อยู่ในการรับประกัน": ["cp874"],
    "保証期間は二年間です。電池とシールは保証の対象外です。": ["cp932", "euc_jp", "iso2022_jp"],
    "保修期为两年。电池和密封件不在保修范围内。": ["gb18030"],
    "保固期為兩年。電池和密封件不在保固範圍內。": ["big5"],
    "보증 기간은 2년입니다. 배터리와 씰은 보증에서 제외됩니다.": ["cp949"],
}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def one(path):
    (document,) = load_documents(path).documents
    return document


@pytest.mark.parametrize(("text", "encoding"), [(t, name) for t, names in SENTENCES.items() for name in names])
def test_code_pages_are_told_by_their_letters(tmp_path, text, encoding):
    found, notes = decode(tmp_path, text.encode(encoding))
    assert found == text
    assert notes == () if encoding == "iso2022_jp" else "was read as" in notes[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_needs_no_guess(tmp_path, encoding):
    text = "".join(SENTENCES) + "😀\U0010ffff"
    assert decode(tmp_path, text.encode(encoding)) == (text, ())


def test_utf_16_is_told_by_its_mark_in_either_order(tmp_path):
    for order in ("le", "be"):
        assert decode(tmp_path, "\ufeffπ и 電".encode(f"utf-16-{order}"))[0] == "π и 電"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("fine\né".encode("latin-1"), "is not UTF-8, and could be cp1250 or"),
        (bytes(range(1, 256)) * 4, "code page cannot be recognised; save it as UTF-8"),
        (b"PK\x03\x04\x00\x00", "is binary, expected text"),
        (b"text \0 more", "is binary, expected text"),
        (b"\xff\xfea", "begins with the byte order mark of utf-16 but is not valid"),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path, data, said):
    with pytest.raises(DataError, match=said):
        decode(tmp_path, data)


def test_a_declared_encoding_is_believed_when_it_is_not_utf_8(tmp_path):
    assert decode(tmp_path, "é".encode("cp1250"), "windows-1250") == ("é", ())
    assert decode(tmp_path, "“é”".encode("cp1252"), "iso-8859-1") == ("“é”", ())
    assert decode(tmp_path, "é".encode(), "latin-1") == ("é", ())
    assert decode(tmp_path, "é".encode(), "no-such-code")[0] == "é"


def test_only_the_ends_of_lines_change(tmp_path):
    text = " \n# Ti\u0301tle\u00a0\n\ta\u2028b\x0b 😀 ﬁ Ω\u2126 \n\n\n"
    path = write(tmp_path / "x.md", text.replace("\n", "\r\n"))
    assert one(path).text == text
    assert one(write(tmp_path / "y.txt", "a\rb\n\r\n")).text == "a\nb\n\n"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("intro\n\n## no\n\n# Yes\n\n# Later", "Yes"),
        ("```\n# code\n```\n# Yes", "Yes"),
        ("no heading", "the-file"),
    ],
)
def test_the_title_of_markdown(tmp_path, text, title):
    assert one(write(tmp_path / "the-file.md", text)).title == title


def test_plain_text_has_no_headings_of_its_own(tmp_path):
    assert one(write(tmp_path / "notes.txt", "# comment")).title == "notes"
