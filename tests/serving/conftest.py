"""Servers that really listen, and a client that sends exactly what it is told to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import MISSING, dataclass, fields
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from listening import listening
from lorag.llm.engines.llamacpp import LlamaCppModel
from lorag.llm.engines.transformers import TransformersModel
from lorag.models.fingerprint import weights_fingerprint
from lorag.models.gguf_writing import write_gguf
from lorag.serving.routes import Service, application
from lorag.training.adapter import Adapter


@pytest.fixture(scope="session")
def llama_cpp(smollm: TransformersModel, tmp_path_factory: pytest.TempPathFactory) -> LlamaCppModel:
    """The whole small model in llama.cpp, in float32 throughout: unlike the shallow one, it completes JSON."""
    file, weights = tmp_path_factory.mktemp("gguf") / "model.gguf", smollm.weights
    write_gguf(weights.model, weights.tokenizer, file, "f32", "smollm2-135m")
    return LlamaCppModel(file, weights.tokenizer, "smollm2-135m", weights.context_tokens, exact=True)


@dataclass(frozen=True)
class Running:
    port: int
    model: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """The status and the JSON or text of one answer; a body that is no bytes is sent as JSON, any as if it were."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, data, {"Content-Type": "application/json"} | headers)
            answer = connection.getresponse()
            text = answer.read()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(text) if is_json else text.decode()

    def headers(self, method: str, path: str, headers: dict[str, str]) -> dict[str, str]:
        """The headers of the answer to a request without a body."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            answer.read()
        return dict(answer.getheaders())

    def ask_as(self, content_type: str) -> tuple[int, Any]:
        body = {"model": self.model, "messages": [{"role": "user", "content": "Hello?"}]}
        return self.send("POST", "/v1/chat/completions", body, **{"Content-Type": content_type})

    @contextmanager
    def streaming(self, path: str, body: Any, **headers: str) -> Iterator[HTTPResponse]:
        """The lines of the answer to one request, while the connection is open."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"} | headers)
            with closing(connection.getresponse()) as answer:
                yield answer

    def streamed(self) -> str:
        """The text of all events of a stream."""
        asked = {"model": self.model, "messages": [{"role": "user", "content": "Hello?"}], "stream": True}
        with self.streaming("/v1/chat/completions", asked) as answer:
            return answer.read().decode()

    def ask(self, question: str | list[Any] = "Hello?", **fields: Any) -> tuple[int, Any]:
        messages = [{"role": "user", "content": question}] if isinstance(question, str) else question
        return self.send("POST", "/v1/chat/completions", {"model": self.model, "messages": messages} | fields)


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[Service], Running]]:
    with ExitStack() as ending:

        def start(service: Service) -> Running:
            port = ending.enter_context(listening(application(service), service.key))
            return Running(port, next(iter(service.bots)))

        yield start


@pytest.fixture(scope="module")
def adapter(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of random weights for the tiny model."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    folder = tmp_path_factory.mktemp("adapter")
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(LlamaForCausalLM.from_pretrained(tiny_folder), config).save_pretrained(str(folder))
    base, weights = str(tiny_folder), weights_fingerprint(tiny_folder)
    given: dict[str, Any] = {"folder": "", "method": "lora", "base": base, "base_weights": weights}
    given |= {"loss_curve": (), "settings": {}, "versions": {}, "forgetting": None}
    required = [each.name for each in fields(Adapter) if each.default is MISSING and each.default_factory is MISSING]
    (folder / "lorag.json").write_text(Adapter(**{name: given.get(name, 0) for name in required}).to_json())
    return folder
