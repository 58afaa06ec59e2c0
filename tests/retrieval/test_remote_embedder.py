"""An embedder behind an address: Lorag's own server gives the vectors, and servers that fail are named in a line."""

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from harbour import CountingHashes
from listening import listening
from lorag import build
from lorag.chat.bot import ChatBot
from lorag.cli.commands import app
from lorag.errors import EndpointError, InputError
from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.backends.location import made_with
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.encoders.remote_embedder import RemoteEmbedder
from lorag.serving.routes import Service, application, by_name
from lorag.settings import RemoteSettings

KEY = "a-key-of-the-test"
SILENT = ScriptedModel(lambda prompt: "Yes.", name="m")


@pytest.fixture
def served():
    return CountingHashes()


@pytest.fixture
def name(served, monkeypatch):
    """The address of a real server over ``served``, which asks for a key that the environment has."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    service = Service(by_name(ChatBot(SILENT)), KEY, embedder=served)
    with listening(application(service), KEY) as port:
        yield f"openai:{served.name}@http://127.0.0.1:{port}/v1"


def test_its_vectors_are_those_of_the_served_embedder_in_order(name, served):
    remote = RemoteEmbedder(name)
    assert (remote.dim, remote.name) == (served.dim, name)
    texts = [f"text number {number} of the 潮位 gauge" for number in range(100)] + ["half a pair \ud800"]
    expected = HashEmbedder(served.dim).embed(texts, "passage")
    for kind in ("passage", "query"):
        np.testing.assert_allclose(remote.embed(texts, kind), expected, atol=1e-6)
    assert remote.embed([], "passage").shape == (0, served.dim)
    assert np.linalg.norm(remote.embed(["", " \n"], "passage"), axis=1) == pytest.approx([1, 1])
    assert remote.count_tokens("潮位") == 2


def test_ollama_is_asked_under_its_local_address(name, served, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", name.partition("@")[2].removesuffix("/v1"))
    remote = build.embedder(f"ollama:{served.name}")
    assert (remote.dim, remote.identity) == (served.dim, build.embedder(name).identity)


def lorag(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_index_search_and_ask_use_it_and_a_second_index_asks_for_no_passage_again(
    name, served, endpoint, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "warranty.md").write_text("# Warranty\n\nThe warranty lasts 28 months.\n")
    (tmp_path / "docs" / "office.md").write_text("# Office\n\nThe office is in Halifax.\n")
    done = lorag("index", "docs", "--embedder", name)
    assert (done.exit_code, "2 added" in done.stdout) == (0, True), done.output
    assert made_with(tmp_path / ".lorag" / "index")["embedder"] == name
    embedded = [text for text in served.passages if "Halifax" in text]
    assert len(embedded) == 1
    again = lorag("index", "docs", "--embedder", name, "--rebuild", "--json")
    assert json.loads(again.stdout)["from_cache"] == 2
    assert [text for text in served.passages if "Halifax" in text] == embedded
    options = ("--embedder", name, "--search", "dense", "--json")
    found = json.loads(lorag("search", "where is the office", *options).stdout)
    assert [hit["document_id"] for hit in found] == ["office.md", "warranty.md"]
    chat = endpoint(SILENT)
    answer = json.loads(lorag("ask", "Where is the office?", "--model", chat.name, *options).stdout)
    assert answer["sources"][0]["document_id"] == "office.md"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    wrong = lorag("search", "office")
    assert (wrong.exit_code, f"embedder {name} instead of bge-small-en" in wrong.stderr) == (1, True)


def test_a_wrong_key_and_a_server_that_is_not_there_are_one_line(name, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "another-key")
    with pytest.raises(EndpointError, match=r"refuses 'hash-64': .*; set OPENAI_API_KEY") as caught:
        RemoteEmbedder(name)
    assert "another-key" not in str(caught.value)
    with pytest.raises(EndpointError, match=r"http://127\.0\.0\.1:1/v1 cannot be reached: .*; start the server"):
        RemoteEmbedder("openai:m@http://127.0.0.1:1/v1", RemoteSettings(retries=0))
    with pytest.raises(InputError, match=r"holds a password, or a query .*; set OPENAI_API_KEY instead"):
        build.embedder("openai:m@http://user:secret@127.0.0.1/v1")
    (tmp_path / "office.md").write_text("The office is in Halifax.\n")
    done = lorag("index", str(tmp_path / "office.md"), "--embedder", "openai:m@ftp://x")
    assert (done.exit_code, "expected openai:MODEL@URL" in done.stderr.replace("\n", "")) == (2, True)


def embeddings(vectors, model="m"):
    data = [{"object": "embedding", "index": number, "embedding": vector} for number, vector in enumerate(vectors)]
    return {"object": "list", "model": model, "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, embeddings([[1.0, 0.0]]), r"gave 1 vectors for 2 texts"),
        (200, embeddings([[1.0, 0.0, 0.0]] * 2), r"gave a vector of 3 numbers, and 2 before"),
        (200, embeddings([[1.0, 0.0]] * 2, "other"), r"was asked for 'm' but answered as 'other'"),
        (200, {"object": "list", "model": "m"}, r"did not answer with embeddings: .*; expected an OpenAI-compatible"),
        (429, {"error": {"message": "too many"}}, r"refuses 'm': .*too many.*; lower concurrency"),
        (401, {"error": {"message": f"no such key {KEY}"}}, r"refuses 'm': .*no such key \*\*\*.*; set OPENAI_API_KEY"),
    ],
)
def test_an_answer_that_is_no_vector_for_each_text_is_one_line(endpoint, monkeypatch, status, body, said):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def answered(handler, asked):
        handler.send(*((200, embeddings([[1.0, 0.0]])) if asked["input"] == ["dimension"] else (status, body)))
        return True

    remote = RemoteEmbedder(endpoint(SILENT, answered).name, RemoteSettings(retries=0))
    with pytest.raises(EndpointError, match=said):
        remote.embed(["one", "two"], "passage")


@pytest.mark.parametrize("first", ["dimension", "one"])
def test_a_busy_server_is_waited_for_from_the_first_request_on(endpoint, monkeypatch, first):
    waits: list[float] = []
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=waits.append)
    monkeypatch.setattr("lorag.llm.engines.patience.time", clock)

    def answered(handler, asked):
        ready = asked["input"] != [first] or len(waits) >= 20
        handler.send(200 if ready else 429, embeddings([[0.0, 2.0]]) if ready else {"error": {"message": "later"}})
        return True

    server = endpoint(SILENT, answered)
    assert RemoteEmbedder(server.name).embed(["one"], "passage").tolist() == [[0, 1]]
    assert [asked["input"][0] for asked in server.requests].count(first) == 21
