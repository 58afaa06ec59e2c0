"""A hundred malformed requests to each address of the page: none fails the server or hangs, and nothing piles up."""

import random
from contextlib import contextmanager

import psutil
import pytest

from malformed import BODIES, ROUNDS, odd_name, odd_query

RUN = ".lorag/runs/first"
# `documents/read` is not among them: any object starts a job there.
POSTS = {
    "runs": {"name": "second", "documents": "none", "questions": "none", "model": "none", "limit": "1", "budget": "1"},
    "run/stop": {"run": RUN},
    "run/resume": {"run": RUN},
    "ask/finetuned": {"model": "base", "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 5},
    "search": {"query": "warranty"},
    "review": {"run": RUN, "reviewer": "Kim", "mark": "correct", "number": 0, "count": 3, "sha": "x"},
    "review/report": {"run": RUN},
}
GETS = {
    **{"run": ["run"], "run/rows": ["run", "after"], "run/answers": ["run"], "run/report": ["run"]},
    **{"review": ["run", "reviewer", "count"], "review/agreement": ["run"], "assistants": ["x"], "files": ["x"]},
    **{"data/rows": ["file", "start", "refused"], "data/check": ["file"], "data/tokens": ["file", "row"]},
    **{"data/estimate": ["file"], "documents": ["x"], "runs": ["x"]},
}
REAL = {"run": RUN, "reviewer": "Kim", "file": "train.jsonl"}
REFUSED_OR_DONE = (200, 201, 307, 400, 403, 404, 405, 409, 411, 413, 415, 422, 429)


@pytest.fixture(scope="module", autouse=True)
def warm(page):
    """What is loaded once is loaded before memory is measured."""
    assert page.upload("warm.md", b"# Warranty\n\nIt lasts 28 months.\n")[0] == 201
    assert page.send("POST", "search", {"query": "warranty"})[0] == 200
    page.get("data/tokens", file="train.jsonl", row=0)


@contextmanager
def steady_memory(page):
    before = psutil.Process().memory_info().rss
    yield
    assert psutil.Process().memory_info().rss - before < 100e6
    assert page.get("documents")["total"] >= 0


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("path", POSTS)
def test_a_malformed_body_is_refused_or_answered(page, path, body):
    draw = random.Random(path + body.__name__)
    with steady_memory(page):
        for _ in range(ROUNDS):
            sent = body(draw, POSTS[path])
            status, _, text = page.raw("POST", f"/studio/{path}", sent, Content_Type="application/json")
            assert status in REFUSED_OR_DONE, (sent[:200], text[:500])


@pytest.mark.parametrize("path", GETS)
def test_a_malformed_query_is_refused_or_answered(page, path):
    draw = random.Random(path)
    with steady_memory(page):
        for _ in range(ROUNDS):
            query = odd_query(draw, GETS[path])
            real = [f"{name}={REAL[name]}" for name in GETS[path] if name in REAL and path != "data/estimate"]
            asked = "&".join([query, *(real if draw.random() < 0.5 else [])])
            status, _, text = page.raw("GET", f"/studio/{path}?{asked}")
            assert status in REFUSED_OR_DONE, (asked[:200], text[:500])


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
@pytest.mark.parametrize("path", ["documents", "passages", "data/files", "ask", "run", "../static", ".."])
def test_a_malformed_address_is_refused_or_answered(page, method, path):
    draw = random.Random(method + path)
    with steady_memory(page):
        for _ in range(ROUNDS):
            content = draw.choice((b"", b"\xff\xfe\0", b"# Fine\n\nSo it is.\n", draw.randbytes(99)))
            name = odd_name(draw)
            status, _, text = page.raw(method, f"/studio/{path}/{name}", content)
            assert status in REFUSED_OR_DONE, (name[:200], text[:500])
