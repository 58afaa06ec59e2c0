"""The shape of the code: who imports whom, how large things are, what is public, how light the import is."""

import ast
import graphlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import draw_architecture
import lorag

SOURCE = Path(lorag.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_FOLDER_FILES = 500, 60, 12
BOTTOM = {"types", "settings", "finetune_methods", "errors", "files", "interfaces", "machine"}
PARTS = {"documents", "models", "retrieval", "llm", "training", "chat", "evaluation", "workspace"}
SURFACE = BOTTOM | PARTS | {"build", "workflows"}
ALLOWED = {
    "errors": set(),
    "machine": set(),
    "types": {"errors"},
    "files": {"errors"},
    "finetune_methods": set(),
    "settings": {"types", "errors", "finetune_methods"},
    "interfaces": {"types"},
    "documents": BOTTOM,
    "models": BOTTOM,
    "retrieval": BOTTOM
    | {"documents", "models.quiet", "models.catalogue", "models.naming"}
    | {"llm.engines.openai", "llm.engines.patience"},
    "llm": BOTTOM | {"models"},
    "training": BOTTOM
    | {"documents", "models.quiet", "evaluation.statistics"}
    | {"llm.rendering", "llm.prefix_tree", "llm.turn_text", "llm.virtual_tokens"},
    "chat": BOTTOM | {"evaluation.answers.matching"},
    "evaluation": BOTTOM,
    "workspace": BOTTOM,
    "build": BOTTOM | PARTS,
    "workflows": BOTTOM | PARTS | {"build"},
    "__main__": {"cli"},
    "cli": SURFACE | {"serving"},
    "serving": SURFACE,
    "neural_chat": SURFACE,
}
MODULES = {
    ".".join(("lorag", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in FILES
}


@pytest.mark.parametrize("path", [p for p in FILES if p != SOURCE / "__init__.py"], ids=lambda p: p.name)
def test_a_layer_imports_only_what_lies_below_it(path):
    room = draw_architecture.room_of(path)
    allowed = ALLOWED[room] | {room}
    for name in draw_architecture.imports_of_ours(path):
        assert any(name == layer or name.startswith(f"{layer}.") for layer in allowed), f"{room} imports {name}"


def imported_modules(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it; for ``from a import b`` it is ``a.b`` where that is a module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & MODULES.keys()) or {node.module}
    return found & MODULES.keys()


def test_no_imports_form_a_circle():
    order = graphlib.TopologicalSorter({name: imported_modules(path) - {name} for name, path in MODULES.items()})
    order.prepare()  # raises CycleError, which names the circle


def test_the_page_of_the_architecture_is_that_of_the_code():
    assert draw_architecture.PAGE.read_text() == draw_architecture.page(), "run tools/draw_architecture.py"
    imported = draw_architecture.imports()
    above: set[str] = set()
    for floor in draw_architecture.floors(imported):
        above |= {*floor}
        assert all(imported[room].isdisjoint(above) for room in floor)


def test_fifteen_files_lead_from_the_command_to_the_verdict():
    page = draw_architecture.PAGE.read_text()
    listed = re.findall(r"^\| `([\w/]+\.py)` \|", page, re.MULTILINE)
    assert len(listed) == 15
    assert all((SOURCE / name).is_file() for name in listed)


def test_no_two_modules_share_a_name():
    names = Counter(path.name for path in FILES if path.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_a_folder_holds_at_most_a_dozen_files():
    counts = Counter(path.parent for path in FILES if path.name != "__init__.py")
    assert {folder.name: count for folder, count in counts.items() if count > MAX_FOLDER_FILES} == {}


def lines_of(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """What a function says to its callers: each parameter and an example, which is not code to follow."""
    first = node.body[0]
    described = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return lines_of(first) if described else 0


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_a_file_tells_one_story(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = lines_of(node) - docstring_lines(node)
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


def test_public_names_exist_and_are_named_once():
    stub = ast.parse((SOURCE / "__init__.pyi").read_text())
    named = [alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(named) == sorted(set(lorag.__all__))
    for name in lorag.__all__:
        assert getattr(lorag, name).__name__ == name
    assert set(dir(lorag)) >= set(lorag.__all__)
    with pytest.raises(AttributeError, match="No lorag attribute Finetuner"):
        lorag.Finetuner  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    "module",
    [
        "lorag",
        "lorag.cli.commands",
        "lorag.workflows.compare",
        "lorag.workflows.check_data",
        "lorag.build",
        "lorag.neural_chat",
    ],
)
def test_importing_loads_no_heavy_library(module):
    heavy = ["torch", "transformers", "peft", "lancedb", "onnxruntime", "scipy", "lxml", "ray"]
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
                    assert isinstance(after, ast.Expr), f"{node.name}.{ast.unparse(field.target)} has no docstring"
