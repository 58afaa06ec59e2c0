"""What was done is counted as Prometheus reads it, by model and route, and of texts nothing but their lengths."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

from listening import wait_for
from lorag.chat.bot import ChatBot
from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.serving.prometheus import CONTENT_TYPE, Measures
from lorag.serving.routes import Service, by_name
from lorag.settings import ServeSettings
from lorag.types import Answer, Usage
from paused import Paused

ASKED = {"messages": [{"role": "user", "content": "How long?"}]}


def read(running, **headers):
    """The values by name and labels; every line is as the text format wants it."""
    connection = HTTPConnection("127.0.0.1", running.port, timeout=30)
    connection.request("GET", "/metrics", headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert (answer.status, answer.getheader("Content-Type")) == (200, CONTENT_TYPE)
    return parsed(text)


def parsed(text):
    values, known = {}, set()
    for line in text.splitlines():
        if head := re.fullmatch(r"# (HELP|TYPE) (\w+) (.+)", line):
            known.add((head[1], head[2]))
            assert head[1] == "HELP" or head[3] in ("counter", "gauge")
            continue
        sample = re.fullmatch(r'(\w+)(?:\{((?:\w+="(?:[^"\\\n]|\\.)*",?)+)\})? ([\d.e+-]+)', line)
        assert sample is not None, line
        name, labels, value = sample.groups()
        assert {("HELP", name), ("TYPE", name)} <= known
        values[name, *re.findall(r'\w+="((?:[^"\\]|\\.)*)"', labels or "")] = float(value)
    return values


def test_requests_tokens_and_seconds_are_counted_by_model(serve):
    bots = {name: ChatBot(ScriptedModel(lambda prompt: "It lasts 28 months.", name)) for name in ("base", "support")}
    running = serve(Service(bots, embedder=HashEmbedder()))
    for _ in range(2):
        running.send("POST", "/v1/chat/completions", ASKED | {"model": "support"})
    running.streamed()
    running.ask(max_tokens=2)
    running.ask(max_tokens=0)
    running.send("POST", "/v1/embeddings", {"model": "hash-256", "input": "three little words"})
    running.send("GET", "/v1/nothing")
    values = read(running)
    assert values["lorag_requests_total", "/v1/chat/completions", "200"] == 4
    assert values["lorag_requests_total", "/v1/chat/completions", "400"] == 1
    assert values["lorag_requests_total", "/v1/embeddings", "200"] == 1
    assert values["lorag_requests_total", "other", "404"] == 1
    assert values["lorag_answers_total", "support", "stop"] == 2
    assert (values["lorag_answers_total", "base", "stop"], values["lorag_answers_total", "base", "length"]) == (1, 1)
    assert values["lorag_tokens_total", "support", "completion"] == 8
    assert values["lorag_tokens_total", "base", "completion"] == 6
    assert values["lorag_tokens_total", "hash-256", "prompt"] == 3
    assert values["lorag_tokens_total", "support", "prompt"] > 0
    parts = {key[2] for key in values if key[:2] == ("lorag_seconds_total", "base")}
    assert parts == {"wait", "search", "prefill", "decode"}
    assert read(running)["lorag_requests_total", "/metrics", "200"] == 1


def test_the_parts_of_the_time_are_kept_apart():
    measures = Measures()
    for _ in range(2):
        measures.answer("base", Answer("Yes.", usage=Usage(7, 2, 0.5, 2.0, 0.25), refused=True))
    measures.waited("base", 1.5)
    values = parsed(measures.text({}))
    seconds = {labels[-1]: value for (name, *labels), value in values.items() if name == "lorag_seconds_total"}
    assert seconds == {"search": 1.0, "prefill": 0.5, "decode": 3.5, "wait": 1.5}
    assert values["lorag_answers_total", "base", "refused"] == 2


def test_a_name_with_quotes_and_line_breaks_breaks_no_line():
    measures = Measures()
    measures.waited('a "b"\\\nc', 1.0)
    assert parsed(measures.text({}))["lorag_seconds_total", r"a \"b\"\\\nc", "wait"] == 1


def test_answers_that_end_early_are_counted_as_far_as_they_came(serve):
    model = Paused(words=2, whole=1)
    running = serve(Service(by_name(ChatBot(model)), settings=ServeSettings(max_seconds=1)))
    status, _ = running.ask(n=2, temperature=0.5)
    assert status == 504
    wait_for(lambda: read(running)["lorag_answers_total", "scripted", "unfinished"] == 1)
    values = read(running)
    assert values["lorag_answers_total", "scripted", "stop"] == 1
    assert values["lorag_tokens_total", "scripted", "completion"] == 4 + 2
    asked = {"model": "scripted", "messages": [{"role": "user", "content": "Hello?"}], "stream": True}
    with running.streaming("/v1/chat/completions", asked) as answer:
        while b"lasts" not in answer.readline():
            pass
    wait_for(lambda: read(running)["lorag_answers_total", "scripted", "unfinished"] == 2)
    assert read(running)["lorag_tokens_total", "scripted", "completion"] == 4 + 2 + 2
    model.gate.set()


class Held(ScriptedModel):
    """Answers when it is let."""

    def __init__(self, gate):
        super().__init__(lambda prompt: "Yes.")
        self.gate = gate

    def stream(self, prompt, sampling):
        self.gate.wait(30)
        return (yield from super().stream(prompt, sampling))


def test_the_queue_is_shown_and_who_is_turned_away_is_told_when_to_come_again(serve):
    gate = threading.Event()
    running = serve(Service(by_name(ChatBot(Held(gate))), settings=ServeSettings(max_answers=2, max_waiting=3)))
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(running.ask) for _ in range(5)]
        wait_for(lambda: read(running)["lorag_requests_waiting",] == 3)
        values = read(running)
        assert (values["lorag_answers_running",], values["lorag_requests_waiting_limit",]) == (2, 3)
        connection = HTTPConnection("127.0.0.1", running.port, timeout=30)
        connection.request(
            "POST",
            "/v1/chat/completions",
            b'{"model": "scripted", "messages": [{"role": "user", "content": "a"}]}',
            {"Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert (answer.status, int(answer.getheader("Retry-After", "0")) > 0) == (429, True)
        gate.set()
        assert {each.result()[0] for each in asked} == {200}
    wait_for(lambda: read(running)["lorag_answers_running",] == 0)
    assert read(running)["lorag_requests_total", "/v1/chat/completions", "429"] == 1


def test_with_a_key_the_counts_are_not_for_everybody(serve):
    running = serve(Service(by_name(ChatBot(ScriptedModel(lambda prompt: "Yes."))), key="secret"))
    assert running.send("GET", "/metrics")[0] == 401
    assert read(running, Authorization="Bearer secret")
