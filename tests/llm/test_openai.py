"""A remote model over a real wire: order, settings, usage, retries, and every way in which a server can fail."""

import itertools
import json
import logging
import socket
import threading
import time
import warnings
from collections import Counter
from dataclasses import replace
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from lorag.errors import EndpointError, InputError
from lorag.llm.engines.openai import Address, RemoteModel, require_named
from lorag.llm.engines.scripted import ScriptedModel
from lorag.settings import RemoteSettings
from lorag.types import Message, Sampling, ThinkingSampling

PROMPT = (Message("system", "Be brief."), Message("user", "How long is the warranty?"))
ONCE = RemoteSettings(retries=0, timeout_seconds=30)
ECHO = ScriptedModel(lambda prompt: f"You asked: {prompt[-1].content}", name="echo")


def question(n):
    return (Message("user", f"number {n}"),)


def test_answers_come_in_order_and_several_are_on_their_way_at_once(endpoint):
    together, busy, most, lock = 4, [0], [0], threading.Lock()
    gate = threading.Barrier(together, timeout=30)

    def before(handler, asked):
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        gate.wait()
        with lock:
            busy[0] -= 1

    model = RemoteModel(endpoint(ECHO, before).name, RemoteSettings(concurrency=together))
    texts = [c.text for c in model.generate([question(n) for n in range(12)], Sampling())]
    assert texts == [f"You asked: number {n}" for n in range(12)]
    assert most == [together]


def test_settings_and_messages_are_sent_as_they_are_and_usage_comes_back(endpoint):
    server = endpoint(ECHO)
    model = RemoteModel(server.name)
    sampling = Sampling(max_tokens=7, temperature=0.5, top_p=0.9, seed=3, stop=("END",))
    (done,) = model.generate([PROMPT], sampling)
    sent = server.requests[0]
    expected = {"model": "echo", "max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ["END"]}
    assert {name: sent[name] for name in expected} == expected
    assert sent["messages"] == [{"role": turn.role, "content": turn.content} for turn in PROMPT]
    (theirs,) = ECHO.generate([PROMPT], sampling)
    assert (done.text, done.prompt_tokens, done.completion_tokens) == (
        theirs.text,
        theirs.prompt_tokens,
        theirs.completion_tokens,
    )
    assert done.seconds > 0


def test_what_the_protocol_cannot_carry_is_refused_or_said(endpoint):
    server = endpoint(ECHO)
    model = RemoteModel(server.name)
    with pytest.raises(InputError, match=r"openai:echo@.* does not support num_beams 4"):
        model.generate([PROMPT], Sampling(num_beams=4))
    with pytest.warns(UserWarning, match="may ignore top_k and repetition_penalty, which the protocol"):
        model.generate([PROMPT], Sampling(temperature=1.0, top_k=5, repetition_penalty=1.1))
    assert (server.requests[-1]["top_k"], server.requests[-1]["repetition_penalty"]) == (5, 1.1)


def test_a_busy_server_is_asked_again_and_then_given_up(endpoint):
    answers = iter([503, 429])

    def before(handler, asked):
        status = next(answers, None)
        return status and (handler.send(status, {"error": {"message": "busy"}}) or True)

    server = endpoint(ECHO, before)
    assert RemoteModel(server.name).generate([question(1)], Sampling())[0].text == "You asked: number 1"
    assert len(server.requests) == 3
    answers = iter([429])
    with pytest.raises(EndpointError, match=r"refuses 'echo': .*busy.*; lower concurrency"):
        RemoteModel(server.name, ONCE).generate([question(1)], Sampling())


def test_after_a_failure_no_more_is_asked(endpoint):
    server = endpoint(ECHO, lambda handler, asked: handler.send(400, {"error": {"message": "too long"}}) or True)
    model = RemoteModel(server.name, RemoteSettings(concurrency=2, retries=0))
    with pytest.raises(EndpointError, match=r"refuses 'echo': .*too long"):
        model.generate([question(n) for n in range(200)], Sampling())
    assert len(server.requests) < 100


def test_a_server_that_is_down_or_slow_is_named_with_what_to_do(endpoint):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    down = RemoteModel(f"openai:m@http://127.0.0.1:{port}/v1", ONCE)
    for ask in (lambda: down.generate([PROMPT], Sampling()), lambda: next(down.stream(PROMPT, Sampling()))):
        with pytest.raises(EndpointError, match=rf"127\.0\.0\.1:{port}/v1 cannot be reached: .*; start the server"):
            ask()
    server = endpoint(ECHO, lambda handler, asked: time.sleep(3))
    slow = RemoteModel(server.name, RemoteSettings(retries=1, timeout_seconds=0.2))
    with pytest.raises(EndpointError, match=r"did not answer within 0\.2 seconds, asked 2 times; raise timeout"):
        slow.generate([PROMPT], Sampling())


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'"hello"', b"{}", b'{"choices": []}', b'{"choices": [{"index": 0}]}', b"null", b"<html>"]
)
def test_an_answer_that_is_none_is_refused(endpoint, body):
    server = endpoint(ECHO, lambda handler, asked: handler.send(200, body) or True)
    with pytest.raises(EndpointError, match=r"did not answer with a chat completion: .*; expected an OpenAI"):
        RemoteModel(server.name, ONCE).generate([PROMPT], Sampling())


@pytest.mark.parametrize("how", ["cut", "clean end", "broken JSON", "error event"])
def test_a_stream_that_breaks_off_is_raised_to_its_reader(endpoint, how):
    def before(handler, asked):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        choice = {"index": 0, "delta": {"content": "It lasts"}, "finish_reason": None}
        handler.event({**handler.envelope("chat.completion.chunk"), "choices": [choice]})
        if how == "broken JSON":
            handler.event('{"choices": [')
        if how == "error event":
            handler.event({"error": {"message": "out of memory"}})
        if how != "cut":
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True
        return True

    stream = RemoteModel(endpoint(ECHO, before).name, ONCE).stream(PROMPT, Sampling())
    assert next(stream) == "It lasts"
    with pytest.raises(EndpointError):
        next(stream)


def test_a_stream_tells_usage_and_the_time_of_its_first_piece(endpoint):
    pieces, stream = [], RemoteModel(endpoint(ECHO).name).stream(PROMPT, Sampling())
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            done = end.value
            break
    assert "".join(pieces) == done.text == "You asked: How long is the warranty?"
    assert (done.prompt_tokens, done.completion_tokens) == (7, 7)
    assert 0 < done.prefill_seconds <= done.seconds


def test_the_key_comes_from_the_environment_and_is_shown_nowhere(endpoint, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    caplog.set_level(logging.DEBUG)
    refuse = {"error": {"message": "Incorrect API key provided: sk-very-secret"}}
    server = endpoint(ECHO, lambda handler, asked: handler.send(401, refuse) or True)
    model = RemoteModel(server.name, ONCE)
    with pytest.raises(EndpointError, match="set OPENAI_API_KEY") as caught:
        model.generate([PROMPT], Sampling())
    assert server.requests[0]["headers"]["authorization"] == "Bearer sk-very-secret"
    shown = [str(caught.value), repr(model), model.name, caplog.text, str(caught.value.__cause__)]
    assert "sk-very-secret" not in "".join(shown)


def test_names_of_another_form_or_with_secrets_are_refused():
    assert Address.parse("openai:org/m:7b@http://h:1/v1/") == Address("org/m:7b", "http://h:1/v1")
    for name in ("openai:m", "openai:@http://h", "openai:m@ftp://h", "m@http://h"):
        with pytest.raises(InputError, match="expected openai:MODEL@URL"):
            Address.parse(name)
    assert Address.parse("openai:m@http://h/openai/?api-version=2024-10-21").url == "http://h/openai"
    secrets = ("https://user:word@h/v1", "https://h/v1?key=word", "https://h/v1?api-version=1&key=word")
    for secret in secrets:
        with pytest.raises(InputError, match=r"password, or a query other than \?api-version") as caught:
            Address.parse(f"openai:m@{secret}")
        assert "word" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"concurrency": 0}, "concurrency 0 is below 1"),
        ({"timeout_seconds": 0}, "timeout_seconds 0 is not above 0"),
        ({"retries": -1}, "retries -1 is below 0"),
        ({"outage_seconds": 0}, "outage_seconds 0 is below 1"),
    ],
)
def test_settings_that_ask_nothing_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        RemoteSettings(**settings)


def test_nothing_is_said_where_nothing_goes_beyond_the_protocol(endpoint):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RemoteModel(endpoint(ECHO).name).generate([PROMPT], Sampling())


def test_a_deployment_of_azure_answers_by_the_name_of_its_model():
    answer = SimpleNamespace(model="gpt-5-mini-2025-08-07")
    require_named(Address("ours", "https://team.openai.azure.com/openai/v1"), answer)
    for url in ("https://team.openai.azure.com.example.org/v1", "https://example.org/openai.azure.com/v1"):
        with pytest.raises(EndpointError, match="was asked for 'ours' but answered as 'gpt-5-mini-2025-08-07'"):
            require_named(Address("ours", url), answer)


@pytest.mark.parametrize(
    ("base", "path", "header"),
    [
        ("/openai?api-version=2024-10-21", "/openai/deployments/ours/chat/completions", ("api-key", "word")),
        (
            "/openai/deployments/ours/?api-version=2024-10-21",
            "/openai/deployments/ours/chat/completions",
            ("api-key", "word"),
        ),
        ("/openai/v1?api-version=preview", "/openai/v1/chat/completions", ("authorization", "Bearer word")),
    ],
)
def test_an_address_of_azure_has_the_version_of_its_api(endpoint, monkeypatch, base, path, header):
    monkeypatch.setenv("OPENAI_API_KEY", "word")
    paths = []
    server = endpoint(ECHO, lambda handler, asked: paths.append(handler.path))
    server.models = {"data": [{"id": "ours"}]}
    model = RemoteModel(f"openai:ours@http://127.0.0.1:{server.server_address[1]}{base}", ONCE)
    model.require_reachable()
    assert model.generate([question(1)], Sampling())[0].text == "You asked: number 1"  # from "echo"
    assert "".join(model.stream(question(2), Sampling())) == "You asked: number 2"
    assert paths == [f"{path}?{base.partition('?')[2]}"] * 2
    sent = server.requests[0]["headers"]
    assert {name: sent[name] for name in ("api-key", "authorization") if name in sent} == dict([header])


def test_an_answer_by_another_model_is_refused_and_a_dated_release_is_the_same(endpoint):
    named = {"name": "echo"}

    def before(handler, asked):
        handler.envelope = lambda kind: {"id": "1", "object": kind, "created": 0, "model": named["name"]}

    model = RemoteModel(endpoint(ECHO, before).name, ONCE)
    for named["name"] in ("echo", "echo-2025-08-06", "echo-0613", "echo:latest", ""):
        assert model.generate([question(1)], Sampling())[0].text == "You asked: number 1"
    for named["name"] in ("echo-mini", "base", "echo-7"):
        expected = rf"was asked for 'echo' but answered as '{named['name']}'; .* name it \(openai:{named['name']}@http"
        with pytest.raises(EndpointError, match=expected):
            model.generate([question(1)], Sampling())
        with pytest.raises(EndpointError, match=expected):
            next(model.stream(question(1), Sampling()))


class Clock:
    """The time of the waits between attempts: a sleep moves it, and nothing waits."""

    def __init__(self):
        self.now, self.slept, self.lock = 1000.0, [], threading.Lock()

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        with self.lock:
            self.now += seconds
            self.slept.append(seconds)


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("lorag.llm.engines.patience.time", made)
    return made


PATIENT = RemoteSettings(retries=1, concurrency=2, timeout_seconds=30, outage_seconds=300.0)


def busy(handler, headers, status=429, **error):
    data = json.dumps({"error": {"message": "slow down", **error}}).encode()
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(data)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data)
    return True


@pytest.mark.parametrize(
    ("headers", "wait"),
    [({"Retry-After": "1"}, 1.0), ({"retry-after-ms": "1500"}, 1.5), ({"Retry-After": "soon"}, None), ({}, None)],
)
def test_a_server_that_is_busy_for_a_minute_is_asked_until_it_answers(endpoint, clock, caplog, headers, wait):
    opens = clock.now + 60
    server = endpoint(ECHO, lambda handler, asked: clock.now < opens and busy(handler, headers))
    model = RemoteModel(server.name, replace(PATIENT, concurrency=1))
    done = model.generate([question(n) for n in range(3)], Sampling())
    assert [c.text for c in done] == [f"You asked: number {n}" for n in range(3)]
    if wait:
        assert clock.slept == [wait] * round(60 / wait)
    else:
        assert all(0.375 <= seconds <= 8 for seconds in clock.slept)
        assert len(clock.slept) < 16
    told = "the server is busy or lost; waiting up to 300 seconds for it"
    assert caplog.messages.count(told) == 1
    opens = clock.now + 60
    assert "".join(model.stream(question(1), Sampling())) == "You asked: number 1"
    assert clock.now >= opens
    assert caplog.messages.count(told) == 2


def test_the_wait_may_be_a_date(endpoint, clock):
    turn = iter([True])
    date = formatdate(time.time() + 40, usegmt=True)
    server = endpoint(ECHO, lambda handler, asked: next(turn, False) and busy(handler, {"Retry-After": date}, 503))
    RemoteModel(server.name, PATIENT).generate([PROMPT], Sampling())
    assert 20 < clock.slept[0] <= 40


def test_a_server_that_only_stays_busy_is_given_up_after_its_time(endpoint, clock):
    server = endpoint(ECHO, lambda handler, asked: busy(handler, {"Retry-After": "7"}))
    began = clock.now
    with pytest.raises(EndpointError, match=r"refuses 'echo': .*slow down.*; lower concurrency"):
        RemoteModel(server.name, PATIENT).generate([PROMPT], Sampling())
    assert clock.now - began == 294
    for headers, error in (({"Retry-After": "3600"}, {}), ({}, {"code": "insufficient_quota"})):
        server.before = lambda handler, asked, headers=headers, error=error: busy(handler, headers, **error)
        slept = len(clock.slept)
        with pytest.raises(EndpointError, match="slow down"):
            RemoteModel(server.name, PATIENT).generate([PROMPT], Sampling())
        assert len(clock.slept) == slept


def test_answers_to_other_questions_keep_a_busy_server_from_being_given_up(endpoint, clock):
    refused: Counter[str] = Counter()
    lock = threading.Lock()

    def before(handler, asked):
        with lock:
            text = asked["messages"][-1]["content"]
            refused[text] += 1
            is_busy = text == "number 0" and refused[text] <= 100  # 500 seconds, while the others are answered
            clock.now += 0 if is_busy else 5
        return is_busy and busy(handler, {"Retry-After": "5"})

    model = RemoteModel(endpoint(ECHO, before).name, PATIENT)
    assert len(model.generate([question(n) for n in range(200)], Sampling())) == 200


def test_a_server_that_loses_one_connection_in_ten_is_asked_again(endpoint, clock):
    turn, lock = iter(range(10**6)), threading.Lock()

    def before(handler, asked):
        with lock:
            handler.close_connection = next(turn) % 10 == 9
        return handler.close_connection

    server = endpoint(ECHO, before)
    model = RemoteModel(server.name, PATIENT)
    done = model.generate([question(n) for n in range(40)], Sampling())
    assert [c.text for c in done] == [f"You asked: number {n}" for n in range(40)]
    turn, began = itertools.repeat(9), clock.now
    with pytest.raises(EndpointError, match=r"cannot be reached: .*; start the server"):
        model.generate([PROMPT], Sampling())
    assert 280 < clock.now - began <= 300


@pytest.mark.parametrize(("status", "attempts"), [(500, 2), (409, 2), (400, 1), (404, 1)])
def test_other_errors_are_repeated_a_number_of_times(endpoint, clock, status, attempts):
    server = endpoint(ECHO, lambda handler, asked: busy(handler, {}, status))
    with pytest.raises(EndpointError, match="slow down"):
        RemoteModel(server.name, PATIENT).generate([PROMPT], Sampling())
    assert len(server.requests) == attempts


def test_thoughts_take_at_most_half_of_a_context_that_is_known(endpoint):
    server = endpoint(ECHO)
    for context, most in ((None, 2048), (1000, 500)):
        model = RemoteModel(server.name, RemoteSettings(context_tokens=context))
        model.generate([PROMPT], ThinkingSampling())
        assert server.requests[-1]["max_tokens"] == most
    assert model.room(PROMPT, ThinkingSampling()) == model.room(PROMPT, Sampling(max_tokens=500))


def test_the_context_is_known_where_the_settings_tell_it(endpoint):
    server = endpoint(ECHO)
    assert RemoteModel(server.name).room(PROMPT, Sampling()) is None
    told = RemoteModel(server.name, RemoteSettings(context_tokens=100))
    assert told.room(PROMPT, Sampling(max_tokens=20)) == 100 - 20 - sum(told.count_tokens(t.content) for t in PROMPT)


def test_a_server_is_reached_before_it_is_asked_or_named(endpoint):
    server = endpoint(ECHO)
    model = RemoteModel(server.name, ONCE)
    for server.models in (
        None,
        {},
        {"data": [{"id": "other", "max_model_len": 9}, {"id": "echo", "max_model_len": "?"}]},
    ):
        model.require_reachable()
        assert model.room(PROMPT, Sampling()) is None
    server.models = {"data": [{"id": "echo", "max_model_len": 4096}]}
    told = RemoteModel(server.name, RemoteSettings(context_tokens=100))
    for each, length in ((model, 4096), (told, 100)):
        each.require_reachable()
        assert each.room((), Sampling(max_tokens=20)) == length - 20
    base = {"id": "base", "max_model_len": 2048, "parent": None}
    server.models = {"data": [base, {"id": "echo", "parent": "base", "max_model_len": None}]}  # as vLLM lists a LoRA
    adapted = RemoteModel(server.name, ONCE)
    adapted.require_reachable()
    assert adapted.room((), Sampling(max_tokens=20)) == 2028
    with pytest.raises(EndpointError, match="cannot be reached"):
        RemoteModel("openai:m@http://127.0.0.1:9/v1", RemoteSettings(retries=14)).require_reachable()
