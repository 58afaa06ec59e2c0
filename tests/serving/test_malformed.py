"""A hundred malformed requests of a kind: each is answered, none as a failure of the server, and nothing piles up."""

import json
import random
import socket

import psutil
import pytest

from lorag.chat.bot import ChatBot
from lorag.llm.engines.scripted import ScriptedModel
from lorag.serving.routes import Service, by_name

ROUNDS = 100
FIELDS = [
    *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p"),
    *("seed", "stop", "top_k", "n", "tools", "user", "repetition_penalty", "logit_bias", "response_format"),
    *("tool_choice", "modalities", "metadata", "unheard_of"),
]
ODD = [
    *(
        None,
        True,
        -1,
        0,
        1e-308,
        1e308,
        2**63,
        -(2**70),
        10**300,
        "",
        "x",
        "\ud800",
        "\0",
        "x" * 20_000,
        [],
        {},
        [[]],
        [{}],
    ),
    *([None], ["x"] * 5000, {"x": {"y": []}}, {"role": "user"}, [{"role": "user"}], [{"role": [], "content": {}}]),
    *(
        [{"role": "user", "content": part}]
        for part in (None, 1, [], [1], [{}], [{"type": "text"}], {"type": "text"}, "\udfff")
    ),
    [{"role": "assistant", "content": "a", "tool_calls": [{"id": 1}]}, {"role": "tool", "content": "b"}],
    *(float("nan"), float("inf"), -float("inf")),
]


@pytest.fixture(scope="module")
def running(serve):
    return serve(Service(by_name(ChatBot(ScriptedModel(lambda prompt: "Yes.", context_tokens=4000)))))


def usual():
    return {"model": "scripted", "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 5, "stop": ["x"]}


def odd_fields(draw):
    chosen = {draw.choice(FIELDS): draw.choice(ODD) for _ in range(draw.randint(1, 3))}
    return json.dumps(usual() | chosen).encode()


def cut(draw):
    whole = json.dumps(usual()).encode()
    return whole[: draw.randrange(len(whole))]


def flipped(draw):
    data = bytearray(json.dumps(usual()).encode())
    for _ in range(draw.randint(1, 8)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


def nested(draw):
    depth = draw.choice((100, 900, 5_000, 300_000))
    field = draw.choice(("metadata", "messages", "tools"))
    inner = draw.choice(("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth))
    return json.dumps(usual())[:-1].encode() + f', "{field}": {inner}}}'.encode()


def other_bytes(draw):
    return draw.choice(
        (draw.randbytes(draw.randrange(500)), "{}".encode("utf-16"), b"\xed\xa0\x80", b'"\xed\xa0\x80"', b"9" * 9000)
    )


@pytest.mark.parametrize("kind", [odd_fields, cut, flipped, nested, other_bytes])
def test_a_malformed_body_is_refused_or_answered(running, kind):
    draw = random.Random(kind.__name__)
    before = psutil.Process().memory_info().rss
    for _ in range(ROUNDS):
        body = kind(draw)
        status, answer = running.send("POST", "/v1/chat/completions", body)
        assert status in (200, 400, 404, 413), (body[:200], answer)
        assert status == 200 or len(answer["error"]["message"]) < 600
    assert psutil.Process().memory_info().rss - before < 100e6
    assert running.ask()[0] == 200


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
        with socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection:
            connection.sendall(RAW[number % len(RAW)])
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer == b"" or answer.split(b" ")[1][:1] in (b"2", b"4"), (RAW[number % len(RAW)][:80], answer)
    assert running.ask()[0] == 200
