import struct

import pytest

from compound_file import compound, message_within, outlook
from lorag.documents.parsers.compound.outlook_message import parse_outlook
from lorag.errors import DataError

SENT = struct.pack("<HHIQ", 0x0040, 0x0039, 2, 133_546_122_000_000_000)
CYRILLIC = struct.pack("<HHIQ", 0x0003, 0x3FDE, 2, 1251)
MESSAGE = {0x0037: "Größe", 0x0C1A: "Kim Berg", 0x5D01: "kim@a.example", 0x0E04: "Lee, Ann; Bo", 0x1000: "28 months."}


def read(tmp_path, *parts, **more):
    return parse_outlook(tmp_path / "x.msg", outlook(*parts, **more))


def test_headers_and_text_are_read(tmp_path):
    parsed = read(tmp_path, MESSAGE, fixed=SENT)
    assert parsed.title == "Größe"
    assert parsed.text == (
        "# Größe\n\nFrom: Kim Berg <kim@a.example>\nTo: Lee, Ann; Bo\nDate: 2024-03-11 06:30 UTC\n\n28 months."
    )
    sent = read(tmp_path, MESSAGE | {0x007D: "Date: Mon, 5 Oct 2026 10:00:00 +0000\r\nCc: x@y.example\r\n\r\n"})
    assert "\nCc: x@y.example\nDate: Mon, 5 Oct 2026 10:00:00 +0000\n" in sent.text


def test_a_web_page_is_read_where_the_text_does_not_hold_the_same(tmp_path):
    page = "<p>Гарантия 28 месяцев</p>".encode("cp1251")
    text = read(tmp_path, {0x0037: "x", 0x1000: "See below.", 0x1013: page}, fixed=CYRILLIC).text
    assert text == "# x\n\nSee below.\n\nГарантия 28 месяцев"


def test_compressed_rich_text_is_read_where_there_is_nothing_else(tmp_path):
    # The example of MS-OXRTFCP 3.1.1.
    packed = "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
    assert read(tmp_path, {0x0037: "x", 0x1009: bytes.fromhex(packed)}).text == "# x\n\nhello world"


def test_messages_and_texts_within_are_read_and_all_else_is_named(tmp_path):
    inner = message_within({0x0037: "Inner", 0x1000: "Deep. " * 900})
    parsed = read(tmp_path, MESSAGE, [inner], [("depth.txt", b"6 m at dock B"), ("plan.pdf", b"%PDF")])
    assert "\nAttachments: plan.pdf\n" in parsed.text
    assert f"\n\n## Inner\n\n{'Deep. ' * 900}".rstrip() in parsed.text
    assert parsed.text.endswith("\n\n## depth.txt\n\n6 m at dock B")
    assert parsed.notes == ("has attachments that were not read: plan.pdf; save them as files beside it",)


@pytest.mark.parametrize("data", [b"no compound file", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"])
def test_what_is_no_message_is_refused(tmp_path, data):
    with pytest.raises(DataError, match="is not a message of Outlook"):
        parse_outlook(tmp_path / "x.msg", data)


def test_a_stream_that_says_it_is_longer_than_its_file_is_refused(tmp_path):
    data = outlook(MESSAGE)
    root = data.index("Root Entry".encode("utf-16-le"))
    with pytest.raises(DataError, match="gives a false size for one of its streams"):
        parse_outlook(tmp_path / "x.msg", data[: root + 120] + b"\xff\xff\xff\x7f" + data[root + 124 :])


def test_a_compound_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(DataError, match="is not a message of Outlook"):
        parse_outlook(tmp_path / "x.msg", compound({"WordDocument": b"x"}))
