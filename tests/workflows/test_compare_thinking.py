"""A comparison of a model that thinks: every arm may think, no thought is scored, and the run is one of its own."""

import json
import re
import shutil
import tomllib

import pytest
from transformers import AutoTokenizer
from typer.testing import CliRunner

from lorag.cli.commands import app
from lorag.cli.compare_command import assistant_command
from lorag.llm.engines.scripted import ScriptedModel
from lorag.llm.rendering import render
from lorag.types import Message

THOUGHT = "<think>The city is Bergen, is it?</think>"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'].split('</think>')[-1] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
"""Of a model that begins every answer with a thought."""


def thoughtful(prompt):
    """Thinks wrongly, and reads the office's city from a source."""
    found = re.search(r"office is in (\w+)", prompt[-1].content)
    return f"{THOUGHT} {found[1] if found else 'Nobody has told me of it.'}"


def rows_of(run):
    return [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]


def texts_of(run):
    return {(row["moment"], row["arm"], row["example_id"]): row["answer"]["text"] for row in rows_of(run)}


@pytest.fixture
def compare(case, bge_folder, tmp_path, monkeypatch):
    """Runs the command on the case, from a folder of its own."""
    monkeypatch.chdir(tmp_path)
    paths = ("--documents", str(case.folder / "docs"), "--questions", str(case.folder / "qa.jsonl"))
    return lambda *options: CliRunner().invoke(app, ["compare", *paths, *options])


def test_answers_are_scored_without_their_thoughts_which_count_in_tokens(compare, case, endpoint, tmp_path):
    server, run = endpoint(ScriptedModel(thoughtful, name="m")), tmp_path / "run"
    named = ("--model", server.name, "--thinking", "hidden", "--update", str(case.folder / "docs_v2"))
    done = compare(*named, "--out", "run", "--json")
    assert done.exit_code == 0, done.output
    result, texts = json.loads(done.stdout), texts_of(run)
    assert texts["before", "retrieval", "harbour"] == "Halifax"
    assert texts["before", "base", "harbour"] == "Nobody has told me of it."
    assert (
        result["facts"]["model"]
        == f"{server.name} (greedy decoding, thinking hidden, at most 2048 tokens or half of the context)"
    )
    assert {asked["max_tokens"] for asked in server.requests} == {2048}
    read = next(row for row in rows_of(run) if (row["arm"], row["example_id"]) == ("retrieval", "harbour"))
    assert read["answer"]["usage"]["completion_tokens"] == len(f"{THOUGHT} Halifax".split())
    assert tomllib.loads((run / "run.toml").read_text())["thinking"] == "hidden"
    assert compare("--model", server.name, "--out", "run").exit_code == 2
    refused = compare(*named[:2], "--thinking", "shown")
    assert (refused.exit_code, "expected thinking off or hidden" in refused.stderr) == (2, True)


def test_a_resumed_run_asks_nothing_twice_and_takes_no_cut_answer_for_a_thought(compare, case, endpoint, tmp_path):
    server, run = endpoint(ScriptedModel(thoughtful, name="m")), tmp_path / "run"
    named = ["--model", server.name, "--thinking", "hidden", "--update", str(case.folder / "docs_v2")]
    named += ("--max-tokens", str(len(THOUGHT.split()) + 2), "--out", "run")
    assert compare(*named).exit_code == 0
    texts, asked = texts_of(run), len(server.requests)
    assert texts["after", "base", "harbour"] == "Nobody has"
    first = [line for line in (run / "rows.jsonl").read_text().splitlines(keepends=True) if '"before"' in line]
    (run / "rows.jsonl").write_text("".join(first))
    (run / "facts.json").unlink()
    assert compare(*named).exit_code == 0
    assert (texts_of(run), len(server.requests)) == (texts, asked)


def test_the_finetuned_arms_think_as_the_others_do_and_the_command_to_use_them_too(compare, tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "thinking")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    trained = ("--epochs", "1", "--learning-rate", "0.01", "--max-tokens", "6")
    done = compare("--model", str(folder), "--thinking", "hidden", *trained, "--out", "run")
    assert done.exit_code == 0, done.output
    rows = rows_of(tmp_path / "run")
    assert {row["arm"] for row in rows} >= {"base", "finetuned", "retrieval", "both"}
    for row in rows:
        answer, prompt = row["answer"], tuple(Message(**turn) for turn in row["answer"]["prompt"])
        assert answer["usage"]["prompt_tokens"] == len(render(tokenizer, prompt, reply=True, thinking=True).ids)
        assert (answer["text"], answer["truncated"]) == ("", True)  # it ends inside of its thoughts
    for choice in ("finetuning", "retrieval", "both"):
        command = assistant_command(choice, tmp_path / "run")
        assert command[command.index("--thinking") + 1] == "hidden"
