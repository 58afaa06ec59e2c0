"""Clients that ask at once are answered side by side by one model, each as if alone, and leave nothing when they go."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import pytest

from listening import wait_for
from lorag.chat.bot import ChatBot
from lorag.llm.engines.transformers import load
from lorag.serving.routes import Service, by_name
from lorag.settings import ChatSettings
from lorag.types import Sampling

CLIENTS, LEAVING = 32, 200


@pytest.fixture(scope="module")
def model(tiny_folder):
    return load(tiny_folder, "tiny", "float32")


@pytest.fixture(scope="module")
def running(serve, model):
    return serve(Service(by_name(ChatBot(model, None, ChatSettings(sampling=Sampling(max_tokens=40))))))


def streamed(running, question, **fields):
    """The lines of a stream, while it is open."""
    asked = {"model": "tiny", "messages": [{"role": "user", "content": question}], "stream": True} | fields
    return running.streaming("/v1/chat/completions", asked)


def said(line):
    event = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: {") else {"choices": []}
    return "".join(choice["delta"].get("content") or "" for choice in event["choices"])


def test_all_are_answered_side_by_side_and_each_as_alone(running, model):
    rows, order = [], []
    assert model.merges
    hook = model.weights.model.get_input_embeddings().register_forward_pre_hook(
        lambda _, given: rows.append(given[0].shape[0])
    )

    def ask(number):
        with streamed(running, f"Question {number}?") as lines:
            pieces = []
            for line in lines:
                if piece := said(line):
                    pieces.append(piece)
                    order.append((number, len(pieces)))
            return "".join(pieces)

    with ThreadPoolExecutor(CLIENTS) as clients:
        with model.weights.lock:  # until all have asked
            answers = [clients.submit(ask, number) for number in range(CLIENTS)]
            wait_for(lambda: len(model._shared._waiting) == CLIENTS - 1, seconds=60)  # the first is being read
        texts = [answer.result() for answer in answers]
    hook.remove()
    assert max(rows) > CLIENTS / 2
    firsts = [place for place, (_, piece) in enumerate(order) if piece == 1]
    assert firsts[-1] < len(order) / 4  # everybody's first piece came early
    for number in (0, 7, 31):
        bot = ChatBot(model, None, ChatSettings(sampling=Sampling(max_tokens=40)))
        assert texts[number] == bot.ask(f"Question {number}?").text


def test_those_who_go_leave_no_thread_and_no_row(running, model):
    def leave(number):
        with streamed(running, f"Question {number}?", max_tokens=2000) as lines:
            while not said(lines.readline()):
                pass

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(leave, range(CLIENTS)))
        before = {thread.name for thread in threading.enumerate()}
        list(clients.map(leave, range(LEAVING)))
    wait_for(lambda: b"lorag_answers_running 0" in metrics(running), seconds=60)
    assert (model._shared._batch, len(model._shared._waiting), len(model._shared._left)) == (None, 0, 0)
    left = {thread.name for thread in threading.enumerate()} - before
    assert not left
    assert running.ask("Still there?", max_tokens=3)[0] == 200


def metrics(running):
    client = HTTPConnection("127.0.0.1", running.port, timeout=30)
    client.request("GET", "/metrics")
    text = client.getresponse().read()
    client.close()
    return text
