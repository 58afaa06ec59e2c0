"""Assembles the parts: names and settings in; engines, indexes and chatbots out."""

from __future__ import annotations

import warnings
from pathlib import Path

from lorag.chat.cache import AnswerCache
from lorag.chat.chatbot import ChatBot
from lorag.errors import FetchError, InputError
from lorag.interfaces import LanguageModel, Progress, no_progress
from lorag.llm import catalogue
from lorag.llm.engines.remote import PREFIX, Address, RemoteModel
from lorag.llm.engines.transformers import TransformersModel, load
from lorag.retrieval.embedding import OnnxEmbedder
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import (
    DEFAULT_EMBEDDER,
    DEFAULT_MODEL,
    FALLBACK_MODEL,
    ChatSettings,
    ChunkSettings,
    RemoteSettings,
    RetrievalSettings,
)
from lorag.training.adapter import read_adapter, require_base


def language_model(
    name: str | None = None,
    adapter: Path | None = None,
    progress: Progress = no_progress,
    remote: RemoteSettings | None = None,
) -> LanguageModel:
    """The model of that catalogue name, folder or ``openai:MODEL@URL``, with ``adapter`` applied when one is given.

    Without a name the default is taken, or, with a warning, the fallback when the default cannot be fetched. Raises
    ``ModelError`` when the adapter was trained on another base, ``InputError`` for an adapter on a remote model.
    """
    if name is not None and is_remote(name):
        if adapter is not None:
            raise InputError(f"{str(adapter)!r} cannot be applied to {name}; give its base model, or let it be served")
        return RemoteModel(name, remote)
    return loaded_model(name, adapter, progress)


def loaded_model(
    name: str | None = None, adapter: Path | None = None, progress: Progress = no_progress
) -> TransformersModel:
    """As ``language_model``, with weights on this machine, to train. Raises ``InputError`` for a remote model."""
    if name is not None and is_remote(name):
        raise InputError(f"{name} is a remote model; finetuning needs weights on this machine, see `lorag models list`")
    trained = read_adapter(adapter) if adapter is not None else None
    name = model_name(trained.base if name is None and trained is not None else name, progress)
    model = load(catalogue.resolve(name, "llm", progress), name)
    if adapter is None or trained is None:
        return model
    require_base(trained, name)
    return model.with_adapter(adapter)


def is_remote(name: str) -> bool:
    """Whether a model's name says that it is reached under an address."""
    return name.startswith(PREFIX)


def model_name(name: str | None, progress: Progress = no_progress) -> str:
    """``name`` when it is a model's, or the default's. Raises ``UnknownNameError`` with the nearest names."""
    if name is None:
        return available_default(progress)
    if is_remote(name):
        Address.parse(name)
    elif catalogue.local_folder(name) is None:
        catalogue.entry(name, "llm")
    return name


def available_default(progress: Progress = no_progress) -> str:
    """The default model's name once it is here; the fallback's, with a warning, when it cannot be fetched."""
    try:
        catalogue.fetch(DEFAULT_MODEL, progress)
    except FetchError as error:
        warnings.warn(f"{error}; falling back to {FALLBACK_MODEL}, which reads poorly", stacklevel=2)
        return FALLBACK_MODEL
    return DEFAULT_MODEL


def embedder(name: str = DEFAULT_EMBEDDER, progress: Progress = no_progress) -> OnnxEmbedder:
    """The embedder of that catalogue name, with its own pooling and query prefix, or of a local ONNX folder."""
    folder = catalogue.resolve(name, "embedder", progress)
    known = catalogue.CATALOGUE.get(name)
    if known is None:
        return OnnxEmbedder(folder, name)
    return OnnxEmbedder(folder, name, query_prefix=known.query_prefix, pooling=known.pooling)


def knowledge(
    folder: Path,
    embedder_name: str = DEFAULT_EMBEDDER,
    chunks: ChunkSettings | None = None,
    retrieval: RetrievalSettings | None = None,
    progress: Progress = no_progress,
) -> Knowledge:
    """The index in ``folder``, made when missing."""
    return Knowledge.open(
        folder, embedder(embedder_name, progress), chunks or ChunkSettings(), retrieval or RetrievalSettings()
    )


def chatbot(
    model: str | None = None,
    adapter: Path | None = None,
    index: Path | None = None,
    settings: ChatSettings | None = None,
    progress: Progress = no_progress,
) -> ChatBot:
    """A chatbot over a model, with an adapter, an index, both or neither.

    An adapter is merged where that is as good as beside the base: nothing is compared here, and it is quicker.
    """
    engine = language_model(model, adapter, progress)
    if isinstance(engine, TransformersModel) and engine.is_mergeable:
        engine = engine.merged()
    retriever = knowledge(index, progress=progress) if index is not None else None
    cache = None
    if settings is not None and settings.cache_similarity is not None:
        index_state = retriever.state if retriever is not None else str
        cache = AnswerCache(embedder(progress=progress), settings.cache_similarity, index_state)
    return ChatBot(engine, retriever, settings, cache=cache)
