"""Public text keeps to plain technical English: phrases that were replaced do not come back."""

import ast
import re
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


def texts(path: Path) -> list[tuple[int, str]]:
    """The strings of a module, or the lines of a page, with their line numbers."""
    if path.suffix == ".md":
        return list(enumerate(path.read_text().splitlines(), start=1))
    nodes = ast.walk(ast.parse(path.read_text()))
    return [(n.lineno, n.value) for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]


@pytest.mark.parametrize("phrase", REPLACED)
def test_replaced_phrases_do_not_come_back(phrase):
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in [*SOURCE.rglob("*.py"), *PAGES]
        for line, text in texts(path)
        if re.search(phrase, text)
    ]
    assert not found, f"say: {REPLACED[phrase]}"
