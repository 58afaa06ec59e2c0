"""Answers over the wire are those of the chatbot, whole and streamed; what is not understood is refused by its name."""

import json
import threading
from http.client import HTTPConnection

import openai
import pytest

from lorag.chat.bot import ChatBot
from lorag.errors import EndpointError, ModelError
from lorag.llm.engines.openai import RemoteModel
from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.knowledge import Knowledge
from lorag.serving.routes import Service, by_name
from lorag.settings import ChatSettings, ChunkSettings, RetrievalSettings, ServeSettings
from lorag.types import Document, Message, Sampling

JSON = {"Content-Type": "application/json"}
REPLY = "It lasts 28 months \u2014 \u201cin all\u201d, says  the page."


@pytest.fixture(scope="module")
def scripted():
    return ScriptedModel(lambda prompt: REPLY, context_tokens=200)


@pytest.fixture(scope="module")
def small(serve, scripted):
    return serve(Service(by_name(ChatBot(scripted)), settings=ServeSettings(max_request_bytes=5000)))


@pytest.fixture(scope="module")
def shop(serve, smollm, embedder, tmp_path_factory):
    """The small model over two documents."""
    folder = tmp_path_factory.mktemp("index")
    knowledge = Knowledge.open(folder, embedder, ChunkSettings(), RetrievalSettings())
    texts = {"warranty.md": "The warranty lasts 28 months.", "office.md": "The office is in Halifax."}
    knowledge.sync([Document(name, text, name) for name, text in texts.items()])
    return serve(Service(by_name(ChatBot(smollm, knowledge, ChatSettings(sampling=Sampling(max_tokens=12))))))


def client(running, key="any"):
    return openai.OpenAI(base_url=running.url, api_key=key, max_retries=0)


def test_the_official_client_gets_answer_sources_and_usage_whole_and_as_a_stream(shop):
    asked = {"model": "smollm2-135m", "messages": [{"role": "user", "content": "How long does the warranty last?"}]}
    with client(shop) as openai_client:
        whole = openai_client.chat.completions.create(**asked)
        chunks = list(
            openai_client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        )
    (choice,) = whole.choices
    assert choice.message.content
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == choice.message.content
    *_, last, usage = chunks
    assert last.choices[0].finish_reason == choice.finish_reason
    assert (usage.choices, usage.usage) == ([], whole.usage)
    assert last.choices[0].delta.sources == choice.message.sources
    first = choice.message.sources[0]
    assert (first["document_id"], first["text"], first["start"]) == ("warranty.md", "The warranty lasts 28 months.", 0)
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_older_protocol_gets_a_text_whole_and_as_a_stream(small, scripted):
    with client(small) as openai_client:
        asked = {"model": "scripted", "prompt": "How long?", "max_tokens": 3}
        whole = openai_client.completions.create(**asked)
        chunks = list(openai_client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    (choice,) = whole.choices
    assert (whole.object, choice.text, choice.finish_reason) == ("text_completion", "It lasts 28", "length")
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == choice.text
    assert (chunks[-2].choices[0].finish_reason, chunks[-1].usage) == ("length", whole.usage)
    assert scripted.prompts[-1][-1].content == "How long?"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"messages": [{"role": "user", "content": "a"}]}, "messages"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"echo": True}, "echo"),
        ({"suffix": "end"}, "suffix"),
        ({"best_of": 3}, "best_of"),
    ],
)
def test_a_text_that_cannot_be_completed_as_asked_is_refused_by_the_name_of_the_field(small, fields, param):
    status, body = small.send("POST", "/v1/completions", {"model": "scripted", "prompt": "a"} | fields)
    assert (status, body["error"]["param"]) == (400, param)


def test_our_own_engine_answers_over_our_own_server(small, scripted):
    remote = RemoteModel(f"openai:scripted@{small.url}")
    prompt = (Message("system", "Be brief."), Message("user", "How long?"))
    (whole,) = remote.generate([prompt], Sampling(max_tokens=50, stop=("\u201d",)))
    pieces = list(remote.stream(prompt, Sampling(max_tokens=50)))
    assert "".join(pieces) == REPLY
    assert len(pieces) > 5
    assert whole.text == "It lasts 28 months \u2014 \u201cin all"
    (cut,) = remote.generate([prompt], Sampling(max_tokens=3))
    assert (cut.text, cut.finish, cut.completion_tokens) == ("It lasts 28", "length", 3)
    assert scripted.prompts[-1][0].content.endswith("\n\nBe brief.")
    with pytest.raises(EndpointError, match="'other' is not served here"):
        RemoteModel(f"openai:other@{small.url}").generate([prompt], Sampling())


def test_the_history_is_what_the_client_sends_and_a_message_may_be_sent_back_as_it_came(small, scripted):
    _, first = small.ask("How long?")
    turns = [{"role": "user", "content": "How long?"}, first["choices"][0]["message"]]
    status, _ = small.ask([*turns, {"role": "user", "content": [{"type": "text", "text": "Why?"}]}])
    assert status == 200
    assert [turn.content for turn in scripted.prompts[-1][1:]] == ["How long?", REPLY, "Why?"]


def test_system_messages_wherever_they_stand_are_one_instruction_and_turns_of_one_speaker_are_one(small, scripted):
    turns = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "How long?", "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": None, "reasoning": "hm"},
        {"role": "user", "content": "Does it last?"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "system", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "kind."}]},
        {"role": "user", "content": "Why?"},
    ]
    assert small.ask(turns)[0] == 200
    system, *others = scripted.prompts[-1]
    assert system.content.endswith("\n\nBe brief.\n\nBe\nkind.")
    assert [(turn.role, turn.content) for turn in others] == [
        ("user", "How long?\n\nDoes it last?"),
        ("assistant", "No."),
        ("user", "Why?"),
    ]


def test_models_and_health_are_told(small):
    assert small.send("GET", "/health") == (200, {"status": "ok"})
    assert small.headers("HEAD", "/health", {})["content-length"] == str(len('{"status":"ok"}'))
    with client(small) as openai_client:
        assert [model.id for model in openai_client.models.list()] == ["scripted"]
        assert openai_client.models.retrieve("scripted").owned_by == "lorag"
        with pytest.raises(openai.NotFoundError, match="'other' is not served here"):
            openai_client.models.retrieve("other")


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "gpt-4"}, 404, "model"),
        ({"model": None}, 400, "model"),
        ({"messages": []}, 400, "messages"),
        ({"messages": "hello"}, 400, "messages"),
        ({"messages": ["hello"]}, 400, "messages[0]"),
        ({"messages": [{"role": "user", "content": 7}]}, 400, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "half \ud800"}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": "a", "tool_calls": [1]}]}, 400, "messages[0].tool_calls"),
        ({"messages": [{"role": "tool", "content": "a"}]}, 400, "messages[0].role"),
        ({"messages": [{"role": "system", "content": "a"}]}, 400, "messages"),
        ({"messages": [{"role": [], "content": "a"}]}, 400, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, 400, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": []}]}]}, 400, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": "  "}]}, 400, None),
        ({"messages": [{"role": "user", "content": "word " * 300}]}, 400, None),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": "9"}, 400, "max_tokens"),
        ({"max_tokens": True}, 400, "max_tokens"),
        ({"max_tokens": 4, "max_completion_tokens": 5}, 400, "max_tokens"),
        ({"temperature": -1}, 400, "temperature"),
        ({"temperature": float("nan")}, 400, "temperature"),
        ({"top_p": 0}, 400, "top_p"),
        ({"stop": [1]}, 400, "stop"),
        ({"stop": ""}, 400, "stop"),
        ({"seed": 2**70}, 400, "seed"),
        ({"stream": "yes"}, 400, "stream"),
        ({"stream_options": [1]}, 400, "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, 400, "include_usage"),
        ({"stop": "x" * 300}, 400, "stop"),
        ({"stop": ["x"] * 30}, 400, "stop"),
        ({"temperature": 1e-300}, 400, "temperature"),
        ({"temperature": 1e18}, 400, "temperature"),
        ({"repetition_penalty": 1e-18}, 400, "repetition_penalty"),
        ({"top_k": 2**40}, 400, "top_k"),
        ({"max_tokens": 2**40}, 400, "max_tokens"),
        ({"user": "\ud83d"}, 400, "user"),
        ({"\ud83d": 1}, 400, "?"),
        ({"min_p": 0.1}, 400, "min_p"),
        ({"n": 2}, 400, "n"),
        ({"tools": [{"type": "function"}]}, 400, "tools"),
        ({"response_format": {"type": "xml"}}, 400, "response_format"),
    ],
)
def test_what_cannot_be_answered_as_asked_is_refused_by_its_name(small, fields, status, param):
    got, body = small.ask(**{"max_tokens": 5, **fields})
    assert (got, body["error"]["param"]) == (status, param)
    assert body["error"]["message"]


def test_what_changes_no_answer_is_accepted(small):
    fields = {"n": 1, "user": "me", "frequency_penalty": 0.0, "tools": None, "logit_bias": {}, "metadata": {"a": "b"}}
    status, body = small.ask(**fields, max_completion_tokens=2)
    assert (status, body["choices"][0]["message"]["content"]) == (200, "It lasts")


def test_what_clients_send_besides_is_taken_as_openai_takes_it_and_what_has_no_effect_is_named(small):
    asked = {"model": "scripted", "messages": [{"role": "user", "content": "How long?"}]}
    with client(small) as openai_client:
        answer = openai_client.chat.completions.with_raw_response.create(
            **asked,
            max_tokens=-1,
            seed=-7,
            stop=None,
            top_logprobs=0,
            reasoning_effort="low",
            extra_body={"session_id": "x", "features": {"web": False}, "b\u00e4d\r\nname": 1},
        )
        plain = openai_client.chat.completions.with_raw_response.create(**asked)
    assert answer.headers["Lorag-Ignored"] == "features, session_id"
    assert answer.parse().choices[0].message.content == REPLY
    assert "Lorag-Ignored" not in plain.headers


def test_bodies_that_are_no_request_are_refused(small):
    for body in (b"", b"{", b"[]", b"\xff", b"[" * 4000):
        status, answer = small.send("POST", "/v1/chat/completions", body)
        assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
    assert small.ask("x" * 6000)[0] == 413
    assert small.send("GET", "/v1/nothing")[0] == 404
    assert small.send("GET", "/v1/chat/completions")[0] == 405


class Endless(ScriptedModel):
    """Says one word over and over, and knows when its stream was closed."""

    def __init__(self):
        super().__init__(lambda prompt: "", "endless")
        self.closed = threading.Event()

    def stream(self, prompt, sampling):
        try:
            while True:
                yield "word "
        finally:
            self.closed.set()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_the_engine(serve, stream):
    model = Endless()
    running = serve(Service(by_name(ChatBot(model))))
    connection = HTTPConnection("127.0.0.1", running.port, timeout=30)
    body = {"model": "endless", "messages": [{"role": "user", "content": "Go"}], "stream": stream}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), JSON)
    if stream:
        answer = connection.getresponse()
        assert answer.readline().startswith(b"data: ")
        assert not model.closed.is_set()
        answer.close()
    connection.close()
    assert model.closed.wait(10)
    assert running.send("GET", "/health")[0] == 200


class Failing(ScriptedModel):
    """Breaks off after one word."""

    def stream(self, prompt, sampling):
        yield "One"
        raise ModelError(f"broke at a place of this machine: {prompt[-1].content}")


def test_a_failure_is_told_without_what_is_inside_and_ends_a_stream_without_its_mark(serve, caplog):
    running = serve(Service(by_name(ChatBot(Failing(lambda prompt: "", "failing")))))
    status, body = running.ask()
    assert (status, body["error"]["type"], "place" in body["error"]["message"]) == (500, "server_error", False)
    connection = HTTPConnection("127.0.0.1", running.port, timeout=30)
    asked = {"model": "failing", "messages": [{"role": "user", "content": "Go"}], "stream": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(asked), JSON)
    events = connection.getresponse().read().decode().strip().split("\n\n")
    connection.close()
    assert "One" in events[-2]
    assert json.loads(events[-1].removeprefix("data: "))["error"]["type"] == "server_error"
    assert len([record for record in caplog.records if record.name == "lorag.serving"]) == 2
    remote = RemoteModel(f"openai:failing@{running.url}")
    with pytest.raises(EndpointError):
        list(remote.stream((Message("user", "Go"),), Sampling()))
