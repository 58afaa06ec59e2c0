"""The documentation as a site: every link leads somewhere, and every page and public name is in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lorag

pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install 'lorag[docs]'")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_in_the_navigation(site):
    start = (site / "index.html").read_text()
    pages = {page.relative_to(ROOT / "docs").with_suffix("") for page in (ROOT / "docs").rglob("*.md")}
    assert {f"{page}/" for page in pages - {Path("index")}} <= set(re.findall(r'href="([^"#]+)"', start))


def test_the_reference_has_every_public_name_with_its_docstring(site):
    page = (site / "reference" / "index.html").read_text()
    explained = dict(re.findall(r'<h3 id="lorag\.(?:[\w.]+\.)?(\w+)"(.*?)(?=<h3|\Z)', page, re.DOTALL))
    assert set(explained) == set(lorag.__all__)
    for name, text in explained.items():
        assert "<p>" in text, name
