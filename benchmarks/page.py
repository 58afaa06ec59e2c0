"""The page opens at once, is small, shows every token as soon as it is generated, and runs a whole comparison.

The page of `lorag studio` is served from this process to Chromium, over a model whose words are the milliseconds in
which it generates them; the page's own clock is the same. The size is that of everything the page loads, as it is sent.
Then a comparison of smollm2-135m on ten questions about the bundled documents is started on the page, watched to its
end, and its report opened. The last line printed is JSON; the exit code is 1 if the claim does not hold.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from lorag.llm.engines.scripted import ScriptedModel
from lorag.serving.server import listen, server
from lorag.serving.studio.assistants import Assistants
from lorag.serving.studio.studio_app import studio_application
from lorag.serving.studio.workplace import Workplace
from lorag.types import Completion, Prompt, Sampling

BAR = {"first page, s": 1.0, "page, kB": 300, "token to page, ms": 50}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WATCH = """() => {
  window.delays = [];
  let seen = 0;
  new MutationObserver(() => {
    const words = (document.querySelector(".reply-text")?.textContent ?? "").split(" ").filter((word) => word !== "");
    for (; seen < words.length; seen += 1) window.delays.push(Date.now() - Number(words[seen]));
  }).observe(document.body, { childList: true, characterData: true, subtree: true });
}"""


class Clock(ScriptedModel):
    """A model whose every word is the millisecond in which it was made."""

    def __init__(self, words: int, pause: float) -> None:
        """So many ``words`` in an answer, with a ``pause`` in seconds before each."""
        super().__init__(lambda prompt: "")
        self.words, self.pause = words, pause

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str, None, Completion]:
        """The words as they are made."""
        said = ""
        for _ in range(self.words):
            time.sleep(self.pause)
            word = f"{time.time_ns() // 1_000_000} "
            said += word
            yield word
        return Completion(said, 1, self.words, 0.0, "stop")


@contextmanager
def studio(root: Path, model: Clock) -> Iterator[str]:
    """The address of a page over that folder, until the block ends."""
    place = Workplace.of(root, "documents")
    opened = listen("127.0.0.1", 0, None)
    app = studio_application(place, Assistants(place.workspace, model_of=lambda name, adapter: model))
    running = server(app)
    threading.Thread(target=running.run, kwargs={"sockets": [opened]}, daemon=True).start()
    while not running.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{opened.getsockname()[1]}/"
    running.should_exit = True


def first_page(page: Page, url: str) -> tuple[float, float]:
    """Seconds until the page shows its first room, and the kilobytes that were sent for it."""
    start = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("main:not([aria-busy]) h1")
    seconds = time.perf_counter() - start
    sizes = "performance.getEntries().filter((one) => one.transferSize).map((one) => one.transferSize)"
    return seconds, sum(page.evaluate(sizes)) / 1e3


def delays(page: Page, url: str, words: int) -> list[float]:
    """For each word of an answer the milliseconds between its making and its place on the page."""
    page.goto(f"{url}#/ask")
    page.wait_for_selector("textarea")
    page.evaluate(WATCH)
    page.fill("textarea", "What time is it?")
    page.keyboard.press("Enter")
    while len(found := page.evaluate("window.delays")) < words:
        page.wait_for_timeout(500)  # a function that waits in the page would be refused by its own policy
    return [float(each) for each in found[:words]]


def compared(page: Page, url: str, root: Path) -> float:
    """Minutes of a real comparison from the page, of whose end the report tells."""
    corpus = Path(str(files("lorag") / "corpus"))
    for name in ("docs", "docs_v2"):
        shutil.copytree(corpus / name, root / name)
    shutil.copy(corpus / "questions.jsonl", root)
    start = time.perf_counter()
    page.goto(f"{url}#/new")
    page.select_option("[name=documents]", "docs")
    page.select_option("[name=questions]", "questions.jsonl")
    page.select_option("[name=update]", "docs_v2")
    for name, value in {"model": "smollm2-135m", "limit": "10", "budget": "2", "name": "small"}.items():
        page.fill(f"[name={name}]", value)
    page.click("text=Start the comparison")
    page.wait_for_selector("text=Open the report", timeout=1_800_000)
    minutes = (time.perf_counter() - start) / 60
    with page.context.expect_page() as opened:
        page.click("text=Open the report")
    opened.value.wait_for_selector("h1:has-text('Finetuning or retrieval?')")
    arms = {row["arm"] for row in map(json.loads, (root / ".lorag/runs/small/rows.jsonl").open())}
    if not {"base", "finetuned", "retrieval", "both"} <= arms:
        raise SystemExit(f"the comparison asked {sorted(arms)} alone")
    return minutes


def main() -> int:
    """Prints what was measured and the claim; 0 when it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=300)
    parser.add_argument("--pause", type=float, default=0.03, help="seconds between two words")
    options = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("Chromium is not installed (apt install chromium)")
    model = Clock(options.words, options.pause)
    with tempfile.TemporaryDirectory() as root, studio(Path(root), model) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        pages = [first_page(browser.new_page(), url) for _ in range(5)]
        found = sorted(delays(browser.new_page(), url, options.words))
        minutes = compared(browser.new_page(), url, Path(root))
        browser.close()
    measured = {
        "first page, s": statistics.median(seconds for seconds, _ in pages),
        "page, kB": max(size for _, size in pages),
        "token to page, ms": found[round(0.99 * (len(found) - 1))],
    }
    print(f"a comparison of ten questions, started and watched on the page: {minutes:.1f} minutes")
    print(f"a token is on the page after {statistics.median(found):g} ms (median), {found[-1]:g} ms (longest)")
    holds = all(measured[name] <= most for name, most in BAR.items())
    for name, value in measured.items():
        print(f"{name}: {value:.3g}")
    print(json.dumps({**measured, "bar": BAR, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
