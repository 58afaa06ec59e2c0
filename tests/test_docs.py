"""What the documents promise exists: links lead somewhere, commands and settings are the program's own."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lorag.cli.commands import app
from lorag.training.data.wordings.paraphrases import paraphrases, reversed_question

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_command_in_the_pages_is_understood():
    lines = [line for page in PAGES for line in re.findall(r"^\$ lorag (.+)$", page.read_text(), re.MULTILINE)]
    assert len(lines) > 5
    for line in lines:
        words = line.split()
        depth = 2 if words[0] in ("data", "models", "questions") else 1
        help_text = CliRunner().invoke(app, [*words[:depth], "--help"]).output
        assert "Example: lorag" in help_text, line
        for flag in re.findall(r"--[a-z-]+", line):
            assert flag in help_text, line


def test_the_check_of_the_training_data_page_prints_what_the_page_shows(tmp_path, monkeypatch, smollm_folder):
    page = (ROOT / "docs" / "training-data.md").read_text()
    (rows,) = re.findall(r"```jsonl\n(.+?)```", page, re.DOTALL)
    shown = re.search(r"\$ lorag (data check .+?)\n(.+?)```", page, re.DOTALL)
    assert shown is not None
    monkeypatch.chdir(tmp_path)
    Path("chat.jsonl").write_text(rows)
    printed = CliRunner().invoke(app, shown[1].split()).stdout
    assert [line.rstrip() for line in printed.strip().splitlines()] == shown[2].rstrip().splitlines()


def test_the_widened_rows_of_the_training_data_page_are_those_that_are_written(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "training-data.md").read_text()
    (rows,) = re.findall(r"```jsonl\n(.+?)```", page, re.DOTALL)
    shown = re.search(r"\$ lorag (data augment .+?)\n(.+?)```", page, re.DOTALL)
    assert shown is not None
    monkeypatch.chdir(tmp_path)
    Path("chat.jsonl").write_text(rows)
    CliRunner().invoke(app, ["data", "convert", "chat.jsonl", "--out", "clean.jsonl"])
    assert CliRunner().invoke(app, shown[1].split()).stdout == shown[2]
    table = re.findall(r"^\| (.+) \| (.+) \|$", page[shown.end() :], re.MULTILINE)
    (question, answer), *made = [(asked.removesuffix(" (given)"), reply) for asked, reply in table[2:]]
    assert len(made) > 5
    assert set(made) <= {*paraphrases(question, answer, 10), reversed_question(question, answer)}


def test_make_targets_of_the_readme_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"(?<!questions )make ([a-z]+)\b", page.read_text())) <= targets | {"a"}, page.name


def test_nothing_of_a_machine_is_in_the_repository():
    secret = re.compile(r"/(?:root|home|work|tmp)/\w|https?://(?:[\w.-]*\.)?pypi")
    sources = [
        p
        for folder in ("src", "docs", "benchmarks", "examples", "notebooks")
        for p in (ROOT / folder).rglob("*")
        if p.is_file()
    ]
    texts = [p for p in sources if p.suffix in {".py", ".md", ".json", ".jsonl", ".j2", ".ipynb"}]
    assert len(texts) > 100
    for path in [*texts, ROOT / "README.md", ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "constraints.txt"]:
        assert not secret.search(path.read_text()), path
