"""The answers of a report as people look for them, in Chromium; without a script they stand there all the same."""

import re

import pytest

from chromium import CHROMIUM, needs_chromium, sync_api
from lorag.evaluation.comparison import BASE, RETRIEVAL
from lorag.evaluation.report.html_page import write_report

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.fixture
def address(synthetic, compare, tmp_path):
    write_report(compare(synthetic(20), {BASE: lambda i: False, RETRIEVAL: lambda i: i % 2}), tmp_path / "report.html")
    return (tmp_path / "report.html").as_uri()


def test_answers_are_filtered_by_arm_mark_and_text(browser, address):
    page, problems = browser.new_page(viewport={"width": 390, "height": 800}), []
    page.on("console", lambda said: problems.append(said.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(address)
    shown = page.locator("#answers details:visible")
    assert page.inner_text("#shown") == "60 of 60 answers"  # the ceiling among them
    page.select_option("#by-arm", RETRIEVAL)
    page.select_option("#by-mark", "right")
    assert (shown.count(), page.locator("#answers section:visible").count()) == (10, 10)
    page.fill("#by-text", "entry 17?")
    assert (shown.count(), page.inner_text("#shown")) == (1, "1 of 60 answers")
    shown.first.locator("summary").click()
    page.click("#answers a:visible")
    assert page.locator("blockquote:target").is_visible()  # inside what was closed
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.emulate_media(media="print")
    assert not page.locator("#answers").is_visible()
    assert problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_fits_its_width_and_its_text_stands_out(browser, address, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    ink, ground = (
        [int(part) for part in re.findall(r"\d+", page.evaluate(f"getComputedStyle(document.body).{name}"))[:3]]
        for name in ("color", "backgroundColor")
    )
    assert (sum(ink) > sum(ground)) == (scheme == "dark")
    assert abs(sum(ink) - sum(ground)) > 450


def test_without_a_script_all_answers_are_there_and_no_filter(browser, address):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(address)
    assert page.locator("#answers details:visible").count() == 60
    assert not page.locator("#filter").is_visible()
