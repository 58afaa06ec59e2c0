"""The folder of documents is read by a process of its own: watched, stopped, and found again by another server."""

import os
import re
import secrets
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from listening import listening, wait_for
from lorag.retrieval.backends.location import holds_index
from lorag.serving.studio.assistants import Assistants
from lorag.serving.studio.jobs import job_of
from lorag.serving.studio.studio_app import studio_application
from lorag.serving.studio.workplace import Workplace
from studio_place import Page, SlowEmbedder


@pytest.fixture
def serve(tmp_path):
    """Starts `lorag studio` as a process of its own."""
    running: list[subprocess.Popen[str]] = []

    def start():
        asked = [sys.executable, "-m", "lorag", "studio", str(tmp_path), "--port", "0"]
        process = subprocess.Popen(asked, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
        assert address is not None
        return process, Page(int(address[1]), place, SlowEmbedder())

    place = Workplace.of(tmp_path, "documents")
    place.uploads.mkdir()
    yield start
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    job = job_of(place.reading)
    if job is not None and job.process is not None:
        os.killpg(job.pid, signal.SIGKILL)


def read(page):
    """What came of reading the folder to its end."""
    status, said = page.send("POST", "documents/read", {})
    assert (status, said) == (202, {"state": "running"})
    wait_for(lambda: page.get("documents")["reading"]["state"] != "running", 60)
    return page.get("documents")["reading"]


def begin_long(page):
    """The process that reads four documents, once it embeds them: of words that no cache knows, it takes seconds."""
    for number in range(4):
        words = " ".join(secrets.token_hex(4) for _ in range(600))
        (page.place.uploads / f"long{number}.md").write_text(words)
    assert page.send("POST", "documents/read", {})[0] == 202
    wait_for(lambda: page.get("documents")["reading"]["latest"] == "long3.md", 30)
    job = job_of(page.place.reading)
    assert job is not None
    return job.process


def test_every_file_that_is_read_refused_or_mended_is_named(serve):
    _, page = serve()
    assert page.send("POST", "documents/read", {})[0] == 409
    (page.place.uploads / "good.md").write_text("The office is in Halifax.")
    (page.place.uploads / "bad.docx").write_bytes(b"no archive")
    unread = {"reason": "", "is_read": False}
    assert page.get("documents")["unread"] == [{"name": name, **unread} for name in ("bad.docx", "good.md")]
    done = read(page)
    assert (done["state"], done["added"], done["refused"]) == ("finished", 1, 1)
    (bad,) = page.get("documents")["unread"]
    assert bad["name"] == "bad.docx"
    assert bad["reason"].startswith("is not a valid")
    assert page.upload("other.md", b"The lamp is red.")[0] == 201
    (page.place.uploads / "good.md").unlink()
    assert read(page)["added"] == 0
    assert [document["id"] for document in page.get("documents")["documents"]] == ["good.md", "other.md"]
    (page.place.uploads / "bad.docx").rename(page.place.uploads / "bad.md")
    assert page.upload("bad.md", b"The buoy is green.")[0] == 201


def test_a_file_that_is_still_being_written_keeps_its_older_version(serve):
    _, page = serve()
    file = page.place.uploads / "growing.md"
    assert page.upload(file.name, b"The lamp is red.")[0] == 201
    begun, ended = threading.Event(), threading.Event()

    def write():
        with file.open("w") as growing:
            growing.write("The lamp is blue. " * 500_000)  # so that reading it takes many times as long as a write
            while not ended.wait(0.001):
                growing.write("The lamp is blue. ")
                growing.flush()
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(30)
        done = read(page)
    finally:
        ended.set()
        writer.join()
    assert (done["updated"], done["refused"]) == (0, 1)
    (refused,) = page.get("documents")["unread"]
    assert (refused["name"], "still being written" in refused["reason"]) == (file.name, True)
    assert page.get("passages/growing.md")["passages"][0]["text"] == "The lamp is red."
    file.write_text("The lamp is green.")
    assert read(page)["updated"] == 1
    assert page.get("documents")["unread"] == []


def test_a_killed_server_leaves_the_reading_to_its_process_and_the_next_server_finds_it(serve):
    killed, first = serve()
    assert first.upload("lamp.md", b"The lamp is red.")[0] == 201
    process = begin_long(first)
    process.suspend()  # so that it has not ended before all of this was asked
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    _, second = serve()
    found = second.get("documents")
    assert found["reading"]["state"] == "running"
    assert [document["id"] for document in found["documents"]] == ["lamp.md"]
    assert {file["is_read"] for file in found["unread"]} == {True}
    for status, said in (
        second.upload("late.md", b"The buoy is green."),
        second.send("DELETE", "documents/lamp.md"),
        second.send("POST", "documents/read", {}),
    ):
        assert (status, said["error"]["code"]) == (429, "busy")
    assert second.send("POST", "search", {"query": "lamp"})[1][0]["document_id"] == "lamp.md"
    process.resume()
    psutil.wait_procs([process], timeout=60)
    found = second.get("documents")
    assert (found["reading"]["state"], found["reading"]["added"]) == ("finished", 4)
    assert (found["total"], found["unread"]) == (5, [])


@pytest.mark.parametrize("way", ["stopped", "failed"])
def test_a_reading_that_ends_early_changes_nothing_and_is_begun_again(serve, way):
    _, page = serve()
    assert page.upload("lamp.md", b"The lamp is red.")[0] == 201
    process = begin_long(page)
    if way == "stopped":
        assert page.send("POST", "documents/stop", {}) == (200, {"state": "stopped"})
    else:
        process.kill()
    wait_for(lambda: page.get("documents")["reading"]["state"] == way, 30)
    found = page.get("documents")
    assert (found["reading"]["state"], found["total"], len(found["unread"])) == (way, 1, 4)
    assert not any(file["is_read"] for file in found["unread"])
    assert page.send("POST", "documents/stop", {})[0] == 409
    for file in page.place.uploads.glob("long*.md"):
        file.write_text("The buoy is green.")
    assert read(page)["added"] == 4
    assert page.get("documents")["total"] == 5


def test_the_index_of_another_place_is_the_one_that_is_read_into(tmp_path):
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "lamp.md").write_text("The lamp is red.")
    place, store = Workplace.of(tmp_path, "documents"), tmp_path / "elsewhere"
    with listening(studio_application(place, Assistants(place.workspace, store=store))) as port:
        page = Page(port, place, SlowEmbedder())
        assert read(page)["added"] == 1
        assert page.get("documents")["total"] == 1
    assert holds_index(store)
    assert not place.workspace.index.exists()
