"""PDF files written by hand: just what a test needs, and nothing that a library would add."""

import zlib

import pytest


def _objects(pages, outline, title, locked, drawn):
    """The objects of a file: catalogue, page tree, font, information, then three for each page, then the outline."""
    first, after = 5, 5 + 3 * len(pages)
    kids = " ".join(f"{first + 3 * number} 0 R" for number in range(len(pages)))
    yield f"<< /Type /Catalog /Pages 2 0 R {f'/Outlines {after} 0 R' if outline else ''} >>".encode()
    yield f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] >>".encode()
    yield b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
    yield b"<< /Title <" + ("\ufeff" + title).encode("utf-16-be").hex().encode() + b"> >>"
    for number, page in enumerate(pages):
        content, picture = first + 3 * number + 1, first + 3 * number + 2
        resources = f"<< /Font << /F 3 0 R >> /XObject << /I {picture} 0 R >> >>"
        keys = f"/MediaBox [0 0 612 792] /Resources {resources} /Contents {content} 0 R"
        yield f"<< /Type /Page /Parent 2 0 R {keys} >>".encode()
        if drawn:
            yield _stream(page.encode("cp1252"))
            yield b"null"
        elif isinstance(page, str):
            yield _stream(_words(page))
            yield b"null"
        elif isinstance(page, tuple):
            words, picture, place = page
            yield _stream(f"q {place} cm /I Do Q ".encode() + _words(words))
            yield _image(picture)
        else:
            height, width, _ = page.shape
            yield _stream(f"{width * 0.48} 0 0 {height * 0.48} 20 500 cm /I Do".encode())
            yield _image(page)
    if outline:
        last = after + len(outline)
        yield f"<< /First {after + 1} 0 R /Last {last} 0 R /Count {len(outline)} >>".encode()
        for number, (words, page) in enumerate(outline, start=after + 1):
            following = f"/Next {number + 1} 0 R" if number < last else ""
            target = f"/Dest [{first + 3 * page} 0 R /Fit]"
            yield f"<< /Title ({words}) /Parent {after} 0 R {following} {target} >>".encode()
    if locked:  # by a password that nobody knows
        yield f"<< /Filter /Standard /V 1 /R 2 /O <{'41' * 32}> /U <{'42' * 32}> /P -4 >>".encode()


def _words(page):
    lines = [line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") for line in page.split("\n")]
    words = "BT /F 12 Tf 14 TL 72 720 Td " + " T* ".join(f"({line}) Tj" for line in lines) + " ET"
    return words.encode("cp1252") if page else b""


def _image(picture):
    height, width, _ = picture.shape
    keys = f"/Width {width} /Height {height} /ColorSpace /DeviceRGB /BitsPerComponent 8"
    return _stream(picture.tobytes(), f"/Type /XObject /Subtype /Image {keys}")


def _stream(data, keys=""):
    packed = zlib.compress(data)
    return f"<< {keys} /Length {len(packed)} /Filter /FlateDecode >>\nstream\n".encode() + packed + b"\nendstream"


def _write(pages, outline=(), title="", locked=False, drawn=False):
    """A PDF: pages are strings of lines, or arrays ``(height, width, 3)``, or both with the place of the picture, or,
    when ``drawn``, what draws them; the outline is of (title, page index)."""
    data, starts = b"%PDF-1.7\n", []
    for number, value in enumerate(_objects(pages, outline, title, locked, drawn), start=1):
        starts.append(len(data))
        data += f"{number} 0 obj\n".encode() + value + b"\nendobj\n"
    entries = "".join(f"{start:010} 00000 n \n" for start in starts)
    lock = f"/Encrypt {len(starts)} 0 R /ID [<41> <41>]" if locked else ""
    size = len(starts) + 1
    end = f"trailer << /Size {size} /Root 1 0 R /Info 4 0 R {lock} >>\nstartxref\n{len(data)}\n%%EOF\n"
    return data + f"xref\n0 {size}\n0000000000 65535 f \n{entries}{end}".encode()


@pytest.fixture
def write_pdf():
    return _write
