"""Several models on one base, each chosen by its name: with and without sources, and the embedder of the index."""

import base64
import json
import shutil
import struct
from typing import Any

import numpy as np
import openai
import pytest
from typer.testing import CliRunner

from lorag import build
from lorag.chat.bot import ChatBot
from lorag.chat.kept_prompt import KeptPrompt
from lorag.cli.commands import app
from lorag.errors import DataError, InputError
from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.serving.routes import Service, by_name
from lorag.settings import ChatSettings, ChunkSettings, PromptSettings, RetrievalSettings
from lorag.types import Document, Sampling

EMBEDDER = HashEmbedder()


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    knowledge = Knowledge.open(folder, EMBEDDER, ChunkSettings(), RetrievalSettings())
    knowledge.sync([Document("warranty.md", "The warranty lasts 28 months.", "warranty.md")])
    return knowledge


def named(name):
    return ScriptedModel(lambda prompt: f"I am {name}.", name)


@pytest.fixture(scope="module")
def offered(serve, knowledge):
    """Two models, each with and without sources."""
    models = {name: named(name) for name in ("base", "support")}
    bots = {name: ChatBot(model) for name, model in models.items()}
    bots |= {f"{name}+documents": ChatBot(model, knowledge) for name, model in models.items()}
    return serve(Service(bots, embedder=knowledge.embedder))


@pytest.fixture(scope="module")
def client(offered):
    with openai.OpenAI(base_url=offered.url, api_key="any", max_retries=0) as client:
        yield client


NAMES = ["base", "support", "base+documents", "support+documents"]


def test_the_models_are_listed_with_the_embedder(client):
    assert [model.id for model in client.models.list()] == [*NAMES, "hash-256"]
    assert client.models.retrieve("support+documents").id == "support+documents"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stream", [False, True])
def test_the_model_that_is_named_answers(client, name, stream):
    asked = {"model": name, "messages": [{"role": "user", "content": "Who are you?"}], "stream": stream}
    said = client.chat.completions.create(**asked)
    if stream:
        *_, last = chunks = list(said)
        text, sources = "".join(c.choices[0].delta.content or "" for c in chunks), last.choices[0].delta.sources
    else:
        text, sources = said.choices[0].message.content, said.choices[0].message.sources
    assert text == f"I am {name.removesuffix('+documents')}."
    assert [source["document_id"] for source in sources] == ["warranty.md"] * name.endswith("+documents")


@pytest.mark.parametrize("name", ["gpt-4", "hash-256"])
def test_another_name_is_refused_with_those_there_are(client, name):
    with pytest.raises(openai.NotFoundError, match=r"expected 'base' or 'support' or 'base\+documents'"):
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hello?"}])


TEXTS = ["The warranty lasts 28 months.", "The office is in Halifax."]


def test_embeddings_are_those_of_the_index(client, offered):
    found = client.embeddings.create(model="hash-256", input=TEXTS)
    assert [each.index for each in found.data] == [0, 1]
    assert np.array_equal(np.array([each.embedding for each in found.data], "f4"), EMBEDDER.embed(TEXTS, "passage"))
    assert found.usage.total_tokens == 10
    one = client.embeddings.create(model="hash-256", input=TEXTS[0], encoding_format="float", dimensions=256)
    assert np.allclose(one.data[0].embedding, EMBEDDER.embed(TEXTS[:1], "passage")[0])
    _, raw = offered.send("POST", "/v1/embeddings", {"model": "hash-256", "input": "a", "encoding_format": "base64"})
    assert len(struct.unpack("<256f", base64.b64decode(raw["data"][0]["embedding"]))) == 256


def test_many_texts_come_back_in_order(client):
    texts = [f"text number {number}" for number in range(100)]
    found = client.embeddings.create(model="hash-256", input=texts)
    assert np.array_equal(np.array([each.embedding for each in found.data], "f4"), EMBEDDER.embed(texts, "passage"))


def test_questions_and_passages_are_embedded_in_their_own_ways(serve, embedder):
    running = serve(Service(by_name(ChatBot(ScriptedModel(lambda prompt: "Yes."))), embedder=embedder))
    with openai.OpenAI(base_url=running.url, api_key="any") as client:
        for kind, extra in (("passage", {}), ("query", {"input_type": "query"})):
            found = client.embeddings.create(model="bge-small-en", input="How long?", extra_body=extra)
            assert np.allclose(found.data[0].embedding, embedder.embed(["How long?"], kind)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "base"}, 404, "model"),
        ({"model": None}, 400, "model"),
        ({"input": None}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": " "}, 400, "input"),
        ({"input": [1, 2]}, 400, "input"),
        ({"input": [["a"]]}, 400, "input"),
        ({"input": ["a"] * 2049}, 400, "input"),
        ({"input": ["a", "word " * 511]}, 400, "input[1]"),
        ({"input": "half \ud800"}, 400, "input"),
        ({"dimensions": 100}, 400, "dimensions"),
        ({"encoding_format": "int8"}, 400, "encoding_format"),
        ({"input_type": []}, 400, "input_type"),
    ],
)
def test_embeddings_that_cannot_be_made_are_refused_by_the_name_of_the_field(offered, fields, status, param):
    got, body = offered.send("POST", "/v1/embeddings", {"model": "hash-256", "input": "a"} | fields)
    assert (got, body["error"]["param"]) == (status, param)


def test_without_an_index_there_are_no_embeddings(serve):
    running = serve(Service(by_name(ChatBot(ScriptedModel(lambda prompt: "Yes.")))))
    status, body = running.send("POST", "/v1/embeddings", {"model": "a", "input": "a"})
    assert (status, "no index" in body["error"]["message"]) == (404, True)


@pytest.fixture(scope="module")
def bots(tiny_folder, adapter, knowledge):
    return build.chatbots(None, {"support": adapter}, knowledge, ChatSettings(sampling=Sampling(max_tokens=6)))


def test_several_answers_are_drawn_apart_and_the_same_ones_whole_and_as_a_stream(serve, bots):
    running = serve(Service(bots))
    turns = [{"role": "user", "content": "Name an animal."}]
    asked: dict[str, Any] = {"messages": turns, "n": 3, "temperature": 1.5, "seed": 7}
    with openai.OpenAI(base_url=running.url, api_key="any") as client:
        whole = client.chat.completions.create(model=running.model, **asked)
        stream = client.chat.completions.create(
            model=running.model, **asked, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        (one,) = client.chat.completions.create(model=running.model, **asked | {"n": 1}).choices
    said = [choice.message.content for choice in whole.choices]
    assert len(set(said)) == 3
    assert one.message.content == said[0]
    pieces = ["", "", ""]
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        pieces[choice.index] += choice.delta.content or ""
    assert pieces == said
    assert chunks[-1].usage == whole.usage
    assert whole.usage.completion_tokens <= 18


@pytest.mark.parametrize(("n", "temperature"), [(2, 0), (0, 1), (9, 1), ("2", 1), (1.5, 1), (True, 1)])
def test_a_number_of_answers_that_makes_no_sense_is_refused(offered, n, temperature):
    status, body = offered.ask(n=n, temperature=temperature)
    assert (status, body["error"]["param"]) == (400, "n")


def test_adapters_share_the_weights_of_one_base(bots, knowledge):
    assert list(bots) == ["base", "base+documents", "support", "support+documents"]
    base, support = bots["base"].model, bots["support"].model
    assert support.weights is base.weights
    assert bots["support+documents"].model is support
    assert [bot.retriever for bot in bots.values()] == [None, knowledge] * 2
    said = {name: bots[name].ask("Who are you?").text for name in ("base", "support")}
    assert said["base"] != said["support"]


def test_each_is_asked_under_its_own_prompt_unless_one_is_given_for_all(tiny_folder, adapter, knowledge, tmp_path):
    trained = shutil.copytree(adapter, tmp_path / "trained")
    manifest = json.loads((trained / "lorag.json").read_text())
    (trained / "lorag.json").write_text(json.dumps(manifest | {"prompt": {"question_first": True}}))
    tuned = KeptPrompt(PromptSettings(question_first=True))
    own = build.chatbots(None, {"support": trained}, knowledge, tuned=tuned)
    assert [bot.settings.prompt.question_first for bot in own.values()] == [False, True, True, True]
    given = build.chatbots(None, {"support": trained}, knowledge, tuned=tuned, prompt=KeptPrompt())
    assert not any(bot.settings.prompt.question_first for bot in given.values())


def test_what_cannot_be_offered_is_refused_before_weights_are_loaded(tiny_folder, adapter, tmp_path, monkeypatch):
    monkeypatch.setattr("lorag.build.load", lambda *_: pytest.fail("weights were loaded"))
    with pytest.raises(DataError, match=r"lorag.json is missing"):
        build.chatbots(None, {"good": adapter, "bad": tmp_path})
    with pytest.raises(InputError, match="engine 'vllm' is not one of"):
        build.chatbots(str(tiny_folder), {}, engine="vllm")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no index is searched"):
        build.chatbots(str(tiny_folder), {}, where={"id": ["a"]})


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--offer", "adapters/support"], "expected NAME=FOLDER"),
        (["--offer", "=adapters/support"], "expected NAME=FOLDER"),
        (["--offer", "a b=adapters/support"], "expected NAME=FOLDER"),
        (["--offer", "base=adapters/support"], "have the name 'base'"),
        (["--offer", "a=one", "--offer", "a=two"], "have the name 'a'"),
        (["--offer", "a=one"], "lorag.json is missing"),
        (["--offer", "a=one", "--adapter", "two"], "give one of them"),
    ],
)
def test_a_wrong_offer_is_refused_by_the_command(tmp_path, monkeypatch, options, reason):
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(app, ["serve", "--no-sources", "--port", "0", *options])
    assert (refused.exit_code, reason in refused.output) == (2, True), refused.output
