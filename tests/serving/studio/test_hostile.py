"""Script in names, titles, texts and answers is text in every room of the page, clicked through in Chromium."""

import json

import pytest

from chromium import needs_chromium
from listening import listening
from lorag.llm.engines.scripted import ScriptedModel
from lorag.serving.studio.assistants import Assistants
from lorag.serving.studio.studio_app import studio_application
from lorag.serving.studio.workplace import Workplace
from studio_place import HOSTILE, write_adapter, write_run
from studio_window import Window

pytestmark = needs_chromium
ODD = "<img src=x onerror=alert(1)>"


@pytest.fixture
def hostile(browser, tmp_path):
    """A page on whose folder every name, text, title and answer holds script."""
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / f"{ODD}.md").write_text(f"# {HOSTILE}\n\n{HOSTILE}\n")
    (tmp_path / "documents" / f"{ODD}.pdf").write_bytes(b"no pdf")
    turns = [{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": HOSTILE}]
    (tmp_path / f"{ODD}.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    write_run(tmp_path / ".lorag" / "runs" / ODD)
    write_adapter(tmp_path / ".lorag" / "adapters" / ODD)
    place = Workplace.of(tmp_path, "documents")
    model = ScriptedModel(lambda prompt: f"{HOSTILE} [1]", HOSTILE)
    with listening(studio_application(place, Assistants(place.workspace, model_of=lambda *_: model))) as port:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        window = Window(context.new_page(), f"http://127.0.0.1:{port}/")
        yield window
        assert window.page.locator("main img, main script, dialog img, dialog script").count() == 0
        assert window.problems == []
        context.close()


def opens_its_passages(window, selector):
    window.page.click(selector)
    window.page.wait_for_selector("dialog[open] .passages li")
    assert HOSTILE in window.text("dialog")
    assert window.page.locator("dialog img, dialog script").count() == 0
    window.page.keyboard.press("Escape")


def test_script_in_names_and_texts_of_documents_is_text(hostile):
    hostile.open("documents")
    assert f"{ODD}.md" in hostile.text(".unread")
    hostile.page.click("text=Read the folder")
    hostile.page.wait_for_selector(f"table button:has-text('{ODD}.md')", timeout=60_000)
    assert f"{ODD}.pdf" in hostile.text(".unread tr:has-text('Refused')")
    assert HOSTILE in hostile.text("tbody:not(.unread) td")
    opens_its_passages(hostile, f"table button:has-text('{ODD}.md')")
    hostile.page.fill("input[type=search]", "owned")
    hostile.page.keyboard.press("Enter")
    opens_its_passages(hostile, ".hits button")
    hostile.open("ask")
    assert ODD in hostile.text("[name=adapter]")
    hostile.page.fill("textarea", HOSTILE)
    hostile.page.keyboard.press("Enter")
    for column in (3, 4):
        opens_its_passages(hostile, f".columns > :nth-child({column}) .sources button")
        opens_its_passages(hostile, f".columns > :nth-child({column}) .cite")
    assert hostile.text(".turn").count("<script>") >= 5
    assert "owned" not in hostile.page.title()


def test_script_in_names_and_texts_of_runs_and_rows_is_text(hostile):
    hostile.open("data")
    hostile.page.select_option("[name=file]", f"{ODD}.jsonl")
    hostile.page.wait_for_selector(".rows .learned")
    assert HOSTILE in hostile.text(".rows")
    hostile.open("new")
    hostile.page.select_option("[name=questions]", f"{ODD}.jsonl")
    hostile.open("runs")
    hostile.page.click(f".run:has-text('{ODD}')")
    hostile.page.wait_for_selector(".plot")
    assert hostile.text("h1") == ODD
    hostile.page.select_option("[name=kind]", "all")
    assert HOSTILE in hostile.text(".answers")
    with hostile.page.context.expect_page() as opened:
        hostile.page.click("text=Open the report")
    assert opened.value.inner_text("h1") == "Finetuning or retrieval?"
    hostile.page.click("text=Review answers")
    hostile.page.wait_for_selector("blockquote")
    assert hostile.page.input_value("[name=run]") == f".lorag/runs/{ODD}"
    assert HOSTILE in hostile.text(".judge h2")
