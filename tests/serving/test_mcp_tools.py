"""The tools as the official client of the protocol uses them: in this process, and over the streams of the command."""

import json
import os
import sys

import anyio
import pytest
from typer.testing import CliRunner

from lorag.chat.bot import ChatBot
from lorag.cli.commands import app
from lorag.errors import StoreError
from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import ChunkSettings, RetrievalSettings
from lorag.types import Document

mcp = pytest.importorskip("mcp", reason="the extra mcp is not installed")

TEXTS = {"warranty.md": "The warranty lasts 28 months.", "office.md": "The office is in Halifax."}


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory):
    knowledge = Knowledge.open(tmp_path_factory.mktemp("index"), HashEmbedder(), ChunkSettings(), RetrievalSettings())
    knowledge.sync([Document(name, text, name) for name, text in TEXTS.items()])
    return knowledge


@pytest.fixture(scope="module")
def server(knowledge):
    from lorag.serving.mcp_tools import mcp_server

    return mcp_server(knowledge, ChatBot(ScriptedModel(lambda prompt: "28 months [1]."), knowledge))


def call(server, *calls):
    """What the client gets for each call, a pair of a tool and its arguments."""

    async def talk():
        async with mcp.Client(server) as client:
            return [await client.call_tool(name, arguments) for name, arguments in calls]

    return anyio.run(talk)


def test_the_tools_explain_themselves(server):
    async def listed():
        async with mcp.Client(server) as client:
            return (await client.list_tools()).tools

    search, ask = anyio.run(listed)
    assert (search.name, ask.name) == ("search", "ask")
    for tool, argument in ((search, "query"), (ask, "question")):
        assert tool.input_schema["required"] == [argument]
        assert tool.input_schema["properties"][argument]["description"]
        assert tool.annotations.read_only_hint
        assert "Source" in tool.output_schema["$defs"]


def test_search_gives_passages_and_ask_an_answer_with_its_sources(server):
    found, one, answered = call(
        server,
        ("search", {"query": "how long is the warranty?"}),
        ("search", {"query": "office", "k": 1}),
        ("ask", {"question": "How long does the warranty last?"}),
    )
    passages = found.structured_content["passages"]
    assert {(each["document_id"], each["text"]) for each in passages} == set(TEXTS.items())
    assert passages[0]["document_id"] == "warranty.md"
    assert json.loads(found.content[0].text) == found.structured_content
    assert [each["document_id"] for each in one.structured_content["passages"]] == ["office.md"]
    assert (answered.structured_content["answer"], answered.structured_content["refused"]) == ("28 months [1].", False)
    assert answered.structured_content["sources"][0]["text"] == TEXTS["warranty.md"]


@pytest.mark.parametrize(
    ("tool", "arguments", "reason"),
    [
        ("search", {}, "query"),
        ("search", {"query": "  "}, "query"),
        ("search", {"query": "a", "k": 0}, "greater than or equal to 1"),
        ("search", {"query": "a", "k": 10_000}, "less than or equal to 50"),
        ("search", {"query": ["a"]}, "query"),
        ("ask", {"question": ""}, "question"),
    ],
)
def test_wrong_arguments_are_errors_that_the_caller_can_mend(server, tool, arguments, reason):
    (said,) = call(server, (tool, arguments))
    assert said.is_error
    assert reason in said.content[0].text


class Broken:
    """Raises what it was made of."""

    def __init__(self, error):
        self.error = error

    def retrieve(self, queries, k):
        raise self.error


@pytest.mark.parametrize(("error", "told"), [(StoreError("the index is missing"), True), (KeyError("secret"), False)])
def test_a_failure_is_an_error_of_the_tool_and_tells_only_what_lorag_says_of_it(error, told):
    from lorag.serving.mcp_tools import mcp_server

    failed, _ = call(mcp_server(Broken(error)), *[("search", {"query": "a"})] * 2)
    assert failed.is_error
    assert (error.args[0] in failed.content[0].text) is told


def test_the_command_serves_a_real_index_and_model_over_its_streams(tmp_path, bge_folder, smollm_folder):
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    store = ["--store", str(tmp_path / "index")]
    assert CliRunner().invoke(app, ["index", str(tmp_path), *store]).exit_code == 0
    command = ["-m", "lorag", "mcp", "--model", "smollm2-135m", "--engine", "transformers", *store]
    started = mcp.StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ), cwd=tmp_path)
    found, answered = call(
        started,
        ("search", {"query": "how long is the warranty?", "k": 1}),
        ("ask", {"question": "How long is the warranty?"}),
    )
    assert [each["text"] for each in found.structured_content["passages"]] == [TEXTS["warranty.md"]]
    assert answered.structured_content["answer"]
    assert answered.structured_content["sources"][0]["document_id"] == "warranty.md"


def test_a_search_without_answers_takes_no_options_of_a_model_and_needs_an_index(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LORAG_STORE", raising=False)
    refused = CliRunner().invoke(app, ["mcp", "--search-only", "--model", "smollm2-135m"])
    assert (refused.exit_code, "--model was given" in refused.output) == (2, True)
    missing = CliRunner().invoke(app, ["mcp", "--search-only"])
    assert (missing.exit_code, "there is no index yet" in missing.output) == (2, True)
