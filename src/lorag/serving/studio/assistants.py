"""The models and the index behind the page: opened when they are first needed, and then kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache as remembering
from functools import partial
from pathlib import Path
from typing import Protocol

from lorag import build
from lorag.chat.bot import ChatBot
from lorag.chat.kept_prompt import KeptPrompt, read_prompt
from lorag.chat.prompts import without_examples
from lorag.interfaces import HiddenStates, LanguageModel
from lorag.llm.engines.base_model import Dtype
from lorag.llm.engines.transformers import TransformersModel, load
from lorag.retrieval.backends.location import holds_index
from lorag.retrieval.knowledge import Knowledge
from lorag.serving.http_errors import HttpError
from lorag.settings import DEFAULT_EMBEDDER, ChatSettings, Engine
from lorag.training.adapter import MANIFEST, read_adapter
from lorag.types import Sampling
from lorag.workspace import Run, Workspace

COLUMNS = ("base", "finetuned", "retrieval", "both")
SAMPLING = Sampling(max_tokens=256)


class ModelOf(Protocol):
    """Gives the model of a name, with an adapter where one is given."""

    def __call__(self, name: str | None, adapter: Path | None) -> LanguageModel:
        """The model, ready to answer."""
        ...


@dataclass(slots=True)
class Assistants:
    """The four ways to answer, over the index of ``workspace``.

    ``model`` is the name of the base, where no adapter says it. Kept are one base, whose weights transformers loads
    once, and the adapters of one comparison over it.
    """

    workspace: Workspace
    model: str | None = None
    embedder: str = DEFAULT_EMBEDDER
    engine: Engine = "auto"
    model_of: ModelOf | None = None
    index_of: Callable[[], Knowledge] | None = None
    """How model and index are opened; None as ``lorag ask`` does."""
    store: Path | str | None = None
    """Where the index lies; None for the workspace's own."""
    _knowledge: Knowledge | None = None
    _shared: dict[tuple[str | None, Path | None], LanguageModel] = field(default_factory=dict)
    """Models that another part of the server keeps anyway."""
    _models: dict[tuple[str | None, Path | None], LanguageModel] = field(default_factory=dict)
    _load: Callable[[Path, str, Dtype], TransformersModel] = field(init=False)
    _opening_index: threading.Lock = field(default_factory=threading.Lock)
    _opening_model: threading.Lock = field(default_factory=threading.Lock)
    """A lock of its own: a model may take minutes, and documents are not to wait for it."""

    def __post_init__(self) -> None:
        """Every base is loaded once."""
        self._load = remembering(self._loaded)

    @property
    def place(self) -> Path | str:
        """Where the index lies."""
        return self.workspace.index if self.store is None else self.store

    @property
    def has_index(self) -> bool:
        """Whether there is an index to search."""
        return self._knowledge is not None or holds_index(self.place)

    def knowledge(self) -> Knowledge:
        """The index, made when missing."""
        with self._opening_index:
            if self._knowledge is None:
                chosen = self.workspace.chosen()
                self._knowledge = (
                    self.index_of()
                    if self.index_of is not None
                    else build.knowledge(self.place, self.embedder, chosen.chunks, chosen.retrieval)
                )
            return self._knowledge

    def share(self, model: LanguageModel, adapter: Path | None) -> None:
        """Takes a model that is loaded already, without its probe, instead of loading it when it is asked for."""
        model = model.probing(None) if isinstance(model, HiddenStates) else model
        base = read_adapter(adapter).base if adapter is not None else self.model
        self._shared[base, adapter.resolve() if adapter is not None else None] = model

    def bot(self, column: str, adapter: Path | None) -> ChatBot:
        """The chatbot of one of ``COLUMNS``. Raises ``HttpError`` for one without what it needs."""
        tuned, searched = column in ("finetuned", "both"), column in ("retrieval", "both")
        if tuned and adapter is None:
            raise HttpError(409, f"{column} needs an adapter; train one with `lorag finetune` or a comparison")
        if searched and not self.has_index:
            raise HttpError(409, f"{column} needs documents; add some in Documents")
        base = read_adapter(adapter).base if adapter is not None else self.model
        prompt = _compared_prompt(column, adapter)
        probes = prompt is not None and prompt.probe is not None
        model = self._model(base, _asked_adapter(column, adapter) if tuned and adapter is not None else None, probes)
        prompt = prompt or self._tuned_prompt(model)
        retrieval = self.workspace.chosen().retrieval
        return ChatBot(
            prompt.over(model, searched, SAMPLING),
            self.knowledge() if searched else None,
            prompt.applied(ChatSettings(sampling=SAMPLING)),
            retrieval.k,
            gated=retrieval.leaves_out,
            examples=prompt.examples,
        )

    def _model(self, base: str | None, adapter: Path | None, probes: bool) -> LanguageModel:
        """The model, kept or opened; with ``probes`` on an engine whose hidden states can be read, if it is open."""
        if (base, adapter) in self._shared:
            return self._shared[base, adapter]
        with self._opening_model:
            known = self._models.get((base, adapter))
            is_open = self.engine == "auto" and self.model_of is None
            if known is None or (probes and is_open and not isinstance(known, HiddenStates)):
                self._make_room(base, adapter)
                open_model = self.model_of or partial(self._answering, probes=probes)
                self._models[base, adapter] = open_model(base, adapter)
            return self._models[base, adapter]

    def _make_room(self, base: str | None, adapter: Path | None) -> None:
        """Gives up models of another base or comparison, and with them those that share weights with their adapters."""
        gone = [key for key in self._models if key[0] != base or _are_apart(key[1], adapter)]
        if gone:
            sharing = [key for key, model in self._models.items() if isinstance(model, TransformersModel)]
            for key in {*gone, *sharing}:
                del self._models[key]
            self._load = remembering(self._loaded)

    def _answering(self, name: str | None, adapter: Path | None, probes: bool) -> LanguageModel:
        is_shared = isinstance(self._shared.get((name, None)), TransformersModel)
        engine = "transformers" if is_shared or (probes and self.engine == "auto") else self.engine
        return build.answering_model(name, adapter, engine, shared=self._load)

    def _loaded(self, folder: Path, name: str, dtype: Dtype) -> TransformersModel:
        """The base of that name: the one that another part of the server keeps, where its dtype is right."""
        kept = [model for model in self._shared.values() if isinstance(model, TransformersModel)]
        same = [model for model in kept if model.name == name and dtype in ("auto", model.stored_dtype)]
        return same[0] if same else load(folder, name, dtype)

    def _tuned_prompt(self, model: LanguageModel) -> KeptPrompt:
        """The prompt that `lorag tune` chose for the model, else the default."""
        path = self.workspace.prompt
        prompt = read_prompt(path) if path.is_file() else KeptPrompt()
        return prompt if prompt.model == model.name else KeptPrompt()


def _compared_prompt(column: str, adapter: Path | None) -> KeptPrompt | None:
    """The prompt that a comparison chose for the column, where the adapter is of one.

    Else the one that the adapter was trained under, without worked examples, which it does not hold.
    """
    if adapter is None:
        return None
    chosen = adapter.parent / "prompts" / f"{column}.json"
    if chosen.is_file():
        return read_prompt(chosen)
    tuned = column in ("finetuned", "both")
    return KeptPrompt(without_examples(read_adapter(adapter).prompt)) if tuned else None


def _asked_adapter(column: str, adapter: Path) -> Path:
    """``adapter``; for both, that of its comparison at the strength at which sources are read, where it has one."""
    reading = Run(adapter.parent).reading_adapter
    return reading if column == "both" and (reading / MANIFEST).is_file() else adapter


def _are_apart(one: Path | None, other: Path | None) -> bool:
    """Whether two adapters are not those of one comparison; no adapter is apart from none."""
    if one is None or other is None:
        return False
    return one.parent != other.parent or Run(one.parent).reading_adapter not in (one, other)
