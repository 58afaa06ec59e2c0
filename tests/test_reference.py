"""The reference: every public name is described with its parameters, and the examples run, or fit what they call."""

import ast
import dataclasses
import doctest
import inspect
import json
import re
import typing
from collections.abc import Callable
from functools import cache
from pathlib import Path
from unittest import mock

import pytest

import lorag

ROOT = Path(__file__).parents[1]
PUBLIC: dict[str, typing.Any] = {name: getattr(lorag, name) for name in sorted(lorag.__all__)}
SECTION = re.compile(r"^(Args|Returns|Yields|Raises|Examples):$", re.MULTILINE)
DOCUMENTS = {
    "office.md": "# Office\n\nThe Korrin office is in Halifax. It opens at 9 in the morning.\n",
    "warranty.md": "# Warranty\n\nThe warranty of a gauge lasts 28 months from delivery.\n",
}
QUESTIONS = {
    "office.md": [
        ("In which city is the Korrin office?", "Halifax"),
        ("Where does Korrin have its office?", "Halifax"),
        ("Which city is Korrin's office in?", "Halifax"),
        ("When does the office open?", "at 9"),
    ],
    "warranty.md": [
        ("How long is the warranty of a gauge?", "28 months"),
        ("For how many months does the warranty last?", "28 months"),
        ("When does the warranty of a gauge end?", "28 months from delivery"),
        ("From when on does the warranty run?", "delivery"),
    ],
}


def callables() -> dict[str, Callable[..., typing.Any]]:
    """Public functions, and the public methods and constructors of public classes, with their own signatures."""
    found: dict[str, Callable[..., typing.Any]] = {}
    for name, value in PUBLIC.items():
        if not inspect.isclass(value):
            found[name] = value
            continue
        for method, each in vars(value).items():
            function = each.__func__ if isinstance(each, classmethod | staticmethod) else each
            written = method == "__init__" and not dataclasses.is_dataclass(value)
            if inspect.isfunction(function) and (written or not method.startswith("_")):
                found[f"{name}.{method}"] = function
    return found


def sections(text: str) -> dict[str, str]:
    """The sections of a docstring by their headings; what stands before them is ``""``."""
    parts = SECTION.split(text)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


@pytest.mark.parametrize("name", callables())
def test_a_function_describes_its_parameters_and_what_it_returns(name):
    function = callables()[name]
    described = sections(inspect.getdoc(function) or "")
    assert described[""].strip(), "the docstring begins with what the caller gets"
    parameters = [each for each in inspect.signature(function).parameters if each not in ("self", "cls")]
    assert re.findall(r"^    (\w+): \S", described.get("Args", ""), re.MULTILINE) == parameters
    if parameters and not name.endswith("__init__"):
        gives = inspect.signature(function).return_annotation != "None"
        assert ("Returns" in described) == gives
    for raised in re.findall(r"^    (\w+): \S", described.get("Raises", ""), re.MULTILINE):
        assert issubclass(getattr(lorag.errors, raised), lorag.LoragError)


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if dataclasses.is_dataclass(value)])
def test_every_field_of_a_public_value_is_described(name):
    (node,) = ast.parse(inspect.getsource(PUBLIC[name])).body
    assert isinstance(node, ast.ClassDef)
    for line, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(line, ast.AnnAssign):
            assert isinstance(after, ast.Expr), ast.unparse(line.target)
            assert isinstance(after.value, ast.Constant), ast.unparse(line.target)


def test_the_reference_page_holds_every_public_name():
    page = (ROOT / "docs" / "reference.md").read_text()
    named = re.findall(r"^::: lorag\.[\w.]+\.(\w+)$", page, re.MULTILINE)
    assert sorted(named) == sorted(PUBLIC)


@cache
def examples() -> dict[str, doctest.DocTest]:
    """The examples of every public name that has some."""
    find = doctest.DocTestFinder().find
    found = [test for name, value in PUBLIC.items() for test in find(value, name, globs={"lorag": lorag})]
    return {test.name: test for test in found if test.examples}


def test_the_main_functions_have_an_example():
    functions = {name for name, value in PUBLIC.items() if inspect.isfunction(value)}
    assert functions <= examples().keys()


@pytest.fixture
def project(tmp_path: Path, monkeypatch, bge_folder) -> Path:
    """The files that the examples name, in the current folder."""
    (tmp_path / "docs").mkdir()
    for name, text in DOCUMENTS.items():
        (tmp_path / "docs" / name).write_text(text)
    asked = [(document, *pair) for document, pairs in QUESTIONS.items() for pair in pairs]
    questions = [
        {"id": f"q{number}", "question": question, "answers": [answer], "doc_ids": [document]}
        for number, (document, question, answer) in enumerate(asked, 1)
    ]
    (tmp_path / "qa.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in questions))
    turns = [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": f"{answer}."}]}
        for _, question, answer in asked[:4]
    ]
    (tmp_path / "chat.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in turns))
    (tmp_path / "prompt.json").write_text('{"question_first": true}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runs(name: str) -> bool:
    """Whether the example shows what it prints, so that it can be checked by running it."""
    return any(example.want for example in examples()[name].examples)


@pytest.mark.parametrize("name", [name for name in examples() if runs(name)])
def test_an_example_prints_what_it_shows(name, project):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    said: list[str] = []
    done = doctest.DocTestRunner(optionflags=flags).run(examples()[name], out=said.append, clear_globs=False)
    assert done.failed == 0, "".join(said)


@pytest.mark.parametrize("name", [name for name in examples() if not runs(name)])
def test_a_long_example_calls_what_exists_with_what_it_takes(name):
    """It would train or ask a large model; so each function checks its arguments, and gives a value of its type."""
    given: dict[str, typing.Any] = {}
    for public, value in PUBLIC.items():
        given[public] = value if dataclasses.is_dataclass(value) else mock.create_autospec(value)
        gives = typing.get_type_hints(value)["return"] if inspect.isfunction(value) else None
        if inspect.isclass(gives):
            given[public].return_value = mock.create_autospec(gives, instance=True)
    module = mock.NonCallableMock(spec_set=list(given), **given)
    code = "".join(example.source for example in examples()[name].examples)
    exec(compile(code, name, "exec"), {"lorag": module})
