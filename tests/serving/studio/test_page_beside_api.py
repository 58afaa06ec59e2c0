"""``lorag serve --page``: the page and the API on one port, over the same models."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from listening import listening
from lorag.chat.bot import ChatBot
from lorag.cli.assistant_commands import AssistantOptions, SearchOptions
from lorag.cli.commands import app
from lorag.cli.serve_command import _add_page
from lorag.llm.engines.scripted import ScriptedModel
from lorag.serving.routes import Service, application
from lorag.serving.studio.assistants import Assistants
from lorag.settings import ServeSettings
from lorag.workspace import Workspace
from studio_place import write_adapter

ASKED = {"messages": [{"role": "user", "content": "How long?"}]}


def answered(address, method, path, body=None, **headers):
    connection = HTTPConnection(address.hostname, address.port, timeout=60)
    data = None if body is None else json.dumps(body)
    connection.request(method, path, data, {"Content-Type": "application/json"} | headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, dict(answer.getheaders()), text


def saying(text):
    return ScriptedModel(lambda _: text)


def test_one_server_has_the_page_and_the_api(endpoint, tmp_path):
    name = endpoint(ScriptedModel(lambda prompt: "It lasts 28 months.")).name
    command = [sys.executable, "-m", "lorag", "serve", "--page", "--port", "0", "--no-sources", "--model", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        try:
            assert server.stdout is not None
            greeting = server.stdout.readline()
            address = urlsplit(greeting.split(" the page at ")[1].split()[0])
            assert f"{address.geturl()}v1," in greeting
            status, headers, text = answered(address, "GET", "/")
            assert (status, "<title>" in text) == (200, True)
            assert headers["content-security-policy"].startswith("default-src 'self'")
            for path, model in (("/v1/chat/completions", name), ("/studio/ask/base", "base")):
                status, _, text = answered(address, "POST", path, ASKED | {"model": model})
                assert (status, json.loads(text)["choices"][0]["message"]["content"]) == (200, "It lasts 28 months.")
            assert answered(address, "GET", "/v1/models")[0] == answered(address, "GET", "/metrics")[0] == 200
            assert json.loads(answered(address, "GET", "/studio/assistants")[2])["model"] == name
            assert answered(address, "GET", "/v1/models", Host="evil.com")[0] == 403
        finally:
            server.kill()


def test_the_page_answers_with_the_models_that_the_server_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(tmp_path / ".lorag")
    write_adapter(workspace.adapters / "support")
    assistants = Assistants(workspace, "scripted-base", model_of=lambda *_: pytest.fail("a model was loaded again"))
    base, tuned = ScriptedModel(str, "base"), ScriptedModel(str, "tuned")
    adapter = (workspace.adapters / "support").relative_to(tmp_path)
    assistants.share(base, None)
    assistants.share(tuned, adapter)
    assert assistants.bot("base", None).model is base
    assert assistants.bot("base", adapter.resolve()).model is base
    assert assistants.bot("finetuned", adapter.resolve()).model is tuned


def test_beside_offered_adapters_the_base_of_the_page_is_the_base(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".lorag" / "adapters" / "support"
    write_adapter(folder)
    bots = {name: ChatBot(saying(name)) for name in ("base", "support")}
    bots |= {f"{name}+documents": ChatBot(bot.model) for name, bot in bots.items()}
    service = Service(bots)
    answers = application(service)
    _add_page(answers, service, {"base": None, "support": folder}, None, AssistantOptions(), SearchOptions())
    with TestClient(answers, base_url="http://127.0.0.1") as page:
        for column, said in (("base", "base"), ("finetuned", "support")):
            path = f"/studio/ask/{column}?adapter=.lorag/adapters/support"
            answer = page.post(path, json=ASKED | {"model": column}).json()
            assert answer["choices"][0]["message"]["content"] == said
        counted = page.get("/metrics").text
        for column in ("base", "finetuned"):
            assert f'lorag_answers_total{{model="{column}",ended="stop"}} 1' in counted


def test_questions_on_the_page_wait_in_the_queue_of_the_api(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reached, go = threading.Event(), threading.Event()

    def slowly(prompt):
        reached.set()
        assert go.wait(30)
        return "Yes."

    bots = {"base": ChatBot(ScriptedModel(slowly))}
    service = Service(bots, settings=ServeSettings(max_answers=1, max_waiting=0))
    answers = application(service)
    _add_page(answers, service, {"base": None}, None, AssistantOptions(), SearchOptions())
    with listening(answers) as port, ThreadPoolExecutor() as pool:
        address = urlsplit(f"http://127.0.0.1:{port}")
        first = pool.submit(answered, address, "POST", "/v1/chat/completions", ASKED | {"model": "base"})
        assert reached.wait(30)
        status, _, text = answered(address, "POST", "/studio/ask/base", ASKED | {"model": "base"})
        go.set()
        assert (status, json.loads(text)["error"]["code"]) == (429, "queue_full")
        assert first.result()[0] == 200


@pytest.mark.parametrize("options", [["--key", "secret"], ["--where", "id=a"]])
def test_the_page_is_for_this_machine_and_all_documents(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(app, ["serve", "--page", "--port", "0", "--no-sources", *options])
    assert (refused.exit_code, "--page shows every document" in refused.output) == (2, True), refused.output
