"""A folder for the page of ``lorag studio``, with models that answer from a script, and a client of the page."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from lorag.evaluation.comparison import compare_rows
from lorag.evaluation.report.html_page import write_report
from lorag.evaluation.report.json_record import result_json
from lorag.evaluation.row_log import Row
from lorag.files import LineLog
from lorag.llm.engines.scripted import ScriptedModel
from lorag.retrieval.encoders.embedders import HashEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.serving.studio.assistants import Assistants
from lorag.serving.studio.workplace import Workplace
from lorag.settings import ChunkSettings, PromptSettings, RetrievalSettings
from lorag.training.adapter import Adapter
from lorag.types import Answer, Example, Prompt
from lorag.workspace import Run

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


class SlowEmbedder(HashEmbedder):
    """Embeds at once, but a text that holds "slowly" only when ``go`` is set; ``reached`` is set when it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go = threading.Event(), threading.Event()

    def embed(self, texts: Sequence[str], kind: Literal["query", "passage"]) -> NDArray[np.float32]:
        if any("slowly" in text for text in texts):
            self.reached.set()
            assert self.go.wait(30)
        return super().embed(texts, kind)


@dataclass(frozen=True)
class Page:
    """A server of the page and what it works in."""

    port: int
    place: Workplace
    embedder: SlowEmbedder

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def raw(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        is_binary = isinstance(body, bytes | Iterator)
        data = body if body is None or is_binary else json.dumps(body).encode()
        kind = "application/octet-stream" if is_binary else "application/json"
        given = {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, data, given)
            answer = connection.getresponse()
            text = answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        status, _, text = self.raw(method, f"/studio/{path}", body, **headers)
        return status, json.loads(text)

    def get(self, path: str, **query: str | int) -> Any:
        asked = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items())
        status, value = self.send("GET", f"{path}?{asked}")
        assert status == 200, value
        return value

    def upload(self, name: str, content: bytes) -> tuple[int, Any]:
        return self.send("PUT", f"documents/{quote(name, safe='')}", content)


def reply(prompt: Prompt) -> str:
    return "It lasts 28 months [1]." if "warranty" in prompt[-1].content.lower() else f"I do not know {HOSTILE}"


def assistants(place: Workplace, embedder: SlowEmbedder) -> Assistants:
    def knowledge() -> Knowledge:
        return Knowledge.open(place.workspace.index, embedder, ChunkSettings(max_tokens=60), RetrievalSettings())

    def model(name: str | None, adapter: Path | None) -> ScriptedModel:
        return ScriptedModel(reply, "tuned" if adapter else "scripted")

    return Assistants(place.workspace, model_of=model, index_of=knowledge)


def write_run(folder: Path, questions: int = 8, says: Callable[[str, int], str] | None = None) -> Run:
    """A finished comparison of made answers: base never right, finetuned sometimes, retrieval and both mostly."""
    run = Run(folder)
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    rights = {"base": 0, "finetuned": 2, "retrieval": 4, "both": 5}
    examples = [
        Example(f"q{n}", f"Who has key {n}? {HOSTILE}", (f"Keeper {n}",), (f"d{n}.md",)) for n in range(questions)
    ]

    def said(arm: str, n: int) -> str:
        return f"Keeper {n} has it. {HOSTILE}" if n % 6 < rights[arm] else f"Nobody has key {n}."

    rows = [
        Row("before", arm, example.id, Answer((says or said)(arm, n)))
        for arm in rights
        for n, example in enumerate(examples)
    ]
    LineLog(folder / "rows.jsonl").append([row.to_json() for row in rows])
    comparison = compare_rows(rows, examples)
    run.result.write_text(result_json(comparison))
    write_report(comparison, run.report)
    return run


def write_adapter(folder: Path) -> None:
    """The manifest of an adapter, without weights."""
    folder.mkdir(parents=True)
    numbers = ("conversations", "rehearsed", "too_long", "held_out", "tokens", "supervised_tokens", "steps")
    texts = ("base_weights", "template", "data", "held_out_kind", "step")
    none = ("held_out_loss_before", "held_out_loss_after", "forgetting")
    rest: dict[str, Any] = {**dict.fromkeys(numbers, 1), **dict.fromkeys(texts, "x"), **dict.fromkeys(none)}
    manifest = Adapter(
        folder="",
        method="lora",
        base="scripted-base",
        seconds=1.0,
        loss_first=1.0,
        loss_last=0.5,
        loss_curve=(1.0, 0.5),
        settings={},
        versions={},
        prompt=PromptSettings(),
        **rest,
    )
    (folder / "lorag.json").write_text(manifest.to_json())
