"""Files of other programs are read: 99.5 % of the characters of the body, in order, and every cell of a table.

The texts are the bundled documents, combined into four manuals, and a short text with things that are easily lost:
notes, nested lists, signs, other scripts. python-docx, python-pptx, openpyxl and, if installed, reportlab, pandoc and
LibreOffice write them in their formats; programs that are not installed are named and left out. Characters are counted
word by word, without blanks and Markdown marks, on both sides; a word counts if it is at its place in the order of the
text. A cell counts if it is in its row and column; in mails, whose tables are lines, no cells are counted. A PDF file,
where a page may end within a table and most tables have no lines, has at least 95 % of its cells, the others have all.

Takes two minutes, most of it LibreOffice. The last line printed is JSON; the exit code is 1 if the claim does not hold.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from email.message import EmailMessage
from functools import partial
from html import escape
from importlib.resources import as_file, files
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

from lorag.documents.load import load_documents

BAR, PDF_CELLS = 0.995, 0.95
MANUALS = 4
MARKS, EMPHASIS = re.compile(r"\[\^[^\]]*\]:?|[|#>\[\]-]"), re.compile(r"[*`\\~_]")
"""Signs that Markdown uses, which are no part of the text on either side; those of the second kind stand in words."""
SPECIAL = """\
# Everything else

The gauge measures ±0.5 % of 12 m³/h at −20 °C; that costs €1,234.50 (about £1,060). Größe, Łódź, naïve, дом, 倉庫.

## Steps

1. Open valve A – slowly.
2. Close valve B.
   - Use the long key.

> Never run it dry for more than 20 seconds.

Rent is due on the first.[^1]

| Model | Pressure | Note |
| --- | --- | --- |
| P9 | 1 bar | a \\| b |
| P11 | 12.5 bar | 5 < 6 & 7 > 2 |

[^1]: Since 4 May 2026.
"""


@dataclass(frozen=True)
class Block:
    """A heading of a ``level``, a paragraph (level 0), or a table of ``rows``."""

    text: str = ""
    level: int = 0
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Text:
    """A text as Markdown and as its blocks."""

    name: str
    markdown: str
    blocks: tuple[Block, ...]

    @property
    def tables(self) -> list[Block]:
        """The blocks that are tables."""
        return [block for block in self.blocks if block.rows]


@dataclass(frozen=True)
class Written:
    """A file that a program wrote, and the text that it holds."""

    path: Path
    maker: str
    words: str
    tables: Sequence[Block]


def main() -> int:
    """Prints every kind and the claim; 0 when it holds."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        written = list(write_all(Path(folder)))
        rows = []
        print(f"{'kind':7} {'made by':12} {'files':>5} {'characters':>10} {'read':>8} {'cells':>7} {'right':>8}")
        for (suffix, maker), group in groupby(written, key=lambda each: (each.path.suffix, each.maker)):
            rows.append(measure(suffix, maker, list(group)))
            print(line(rows[-1]), flush=True)
    least = {row["kind"]: PDF_CELLS if row["kind"] == ".pdf" else 1.0 for row in rows}
    holds = all(row["read"] >= BAR and (row["right"] is None or row["right"] >= least[row["kind"]]) for row in rows)
    total = sum(row["files"] for row in rows)
    print(f"{total} files; every kind at least {BAR:.1%} and its cells: {'yes' if holds else 'NO'}")
    print(json.dumps({"files": total, "kinds": rows, "holds": holds}))
    return 0 if holds else 1


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    right = "as lines" if row["right"] is None else f"{row['right']:.2%}"
    head = f"{row['kind']:7} {row['maker']:12} {row['files']:5} {row['characters']:10,} {row['read']:8.2%}"
    return f"{head} {row['cells']:7,} {right:>8}" + "".join(f"\n    lost: {lost}" for lost in row["lost"][:5])


def measure(suffix: str, maker: str, group: Sequence[Written]) -> dict[str, Any]:
    """The characters and cells of the files of one kind, and what was read of them."""
    characters = found = cells = right = 0
    lost: list[str] = []
    for each in group:
        (document,) = load_documents(each.path).documents
        given, got = words(each.words), words(document.text)
        blocks = SequenceMatcher(None, given, got, autojunk=False).get_matching_blocks()
        kept = {at for block in blocks for at in range(block.a, block.a + block.size)}
        characters += sum(map(len, given))
        found += sum(len(given[at]) for at in kept)
        lost += [word for at, word in enumerate(given) if at not in kept]
        cells += sum(len(row) for table in each.tables for row in table.rows)
        right += right_cells(each.tables, document.text, may_be_divided=suffix == ".pdf")
    share = right / cells if cells else None
    named = {"kind": suffix, "maker": maker, "files": len(group), "characters": characters}
    return {**named, "read": found / characters, "cells": cells, "right": share, "lost": lost}


def words(text: str) -> list[str]:
    """The words of a text without the marks of Markdown."""
    return EMPHASIS.sub("", MARKS.sub(" ", unicodedata.normalize("NFC", text))).split()


def right_cells(expected: Sequence[Block], text: str, may_be_divided: bool = False) -> int:
    """How many cells stand in their row and column in one of the tables of ``text``; of a table that may be divided, in
    a row of any of them.
    """
    lines = [line.strip() for line in text.split("\n")]
    runs = [list(run) for is_row, run in groupby(lines, key=lambda line: line.startswith("|")) if is_row]
    found = [[cells(line) for line in run if not set(line) <= set("|- ")] for run in runs]
    if may_be_divided:
        rows = [row for table in found for row in table]
        return sum(
            max((sum(a == b for a, b in paired(row, other)) for other in rows), default=0)
            for table in expected
            for row in table.rows
        )
    return sum(
        max(
            (
                sum(a == b for ours, theirs in zip(table.rows, other, strict=False) for a, b in paired(ours, theirs))
                for other in found
            ),
            default=0,
        )
        for table in expected
    )


def cells(line: str) -> tuple[str, ...]:
    """The cells of a row of Markdown."""
    parts = re.split(r"(?<!\\)\|", line)[1:-1]
    return tuple(part.strip().replace("\\|", "|").replace("\\", "") for part in parts)


def paired(ours: Sequence[str], theirs: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The cells of two rows that stand in one column, marks and blanks left out."""
    for one, other in zip(ours, theirs, strict=False):
        yield " ".join(words(one)), " ".join(words(other))


def texts() -> Iterator[Text]:
    """The bundled documents as a few manuals, and the text of everything else."""
    with as_file(files("lorag") / "corpus" / "docs") as folder:
        documents = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))]
    for number in range(MANUALS):
        markdown = "\n\n".join(documents[number::MANUALS])
        yield Text(f"manual{number}", markdown, tuple(blocks_of(markdown)))
    yield Text("else", SPECIAL, tuple(blocks_of(SPECIAL)))


def blocks_of(markdown: str) -> Iterator[Block]:
    """The blocks of a plain Markdown text."""
    for part in re.split(r"\n\s*\n", markdown.strip()):
        lines = part.split("\n")
        while lines and (heading := re.match(r"(#+) (.*)", lines[0])):
            yield Block(heading[2], len(heading[1]))
            lines = lines[1:]
        if lines and lines[0].startswith("|"):
            yield Block(rows=tuple(cells(row) for number, row in enumerate(lines) if number != 1))
        elif lines:
            for _, run in groupby(lines, key=lambda line: line if re.match(r"\s*([-*]|\d+\.) ", line) else ""):
                yield Block(" ".join(re.sub(r"^\s*([-*>]|\d+\.|\[\^1\]:) |\[\^1\]", "", each) for each in run))


def write_all(folder: Path) -> Iterator[Written]:
    """Every file, those of one kind and maker after each other."""
    made = list(texts())
    writers: dict[tuple[str, str], Callable[[Path, Text], None]] = {
        (".docx", "python-docx"): docx_file,
        (".pptx", "python-pptx"): pptx_file,
        (".xlsx", "openpyxl"): xlsx_file,
        (".html", "by hand"): html_file,
        (".eml", "email"): eml_file,
    }
    if find_spec("reportlab"):
        writers[(".pdf", "reportlab")] = pdf_file
        writers[(".pdf", "with lines")] = partial(pdf_file, width=0.5)
    by_maker: dict[tuple[str, str], list[Written]] = {}
    for (suffix, maker), write in writers.items():
        for text in made:
            path = folder / maker / f"{text.name}{suffix}"
            path.parent.mkdir(exist_ok=True)
            write(path, text)
            tables = () if suffix == ".eml" else text.tables
            body = [block for block in text.blocks if suffix != ".xlsx" or block.rows]
            if body:
                by_maker.setdefault((suffix, maker), []).append(Written(path, maker, said(body), tables))
    missing = [name for name, is_there in (("reportlab", find_spec("reportlab")), *tools()) if not is_there]
    print(f"not installed: {', '.join(missing) or 'nothing'}")
    if shutil.which("pandoc"):
        for kind in ("docx", "odt", "rtf", "epub", "html", "rst", "ipynb", "pptx"):
            by_maker[(f".{kind}", "pandoc")] = [by_pandoc(folder, kind, text) for text in made]
    if shutil.which("soffice"):
        for kind, source in (
            *((kind, (".docx", "python-docx")) for kind in ("odt", "rtf", "doc", "html", "pdf")),
            *((kind, (".xlsx", "openpyxl")) for kind in ("ods", "xls")),
            *((kind, (".pptx", "python-pptx")) for kind in ("odp", "ppt")),
        ):
            by_maker[(f".{kind}", "LibreOffice")] = by_libreoffice(folder, kind, by_maker[source])
    for group in by_maker.values():
        yield from group


def tools() -> list[tuple[str, str | None]]:
    """The programs that write files, with their paths."""
    return [("pandoc", shutil.which("pandoc")), ("LibreOffice", shutil.which("soffice"))]


def said(blocks: Sequence[Block]) -> str:
    """All that the blocks say, in order."""
    return "\n".join(block.text or "\n".join(" ".join(row) for row in block.rows) for block in blocks)


def docx_file(path: Path, text: Text) -> None:
    """As people write a manual in Word."""
    import docx

    document = docx.Document()
    for block in text.blocks:
        if block.level:
            document.add_heading(block.text, block.level)
        elif block.rows:
            table = document.add_table(len(block.rows), len(block.rows[0]))
            for row, given in zip(table.rows, block.rows, strict=True):
                for cell, words_ in zip(row.cells, given, strict=True):
                    cell.text = words_
        else:
            document.add_paragraph(block.text)
    document.save(str(path))


def pptx_file(path: Path, text: Text) -> None:
    """A slide for each heading, its table on a slide of its own."""
    import pptx
    from pptx.util import Inches

    show = pptx.Presentation()
    slide: Any = None
    for block in text.blocks:
        if block.level or slide is None:
            slide = show.slides.add_slide(show.slide_layouts[1])
            slide.shapes.title.text = block.text
            frame, is_first = slide.placeholders[1].text_frame, True
        elif block.rows:
            shape = slide.shapes.add_table(
                len(block.rows), len(block.rows[0]), Inches(1), Inches(3), Inches(8), Inches(3)
            )
            for row, given in zip(shape.table.rows, block.rows, strict=True):
                for cell, words_ in zip(row.cells, given, strict=True):
                    cell.text = words_
            slide = show.slides.add_slide(show.slide_layouts[1])
            frame, is_first = slide.placeholders[1].text_frame, True
        else:
            paragraph = frame.paragraphs[0] if is_first else frame.add_paragraph()
            paragraph.text, is_first = block.text, False
    show.save(str(path))


def xlsx_file(path: Path, text: Text) -> None:
    """A sheet for each table."""
    import openpyxl  # type: ignore[import-untyped]

    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, block in enumerate(text.tables):
        sheet = book.create_sheet(f"T{number}")
        for row in block.rows:
            sheet.append(row)
    if text.tables:
        book.save(path)


def html_file(path: Path, text: Text) -> None:
    """As a template of a site writes it."""
    parts = []
    for block in text.blocks:
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in block.rows)
        tag = f"h{block.level}" if block.level else "p"
        parts.append(f"<table>{rows}</table>" if block.rows else f"<{tag}>{escape(block.text)}</{tag}>")
    nav, footer = "<nav><a href='/'>Home</a></nav>", "<footer>Imprint</footer>"
    page = f"<html><head><meta charset=utf-8></head><body>{nav}<div class='content'>{''.join(parts)}</div>{footer}"
    path.write_text(page, encoding="utf-8")


def eml_file(path: Path, text: Text) -> None:
    """The text as a mail of two alternatives."""
    mail = EmailMessage()
    mail["Subject"], mail["From"] = text.name, "a@example.org"
    mail.set_content(said(text.blocks))
    mail.add_alternative(f"<p>{escape(said(text.blocks))}</p>", subtype="html")
    path.write_bytes(mail.as_bytes())


def pdf_file(path: Path, text: Text, width: float = 0) -> None:
    """One column and flowing tables, as reports are printed; letters that its font lacks are left out.

    Lines of ``width`` points are drawn around cells; none with 0.
    """
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table

    styles = getSampleStyleSheet()
    flow: list[Any] = []
    for block in text.blocks:
        if block.rows:
            lines = [("GRID", (0, 0), (-1, -1), width, "black")] if width else []
            rows = [[Paragraph(escape(cell), styles["Normal"]) for cell in row] for row in block.rows]
            flow += [Table(rows, style=lines)]
        else:
            style = styles[f"Heading{min(block.level, 6)}" if block.level else "Normal"]
            flow += [Paragraph(escape(block.text), style), Spacer(1, 6)]
    SimpleDocTemplate(str(path)).build(flow)


def by_pandoc(folder: Path, kind: str, text: Text) -> Written:
    """The text as pandoc converts it from Markdown."""
    source, target = folder / f"{text.name}.md", folder / "pandoc" / f"{text.name}.{kind}"
    target.parent.mkdir(exist_ok=True)
    source.write_text(text.markdown, encoding="utf-8")
    subprocess.run(["pandoc", "-s", "--quiet", "--from", "gfm-raw_html", str(source), "-o", str(target)], check=True)
    return Written(target, "pandoc", said(text.blocks), text.tables)


def by_libreoffice(folder: Path, kind: str, sources: Sequence[Written]) -> list[Written]:
    """The files as LibreOffice converts them."""
    target = folder / "LibreOffice"
    command = ["soffice", f"-env:UserInstallation={(folder / 'profile').as_uri()}", "--headless", "--convert-to", kind]
    paths = [str(each.path) for each in sources]
    subprocess.run([*command, "--outdir", str(target), *paths], check=True, capture_output=True)
    return [Written(target / f"{each.path.stem}.{kind}", "LibreOffice", each.words, each.tables) for each in sources]


if __name__ == "__main__":
    sys.exit(main())
