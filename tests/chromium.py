"""Chromium, driven by Playwright, for tests that look at a page; they are skipped where one of the two is missing."""

import shutil

import pytest

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="looks at a page by Playwright, which is not installed: pip install 'lorag[dev]'"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None,
    reason="looks at a page in Chromium, which no Python package brings (apt install chromium); the HTML itself is"
    " tested without a browser",
)
