"""Collects all texts that users read in the program on one page: help, messages, output, reports and the browser page.

Run ``python tools/collect_texts.py > texts.md`` and read the page as a whole; tests check the same texts, so that
replaced phrases do not come back.
"""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from typer.main import get_command

from lorag.cli.commands import app

SOURCE = Path(str(files("lorag")))
Texts = dict[str, str]
"""Texts by the place that they stand at."""
_SENTENCE = re.compile(r"[A-Za-z{(]\S* .*[a-z].*", re.DOTALL)
"""What may be a sentence: two words at least."""


@cache
def help_texts() -> Texts:
    """The help of every command, argument and option."""
    found: Texts = {}

    def visit(command: Any, name: str) -> None:
        found[name] = command.help or ""
        for parameter in command.params:
            found[f"{name} {parameter.opts[0]}"] = getattr(parameter, "help", None) or ""
        for inner in getattr(command, "commands", {}).values():
            visit(inner, f"{name} {inner.name}")

    visit(get_command(app), "lorag")
    return {place: text for place, text in found.items() if text}


@cache
def messages() -> Texts:
    """What is raised or warned of."""
    return _strings(lambda node: isinstance(node, ast.Raise) or _calls(node, "warn", "DataError", "InputError"))


@cache
def output() -> Texts:
    """Every other sentence in the code: output, labels, reasons, notes and prompts; docstrings left out."""
    raised, helping = messages(), {*help_texts().values()}
    found = _strings(lambda node: isinstance(node, ast.Module)).items()
    return {place: text for place, text in found if place not in raised and text not in helping}


def page_texts() -> Texts:
    """What stands in the templates of the report and in the browser page."""
    found: Texts = {}
    for path in sorted({*SOURCE.rglob("*.j2"), *SOURCE.rglob("static/**/*.js"), *SOURCE.rglob("static/**/*.html")}):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            quoted = re.findall(r'"([^"\\]*(?:\\.[^"\\]*)*)"|`([^`]*)`|>([^<>{}]+)<', line)
            for text in ("".join(groups) for groups in quoted):
                if _SENTENCE.fullmatch(text.strip()):
                    found[f"{path.relative_to(SOURCE)}:{number}: {text[:20]}"] = text.strip()
    return found


@cache
def docstrings() -> Texts:
    """What stands above modules, classes and functions, and below settings."""
    found: Texts = {}
    for path, tree in _trees().items():
        for node in _docstrings(tree):
            found[f"{path.relative_to(SOURCE)}:{node.lineno}"] = str(node.value)
    return found


@cache
def _trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value


def _calls(node: ast.AST, *names: str) -> bool:
    called = node.func if isinstance(node, ast.Call) else None
    return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) in names


def _strings(wanted: Callable[[ast.AST], bool]) -> Texts:
    """The sentences below the nodes that are ``wanted``, with ``{...}`` where values are put in."""
    found: Texts = {}
    for path, tree in _trees().items():
        skipped = {id(node) for node in _docstrings(tree)}
        for node in (inner for outer in ast.walk(tree) if wanted(outer) for inner in ast.walk(outer)):
            if isinstance(node, ast.JoinedStr):
                skipped |= {id(inner) for inner in ast.walk(node) if inner is not node}
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
                text = node.value
            else:
                continue
            if _SENTENCE.fullmatch(text.strip()):
                found[f"{path.relative_to(SOURCE)}:{node.lineno}:{node.col_offset}"] = text.strip()
    return found


def main() -> None:
    """Prints the page."""
    parts = {"Help": help_texts(), "Messages": messages(), "Output": output(), "Pages": page_texts()}
    for heading, texts in parts.items():
        print(f"# {heading}\n")
        for place, text in texts.items():
            print(f"- `{place}` {' '.join(text.split())}")
        print()


if __name__ == "__main__":
    main()
