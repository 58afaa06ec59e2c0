"""Finetune: conversations become an adapter that answers in the form in which it is served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lorag import build
from lorag.chat.prompts import as_served
from lorag.files import require_writable
from lorag.interfaces import Progress, no_progress
from lorag.llm.engines.transformers import TransformersModel
from lorag.settings import ChatSettings, FinetuneSettings
from lorag.training.adapter import Adapter
from lorag.training.conversations import read_conversations
from lorag.training.lora import train
from lorag.types import Conversation


def finetune(
    conversations: Path | str,
    out: Path | str,
    *,
    model: str | None = None,
    settings: FinetuneSettings | None = None,
    progress: Progress = no_progress,
) -> Adapter:
    """The adapter trained on a file, a folder or a hub's data set of conversations, saved in ``out`` in PEFT's format.

    Raises ``DataError`` with the line number for a row that is no conversation, ``InputError`` when ``out`` cannot
    be written; both before a model is loaded. Killed, the same call resumes from the last finished epoch.
    """
    data = read_conversations(conversations)
    require_writable(Path(out).absolute().parent)
    engine = build.loaded_model(model, progress=progress)
    served = [as_served(conversation, ChatSettings().response_template) for conversation in data]
    return train_adapter(engine, served, Path(out), settings or FinetuneSettings(), progress)


def train_adapter(
    engine: TransformersModel,
    conversations: Sequence[Conversation],
    out: Path,
    settings: FinetuneSettings,
    progress: Progress = no_progress,
) -> Adapter:
    """The adapter trained on conversations as they are, on an engine to which no adapter was attached yet."""
    weights = engine.weights
    return train(
        weights.model, weights.tokenizer, conversations, out, base=weights.name, settings=settings, progress=progress
    )
