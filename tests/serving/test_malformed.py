"""A hundred malformed requests of a kind: each is answered, none as a failure of the server, and nothing piles up."""

import random
import socket
from contextlib import contextmanager, suppress

import psutil
import pytest

from lorag.chat.bot import ChatBot
from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.serving.routes import Service, by_name
from lorag.serving.uploads import Uploads
from lorag.settings import ChunkSettings, RetrievalSettings, ServeSettings
from malformed import BODIES, ROUNDS, odd_name

CHAT = {
    **{"model": "scripted", "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 5, "stop": ["x"]},
    **{"stream": False, "stream_options": {}, "temperature": 0.5, "top_p": 1, "seed": 1, "n": 1, "tools": []},
    **{"max_completion_tokens": 5, "top_k": 1, "user": "a", "repetition_penalty": 1, "logit_bias": {}},
    **{"response_format": {"type": "text"}, "tool_choice": "none", "modalities": ["text"], "logprobs": False},
}
ROUTES = {
    "chat/completions": CHAT,
    "completions": {
        **{"model": "scripted", "prompt": "Hello?", "max_tokens": 5, "stop": ["x"], "stream": False, "logprobs": 1},
        **{"echo": False, "best_of": 1, "suffix": "", "n": 1},
    },
    "embeddings": {
        **{"model": "hash", "input": ["Hello?"], "dimensions": 1, "encoding_format": "float"},
        **{"input_type": "query"},
    },
}


@pytest.fixture(scope="module")
def running(serve, tmp_path_factory):
    embedder = HashEmbedder()
    folder = tmp_path_factory.mktemp("docs")
    knowledge = Knowledge.open(tmp_path_factory.mktemp("index"), embedder, ChunkSettings(), RetrievalSettings())
    bots = by_name(ChatBot(ScriptedModel(lambda prompt: "Yes.", context_tokens=4000)))
    settings = ServeSettings(max_upload_bytes=5000)
    return serve(Service(bots, uploads=Uploads(folder, knowledge), settings=settings, embedder=embedder))


@contextmanager
def steady_memory(running):
    """What is sent in the block leaves nothing behind, and the server answers after it."""
    before = psutil.Process().memory_info().rss
    yield
    assert psutil.Process().memory_info().rss - before < 100e6
    assert running.ask()[0] == 200


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("route", ROUTES)
def test_a_malformed_body_is_refused_or_answered(running, route, body):
    draw = random.Random(body.__name__)
    with steady_memory(running):
        for _ in range(ROUNDS):
            sent = body(draw, ROUTES[route])
            status, answer = running.send("POST", f"/v1/{route}", sent)
            assert status in (200, 400, 404, 413), (sent[:200], answer)
            assert status == 200 or len(answer["error"]["message"]) < 600


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/v1/models/", "/v1/documents/", "/v1/", "/metrics", "/health"])
def test_a_malformed_address_is_refused_or_answered(running, method, path):
    draw = random.Random(method + path)
    with steady_memory(running):
        for _ in range(ROUNDS):
            content = draw.choice((b"", b"x" * 6000, b"\xff\xfe\0", b"# Fine\n\nSo it is.\n", draw.randbytes(99)))
            name = odd_name(draw)
            status, answer = running.send(method, path + name, content)
            assert status in (200, 201, 307, 400, 403, 404, 405, 413, 422), (name[:200], answer)


RAW = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nOrigin: \xff\xfe\r\n\r\n",
    b"GET /v1/models/%ff%00%0a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v1/" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: \xff\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n{}",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    b"\r\n\r\n\r\n",
    b"\0" * 1000,
]


def test_what_is_no_http_is_refused_or_cut_off(running, caplog):
    """The client has sent all that it sends, and waits for the end."""
    for number in range(ROUNDS * 3):
        answer = b""
        with (
            socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection,
            suppress(ConnectionError),  # cut off before all was read
        ):
            connection.sendall(RAW[number % len(RAW)])
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer == b"" or answer.split(b" ")[1][:1] in (b"2", b"4"), (RAW[number % len(RAW)][:80], answer)
    assert running.ask()[0] == 200
