"""The page of ``lorag studio`` in Chromium, with all that goes wrong in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chromium import CHROMIUM, sync_api

axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-core is not installed: pip install 'lorag[dev]'"
)

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]
ROOMS = ("runs", "new", "ask", "documents", "data", "review")


@dataclass
class Window:
    """A page of the browser, and all that went wrong in it."""

    page: Any
    url: str
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda said: self.problems.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on(
            "request",
            lambda asked: None if asked.url.startswith((self.url, "blob:")) else self.problems.append(asked.url),
        )

    def open(self, room: str) -> None:
        self.page.goto(f"{self.url}#/{room}")
        self.page.wait_for_selector("main:not([aria-busy]) h1")

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))


def shoot(page: Any, name: str) -> None:
    """Keeps a picture of the page where the environment names a folder for it."""
    if folder := os.environ.get("LORAG_SCREENSHOTS"):
        page.screenshot(path=Path(folder, f"{name}.png"))


def serious(page: Any) -> list[str]:
    """The findings of axe-core that keep people out: contrast, names, roles, structure."""
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:120]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser that ends with the context."""
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        yield running
        running.close()
