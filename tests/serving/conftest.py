"""Servers that really listen, and a client that sends exactly what it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import pytest

from lorag.serving.routes import Service, application
from lorag.serving.server import listen, server


@dataclass(frozen=True)
class Running:
    port: int
    model: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """The status and the JSON of one request; a body that is no bytes is sent as JSON."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text)

    def ask(self, question: str | list = "Hello?", **fields: Any) -> tuple[int, Any]:
        messages = [{"role": "user", "content": question}] if isinstance(question, str) else question
        return self.send("POST", "/v1/chat/completions", {"model": self.model, "messages": messages} | fields)


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[Service], Running]]:
    with ExitStack() as ending:

        def start(service: Service) -> Running:
            listening = listen("127.0.0.1", 0, service.key)
            running = server(application(service))
            thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
            thread.start()

            def stop() -> None:
                running.should_exit = True
                thread.join(10)
                listening.close()

            ending.callback(stop)
            while not running.started:
                time.sleep(0.01)
            return Running(listening.getsockname()[1], service.bot.model.name)

        yield start
