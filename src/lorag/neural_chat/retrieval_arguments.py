"""The arguments of ``plugins.retrieval``, in the core's terms; and the index they ask for."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lorag import build
from lorag.documents.load import Loaded, load_documents
from lorag.errors import InputError, LoragError
from lorag.files import fingerprint
from lorag.models import naming
from lorag.neural_chat.knobs import require_known, warn_idle
from lorag.settings import DEFAULT_EMBEDDER, DEFAULT_RERANKER, REFUSAL, ChunkSettings, RetrievalSettings
from lorag.types import Document
from lorag.workspace import Workspace

READ = frozenset(
    {
        "append",
        "child_size",
        "embedding_model",
        "enable_rerank",
        "input_path",
        "max_chuck_size",
        "mode",
        "persist_dir",
        "persist_directory",
        "process",
        "reranker_model",
        "response_template",
        "retrieval_type",
        "search_kwargs",
        "search_type",
        "top_n",
    }
)
IDLE = frozenset({"asset_path", "min_chuck_size", "polish", "precision", "vector_database"})
SEARCH = {
    "similarity": ("k",),
    "mmr": ("k", "fetch_k", "lambda_mult"),
    "similarity_score_threshold": ("k", "score_threshold"),
}
"""The keys of ``search_kwargs`` that each ``search_type`` reads."""
_DEFAULTS = {"embedder": DEFAULT_EMBEDDER, "reranker": DEFAULT_RERANKER}
_PUBLISHED = {
    "BAAI/bge-small-en-v1.5": "bge-small-en",
    "sentence-transformers/all-MiniLM-L6-v2": "minilm-l6",
    "cross-encoder/ms-marco-MiniLM-L-12-v2": "minilm-reranker",
}
"""What the catalogue's models are called where they were published."""
_CHARACTERS_A_TOKEN = 4
_LARGEST_PIECE = 510
_WHOLE = 10**9


@dataclass(frozen=True, slots=True)
class Plan:
    """What is retrieved from, and how."""

    inputs: tuple[str, ...]
    place: Path
    append: bool
    embedder: str
    chunks: ChunkSettings
    retrieval: RetrievalSettings
    response_template: str
    gated: bool
    """Whether a question for which nothing is found gets the response template, and does not reach the model."""


def plan(args: Mapping[str, Any]) -> Plan:
    """What the arguments ask for. Raises ``InputError`` for a name or value that means nothing."""
    for name in args:
        require_known("argument of plugins.retrieval", name, READ | IDLE)
    warn_idle(f"plugins.retrieval.args[{name!r}]" for name in sorted(IDLE & args.keys()) if args[name])
    chunks, inputs = _chunks(args), _inputs(args.get("input_path"))
    mode = args.get("mode", "accuracy")
    require_known("mode", mode, ("accuracy", "general"))
    embedder = _available("embedding_model", "embedder", args.get("embedding_model", DEFAULT_EMBEDDER))
    return Plan(
        inputs,
        _place(args) or _own_place(inputs, embedder, chunks),
        bool(args.get("append", True)),
        embedder,
        chunks,
        _retrieval(args),
        args.get("response_template", REFUSAL),
        mode == "accuracy",
    )


def prepare(asked: Plan) -> None:
    """The index holds the documents: those given beside those it has, or, without ``append``, what it has already.

    A file that cannot be read, and an index that is not in step with the documents, give a warning.
    """
    documents = [document for path in asked.inputs for document in _documents(path)]
    knowledge = build.knowledge(asked.place, asked.embedder, asked.chunks)
    if asked.append or not knowledge.count():
        knowledge.sync(documents, add_only=asked.append)
    elif not knowledge.holds(documents):
        warnings.warn(
            f"{str(asked.place)!r} holds other documents than {', '.join(asked.inputs)} and is used as it is; set"
            " append to True to add them, or delete the folder to build it again",
            stacklevel=3,
        )


def _documents(path: str) -> Sequence[Document]:
    loaded: Loaded = load_documents(path)
    skipped = {note.source: str(note) for note in loaded.file_notes}
    other = (skipped.get(name, f"{name}: not read") for name in loaded.passed_over)
    left_out = [*(file.reason for file in loaded.refused), *other]
    if left_out:
        warnings.warn(f"{len(left_out)} files of {path!r} are left out: {'; '.join(left_out)}", stacklevel=4)
    return loaded.documents


def _inputs(given: object) -> tuple[str, ...]:
    inputs = tuple(map(str, given)) if isinstance(given, list | tuple) else (str(given),) if given else ()
    if not inputs:
        raise InputError("plugins.retrieval has no input_path; name a folder or a file of documents")
    for path in inputs:
        if re.match(r"https?://", path):
            raise InputError(f"input_path {path!r} is an address; save the page and name the file")
    return inputs


def _place(args: Mapping[str, Any]) -> Path | None:
    named = {args[name] for name in ("persist_dir", "persist_directory") if args.get(name)}
    if len(named) > 1:
        raise InputError(f"persist_dir and persist_directory differ ({', '.join(map(repr, sorted(named)))}); give one")
    return Path(named.pop()).absolute() if named else None  # a chatbot outlives a change of the working folder


def _own_place(inputs: Sequence[str], embedder: str, chunks: ChunkSettings) -> Path:
    """A folder for exactly these documents, cut and embedded like this."""
    paths = [str(Path(path).resolve()) for path in inputs]
    name = fingerprint([paths, embedder, chunks.max_tokens, chunks.search_tokens])
    return Workspace().root.absolute() / "neural_chat" / name


def _available(argument: str, kind: Literal["embedder", "reranker"], name: str) -> str:
    """``name`` as the catalogue has it, with its commit where it is a hub's.

    The default, with a warning, for a model that cannot be fetched or has no weights of a kind that is loaded.
    """
    name = _PUBLISHED.get(name, name)
    if naming.form_of(name, kind) != "hub":
        return name
    try:
        return naming.pinned(name, kind)
    except LoragError as error:
        default = _DEFAULTS[kind]
        warnings.warn(f"{argument} {name!r} cannot be fetched, so {default!r} is used: {error}", stacklevel=4)
        return default


def _chunks(args: Mapping[str, Any]) -> ChunkSettings:
    """Sizes in tokens: the old ones are in characters. A passage that no embedder holds is found by its pieces."""
    kind = args.get("retrieval_type", "default")
    require_known("retrieval_type", kind, ("default", "bm25", "child_parent"))
    usual = ChunkSettings()
    largest = args["max_chuck_size"] // _CHARACTERS_A_TOKEN if "max_chuck_size" in args else usual.max_tokens
    if not args.get("process", True):
        largest = _WHOLE
    if kind == "child_parent":
        return ChunkSettings(largest, min(largest, args.get("child_size", 512) // _CHARACTERS_A_TOKEN))
    return ChunkSettings(largest, None if largest <= _LARGEST_PIECE else usual.max_tokens)


def _retrieval(args: Mapping[str, Any]) -> RetrievalSettings:
    kind, given = args.get("search_type", "similarity"), args.get("search_kwargs", {})
    require_known("search_type", kind, SEARCH)
    for name in given:
        require_known("key of search_kwargs", name, {each for names in SEARCH.values() for each in names})
    warn_idle(f"search_kwargs[{name!r}] of search_type {kind!r}" for name in given if name not in SEARCH[kind])
    k = given.get("k", 4)
    asked: dict[str, Any] = {"k": k, "candidates": max(k, RetrievalSettings().candidates)}
    if kind == "similarity_score_threshold":
        if "score_threshold" not in given:
            raise InputError("search_type 'similarity_score_threshold' needs search_kwargs['score_threshold']")
        asked["min_cosine"] = given["score_threshold"]
    if kind == "mmr":
        asked |= {"mmr_lambda": given.get("lambda_mult", 0.5), "depth": given.get("fetch_k", 20)}
    if args.get("enable_rerank"):
        reranker = _available("reranker_model", "reranker", args.get("reranker_model", DEFAULT_RERANKER))
        asked |= {"reranker": reranker, "depth": k, "k": args.get("top_n", 1)}
    if args.get("retrieval_type") == "bm25":
        asked["dense_weight"] = 0.0
    return RetrievalSettings(**asked)
