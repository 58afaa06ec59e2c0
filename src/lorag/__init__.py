"""Lorag gives an LLM your knowledge by finetuning, by retrieval, or by both, and measures which one you should use.

Importing this package is light: a part and the libraries beneath it load when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lorag.build import chatbot as chatbot
    from lorag.build import knowledge as knowledge
    from lorag.build import language_model as language_model
    from lorag.chat.chatbot import ChatBot as ChatBot
    from lorag.documents.load import load_documents as load_documents
    from lorag.errors import InputError as InputError
    from lorag.errors import LoragError as LoragError
    from lorag.evaluation.examples import read_examples as read_examples
    from lorag.evaluation.results import Comparison as Comparison
    from lorag.journeys.compare import compare as compare
    from lorag.journeys.data import Conversion as Conversion
    from lorag.journeys.data import DataReport as DataReport
    from lorag.journeys.data import check_data as check_data
    from lorag.journeys.data import convert_data as convert_data
    from lorag.journeys.demo import demo as demo
    from lorag.journeys.export import export as export
    from lorag.journeys.finetune import estimate_finetune as estimate_finetune
    from lorag.journeys.finetune import finetune as finetune
    from lorag.journeys.finetune_embedder import FinetunedEmbedder as FinetunedEmbedder
    from lorag.journeys.finetune_embedder import finetune_embedder as finetune_embedder
    from lorag.journeys.synthesis import synthesize_data as synthesize_data
    from lorag.retrieval.knowledge import Knowledge as Knowledge
    from lorag.settings import CacheSettings as CacheSettings
    from lorag.settings import ChatSettings as ChatSettings
    from lorag.settings import ChunkSettings as ChunkSettings
    from lorag.settings import CompareSettings as CompareSettings
    from lorag.settings import EmbedderSettings as EmbedderSettings
    from lorag.settings import FinetuneSettings as FinetuneSettings
    from lorag.settings import LoadSettings as LoadSettings
    from lorag.settings import RemoteSettings as RemoteSettings
    from lorag.settings import RetrievalSettings as RetrievalSettings
    from lorag.settings import SyncSettings as SyncSettings
    from lorag.settings import VerdictSettings as VerdictSettings
    from lorag.training.adapter import Adapter as Adapter
    from lorag.training.adapter import read_adapter as read_adapter
    from lorag.training.conversations import read_conversations as read_conversations
    from lorag.types import Answer as Answer
    from lorag.types import Conversation as Conversation
    from lorag.types import Document as Document
    from lorag.types import Example as Example
    from lorag.types import Message as Message
    from lorag.types import Place as Place
    from lorag.types import Sampling as Sampling

_HOMES = {
    "Adapter": "lorag.training.adapter",
    "Answer": "lorag.types",
    "CacheSettings": "lorag.settings",
    "ChatBot": "lorag.chat.chatbot",
    "ChatSettings": "lorag.settings",
    "ChunkSettings": "lorag.settings",
    "CompareSettings": "lorag.settings",
    "Comparison": "lorag.evaluation.results",
    "Conversation": "lorag.types",
    "Conversion": "lorag.journeys.data",
    "DataReport": "lorag.journeys.data",
    "Document": "lorag.types",
    "EmbedderSettings": "lorag.settings",
    "Example": "lorag.types",
    "FinetuneSettings": "lorag.settings",
    "FinetunedEmbedder": "lorag.journeys.finetune_embedder",
    "InputError": "lorag.errors",
    "Knowledge": "lorag.retrieval.knowledge",
    "LoadSettings": "lorag.settings",
    "LoragError": "lorag.errors",
    "Message": "lorag.types",
    "Place": "lorag.types",
    "RemoteSettings": "lorag.settings",
    "RetrievalSettings": "lorag.settings",
    "Sampling": "lorag.types",
    "SyncSettings": "lorag.settings",
    "VerdictSettings": "lorag.settings",
    "chatbot": "lorag.build",
    "check_data": "lorag.journeys.data",
    "compare": "lorag.journeys.compare",
    "convert_data": "lorag.journeys.data",
    "demo": "lorag.journeys.demo",
    "estimate_finetune": "lorag.journeys.finetune",
    "export": "lorag.journeys.export",
    "finetune": "lorag.journeys.finetune",
    "finetune_embedder": "lorag.journeys.finetune_embedder",
    "knowledge": "lorag.build",
    "language_model": "lorag.build",
    "load_documents": "lorag.documents.load",
    "read_adapter": "lorag.training.adapter",
    "read_conversations": "lorag.training.conversations",
    "read_examples": "lorag.evaluation.examples",
    "synthesize_data": "lorag.journeys.synthesis",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Loads a public name from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lorag' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return list(__all__)
