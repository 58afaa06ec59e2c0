"""Public text keeps to plain technical English: phrases that were replaced do not come back."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import lorag

SOURCE = Path(lorag.__file__).parent
ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(p for p in (ROOT / "docs").glob("*.md") if p.name != "log.md")]
REPLACED = {
    r"\banew\b": "again, or re-",
    r"\bto be told\b": "significant, or to report",
    r"\bcannot be told apart\b": "do not differ significantly",
    r"\bone a (line|row)\b": "one per line",
    r"\btokens a second\b": "tokens per second",
    r"\bin the place of\b": "replaces",
    r"\bis no (folder|adapter of|JSON|share|readable)\b": "is not a",
    r"command goes on\b": "resumes",
    r"\bis there already\b": "exists",
    r"\bsays so\b": "name what it reports",
    r"\bis said\b(?! of| to)": "name the message",
}


@cache
def public_texts() -> dict[str, str]:
    """The strings of every module and the lines of every page, by their places."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found[f"{path.relative_to(ROOT)}:{node.lineno}:{node.col_offset}"] = node.value
    for page in PAGES:
        found |= {f"{page.relative_to(ROOT)}:{n}": line for n, line in enumerate(page.read_text().splitlines(), 1)}
    return found


@pytest.mark.parametrize("phrase", REPLACED)
def test_replaced_phrases_do_not_come_back(phrase):
    found = [place for place, text in public_texts().items() if re.search(phrase, text)]
    assert not found, f"say: {REPLACED[phrase]}"
