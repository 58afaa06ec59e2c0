"""The shape of the code: who imports whom, how large things are, what is public, how light the import is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lorag

SOURCE = Path(lorag.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES = 500, 60
BOTTOM = {"types", "settings", "errors", "files", "interfaces"}
SURFACE = BOTTOM | {
    *("documents", "retrieval", "llm", "training", "chat", "evaluation", "workspace", "build", "journeys")
}
ALLOWED = {
    "errors": set(),
    "types": {"errors"},
    "files": {"errors"},
    "settings": {"types", "errors"},
    "interfaces": {"types"},
    "documents": BOTTOM,
    "retrieval": BOTTOM | {"documents", "llm.quiet"},
    "llm": BOTTOM,
    "training": BOTTOM
    | {"documents", "llm.rendering", "llm.tree", "llm.quiet", "llm.virtual", "llm.machine", "evaluation.statistics"},
    "chat": BOTTOM,
    "evaluation": BOTTOM,
    "workspace": BOTTOM,
    "build": BOTTOM | {"documents", "retrieval", "llm", "training", "chat", "evaluation", "workspace"},
    "journeys": BOTTOM | {"documents", "retrieval", "llm", "training", "chat", "evaluation", "workspace", "build"},
    "__main__": {"cli"},
    "cli": SURFACE | {"serving"},
    "serving": SURFACE,
    "neural_chat": SURFACE,
}


def imports_of_ours(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("lorag")}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lorag"):
            if node.module == "lorag":
                found |= {f"lorag.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return {name.removeprefix("lorag.") for name in found}


@pytest.mark.parametrize("path", [p for p in FILES if p != SOURCE / "__init__.py"], ids=lambda p: p.name)
def test_a_layer_imports_only_what_lies_below_it(path):
    room = path.relative_to(SOURCE).with_suffix("").parts[0]
    allowed = ALLOWED[room] | {room}
    for name in imports_of_ours(path):
        assert any(name == layer or name.startswith(f"{layer}.") for layer in allowed), f"{room} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_a_file_tells_one_story(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


def test_public_names_exist_and_are_told_to_type_checkers():
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    typed = {
        alias.asname
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == set(lorag.__all__)
    for name in lorag.__all__:
        assert getattr(lorag, name).__name__ == name
    assert set(dir(lorag)) == set(lorag.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Finetuner'"):
        lorag.Finetuner  # noqa: B018


@pytest.mark.parametrize(
    "module",
    ["lorag", "lorag.cli.app", "lorag.journeys.compare", "lorag.journeys.data", "lorag.build", "lorag.neural_chat"],
)
def test_importing_loads_no_heavy_library(module):
    heavy = ["torch", "transformers", "peft", "lancedb", "onnxruntime", "scipy", "trafilatura"]
    heavy += ["fastapi", "uvicorn", "pypdfium2", "docx", "pptx", "openpyxl", "rapidocr", "charset_normalizer"]
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_every_setting_and_public_function_is_explained():
    settings = ast.parse((SOURCE / "settings.py").read_text())
    for node in settings.body:
        if isinstance(node, ast.ClassDef):
            for field, after in zip(node.body, [*node.body[1:], None], strict=True):
                if isinstance(field, ast.AnnAssign):
                    assert isinstance(after, ast.Expr), f"{node.name}.{field.target.id} has no docstring"
