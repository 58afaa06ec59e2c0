"""Rich text (rtf): headings, paragraphs, lists with their numbers, tables, text boxes, and footnotes at the end.

Text that was deleted while changes were tracked is not read, nor is hidden text, which is noted; struck text is marked
as such. Pictures, embedded objects, headers, footers and comments are not read, which is noted too. Control words:
Microsoft's specification, version 1.9.1.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from lorag.documents.grid import Cell, Placed, filled, merged
from lorag.documents.markdown_structure import escaped, first_title, table
from lorag.documents.parsers.parsed import Parsed, blocks, counted
from lorag.documents.superscripts import lowered, raised
from lorag.documents.symbol_fonts import readable, sign
from lorag.errors import DataError

_TOKEN = re.compile(
    r"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|([^\\{}\r\n]+)|[\r\n]+|\\", re.DOTALL
)
_SIGNS = {
    **{"tab": "\t", "line": "\n", "emdash": "—", "endash": "–", "bullet": "•", "emspace": " ", "enspace": " "},
    **{"lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "~": "\u00a0", "_": "-", "qmspace": " "},
    **dict.fromkeys("\\{}", ""),
}
_SIGNS |= {sign: sign for sign in "\\{}"}
_UNREAD = {
    *("colortbl", "pict", "fldinst", "object", "annotation", "nonesttables", "nonshppict", "shprslt", "sn", "sv", "tc"),
    *("header", "headerl", "headerr", "headerf", "footer", "footerl", "footerr", "footerf", "xe", "nextfile", "pntxtb"),
    *("pntxta", "filetbl", "revtbl", "upr", "rxe", "objdata", "template"),
}
"""Groups that hold no text of the document."""
_LEFT_OUT = {
    **{f"header{pages}": "header{s}, which {were} not read" for pages in ("", "l", "r", "f")},
    **{f"footer{pages}": "footer{s}, which {were} not read" for pages in ("", "l", "r", "f")},
    "annotation": "comment{s}, which {were} not read",
    "object": "embedded object{s}, which {were} not read",
}
"""Notes on those of them that a reader sees; on an object also if it has no words."""
_READ = {"shpinst", "ud", "pn", "result"}
"""Groups that do, though they are marked as ones that a reader may pass over."""
_NAMED = {"fonttbl", "stylesheet", "info", "title", "listtext", "pntext", "footnote", "nesttableprops"}
"""Groups whose text has a place of its own."""
_CHARSETS = {
    **{77: "mac_roman", 128: "cp932", 129: "cp949", 134: "gb18030", 136: "big5", 161: "cp1253", 162: "cp1254"},
    **{163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874", 238: "cp1250"},
}
_SWITCHES = {"v": "is_hidden", "deleted": "is_deleted", "strike": "is_struck", "striked": "is_struck"}
_SHIFTS = {"super": "\x01", "sub": "\x02", "nosupersub": ""}
_SHIFTED = re.compile("(?:\x01[^\x01-\x03]*\x03)+|(?:\x02[^\x01-\x03]*\x03)+")
"""Words above or below the line, between the marks that the reader puts around them."""
_SHIFT_MARKS, _NEAR = str.maketrans("", "", "\x01\x02\x03"), 20
"""The marks, and how many characters on each side decide what the words become."""
_SYMBOL_FONT, _MOST_REPEATED = 2, 20
_DEEPEST, _LEAST_COLUMN, _MOST_COLUMNS = 6, 60, 200
_HIDDEN_NOTE, _PICTURES_NOTE = "has hidden text, which was not read", "has pictures that were not read"
_HEADING = re.compile(r"heading (\d)\b", re.IGNORECASE)


def parse_rich_text(path: Path, data: bytes) -> Parsed:
    """The whole text; the title is its first heading of level 1, or the one among its properties."""
    if not data.lstrip().startswith(b"{\\rtf"):
        raise DataError(path, "is not rich text (RTF); save it again as RTF, or remove it")
    reader = _Reader()
    reader.read(data.decode("latin-1"))
    text = blocks([*reader.blocks, *(f"[^{n}]: {words}" for n, words in enumerate(reader.notes, 1))])
    said = ((reader.has_hidden, _HIDDEN_NOTE), (reader.has_pictures, _PICTURES_NOTE))
    notes = (*(note for is_so, note in said if is_so), *counted(reader.left_out))
    return Parsed(text, first_title(text) or reader.title, notes=notes)


@dataclass(slots=True)
class _State:
    """What holds within a group, until it closes."""

    place: str = ""
    """The named group that its text belongs to; empty for the body."""
    skipped: str = ""
    """The word for which its text is not read; empty where it is."""
    fallback: int = 1
    """How many characters follow one that is given by its number, for readers that do not know it."""
    font: int = -1
    is_hidden: bool = False
    is_deleted: bool = False
    is_struck: bool = False
    shift: str = ""


@dataclass(slots=True)
class _Row:
    """The cells of a row as they are declared, and what was written into them."""

    ends: list[int] = field(default_factory=list)
    is_below: list[bool] = field(default_factory=list)
    """Whether a cell continues the one above it."""
    texts: list[str] = field(default_factory=list)


class _Reader:
    """Takes the tokens of a file one by one. A group that is never closed ends with the file."""

    def __init__(self) -> None:
        self.blocks, self.notes, self.title = list[str](), list[str](), ""
        self.has_hidden = self.has_pictures = self._has_left_out = False
        self.left_out = Counter[str]()
        self._state, self._outer = _State(), list[_State]()
        self._texts: dict[str, list[str]] = {"": []}
        self._code_page, self._fonts, self._levels = "cp1252", dict[int, int](), dict[int, int]()
        self._names = dict[int, str]()
        self._style, self._level, self._is_in_table, self._mark = -1, 0, False, ""
        self._row, self._rows, self._is_merged = _Row(), list[_Row](), False
        self._inner: list[list[str]] = [[]]
        self._items: list[str] = []
        self._bytes, self._to_skip, self._may_skip_group = bytearray(), 0, False

    def read(self, text: str) -> None:
        """Reads a whole file; bytes are given as the characters of Latin-1."""
        at = 0
        while match := _TOKEN.match(text, at):
            at = match.end()
            word, number, code, sign, brace, plain = match.groups()
            if code and not self._passed_over(1):
                self._bytes.append(int(code, 16))
            elif not code:
                plain, sign = self._second_half(plain or "", sign or "")
                self._say(self._decoded())
            if word == "bin":
                at += max(int(number or 0), 0)
            elif word:
                self._control(word, int(number) if number else None)
            elif sign:
                self._sign(sign)
            elif brace:
                (self._open if brace == "{" else self._close)()
            elif plain:
                self._say(plain[self._passed_over(len(plain)) :])
        self._say(self._decoded())
        while self._outer:
            self._close()
        self._is_in_table = False
        self._end_paragraph()
        self._end_table()
        self._end_list()

    def _passed_over(self, length: int) -> int:
        """How many of so many characters only repeat one that was given by its number."""
        passed = min(self._to_skip, length)
        self._to_skip -= passed
        return passed

    def _second_half(self, plain: str, sign: str) -> tuple[str, str]:
        """What is left of the characters behind the last bytes where the first of them completes a letter."""
        half = plain[:1] or (sign if sign in "\\{}" else "")
        if half and self._bytes and not self._to_skip:
            decoder = codecs.getincrementaldecoder(self._codec())("replace")
            decoder.decode(bytes(self._bytes))
            if decoder.getstate()[0]:
                self._bytes += half.encode("latin-1")
                return plain[1:], ""
        return plain, sign

    def _codec(self) -> str:
        return _CHARSETS.get(self._fonts.get(self._state.font, 0), self._code_page)

    def _decoded(self) -> str:
        """What the last bytes say in the code page of their font."""
        if not self._bytes:
            return ""
        data = bytes(self._bytes)
        self._bytes.clear()
        if self._fonts.get(self._state.font, 0) == _SYMBOL_FONT:
            return "".join(sign(self._names.get(self._state.font, ""), byte) for byte in data)
        return data.decode(self._codec(), "replace")

    def _open(self) -> None:
        self._outer.append(replace(self._state))
        self._may_skip_group, self._to_skip = False, 0

    def _close(self) -> None:
        self._to_skip = 0
        if not self._outer:
            return
        closed, self._state = self._state, self._outer.pop()
        if closed.place != self._state.place and not closed.skipped:
            self._end_named(closed.place)
        if closed.skipped and not self._state.skipped:
            if closed.skipped in _LEFT_OUT and (self._has_left_out or closed.skipped == "object"):
                self.left_out[_LEFT_OUT[closed.skipped]] += 1
            self._has_left_out = False

    def _end_named(self, place: str) -> None:
        words = _joined(self._texts.pop(place, []))
        if place in ("listtext", "pntext"):
            self._mark = words.strip()
        elif place == "stylesheet":
            self._style = -1
        elif place == "title":
            self.title = " ".join(words.split())
        elif place == "footnote" and words.strip():
            self.notes.append(" ".join(words.split()))
            self._say(f"[^{len(self.notes)}]")

    def _sign(self, sign: str) -> None:
        if sign == "*":
            self._may_skip_group = True
        elif sign in "\r\n":
            self._control("par", None)
        else:
            self._say(_SIGNS.get(sign, ""))

    def _say(self, words: str) -> None:
        state = self._state
        if not words or state.skipped:
            self._has_left_out |= bool(words.strip())
            return
        if state.place == "info":
            return
        if state.place == "fonttbl":
            self._names.setdefault(state.font, words.strip().rstrip(";"))
        elif state.place == "stylesheet":
            if found := _HEADING.match(words):
                self._levels.setdefault(self._style, int(found[1]))
        elif state.is_hidden or state.is_deleted:
            self.has_hidden |= state.is_hidden and bool(words.strip())
        else:
            bare = words.strip()
            words = words.replace(bare, f"~~{bare}~~") if state.is_struck and bare else words
            words = f"{state.shift}{words}\x03" if state.shift else words
            self._texts.setdefault(state.place, []).append(words)

    def _control(self, word: str, number: int | None) -> None:
        may_skip, self._may_skip_group = self._may_skip_group, False
        if word == "u" and number is not None:
            self._say(readable(chr(number % 65536), self._names.get(self._state.font, "")))
            self._to_skip = self._state.fallback
        elif word in _SIGNS:
            self._say(_SIGNS[word])
        elif word in _NAMED:
            self._state.place, self._state.shift = word, ""
        elif word in _UNREAD or (may_skip and word not in _READ):
            self.has_pictures |= word in ("pict", "shppict") and not self._state.skipped
            self._state.skipped = self._state.skipped or word
        elif word == "ud":
            self._state.skipped = self._outer[-2].skipped if len(self._outer) > 1 else ""
        elif not self._state.skipped:
            self._format(word, number)

    def _format(self, word: str, number: int | None) -> None:
        """What changes the look of what follows, declares a look, or ends something."""
        state = self._state
        if word in _SWITCHES:
            setattr(state, _SWITCHES[word], number != 0)
        elif word in _SHIFTS:
            state.shift = "" if number == 0 else _SHIFTS[word]
        elif word == "plain":
            state.is_hidden = state.is_struck = state.is_deleted = False
            state.shift = ""
        elif word == "ansicpg":
            self._code_page = known_codec(f"cp{number}")
        elif word == "uc":
            state.fallback = min(max(number or 0, 0), _MOST_REPEATED)
        elif word == "f":
            state.font = number or 0
        elif state.place in ("fonttbl", "stylesheet"):
            self._declare(word, number or 0)
        elif not state.place:
            self._arrange(word, number)
        elif word == "nestrow":
            self._inner.append([])
        elif word == "par":
            self._say("\n")

    def _declare(self, word: str, number: int) -> None:
        """A font or a style."""
        if word == "fcharset":
            self._fonts[self._state.font] = number
        elif word == "s":
            self._style = number
        elif word == "outlinelevel":
            self._levels[self._style] = number + 1

    def _arrange(self, word: str, number: int | None) -> None:
        """Paragraphs and cells of the body."""
        match word:
            case "s":
                self._style = number or 0
            case "outlinelevel":
                self._level = (number or 0) + 1
            case "pard":
                self._style, self._level, self._is_in_table = -1, 0, False
            case "intbl":
                self._is_in_table = True
            case "par" | "sect" | "page" | "column":
                self._end_paragraph()
            case "trowd":
                self._row.ends, self._row.is_below = [], []
            case "clvmrg":
                self._is_merged = True
            case "cellx":
                self._row.ends.append(number or 0)
                self._row.is_below.append(self._is_merged)
                self._is_merged = False
            case "nestcell":
                self._inner[-1].append(" ".join(self._taken().split()))
            case "cell":
                self._end_cell()
            case "row":
                self._end_row()

    def _taken(self) -> str:
        """The words of the body since they were last taken."""
        words = _joined(self._texts.get("", []))
        self._texts[""] = []
        return words

    def _end_paragraph(self) -> None:
        if self._is_in_table:
            self._texts[""].append("\n")
        else:
            words, mark = self._taken().strip(), self._mark
            self._mark = ""
            self._end_table()
            level = self._level or self._levels.get(self._style, 0)
            if words and mark and not 0 < level <= _DEEPEST:
                is_number = any(sign.isalnum() for sign in mark)
                self._items.append(f"{mark} {words}" if is_number else f"- {words}")
            elif words:
                self._end_list()
                title = " ".join([*mark.split(), *words.split()])
                is_title = 0 < level <= _DEEPEST
                self.blocks.append(f"{'#' * level} {title}" if is_title else escaped(words))

    def _end_list(self) -> None:
        self.blocks.append("\n".join(self._items))
        self._items = []

    def _end_cell(self) -> None:
        rows = [", ".join(cells) for cells in self._inner if cells]
        self._inner = [[]]
        mark, self._mark = self._mark, ""
        self._row.texts.append("\n".join(filter(None, ["; ".join(rows), f"{mark} {self._taken()}".strip()])))

    def _end_row(self) -> None:
        if self._row.texts:
            self._rows.append(self._row)
        self._row = _Row(list(self._row.ends), list(self._row.is_below))

    def _end_table(self) -> None:
        if self._row.texts:
            self._end_row()
        if self._rows:
            self._end_list()
            self.blocks.append(table(filled(_cells(self._rows))))
        self._rows = []


def _cells(rows: list[_Row]) -> Iterator[list[Cell]]:
    """The cells of each row with what they cover; columns begin wherever a cell of any row does."""
    edges: list[int] = []
    for end in sorted({end for row in rows for end in row.ends}):
        if not edges or end - edges[-1] >= _LEAST_COLUMN:
            edges.append(end)
    placed = [list(_placed(row, edges[:_MOST_COLUMNS])) for row in rows]
    return merged(placed)


def _placed(row: _Row, edges: list[int]) -> Iterator[Placed]:
    """The cells of a row where they stand."""
    first = 0
    for number, text in enumerate(row.texts):
        end = row.ends[number] if number < len(row.ends) else None
        last = first + 1 if end is None else sum(edge < end + _LEAST_COLUMN for edge in edges)
        columns = max(last - first, 1)
        yield first, Cell(text, columns), number < len(row.is_below) and row.is_below[number]
        first += columns


def _joined(words: list[str]) -> str:
    """The words as one text; halves of surrogate pairs that follow each other are one character, and what follows each
    other above or below the line is one there.
    """
    text = _SHIFTED.sub(_shifted, "".join(words).replace("~~~~", ""))
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\0", "")


def _shifted(found: re.Match[str]) -> str:
    text, first, last = found.string, found.start(), found.end()
    parts = (text[max(first - _NEAR, 0) : first], found[0], text[last : last + _NEAR])
    before, words, after = (part.translate(_SHIFT_MARKS) for part in parts)
    return (raised if found[0][0] == _SHIFTS["super"] else lowered)(words, before, after)


def known_codec(codec: str) -> str:
    """The codec where Python has it, else the usual one."""
    try:
        return codecs.lookup("utf-8" if codec == "cp65001" else codec).name
    except LookupError:
        return "cp1252"
