"""Damaged files of every kind: each is read, or refused in one line; none takes the process that reads it down.

``make fuzz`` looks at a thousand of a kind, and at others each time; the seed is in a failure's message.
"""

import json
import os
import random
import zipfile
from email.message import EmailMessage
from io import BytesIO

import docx
import openpyxl
import pptx
import pytest

from lorag.documents.load import load_documents
from lorag.settings import LoadSettings

COUNT = int(os.environ.get("LORAG_FUZZ_COUNT", 40))
SEED = os.environ.get("LORAG_FUZZ_SEED", "0")
LIMITS = LoadSettings(max_memory_bytes=1_000_000_000, max_seconds=60)
WORDS = [
    *(
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\r",
        b"\n\n",
        b"<![CDATA[",
        b"]]>",
        b"<!DOCTYPE x>",
        b"&#0;",
    ),
    *(
        b"&lt;",
        b"<table>",
        b"</td>",
        b"<w:tbl>",
        b'w:val="99999999"',
        b'"',
        b"'",
        b"[",
        b"{",
        b"[" * 5000,
        b'{"a":' * 5000,
    ),
    *(
        b"-1",
        b"4294967295",
        b"1e999",
        b"obj",
        b"endobj",
        b"stream",
        b"/Kids [1 0 R]",
        b"=?utf-8?b?",
        b"--b",
        b"charset=x",
    ),
    *(b"```", b"|" * 200, b"#" * 200, b"> " * 200, b"=" * 50, b"A" * 5000),
]
"""What is put into files: marks of their own formats, and numbers that are out of range."""


def saved(document):
    file = BytesIO()
    document.save(file)
    return file.getvalue()


def word():
    document = docx.Document()
    document.add_heading("Warranty", 1)
    document.add_paragraph("It lasts 28 months.", style="List Bullet")
    document.add_table(2, 2).cell(0, 0).text = "Price"
    return saved(document)


def slides():
    show = pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[1])
    slide.shapes.title.text, slide.placeholders[1].text = "Warranty", "It lasts 28 months."
    slide.notes_slide.notes_text_frame.text = "Say it slowly."
    return saved(show)


def sheets():
    book = openpyxl.Workbook()
    for row in (["Plan", "Price"], ["Quay", 19.5], ["Pile", "=B2*2"]):
        book.active.append(row)
    return saved(book)


def mail():
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Größe", "a@b.example", "c@d.example"
    message.set_content("It lasts 28 months.")
    message.add_alternative("<p>It lasts <b>28</b> months.</p>", subtype="html")
    message.add_attachment(b"a,b", maintype="text", subtype="csv", filename="a.csv")
    message.set_boundary("b")
    return message.as_bytes()


ROWS = [
    {"doc_id": f"a{n}", "doc": "It lasts 28 months.", "title": "Warranty", "tags": ["a", {"b": 1}]} for n in range(4)
]
MARKDOWN = b"---\ntitle: x\n---\n# Warranty\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n- item\n\n```\ncode\n```\n"
PAGE = (
    b"<html><head><meta charset=utf-8><title>T</title></head><body><main><h1>W</h1><p>It lasts 28 months.</p>"
    b"<ul><li>a</ul><table><tr><td>1</table></main>"
)
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# Warranty\n", "28 months"]},
        {"cell_type": "code", "source": "1 + 1", "outputs": [{"data": {"text/plain": "2"}}, {"text": "3"}]},
    ]
}


def open_text():
    space = "urn:oasis:names:tc:opendocument:xmlns:{}:1.0".format
    spaces = " ".join(f'xmlns:{name}="{space(name)}"' for name in ("office", "text", "table"))
    cells = '<table:table-cell table:number-columns-spanned="2"><text:p>5 m</text:p></table:table-cell>'
    return zipped(
        {
            "content.xml": f"<office:document-content {spaces}><office:body><office:text><text:h>Warranty</text:h>"
            "<text:list><text:list-item><text:p>28 months</text:p></text:list-item></text:list><table:table>"
            f"<table:table-row>{cells}</table:table-row></table:table></office:text></office:body>"
            "</office:document-content>"
        }
    )


def book():
    page = '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
    return zipped(
        {
            "META-INF/container.xml": '<c><rootfile full-path="b.opf"/></c>',
            "b.opf": f'<p><manifest>{page}</manifest><spine><itemref idref="a"/></spine></p>',
            "a.xhtml": PAGE.decode(),
        }
    )


def zipped(entries):
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries.items():
            archive.writestr(name, text)
    return file.getvalue()


SEEDS = {
    "md": lambda: MARKDOWN,
    "txt": lambda: "Größe: 5 m³. It lasts 28 months.\n".encode() * 5,
    "html": lambda: PAGE,
    "csv": lambda: b'a;b\n1;"two; three"\n4;5\n' * 4,
    "tsv": lambda: b"a\tb\n1\ttwo\n",
    "json": lambda: json.dumps(ROWS).encode(),
    "jsonl": lambda: "\n".join(map(json.dumps, ROWS)).encode(),
    "eml": mail,
    "docx": word,
    "pptx": slides,
    "xlsx": sheets,
    "ipynb": lambda: json.dumps(NOTEBOOK).encode(),
    "odt": open_text,
    "epub": book,
    "pdf": None,  # of the fixture
}


def mutated(data, draw):
    """``data`` with one to six changes: bytes turned, cut out, doubled, or words put in; or its end cut off."""
    data = bytearray(data)
    for _ in range(draw.randint(1, 6)):
        place, other = (draw.randrange(len(data) + 1) for _ in range(2))
        match draw.randrange(6):
            case 0 if place < len(data):
                data[place] ^= 1 << draw.randrange(8)
            case 1:
                del data[place : place + draw.randint(1, 40)]
            case 2:
                data[place:place] = data[other : other + draw.randint(1, 400)]
            case 3 if draw.random() < 0.3:
                del data[place:]
            case _:
                data[place:place] = draw.choice(WORDS)
    return bytes(data)


def repacked(data, draw):
    """An archive with one of its files mutated inside, so that its reader gets that far."""
    file = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        chosen = draw.choice(old.namelist())
        for name in old.namelist():
            new.writestr(name, mutated(old.read(name), draw) if name == chosen else old.read(name))
    return file.getvalue()


@pytest.mark.parametrize("suffix", SEEDS)
def test_a_damaged_file_is_read_or_refused_in_one_line(suffix, tmp_path, write_pdf):
    draw = random.Random(f"{SEED} {suffix}")
    pages = ["The warranty lasts\n28 months.", "Größe: 5 m³"]
    seed = SEEDS[suffix]() if suffix != "pdf" else write_pdf(pages, outline=[("Warranty", 0)])
    for number in range(COUNT):
        change = repacked if suffix in ("docx", "pptx", "xlsx", "odt", "epub") and draw.random() < 0.8 else mutated
        (tmp_path / f"{number:04}.{suffix}").write_bytes(change(seed, draw))
    loaded = load_documents(tmp_path, LIMITS)
    for refused in loaded.refused:
        assert "\n" not in refused.reason, (SEED, refused)
        assert len(refused.reason) < len(str(tmp_path)) + 600, (SEED, refused)
        for fatal in ("ended the program", "was not read within", "too much memory"):
            assert fatal not in refused.reason, (SEED, refused)
    files = {document.source for document in loaded.documents} | {refused.source for refused in loaded.refused}
    assert len(files | set(loaded.passed_over)) == COUNT
    for document in loaded.documents:
        document.text.encode()
