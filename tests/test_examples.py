"""The programs in ``examples/`` run as they are, here with a model that knows nothing."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def printed(tiny_folder, tmp_path, monkeypatch, capsys):
    """What an example prints, in lines."""

    def run(name, *options, model=tiny_folder):
        monkeypatch.setattr(sys, "argv", [name, str(tmp_path / "out"), "--model", str(model), *options])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def test_a_finetune_is_trained_and_asked(printed, shallow_folder, tmp_path):
    before, after = printed("finetune_and_ask.py", model=shallow_folder)[0].removeprefix("Loss: ").split(" before, ")
    assert float(after.split()[0]) < float(before)
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


def test_documents_are_asked_with_their_sources(printed):
    first, *_, answer = printed("documents_chatbot.py")
    assert first == "[1] rules.md"
    assert answer


def test_a_system_of_ones_own_is_compared(printed, monkeypatch):
    # Random weights end no answer before its limit: one answer of each arm is timed alone.
    monkeypatch.setattr("lorag.workflows.comparing.asking._MOST_ALONE", 1)
    lines = printed("compare_with_own.py", "--minutes", "0.1")
    arms = dict(line.rsplit(": ", 1) for line in lines if line.endswith("% right"))
    assert {"base", "finetuned", "retrieval", "both", "first paragraph"} <= arms.keys()
    assert arms["first paragraph"] != "0 % right"
    assert any(line.startswith("Undecided: 8 questions are too few for a verdict") for line in lines)


def test_every_example_is_run_here():
    source = Path(__file__).read_text()
    assert all(f'"{example.name}"' in source for example in EXAMPLES.glob("*.py"))
