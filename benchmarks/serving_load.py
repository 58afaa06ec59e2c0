"""Many clients are answered at once: none starves, together they get more, and the server does not grow.

`lorag serve` runs in its own process, with transformers and without documents. One client asks one question at a time,
then ``--clients`` ask at once, streaming; their questions differ but begin alike. Then come requests with answers of
one token, with the memory compared between the first tenth and the end, and clients that leave after their first token,
after which the server's threads are counted. The last line printed is JSON; the exit code is 1 if the claim does not
hold.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lorag.llm.engines.base_model import DTYPE_VARIABLE

BAR = {"slowest first token of median": 5.0, "tokens/s of one client": 2.0, "growth of memory": 0.05, "threads left": 0}
_IDLE_SECONDS = 11.0
TOPICS = ("harbours", "rain", "bread", "clocks", "maps", "bridges", "wool", "glass", "salt", "paper", "tides", "owls")


@dataclass(frozen=True)
class Server:
    """A running `lorag serve`."""

    process: subprocess.Popen[str]
    port: int
    model: str

    def ask(self, number: int, most: int) -> tuple[HTTPConnection, HTTPResponse]:
        """A stream that has begun, of an answer of ``most`` tokens at most."""
        question = f"Question {number}: tell me about {TOPICS[number % len(TOPICS)]}, at length."
        body = {"model": self.model, "messages": [{"role": "user", "content": question}], "max_tokens": most}
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        client = HTTPConnection("127.0.0.1", self.port, timeout=300)
        client.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        return client, client.getresponse()

    def answer(self, number: int, most: int) -> tuple[float, int]:
        """Seconds until the first token of an answer, and its tokens."""
        start, first = time.perf_counter(), 0.0
        client, stream = self.ask(number, most)
        for event in events(stream):
            if not first and said(event):
                first = time.perf_counter() - start
            tokens = (event.get("usage") or {}).get("completion_tokens", 0)
        client.close()
        return first, tokens

    def leave(self, number: int) -> None:
        """Goes away after the first token of a long answer."""
        client, stream = self.ask(number, 200)
        next(filter(said, events(stream)))
        stream.close()
        client.close()

    def memory(self) -> int:
        """Bytes that the process holds now."""
        return self._status("VmRSS") * 1024

    def threads(self) -> int:
        """Its threads without idle ones: AnyIO ends those after ten seconds, at the next request."""
        time.sleep(_IDLE_SECONDS)
        self.answer(0, 1)
        return self._status("Threads")

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def events(stream: HTTPResponse) -> Iterator[dict[str, Any]]:
    """The events of a stream, but for the mark of its end."""
    for line in stream:
        if line.startswith(b"data: {"):
            yield json.loads(line.removeprefix(b"data: "))


def said(event: dict[str, Any]) -> str:
    """The text in an event."""
    return "".join(choice["delta"].get("content") or "" for choice in event["choices"])


@contextmanager
def serving(model: str) -> Iterator[Server]:
    """The server, until the block ends."""
    options = ["--model", model, "--engine", "transformers", "--no-sources", "--port", "0"]
    command = [sys.executable, "-m", "lorag", "serve", *options]
    environment = {DTYPE_VARIABLE: "float32"} | os.environ
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            address = urlsplit(process.stdout.readline().split(" answers at ")[1].split()[0])
            yield Server(process, address.port or 0, model)
        finally:
            process.terminate()


def main() -> int:
    """Prints what was measured and the claim; 0 when it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64, help="longest answer")
    parser.add_argument("--alone", type=int, default=3, help="questions of the one client")
    parser.add_argument("--requests", type=int, default=2000, help="requests over which memory is watched")
    parser.add_argument("--leaving", type=int, default=200, help="clients that leave after their first token")
    options = parser.parse_args()
    with serving(options.model) as server, ThreadPoolExecutor(options.clients) as clients:
        server.answer(0, 4)
        one = [speed(server, clients, [number], options.tokens) for number in range(1, options.alone + 1)]
        alone = statistics.median(rate for rate, _ in one)
        rate, first = speed(server, clients, range(100, 100 + options.clients), options.tokens)
        print(f"one client: {alone:.1f} tokens/s; {options.clients} clients: {rate:.1f} tokens/s", flush=True)
        median, slowest = statistics.median(first), max(first)
        print(f"first token of these: median {median:.2f} s, slowest {slowest:.2f} s", flush=True)
        measured = {
            "tokens/s of one client": rate / alone,
            "slowest first token of median": slowest / median,
            **steadiness(server, clients, options.requests, options.leaving),
        }
    return verdict(measured)


def speed(
    server: Server, clients: ThreadPoolExecutor, numbers: range | list[int], most: int
) -> tuple[float, list[float]]:
    """Tokens/s of questions asked at once, all together, and the seconds until each one's first token."""
    start = time.perf_counter()
    answers = list(clients.map(lambda number: server.answer(number, most), numbers))
    seconds = time.perf_counter() - start
    return sum(tokens for _, tokens in answers) / seconds, [first for first, _ in answers]


def steadiness(server: Server, clients: ThreadPoolExecutor, requests: int, leaving: int) -> dict[str, float]:
    """How memory grows over many requests, and how many threads are left by clients that went away."""
    begin = requests // 10
    list(clients.map(server.leave, range(leaving)))  # the pools of threads are then as large as they become
    list(clients.map(lambda number: server.answer(number, 1), range(begin)))
    early, threads = server.memory(), server.threads()
    list(clients.map(lambda number: server.answer(number, 1), range(begin, requests)))
    late = server.memory()
    list(clients.map(server.leave, range(leaving)))
    return {
        "memory, MB": late / 1e6,
        "growth of memory": late / early - 1,
        "threads left": server.threads() - threads,
    }


def verdict(measured: dict[str, float]) -> int:
    """Prints the claim; 0 when it holds."""
    holds = (
        measured["slowest first token of median"] <= BAR["slowest first token of median"]
        and measured["tokens/s of one client"] >= BAR["tokens/s of one client"]
        and measured["growth of memory"] <= BAR["growth of memory"]
        and measured["threads left"] <= BAR["threads left"]
    )
    for name, value in measured.items():
        print(f"{name}: {value:.3g}")
    print(json.dumps({**measured, "bar": BAR, "holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
