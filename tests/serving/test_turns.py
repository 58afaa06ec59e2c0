"""A few answers are made at once, a few requests wait, the rest get status 429; each answer has a time limit."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import pytest

from listening import wait_for
from lorag.chat.bot import ChatBot
from lorag.errors import InputError
from lorag.llm.engines.scripted import ScriptedModel
from lorag.serving.routes import Service, by_name
from lorag.settings import ServeSettings


class Gated(ScriptedModel):
    """Answers once its gate is open, and counts how many answers are made at once."""

    def __init__(self, pieces=1):
        super().__init__(lambda prompt: "", "gated")
        self.gate, self.working, self.most, self.closed = threading.Event(), 0, 0, threading.Event()
        self.pieces = pieces

    def stream(self, prompt, sampling):
        self.working += 1
        self.most = max(self.most, self.working)
        try:
            for _ in range(self.pieces):
                yield "word "
            self.gate.wait(30)
            yield "last"
            return (yield from super().stream(prompt, sampling))
        finally:
            self.working -= 1
            self.closed.set()


def test_some_are_answered_at_once_some_wait_and_others_are_told_to_come_again(serve):
    model = Gated()
    running = serve(Service(by_name(ChatBot(model)), settings=ServeSettings(max_answers=2, max_waiting=3)))
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(running.ask) for _ in range(8)]
        wait_for(lambda: sum(each.done() for each in asked) == 3)
        assert running.send("GET", "/health")[0] == 200
        model.gate.set()
        answers = [each.result() for each in asked]
    assert sorted(status for status, _ in answers) == [200] * 5 + [429] * 3
    assert {body["error"]["code"] for status, body in answers if status == 429} == {"queue_full"}
    assert model.most == 2
    assert running.ask()[0] == 200


@pytest.mark.parametrize("pieces", [0, 3])
def test_an_answer_that_takes_too_long_is_given_up_whole_and_as_a_stream(serve, pieces):
    model = Gated(pieces)
    settings = ServeSettings(max_answers=1, max_waiting=0, max_seconds=0.3)
    running = serve(Service(by_name(ChatBot(model)), settings=settings))
    status, body = running.ask()
    assert (status, body["error"]["code"]) == (504, "timeout")
    assert running.ask()[0] == 429  # the thread is still at its piece, and so its place is taken
    model.gate.set()
    assert model.closed.wait(10)
    wait_for(lambda: running.ask()[0] == 200)
    model.gate.clear()
    assert '"code": "timeout"' in running.streamed().strip().split("\n\n")[-1]
    model.gate.set()


def test_who_waits_too_long_is_given_up(serve):
    model = Gated()
    running = serve(
        Service(by_name(ChatBot(model)), settings=ServeSettings(max_answers=1, max_waiting=1, max_seconds=0.3))
    )
    with ThreadPoolExecutor(2) as pool:
        assert [status for status, _ in pool.map(lambda _: running.ask(), range(2))] == [504, 504]
    model.gate.set()
    wait_for(lambda: running.ask()[0] == 200)


def test_who_leaves_while_waiting_leaves_the_queue(serve):
    model = Gated()
    running = serve(Service(by_name(ChatBot(model)), settings=ServeSettings(max_answers=1, max_waiting=1)))

    def are_waiting(number):
        return f"\nlorag_requests_waiting {number}\n" in running.send("GET", "/metrics")[1]

    asked = json.dumps({"model": model.name, "messages": [{"role": "user", "content": "Hello?"}]})
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(running.ask)
        wait_for(lambda: model.working == 1)
        with closing(HTTPConnection("127.0.0.1", running.port)) as leaving:
            leaving.request("POST", "/v1/chat/completions", asked, {"Content-Type": "application/json"})
            wait_for(lambda: are_waiting(1))
        wait_for(lambda: are_waiting(0))
        third = pool.submit(running.ask)
        wait_for(lambda: third.done() or are_waiting(1))
        model.gate.set()
        assert [first.result()[0], third.result()[0]] == [200, 200]
    assert len(model.prompts) == 2


@pytest.mark.parametrize("wrong", [{"max_answers": 0}, {"max_waiting": -1}, {"max_seconds": 0.0}])
def test_limits_under_which_nothing_is_answered_are_refused(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} .* is "):
        ServeSettings(**wrong)
