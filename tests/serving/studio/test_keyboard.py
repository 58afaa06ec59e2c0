"""The page by keys alone, and what a screen reader hears: focus goes where the work is, and returns from a window."""

import time

import pytest

from chromium import needs_chromium
from studio_place import write_run
from studio_window import ROOMS

pytestmark = needs_chromium

_REACHED = "[...document.querySelectorAll('nav a, main a, main button, main input, main select, main textarea')]"
_SHOWN = f"{_REACHED}.filter((each) => each.checkVisibility() && !each.disabled)"


def tab_to(page, selector):
    """Presses Tab until the focus is on the element."""
    for _ in range(80):
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached")


def focused(page):
    return page.evaluate("document.activeElement.textContent")


def heard(page, text):
    page.wait_for_selector(f"#status:has-text('{text}')", state="attached")


def test_the_rooms_are_reached_and_used_by_keys_alone(window):
    window.open("runs")
    window.page.keyboard.press("Tab")
    assert focused(window.page) == "Skip to the content"
    for _ in range(2):
        window.page.keyboard.press("Tab")
    window.page.keyboard.press("Enter")
    window.page.wait_for_selector("h1:text-is('Ask')")
    assert window.page.evaluate("document.activeElement.name") == "question"


@pytest.mark.parametrize("room", [*ROOMS, "run/.lorag%2Fruns%2Ffirst"])
def test_every_control_of_a_room_is_reached_by_tab(window, page, room):
    page.upload("warranty.md", b"The warranty lasts 28 months.")
    window.open(room)
    window.page.wait_for_timeout(300)
    window.page.evaluate("document.activeElement.blur()")
    count = window.page.evaluate(f"{_SHOWN}.length")
    reached = set()
    for _ in range(count + 200):
        window.page.keyboard.press("Tab")
        reached.add(window.page.evaluate(f"{_SHOWN}.indexOf(document.activeElement)"))
        if set(range(count)) <= reached:
            break
    assert set(range(count)) - reached == set()


def test_a_window_takes_the_focus_and_gives_it_back(window, page):
    page.upload("warranty.md", b"The warranty lasts 28 months.")
    window.open("documents")
    tab_to(window.page, "th button")
    opener = focused(window.page)
    window.page.keyboard.press("Enter")
    window.page.wait_for_selector("dialog[open] .passages li")
    assert focused(window.page) == "Close"
    for key in ("Tab", "Tab", "Shift+Tab", "Shift+Tab", "Shift+Tab"):
        window.page.keyboard.press(key)
        assert window.page.evaluate("document.activeElement.closest('dialog, body').matches('dialog, body')")
        assert not window.page.evaluate("document.querySelector('main').contains(document.activeElement)")
    window.page.keyboard.press("Escape")
    window.page.wait_for_selector("dialog", state="hidden")
    assert focused(window.page) == opener


def test_answers_are_heard_and_the_focus_stays_where_it_is(window, page):
    page.upload("warranty.md", b"The warranty lasts 28 months.")
    window.open("ask")
    window.page.keyboard.type("How long is the warranty?")
    window.page.keyboard.press("Enter")
    heard(window.page, "Both: It lasts 28 months [1].")
    assert window.page.evaluate("document.activeElement.name") == "question"
    window.page.keyboard.press("Shift+Tab")
    while "cite" not in window.page.evaluate("document.activeElement.className"):
        window.page.keyboard.press("Shift+Tab")
    window.page.keyboard.press("Enter")
    window.page.wait_for_selector("dialog .cited")
    window.page.keyboard.press("Escape")
    window.page.wait_for_selector("dialog", state="hidden")
    assert focused(window.page) == "[1]"
    tab_to(window.page, "textarea")
    window.page.keyboard.type("How slowly?")
    window.page.keyboard.press("Enter")
    assert page.embedder.reached.wait(30)
    window.page.keyboard.press("Shift+Tab")
    moved = window.page.evaluate("document.activeElement.outerHTML")
    page.embedder.go.set()
    window.page.wait_for_selector(".composer button:text-is('Ask')")
    assert window.page.evaluate("document.activeElement.outerHTML") == moved


def test_an_answer_is_marked_by_one_key_but_not_in_a_field_nor_by_a_key_that_is_held(window, page):
    write_run(page.place.root / ".lorag" / "runs" / "keys")
    window.open("review/.lorag%2Fruns%2Fkeys")
    window.page.wait_for_selector("text=, 0 marked")
    tab_to(window.page, "[name=reviewer]")
    window.page.keyboard.type("rpwu")
    tab_to(window.page, ".marks button")
    window.page.wait_for_selector("[aria-busy=false] .marks")  # the answers for another name are there
    assert ", 0 marked" in window.text("main")
    window.page.keyboard.down("r")
    for _ in range(5):
        window.page.keyboard.down("r")  # as a key that is held sends it
    window.page.keyboard.up("r")
    window.page.wait_for_selector("text=, 1 marked")
    time.sleep(0.3)
    assert ", 1 marked" in window.text("main")
    heard(window.page, "Answer 2 of")
    tab_to(window.page, ".marks button")
    window.page.keyboard.press("Enter")
    window.page.wait_for_selector("text=, 2 marked")
    assert focused(window.page) == window.text(".judge h2")


def test_two_keys_at_once_mark_one_answer(window, page):
    write_run(page.place.root / ".lorag" / "runs" / "quick")
    window.open("review/.lorag%2Fruns%2Fquick")
    window.page.wait_for_selector("text=, 0 marked")
    window.page.evaluate(
        "for (const key of 'rw') document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }))"
    )
    window.page.wait_for_selector("text=Answer 2 of")
    time.sleep(0.3)
    assert "Answer 2 of" in window.text("main")
    window.page.keyboard.press("b")
    window.page.wait_for_selector("text=Answer 1 of")
    assert window.text("button[aria-pressed=true]").startswith("Right")


def test_after_a_part_of_the_page_was_replaced_the_focus_is_at_its_heading(window, page, job):
    window.open("data")
    window.page.select_option("[name=file]", "train.jsonl")
    window.page.wait_for_selector("h2:text-is('60 rows')")
    tab_to(window.page, ".pages button")
    window.page.keyboard.press("Enter")
    window.page.wait_for_selector("text=51 to 60 of 60")
    assert focused(window.page) == "60 rows"
    page.upload("gone.md", b"The lamp is red.")
    window.open("documents")
    window.page.on("dialog", lambda dialog: dialog.accept())
    tab_to(window.page, "[aria-label='Remove gone.md']")
    window.page.keyboard.press("Enter")
    window.page.wait_for_selector("button:text-is('gone.md')", state="detached")
    assert focused(window.page) == window.text("main > div > section:last-child h2")
    job(".lorag/runs/training")
    window.open("run/.lorag%2Fruns%2Ftraining")
    tab_to(window.page, "button")
    window.page.keyboard.press("Enter")
    heard(window.page, "Stopped")
    assert focused(window.page) == "training"
