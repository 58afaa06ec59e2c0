"""The prompt that was found is the prompt that reaches the model: in every command that answers."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from lorag.chat.kept_prompt import KeptPrompt, read_prompt
from lorag.cli.commands import app
from lorag.llm.engines.scripted import ScriptedModel
from lorag.settings import PromptSettings

SHOWN = {"question": "How far is it?", "sources": ["It is 5 km."], "reply": "5 km."}
FOUND = {"prompt": {"question_first": True, "examples": 1}, "examples": [SHOWN], "tried": []}
"""As a comparison keeps it."""
QUESTION = "How long does the warranty last?"


@pytest.fixture
def here(tmp_path, monkeypatch, embedder):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LORAG_STORE", raising=False)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "warranty.md").write_text("# Warranty\n\nThe warranty lasts 28 months.\n")
    (tmp_path / "found.json").write_text(json.dumps(FOUND))
    assert lorag("index", "docs").exit_code == 0
    return tmp_path


@pytest.fixture
def hosted(endpoint):
    return endpoint(ScriptedModel(lambda prompt: "28 months", name="hosted"))


def lorag(*arguments, **options):
    return CliRunner().invoke(app, list(arguments), **options)


def require_found(messages, question=QUESTION):
    """The messages are those of the prompt that was found, the example before the question."""
    instruction, shown, reply, asked = (message["content"] for message in messages)
    assert instruction.startswith("Answer the question briefly.")
    assert (shown.startswith("Question: How far is it?"), reply) == (True, "5 km.")
    assert "It is 5 km." in shown
    assert asked.startswith(f"Question: {question}\n\nSources:\n[1] Warranty\n")


def test_ask_and_chat_ask_under_the_prompt_of_a_file(here, hosted):
    options = ("--model", hosted.name, "--prompt", "found.json")
    asked = lorag("ask", QUESTION, *options, "--json")
    require_found(json.loads(asked.stdout)["prompt"])
    require_found(hosted.requests[-1]["messages"])
    assert lorag("chat", *options, input="How long is it?\n\n").exit_code == 0
    require_found(hosted.requests[-1]["messages"], "How long is it?")
    told = "Prompt: question before sources, 1 example (from found.json)\n"
    assert told in asked.stderr
    assert told in lorag("chat", *options, input="\n").stderr
    assert "Prompt:" not in lorag("ask", QUESTION, "--model", hosted.name).stderr


def test_serve_asks_under_the_prompt_of_a_file_with_the_clients_own_instruction(here, hosted):
    command = [sys.executable, "-m", "lorag", "serve", "--port", "0", "--model", hosted.name, "--prompt", "found.json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = urlsplit(server.stdout.readline().split(" answers at ")[1].split()[0])
            assert address.hostname is not None
            client = HTTPConnection(address.hostname, address.port, timeout=60)
            messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": QUESTION}]
            asked = json.dumps({"model": hosted.name, "messages": messages})
            client.request("POST", "/v1/chat/completions", asked, {"Content-Type": "application/json"})
            assert client.getresponse().status == 200
            client.close()
        finally:
            server.terminate()
        assert server.stderr is not None
        assert "Prompt: question before sources, 1 example (from found.json)" in server.stderr.read()
    require_found(hosted.requests[-1]["messages"])
    assert hosted.requests[-1]["messages"][0]["content"].endswith("\n\nBe kind.")


def test_an_adapter_is_asked_under_the_prompt_it_was_trained_under(here, tiny_adapter):
    folder = shutil.copytree(tiny_adapter, here / "adapter")
    manifest = json.loads((folder / "lorag.json").read_text())
    assert manifest["prompt"] == asdict(PromptSettings())

    def asked(*options):
        answered = lorag("ask", QUESTION, "--adapter", "adapter", "--engine", "transformers", "--json", *options)
        assert answered.exit_code == 0, answered.output
        return answered.stderr, json.loads(answered.stdout)["prompt"][-1]["content"]

    assert asked()[1].startswith("Sources:")
    for manifest["prompt"] in ({"question_first": True}, {"question_first": False}):
        (folder / "lorag.json").write_text(json.dumps(manifest))
        told, prompt = asked()
        first = manifest["prompt"]["question_first"]
        assert prompt.startswith(f"Question: {QUESTION}") == first
        assert ("Prompt: question before sources (the one it was trained under)" in told) == first
    (here / "own.json").write_text('{"question_first": true}')
    assert asked("--prompt", "own.json")[1].startswith("Question:")
    manifest["prompt"] = {"question_first": True}
    (folder / "lorag.json").write_text(json.dumps(manifest))
    (here / "own.json").write_text("{}")
    assert asked("--prompt", "own.json")[1].startswith("Sources:")


def test_what_tune_chose_is_asked_of_its_model_and_with_sources_only(here, hosted):
    kept = KeptPrompt(PromptSettings(question_first=True), context_tokens=250, model=hosted.name)
    (here / ".lorag" / "prompt.json").write_text(json.dumps(kept.to_json()))
    told = lorag("ask", QUESTION, "--model", hosted.name).stderr
    assert "Prompt: question before sources, up to 250 tokens of sources (chosen by `lorag tune`)" in told
    assert hosted.requests[-1]["messages"][-1]["content"].startswith(f"Question: {QUESTION}")
    assert lorag("ask", QUESTION, "--model", hosted.name, "--no-sources").stderr == ""
    (here / ".lorag" / "prompt.json").write_text(json.dumps({**kept.to_json(), "model": "another"}))
    assert lorag("ask", QUESTION, "--model", hosted.name).stderr == ""
    assert hosted.requests[-1]["messages"][-1]["content"].startswith("Sources:")


def test_tune_chooses_a_prompt_for_a_model_and_ask_uses_it(here, endpoint):
    def reply(prompt):
        asked = prompt[-1].content
        room = re.search(r"stands in room (\w+)\?", asked)
        found = re.search(rf"In room {room[1]} stands (\w+)", asked) if room else None
        return found[1] if found and asked.startswith("Question:") else "No idea."

    server, rows = endpoint(ScriptedModel(reply, name="reader")), []
    for number in range(24):
        thing = ("lamp", "desk", "sofa", "bench", "stool", "chest")[number % 6]
        (here / "docs" / f"{number}.md").write_text(f"In room r{number} stands {thing}{number}, by the window.\n")
        row = {"id": str(number), "question": f"What stands in room r{number}?", "answers": [f"{thing}{number}"]}
        rows.append({**row, "doc_ids": [f"{number}.md"]})
    (here / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tuning = ("tune", "--documents", "docs", "--questions", "qa.jsonl", "--no-rerank", "--model", server.name)
    shown = lorag(*tuning)
    assert f"Prompts of {server.name}" in shown.stdout, shown.output
    assert "Best is question before sources" in shown.stdout
    assert "; use it." in shown.stdout
    kept = read_prompt(here / ".lorag" / "prompt.json")
    assert (kept.settings.question_first, kept.model) == (True, server.name)
    lorag("index", "docs")
    asked = lorag("ask", "What stands in room r3?", "--model", server.name)
    assert "(chosen by `lorag tune`)" in asked.stderr
    assert server.requests[-1]["messages"][-1]["content"].startswith("Question: What stands in room r3?")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"question_frist": true}', "own.json: unknown key 'question_frist'; did you mean question_first?"),
        ('{"examples": 3}', "should show worked examples but holds none"),
        (None, "own.json: no such file"),
    ],
)
def test_a_wrong_prompt_is_refused_before_a_model_is_asked(here, hosted, content, said):
    if content is not None:
        (here / "own.json").write_text(content)
    wrong = lorag("ask", QUESTION, "--model", hosted.name, "--prompt", "own.json")
    assert (wrong.exit_code, said in wrong.stderr.replace("\n", " ")) == (2, True), wrong.stderr
    assert hosted.requests == []


def test_ask_shows_thoughts_only_where_it_is_to(here, endpoint):
    model = endpoint(ScriptedModel(lambda prompt: "<think> 28, it says. </think> 28 months", name="thinking"))
    asked = ("ask", QUESTION, "--model", model.name, "--no-sources")
    assert lorag(*asked).stdout.strip() == "28 months"
    assert json.loads(lorag(*asked, "--thinking", "hidden", "--json").stdout)["text"] == "28 months"
    assert [request["max_tokens"] for request in model.requests] == [96, 2048]
    shown = " ".join(lorag(*asked, "--thinking", "shown").stdout.split())
    assert shown == "<think> 28, it says. </think> 28 months"
    wrong = lorag(*asked, "--thinking", "on")
    assert (wrong.exit_code, "thinking 'on' is not one of off, hidden, shown" in wrong.stderr) == (2, True)
