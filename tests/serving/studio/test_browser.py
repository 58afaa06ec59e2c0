"""The page as people use it, in Chromium: every room, with mouse and keys, on a phone and a desktop, light and dark."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from contextlib import ExitStack
from typing import Any

import docx
import pytest

from chromium import needs_chromium
from listening import listening
from lorag.llm.engines.scripted import ScriptedModel
from lorag.serving.studio.assistants import Assistants
from lorag.serving.studio.studio_app import studio_application
from lorag.serving.studio.workplace import Workplace
from paused import Paused
from studio_place import Page, SlowEmbedder, assistants, write_adapter, write_run
from studio_window import ROOMS, Window, serious, shoot

pytestmark = needs_chromium

PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>endobj
4 0 obj<</Length 68>>stream
BT /F 12 Tf 20 100 Td (The warranty of the lamp lasts 28 months.) Tj ET
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
trailer<</Root 1 0 R>>
"""


def test_a_pdf_and_a_docx_are_uploaded_asked_about_and_cited(window, page, tmp_path):
    (tmp_path / "lamp.pdf").write_bytes(PDF)
    letter = docx.Document()
    letter.add_paragraph("The office is in Halifax.")
    letter.save(str(tmp_path / "office.docx"))
    (tmp_path / "broken.pdf").write_bytes(b"no pdf")
    window.open("documents")
    names = ("lamp.pdf", "office.docx", "broken.pdf")
    window.page.set_input_files("#files", [tmp_path / name for name in names])
    window.page.wait_for_selector("table button:text-is('office.docx')")
    assert "Refused." in window.text(".loads li:has-text('broken.pdf')")
    window.page.click("table button:text-is('office.docx')")
    window.page.wait_for_selector("dialog[open] .passages li")
    assert "Halifax" in window.text("dialog")
    window.page.keyboard.press("Escape")
    window.page.fill("input[type=search]", "warranty of the lamp")
    window.page.keyboard.press("Enter")
    window.page.wait_for_selector(".hits li")
    assert "lamp.pdf" in window.text(".hits li:first-child")
    window.open("ask")
    window.page.fill("textarea", "How long does the warranty of the lamp last?")
    window.page.keyboard.press("Enter")
    window.page.wait_for_selector(".columns > :nth-child(4)")
    window.page.wait_for_selector(".composer button:text-is('Ask')")
    assert serious(window.page) == []
    shoot(window.page, "studio-ask")
    assert window.page.locator(".columns h3").all_inner_texts() == ["Base", "Finetuned", "Retrieval", "Both"]
    window.page.click(".columns > :nth-child(3) .cite")
    window.page.wait_for_selector("dialog .cited")
    assert "28 months" in window.text("dialog .cited")
    assert serious(window.page) == []
    window.problems[:] = [said for said in window.problems if "422" not in said]


def test_twenty_answers_are_marked_by_keys_and_agreement_appears(window, page):
    run = write_run(page.place.root / ".lorag" / "runs" / "marked", questions=24)
    window.open("review/.lorag%2Fruns%2Fmarked")
    assert "Shown after 20 marks" in window.text("main")
    for number in range(20):
        window.page.wait_for_selector(f"text=, {number} marked")
        window.page.keyboard.press("w" if "Nobody" in window.text("blockquote") else "r")
    window.page.wait_for_selector("table.agreement")
    assert "agrees with people" in window.text("main")
    for number, item in enumerate(page.get("review", run=".lorag/runs/marked", reviewer="Bo")[:20]):
        body = {"run": ".lorag/runs/marked", "reviewer": "Bo", "number": number, "sha": item["sha"], "mark": "wrong"}
        page.send("POST", "review", body)
    window.page.reload()
    window.page.wait_for_selector("table.agreement:has-text('Bo and me')")
    assert serious(window.page) == []
    marks = [json.loads(line) for line in (run.folder / "marks" / "me.jsonl").read_text().splitlines()]
    assert {mark["mark"] for mark in marks} == {"right", "wrong"}
    assert len({(mark["question_id"], mark["answer_sha"]) for mark in marks}) == 20


def test_a_comparison_is_started_watched_and_read_in_the_browser(window, page, endpoint):
    rows, seen = page.place.root / ".lorag" / "runs" / "watched" / "rows.jsonl", threading.Event()

    def reply(prompt):
        if rows.is_file() and rows.stat().st_size:  # a fast run would end before the page shows it running
            assert seen.wait(120)
        return "It lasts 28 months."

    model = endpoint(ScriptedModel(reply))
    window.open("new")
    window.page.select_option("[name=documents]", "notes")
    window.page.select_option("[name=questions]", "questions.jsonl")
    window.page.fill("[name=model]", model.name)
    window.page.fill("[name=limit]", "10")
    window.page.fill("[name=name]", "watched")
    window.page.click("text=Start the comparison")
    window.page.wait_for_selector(".state.running")
    window.page.wait_for_selector(".answers:has-text('It lasts 28 months.')", timeout=90_000)
    assert serious(window.page) == []
    shoot(window.page, "studio-run")
    assert not window.page.locator("text=Open the report").count()
    seen.set()
    window.page.wait_for_selector("text=Open the report", timeout=60_000)
    assert window.page.locator(".verdict strong").inner_text() == "Undecided"
    with window.page.context.expect_page() as opened:
        window.page.click("text=Open the report")
    assert "It lasts 28 months." in opened.value.content()
    opened.value.close()
    window.open("runs")
    assert "watched" in window.text(".runs")


def test_two_browsers_are_answered_at_once_and_see_what_the_other_added(browser, page):
    page.upload("warranty.md", b"# Warranty\n\nThe warranty lasts 28 months.\n")
    windows = [Window(browser.new_context().new_page(), page.url) for _ in range(2)]
    for window in windows:
        window.open("ask")
        window.page.fill("textarea", "How long is the warranty?")
    for window in windows:
        window.page.keyboard.press("Enter")
    for window in windows:
        window.page.wait_for_selector(".columns > :nth-child(4) .cite")
        window.page.wait_for_selector(".composer button:text-is('Ask')")
        assert "28 months" in window.text(".columns > :nth-child(4)")
    page.upload("from-the-first.md", b"The lamp is red.")
    windows[1].open("documents")
    assert "from-the-first.md" in windows[1].text("main")
    page.send("DELETE", "documents/from-the-first.md")
    for window in windows:
        assert window.problems == []
        window.page.context.close()


def test_another_adapter_stops_running_answers_and_begins_another_conversation(browser, tmp_path):
    for name in ("one", "two"):
        write_adapter(tmp_path / ".lorag" / "adapters" / name)
    model, place = Paused(), Workplace.of(tmp_path, "documents")
    with listening(studio_application(place, Assistants(place.workspace, model_of=lambda *_: model))) as port:
        window = Window(browser.new_page(), f"http://127.0.0.1:{port}/")
        window.open("ask")
        window.page.fill("textarea", "First?")
        window.page.keyboard.press("Enter")
        for column in (1, 2):
            window.page.wait_for_selector(f".columns > :nth-child({column}) :text('It')")
        window.page.select_option("[name=adapter]", ".lorag/adapters/one")
        model.gate.set()
        window.page.wait_for_selector(".composer button:text-is('Ask')")
        assert window.text(".turn").count("Stopped.") == 2
        window.page.fill("textarea", "Second?")
        window.page.keyboard.press("Enter")
        for column in (1, 2):
            window.page.wait_for_selector(f".turn:last-child .columns > :nth-child({column}) .footing")
        asked = [[turn.content for turn in prompt if turn.role == "user"] for prompt in model.prompts]
        assert sorted(asked) == [["First?"], ["First?"], ["Second?"], ["Second?"]]
        assert window.problems == []
        window.page.close()


@pytest.fixture
def command(root):
    """Starts `lorag studio` as a process of its own, on a port."""
    with ExitStack() as ending:

        def serve(port):
            command = [sys.executable, "-m", "lorag", "studio", str(root), "--port", str(port)]
            process = ending.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            ending.callback(process.kill)
            assert process.stdout is not None
            address = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
            assert address is not None
            return process, address[1]

        yield serve


def test_after_its_server_was_killed_the_page_tells_it_and_works_with_the_next_one(browser, command):
    first, port = command(0)
    window = Window(browser.new_context().new_page(), f"http://127.0.0.1:{port}/")
    window.open("runs")
    first.kill()
    first.wait()
    window.page.click("nav >> text=Documents")
    window.page.wait_for_selector("text=The server cannot be reached")
    command(port)
    window.page.click("nav >> text=Runs")
    window.page.wait_for_selector(".runs")
    assert "first" in window.text(".runs")
    window.page.context.close()


def test_a_run_that_is_watched_is_found_again_after_its_server_was_killed(browser, command, job):
    process = job(".lorag/runs/training")
    first, port = command(0)
    window = Window(browser.new_context().new_page(), f"http://127.0.0.1:{port}/")
    window.open("run/.lorag%2Fruns%2Ftraining")
    window.page.wait_for_selector(".state.running")
    first.kill()
    first.wait()
    window.page.wait_for_selector("[role=alert]:has-text('cannot be reached')")
    assert "tries again" in window.text("[role=alert]")
    shoot(window.page, "lost")
    command(port)
    window.page.wait_for_selector("#status:has-text('Connected again.')", state="attached")
    assert window.page.locator("[role=alert]").count() == 0
    assert window.page.locator(".state.running").is_visible()
    process.kill()
    process.wait()
    window.page.wait_for_selector(".state.failed")
    window.page.context.close()


@pytest.mark.parametrize("ending", ["Stopped", "Reading ended early"])
def test_the_folder_is_read_while_the_page_shows_each_file(window, page, job, ending):
    page.place.uploads.mkdir(exist_ok=True)
    (page.place.uploads / "first.md").write_text("The lamp is red.")
    (page.place.uploads / "second.md").write_text("The buoy is green.")
    process = job(".lorag/jobs/reading", note="first.md")
    window.open("documents")
    window.page.wait_for_selector("tr:has-text('first.md'):has-text('searchable when all are')")
    assert "Waiting" in window.text("tr:has-text('second.md')")
    assert window.page.locator(".stages progress").count() == 2
    assert serious(window.page) == []
    shoot(window.page, "reading")
    if ending == "Stopped":
        window.page.click("button:text-is('Stop reading')")
    else:
        process.kill()
    assert process.wait(10) != 0
    window.page.wait_for_selector(f".loads :text('{ending}')")
    assert window.page.locator("button:text-is('Read the folder')").is_visible()
    assert "Not read yet" in window.text("tr:has-text('first.md')")
    for name in ("first.md", "second.md"):
        (page.place.uploads / name).unlink()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_run_is_watched_stopped_and_resumed(browser, page, job, width):
    training = job(".lorag/runs/training")
    context = browser.new_context(viewport={"width": width, "height": 844})
    window = Window(context.new_page(), page.url)
    window.open("run/.lorag%2Fruns%2Ftraining")
    window.page.wait_for_selector(".stages li:nth-child(2) .curve")
    assert "about 2 min left" in window.text(".stages li:nth-child(2)")
    second = ".stages li:nth-child(2)"
    bar, curve = (window.page.locator(f"{second} {part}").bounding_box() for part in ("progress", ".curve"))
    assert curve["width"] >= bar["width"]
    assert serious(window.page) == []
    shoot(window.page, f"training-{width}")
    window.page.click("button:text-is('Stop')")
    window.page.wait_for_selector(".state.stopped")
    assert training.wait(10) != 0
    window.page.click("button:text-is('Resume')")
    window.page.wait_for_selector(".log:has-text('error')", timeout=30_000)  # the command of this job takes no --out
    window.page.wait_for_selector(".state.failed", timeout=30_000)
    context.close()
    assert window.problems == []


def test_an_answer_that_comes_while_a_run_is_stopped_is_shown_once(window, page, job):
    job(".lorag/runs/training")
    runs = page.place.root / ".lorag" / "runs"
    rows = (runs / "first" / "rows.jsonl").read_bytes().splitlines(keepends=True)[:3]
    window.open("run/.lorag%2Fruns%2Ftraining")
    window.page.wait_for_selector(".state.running")
    held: list[Any] = []
    release = threading.Event()
    window.page.route(
        "**/studio/run/rows?*", lambda asked: asked.continue_() if release.is_set() else held.append(asked)
    )
    (runs / "training" / "rows.jsonl").write_bytes(b"".join(rows))
    while not held:
        window.page.wait_for_timeout(20)
    window.page.click("button:text-is('Stop')")
    window.page.wait_for_timeout(1000)  # in which no second request for the same rows is sent
    release.set()
    for request in held:
        request.continue_()
    window.page.wait_for_selector(".state.stopped")
    window.page.wait_for_selector(".answers li")
    window.page.wait_for_timeout(300)
    assert window.page.locator(".answers li").count() == len(rows)


def test_a_run_is_put_beside_another_one(window, page):
    write_run(page.place.root / ".lorag" / "runs" / "other", questions=24)
    window.open("run/.lorag%2Fruns%2Fother")
    window.page.select_option("[name=other]", ".lorag/runs/first")
    window.page.wait_for_selector(".beside > :nth-child(2) .plot")
    assert window.page.locator(".beside h3").all_inner_texts()[1].startswith("first: ")
    assert "24 questions" in window.text(".beside > :nth-child(1)")
    assert serious(window.page) == []


def test_a_page_of_another_site_cannot_show_this_one_in_a_frame(browser, page):
    other = browser.new_page()
    with other.expect_console_message(lambda message: "frame-ancestors" in message.text):
        other.set_content(f'<iframe src="{page.url}"></iframe>')
    assert "<main" not in other.frames[1].content()
    other.close()


def test_a_file_is_dropped_in(window, page):
    window.open("documents")
    file = window.page.evaluate_handle(
        "() => { const data = new DataTransfer(); data.items.add(new File(['The buoy is green.'], 'buoy.md'));"
        " return data; }"
    )
    window.page.dispatch_event(".drop", "drop", {"dataTransfer": file})
    window.page.wait_for_selector("table button:text-is('buoy.md')")
    page.send("DELETE", "documents/buoy.md")


def test_a_file_that_changes_before_it_is_sent_is_not_taken_for_a_lost_server(window, page, tmp_path):
    for name in ("first.md", "second.md"):
        (tmp_path / name).write_text("The lamp is red.")
    held: list[Any] = []
    window.open("documents")
    window.page.route("**/documents/first.md", lambda request: held.append(request))
    window.page.set_input_files("#files", [tmp_path / "first.md", tmp_path / "second.md"])
    while not held:
        window.page.wait_for_timeout(20)
    (tmp_path / "second.md").write_text("The lamp is blue, and larger than it was.")
    held[0].continue_()
    window.page.wait_for_selector(".loads li:has-text('second.md'):has-text('changed after you chose it')")
    assert "Read: added" in window.text(".loads li:has-text('first.md')")
    window.problems[:] = [said for said in window.problems if "ERR_UPLOAD_FILE_CHANGED" not in said]
    page.send("DELETE", "documents/first.md")


def test_a_folder_that_is_dropped_in_is_not_taken_for_a_lost_server(window, tmp_path):
    (tmp_path / "folder.md").mkdir()
    window.open("documents")
    place = window.page.locator(".drop").bounding_box()
    given = {"items": [], "files": [str(tmp_path / "folder.md")], "dragOperationsMask": 1}
    protocol = window.page.context.new_cdp_session(window.page)
    for kind in ("dragEnter", "dragOver", "drop"):
        where = {"type": kind, "x": place["x"] + 9, "y": place["y"] + 9}
        protocol.send("Input.dispatchDragEvent", where | {"data": given})
    window.page.wait_for_selector(".loads li:has-text('folder.md'):has-text('This is a folder')")
    window.problems[:] = [said for said in window.problems if "ERR_FILE_NOT_FOUND" not in said]


def test_of_ten_thousand_files_the_first_are_listed_and_the_rest_counted(browser, tmp_path):
    place = Workplace.of(tmp_path, "documents")
    place.uploads.mkdir()
    for number in range(10_000):
        (place.uploads / f"{number:05}.md").write_text(f"Lamp {number} is red.")
    job = place.reading.folder / "job"
    job.mkdir(parents=True)
    refused = [{"source": "09999.md", "reason": "documents/09999.md: is empty", "message": "is empty"}]
    (job / "printed.json").write_text(json.dumps({"refused": refused}))
    embedder = SlowEmbedder()
    with listening(studio_application(place, assistants(place, embedder))) as port:
        page = Page(port, place, embedder)
        assert page.upload("00000.md", b"Lamp 0 is blue.")[0] == 201
        window = Window(browser.new_page(), page.url)
        window.open("documents")
        rows = window.page.locator(".unread tr")
        assert "1 document, 1 passage" in window.text("main")
        assert rows.count() == 2001
        assert rows.first.inner_text().split("\t") == ["09999.md", "Refused: is empty"]
        assert rows.last.inner_text() == "7,999 more files not listed."
        assert window.problems == []
        window.page.close()
        (place.uploads / "10000.md").write_text("Lamp 10000 is red.")
        status, said = page.send("POST", "documents/read", {})
        assert (status, "10001 documents, above the limit of 10000" in said["error"]["message"]) == (413, True)


def test_a_finished_run_opens_its_report(window, page):
    window.open("runs")
    window.page.click(".run:has-text('first')")
    window.page.wait_for_selector(".plot")
    with window.page.context.expect_page() as opened:
        window.page.click("text=Open the report")
    report = opened.value
    report.wait_for_load_state()
    assert report.inner_text("h1") == "Finetuning or retrieval?"
    assert serious(report) == []


def test_the_time_of_a_training_is_estimated_for_a_file_that_is_whole(browser, tmp_path, tiny_folder):
    row = json.dumps({"messages": [{"role": "user", "content": "Ask"}, {"role": "assistant", "content": "Told"}]})
    (tmp_path / "chat.jsonl").write_text(f"{row}\n{row}\n")
    (tmp_path / "train.jsonl").write_text(f'{row}\n{{"messages": []}}\n')
    place = Workplace.of(tmp_path, "documents")
    application = studio_application(place, Assistants(place.workspace, model=str(tiny_folder)))
    with listening(application) as port:
        window = Window(browser.new_page(), f"http://127.0.0.1:{port}/")
        window.open("data/chat.jsonl")
        window.page.click(".rows > :nth-child(2) summary")
        window.page.wait_for_selector(".rows > :nth-child(2) pre mark:has-text('Told')", timeout=60_000)
        window.page.click("button:text-is('Estimate the training')")
        window.page.wait_for_selector(
            "text=/finetune --dry-run: .*about \\d+ seconds and .* more memory/", timeout=120_000
        )
        assert serious(window.page) == []
        shoot(window.page, "estimated")
        window.open("data/train.jsonl")
        window.page.wait_for_selector("text=A file with refused rows cannot be trained on")
        assert window.page.locator("button:text-is('Estimate the training')").is_disabled()
        assert window.problems == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_room_fits_a_phone_and_a_desktop_and_has_keeps_nobody_out(browser, page, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    window = Window(context.new_page(), page.url)
    for room in (*ROOMS, "run/.lorag%2Fruns%2Ffirst"):
        window.open(room)
        window.page.wait_for_timeout(150)
        wider = window.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, room
        assert serious(window.page) == [], room
        shoot(window.page, f"{room.partition('/')[0]}-{width}-{scheme}")
    context.close()
    assert window.problems == []


def test_a_control_without_a_name_would_be_found(window):
    window.open("runs")
    window.page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert any(found.startswith("button-name: ") for found in serious(window.page))
