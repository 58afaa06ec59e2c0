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
import openpyxl  # type: ignore[import-untyped]
import pptx
import pytest

from compound_file import compound, message_within, outlook
from lorag.documents.load import load_documents
from lorag.settings import LoadSettings

COUNT = int(os.environ.get("LORAG_FUZZ_COUNT", 40))
SEED = os.environ.get("LORAG_FUZZ_SEED", "0")
LIMITS = LoadSettings(max_memory_bytes=1_000_000_000, max_seconds=60)
LIMITS_OF_OLD = LoadSettings(max_memory_bytes=1_000_000_001, max_seconds=60)
"""Others, so that a process of its own reads files of Office 97."""
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
        b'number-columns-repeated="99999999"',
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
        b"\\cell\\row",
        b"\\cellx99999999",
        b"{\\*\\ud",
        b"\\bin9999999999 ",
        b"\\u-99999?",
        b"=====  =====\n",
        b"+--+--+\n| a |",
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
    document.add_paragraph("12 m").add_run("3").font.superscript = True
    document.styles.add_style("Internal", 1).font.hidden = True
    document.add_paragraph("secret", "Internal")
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
    b"<ul><li>a</ul><table><tr><td>1</table><select><option>a</select><svg><text>b</text></svg>10<sup>3</sup></main>"
)
NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# Warranty\n", "28 months"]},
        {"cell_type": "code", "source": "1 + 1", "outputs": [{"data": {"text/plain": "2"}}, {"text": "3"}]},
        {"cell_type": "code", "source": "x", "outputs": [{"data": {"text/html": "<p>2</p>", "text/latex": "$2$"}}]},
    ]
}


def open_document(body):
    space = "urn:oasis:names:tc:opendocument:xmlns:{}:1.0".format
    names = ("office", "text", "table", "presentation")
    spaces = " ".join(f'xmlns:{name}="{space(name)}"' for name in names) + f' xmlns:draw="{space("drawing")}"'
    whole = f"<office:document-content {spaces}><office:body>{body}</office:body></office:document-content>"
    return zipped({"content.xml": whole})


GRID = (
    '<table:table table:name="Prices"><table:table-row table:number-rows-repeated="2"><table:table-cell'
    ' table:number-columns-spanned="2"><text:p>5 m</text:p></table:table-cell></table:table-row></table:table>'
)
TEXT = (
    "<office:text><text:h>Warranty</text:h><text:list><text:list-item><text:p>28 months</text:p></text:list-item>"
    f"</text:list>{GRID}</office:text>"
)
SHOW = (
    '<office:presentation><draw:page><draw:frame presentation:class="title"><draw:text-box><text:p>Warranty</text:p>'
    f"</draw:text-box></draw:frame>{GRID}<presentation:notes><text:p>Slow.</text:p></presentation:notes></draw:page>"
    "</office:presentation>"
)
RICH = (
    rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0\fcharset204 A;}}{\stylesheet{\s1\outlinelevel0 Kopf;}}\pard\s1 Warranty\par"
    rb"\pard\f0 \'e4\u8364? {\strike 28} months{\footnote\pard Why.}\par{\listtext 1.\tab}one\par"
    rb"\trowd\clvmgf\cellx900\cellx1800\pard\intbl a\cell{\*\nesttableprops\trowd\cellx1\nestrow}b\cell\row"
    rb"\trowd\clvmrg\cellx900\cellx1800\pard\intbl \cell c\cell\row\pard{\*\shppict{\pict 00}}end{\header H}"
    rb"10{\super 3}{\object{\result x}}{\*\annotation c}}"
)
RESTRUCTURED = (
    b"====\nPump\n====\n\nCare\n----\n\n* one\n\n=====  =====\n Key   Value\n=====  =====\n a     one\n=====  =====\n\n"
    b"+---+---+\n| a | b |\n+===+===+\n| 1 | 2 |\n+---+---+\n"
)
XHTML = b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body><p>a<![CDATA[b<c]]></p>' + PAGE
ARCHIVE = (
    b'Subject: T\nContent-Type: multipart/related; boundary="b"\n\n--b\nContent-Type: text/html\n\n'
    + PAGE
    + b"\n--b--\n"
)


def outlook_message():
    inner = message_within({0x0037: "Inner", 0x1000: "Deep."})
    page = b"<p>It lasts <b>28</b> months.</p>"
    packed = b"\x2d\0\0\0\x2b\0\0\0LZFu\xf1\xc5\xc7\xa7\3\0\x0a\0rcpg1"
    return outlook({0x0037: "Größe", 0x1000: "See below.", 0x1013: page, 0x1009: packed}, [inner], [("a.txt", b"6 m")])


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
    "odt": lambda: open_document(TEXT),
    "ods": lambda: open_document(f"<office:spreadsheet>{GRID}</office:spreadsheet>"),
    "odp": lambda: open_document(SHOW),
    "epub": book,
    "rtf": lambda: RICH,
    "rst": lambda: RESTRUCTURED,
    "xhtml": lambda: XHTML,
    "mht": lambda: ARCHIVE,
    "msg": outlook_message,
    "pdf": None,  # of the fixture
    "doc": lambda: compound({"WordDocument": b"\xec\xa5" + bytes(5000), "1Table": bytes(100)}),
    "xls": lambda: compound({"Workbook": b"\x09\x08" + bytes(5000)}),
    "ppt": lambda: compound({"PowerPoint Document": bytes(5000), "Pictures": b"PNG"}),
}
"""A file of every kind. Of the last three the container is read, and none is given to LibreOffice, which takes seconds
for each: its part of them is no code of ours."""


OLD_KINDS = ("doc", "xls", "ppt")
ARCHIVES = ("docx", "pptx", "xlsx", "odt", "ods", "odp", "epub")


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
def test_a_damaged_file_is_read_or_refused_in_one_line(suffix, tmp_path, write_pdf, monkeypatch):
    draw = random.Random(f"{SEED} {suffix}")
    pages = ["The warranty lasts\n28 months.", "Größe: 5 m³"]
    make = SEEDS[suffix]
    seed = make() if make else write_pdf(pages, outline=[("Warranty", 0)])
    for number in range(COUNT):
        change = repacked if suffix in ARCHIVES and draw.random() < 0.8 else mutated
        (tmp_path / f"{number:04}.{suffix}").write_bytes(change(seed, draw))
    if suffix in OLD_KINDS:
        monkeypatch.setenv("PATH", "")
    loaded = load_documents(tmp_path, LIMITS_OF_OLD if suffix in OLD_KINDS else LIMITS)
    for refused in loaded.refused:
        assert "\n" not in refused.reason, (SEED, refused)
        assert len(refused.reason) < len(str(tmp_path)) + 600, (SEED, refused)
        for fatal in ("ended the program", "was not read within", "too much memory"):
            assert fatal not in refused.reason, (SEED, refused)
    files = {document.source for document in loaded.documents} | {refused.source for refused in loaded.refused}
    assert len(files | set(loaded.passed_over)) == COUNT
    for document in loaded.documents:
        document.text.encode()
