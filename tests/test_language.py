"""Public text keeps to plain technical English: phrases that were replaced do not come back."""

import re
from functools import cache
from pathlib import Path

import pytest

from collect_texts import docstrings, help_texts, messages, output, page_texts

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(p for p in (ROOT / "docs").glob("*.md") if p.name != "log.md")]
REPLACED = {
    r"\banew\b": "again, or re-",
    r"\bto be told\b": "significant, or to report",
    r"\bcannot be told apart\b": "do not differ significantly",
    r"\bone a (line|row)\b": "one per line",
    r"\btokens a second\b": "tokens per second",
    r"\bin the place of\b": "replaces",
    r"(?<!here )\bis no (folder|adapter|JSON|share|readable|prompt|file|history|message|task|mark)\b": "is not a",
    r"command goes on\b": "resumes",
    r"\bis there already\b": "exists",
    r"\bsays so\b": "name what it reports",
    r"\bis said\b(?! of| to)": "name the message",
    r"\bunlearn": "forget",
    r"\bmodel call a passage\b": "model call per passage",
    r"\b\d+ (ms|kB|MB|GB) an? (passage|question|token|tenant|document)\b": "per",
    r"\ba gate lets in\b": "pass the relevance threshold",
    r"\bon their way\b": "concurrent, or unfinished",
    r"\bin vain\b": "wasted",
    r"\btold (to|by|otherwise|without|before)\b": "name who does what",
    r"\b[Mm]ost (questions|tokens|seconds|passages|wordings) (?!of )": "maximum number of",
    r"\bkept back\b": "held out",
    r"\bpassed over\b": "skipped, or ignored",
    r"\bbrought to (the range )?0 to 1\b": "scaled to 0 to 1",
    r"\bbroke off\b": "stopped",
    r"\breads poorly\b": "answers poorly from passages",
    r"\bnumber format of (the|its|a) (weights|machine|model|processor)": "dtype",
}


@cache
def public_texts() -> dict[str, str]:
    """Everything that people read, by the places it stands at: help, messages, output, docstrings and pages."""
    found = help_texts() | messages() | output() | page_texts() | docstrings()
    for page in PAGES:
        found |= {f"{page.relative_to(ROOT)}:{n}": line for n, line in enumerate(page.read_text().splitlines(), 1)}
    return found


def test_every_kind_of_text_is_collected():
    """Help, an error, a warning, a reason under a verdict, a report's heading, a label of the page, a docstring."""
    assert help_texts()["lorag data check --max-tokens"] == "Count the rows longer than that."
    assert "the question is empty; ask something" in messages().values()
    assert any(text.endswith("falling back to {}, which answers poorly from passages") for text in messages().values())
    assert any(text.startswith("{} answers {} % of the questions that the documents") for text in output().values())
    assert "Where retrieval goes wrong" in page_texts().values()
    assert "Search the passages" in page_texts().values()
    assert any(text.startswith("The verdict: a rule fixed before") for text in docstrings().values())


@pytest.mark.parametrize("phrase", REPLACED)
def test_replaced_phrases_do_not_come_back(phrase):
    found = [place for place, text in public_texts().items() if re.search(phrase, text)]
    assert not found, f"say: {REPLACED[phrase]}"
