"""A file that is too slow, too large or fatal to read is one refused file; the process stays for the next one."""

import sys
import threading
from dataclasses import asdict

import psutil
import pytest

from lorag.documents import reader_process
from lorag.documents.load import load_documents
from lorag.errors import DataError, InputError
from lorag.settings import LoadSettings

SLOW = "<p>word</p>" * 1_000_000
"""A page that is just very long: reading it takes many times as long as the tests wait."""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text("fine")
    (tmp_path / "b.md").write_text("# Fine\n\ntext")
    return tmp_path


@pytest.fixture(autouse=True)
def own_processes():
    reader_process._end_all()
    yield
    reader_process._end_all()


def children():
    running = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in running if "reader_process" in " ".join(child.cmdline())]


def test_the_process_stays_for_the_next_file_and_ends_with_this_one(folder):
    load_documents(folder / "a.txt")
    (first,) = children()
    load_documents(folder / "b.md")
    assert children() == [first]
    reader_process._end_all()
    assert children() == []


def test_a_process_that_was_ended_while_it_waited_is_replaced(folder):
    load_documents(folder / "a.txt")
    (first,) = children()
    first.kill()
    first.wait()
    assert load_documents(folder / "b.md").documents[0].title == "Fine"


def test_a_file_that_takes_too_long_is_refused_and_the_others_are_read(folder):
    (folder / "slow.html").write_text(SLOW)
    loaded = load_documents(folder, LoadSettings(max_seconds=0.5))
    assert [document.id for document in loaded.documents] == ["a.txt", "b.md"]
    (refused,) = loaded.refused
    assert refused.reason == (
        f"{folder / 'slow.html'}: was not read within 0.5 seconds; remove it, save it again, or raise"
        " LoadSettings.max_seconds or the environment variable LORAG_MAX_SECONDS"
    )


@pytest.mark.skipif(
    sys.platform != "linux",
    reason="only Linux enforces RLIMIT_DATA, which bounds a reader's memory; time and output are bounded everywhere",
)
def test_a_file_that_takes_too_much_memory_is_refused_and_the_others_are_read(folder):
    (folder / "large.txt").write_text("ä" * 15_000_000)
    loaded = load_documents(folder, LoadSettings(max_memory_bytes=120_000_000))
    assert [document.id for document in loaded.documents] == ["a.txt", "b.md"]
    (refused,) = loaded.refused
    assert (
        "large.txt: takes too much memory to read; split it, or raise LoadSettings.max_memory_bytes" in refused.reason
    )
    assert len(load_documents(folder).documents) == 3


def test_a_file_that_gives_too_much_text_is_refused(folder):
    loaded = load_documents(folder, LoadSettings(max_characters=11))
    assert [document.id for document in loaded.documents] == ["a.txt"]
    assert loaded.refused[0].reason.endswith(
        "b.md: holds 12 characters of text, expected at most 11; split it, or raise LoadSettings.max_characters or the"
        " environment variable LORAG_MAX_CHARACTERS"
    )


def test_a_file_that_ends_the_process_is_refused(folder):
    (folder / "slow.html").write_text(SLOW)
    load_documents(folder / "a.txt")
    (child,) = children()
    timer = threading.Timer(0.5, child.kill)
    timer.start()
    with pytest.raises(DataError, match=r"slow\.html: ended the program that read it; remove it, save it again"):
        load_documents(folder / "slow.html")
    assert load_documents(folder / "b.md").documents[0].title == "Fine"


def test_the_line_of_an_error_is_kept(folder):
    (folder / "rows.jsonl").write_text('{"doc_id": "a", "doc": "b"}\n{')
    with pytest.raises(DataError, match=r"rows\.jsonl:2: broken JSON") as caught:
        load_documents(folder / "rows.jsonl")
    assert caught.value.line == 2


def test_limits_come_from_the_environment_unless_they_are_given(monkeypatch):
    limits = {"max_seconds": 5, "max_memory_bytes": 1_000_000_000, "max_characters": 6, "max_file_bytes": 7}
    limits |= {"max_unpacked_bytes": 8, "max_parts": 9}
    for name, limit in limits.items():
        monkeypatch.setenv(f"LORAG_{name.upper()}", f"{limit:.0e}")
    assert asdict(LoadSettings()) == limits
    assert LoadSettings(max_seconds=7).max_seconds == 7
    monkeypatch.setenv("LORAG_MAX_SECONDS", "soon")
    with pytest.raises(InputError, match="LORAG_MAX_SECONDS is 'soon'; expected a number, or nothing"):
        LoadSettings()
    for wrong in ({"max_seconds": 0}, {"max_memory_bytes": 0}, {"max_characters": 0}):
        monkeypatch.delenv("LORAG_MAX_SECONDS", raising=False)
        with pytest.raises(InputError, match=f"{next(iter(wrong))} 0 is "):
            LoadSettings(**wrong)


def test_mails_deep_inside_each_other_are_read_or_refused_within_the_limits(folder):
    def nested(depth, kind):
        return "".join(f"Subject: s{each}\nContent-Type: {kind(each)}" for each in range(depth)) + "Subject: x\n\nEnd."

    kinds = [lambda _: "message/rfc822\n\n", lambda each: f'multipart/mixed; boundary="b{each}"\n\n--b{each}\n']
    for number, kind in enumerate(kinds):
        (folder / f"deep{number}.eml").write_text(nested(400, kind))
        (folder / f"deeper{number}.eml").write_text(nested(2000, kind))
    loaded = load_documents(folder)
    texts = {document.id: document.text for document in loaded.documents}
    assert {"a.txt", "b.md", "deep0.eml", "deep1.eml"} <= set(texts)
    assert "s5\n\nAttachments: message/rfc822" in texts["deep0.eml"]
    assert texts["deep1.eml"].endswith("End.")
    assert all("is damaged or not a .eml file" in file.reason for file in loaded.refused)
