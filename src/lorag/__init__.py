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
    from lorag.chat.bot import ChatBot as ChatBot
    from lorag.chat.kept_prompt import KeptPrompt as KeptPrompt
    from lorag.chat.kept_prompt import read_prompt as read_prompt
    from lorag.documents.load import load_documents as load_documents
    from lorag.errors import InputError as InputError
    from lorag.errors import LoragError as LoragError
    from lorag.evaluation.examples import read_examples as read_examples
    from lorag.evaluation.results import Comparison as Comparison
    from lorag.retrieval.knowledge import Knowledge as Knowledge
    from lorag.settings import CacheSettings as CacheSettings
    from lorag.settings import ChatSettings as ChatSettings
    from lorag.settings import ChunkSettings as ChunkSettings
    from lorag.settings import CompareSettings as CompareSettings
    from lorag.settings import EmbedderSettings as EmbedderSettings
    from lorag.settings import FinetuneSettings as FinetuneSettings
    from lorag.settings import LoadSettings as LoadSettings
    from lorag.settings import PromptSettings as PromptSettings
    from lorag.settings import RemoteSettings as RemoteSettings
    from lorag.settings import RetrievalSettings as RetrievalSettings
    from lorag.settings import SyncSettings as SyncSettings
    from lorag.settings import VerdictSettings as VerdictSettings
    from lorag.training.adapter import Adapter as Adapter
    from lorag.training.adapter import read_adapter as read_adapter
    from lorag.training.data.conversations import read_conversations as read_conversations
    from lorag.types import Answer as Answer
    from lorag.types import Conversation as Conversation
    from lorag.types import Document as Document
    from lorag.types import Example as Example
    from lorag.types import Message as Message
    from lorag.types import Place as Place
    from lorag.types import Sampling as Sampling
    from lorag.workflows.check_data import Conversion as Conversion
    from lorag.workflows.check_data import DataReport as DataReport
    from lorag.workflows.check_data import check_data as check_data
    from lorag.workflows.check_data import convert_data as convert_data
    from lorag.workflows.compare import compare as compare
    from lorag.workflows.demo import demo as demo
    from lorag.workflows.export import export as export
    from lorag.workflows.finetune import estimate_finetune as estimate_finetune
    from lorag.workflows.finetune import finetune as finetune
    from lorag.workflows.finetune_embedder import FinetunedEmbedder as FinetunedEmbedder
    from lorag.workflows.finetune_embedder import finetune_embedder as finetune_embedder
    from lorag.workflows.synthesize import AugmentReport as AugmentReport
    from lorag.workflows.synthesize import augment_data as augment_data
    from lorag.workflows.synthesize import synthesize_data as synthesize_data

_HOMES = {
    "Adapter": "lorag.training.adapter",
    "Answer": "lorag.types",
    "AugmentReport": "lorag.workflows.synthesize",
    "CacheSettings": "lorag.settings",
    "ChatBot": "lorag.chat.bot",
    "ChatSettings": "lorag.settings",
    "ChunkSettings": "lorag.settings",
    "CompareSettings": "lorag.settings",
    "Comparison": "lorag.evaluation.results",
    "Conversation": "lorag.types",
    "Conversion": "lorag.workflows.check_data",
    "DataReport": "lorag.workflows.check_data",
    "Document": "lorag.types",
    "EmbedderSettings": "lorag.settings",
    "Example": "lorag.types",
    "FinetuneSettings": "lorag.settings",
    "FinetunedEmbedder": "lorag.workflows.finetune_embedder",
    "InputError": "lorag.errors",
    "KeptPrompt": "lorag.chat.kept_prompt",
    "Knowledge": "lorag.retrieval.knowledge",
    "LoadSettings": "lorag.settings",
    "LoragError": "lorag.errors",
    "Message": "lorag.types",
    "Place": "lorag.types",
    "PromptSettings": "lorag.settings",
    "RemoteSettings": "lorag.settings",
    "RetrievalSettings": "lorag.settings",
    "Sampling": "lorag.types",
    "SyncSettings": "lorag.settings",
    "VerdictSettings": "lorag.settings",
    "augment_data": "lorag.workflows.synthesize",
    "chatbot": "lorag.build",
    "check_data": "lorag.workflows.check_data",
    "compare": "lorag.workflows.compare",
    "convert_data": "lorag.workflows.check_data",
    "demo": "lorag.workflows.demo",
    "estimate_finetune": "lorag.workflows.finetune",
    "export": "lorag.workflows.export",
    "finetune": "lorag.workflows.finetune",
    "finetune_embedder": "lorag.workflows.finetune_embedder",
    "knowledge": "lorag.build",
    "language_model": "lorag.build",
    "load_documents": "lorag.documents.load",
    "read_adapter": "lorag.training.adapter",
    "read_conversations": "lorag.training.data.conversations",
    "read_examples": "lorag.evaluation.examples",
    "read_prompt": "lorag.chat.kept_prompt",
    "synthesize_data": "lorag.workflows.synthesize",
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
