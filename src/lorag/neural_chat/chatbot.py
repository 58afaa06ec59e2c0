"""``finetune_model``, ``build_chatbot`` and ``optimize_model``: the old calls over the core's."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lorag import build
from lorag.chat.bot import ChatBot, Reply
from lorag.chat.guards import read_words
from lorag.errors import InputError
from lorag.interfaces import LanguageModel
from lorag.neural_chat.config import (
    GenerationConfig,
    LoadingModelConfig,
    PipelineConfig,
    TextGenerationFinetuningConfig,
)
from lorag.neural_chat.finetuning_arguments import finetune_settings, idle_knobs
from lorag.neural_chat.knobs import turned, warn_idle
from lorag.neural_chat.loading import adapter_folder, check_device, dtype_of, named_model
from lorag.neural_chat.models.model_utils import load_model, sampling
from lorag.neural_chat.plugins import Plugins
from lorag.neural_chat.retrieval_arguments import plan, prepare
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import ChatSettings
from lorag.training.adapter import Adapter
from lorag.types import Answer, Sampling
from lorag.workflows.finetune import finetune

_SAME_QUESTION = 0.95
"""Cosine from which the cache plugin takes two questions for the same."""
_OURS = {"retrieval", "cache", "safety_checker"}


def finetune_model(config: TextGenerationFinetuningConfig) -> Adapter:
    """What was trained, saved in ``training_args.output_dir``.

    With ``overwrite_output_dir`` it takes the place of what was trained there before. Raises where the data, a
    setting or the training itself fails; warns of every knob that has no effect, by its name.
    """
    warn_idle(idle_knobs(config))
    check_device(config.finetune_args.device)
    return finetune(
        config.data_args.source,
        config.training_args.output_dir,
        model=config.model_args.model_name_or_path,
        settings=finetune_settings(config),
        overwrite=getattr(config.training_args, "overwrite_output_dir", False),
    )


def optimize_model(model: str, config: Any, use_neural_speed: bool = False) -> LanguageModel:
    """The model of that name or folder with its weights in the format that ``config`` asks for, as ``load_model``."""
    return load_model(model, optimization_config=config, use_neural_speed=use_neural_speed)


def build_chatbot(config: PipelineConfig | None = None) -> NeuralChatbot:
    """A chatbot over the model, its adapter, and the documents of the retrieval plugin when that is switched on.

    Raises where any of it fails: there is no chatbot then.
    """
    config = config or PipelineConfig()
    loading = config.loading_config or LoadingModelConfig()
    _refuse_endpoints(config)
    others = [f"plugins.{name}" for name in config.plugins.enabled() if name not in _OURS]
    warn_idle([*turned(config), *turned(loading), *others])
    check_device(config.device)
    settings = _chat_settings(config.plugins)
    asked: dict[str, Any] = {
        "model": named_model(config.model_name_or_path, loading),
        "adapter": adapter_folder(loading),
        "dtype": dtype_of(config.optimization_config),
    }
    if not config.plugins.retrieval.enable:
        if config.switches.retrieval.enable:
            warnings.warn(
                "plugins.retrieval was switched on after this PipelineConfig was made and is not in it; make the"
                " PipelineConfig afterwards",
                stacklevel=2,
            )
        return NeuralChatbot(build.chatbot(settings=settings, **asked), None, config.switches)
    found = plan(config.plugins.retrieval.args)
    prepare(found)
    informed = build.chatbot(
        index=found.place,
        settings=replace(settings, response_template=found.response_template),
        chunks=found.chunks,
        retrieval=found.retrieval,
        by=found.embedder,
        **asked,
    )
    informed.gated &= found.gated
    alone = ChatBot(informed.model, None, replace(settings, prompt=informed.settings.prompt))
    return NeuralChatbot(alone, informed, config.switches, found.retrieval.min_cosine)


class Response(str):
    """The text of an answer; ``answer`` holds its sources and everything else there is to know of it."""

    __slots__ = ("answer",)
    answer: Answer

    def __new__(cls, answer: Answer) -> Response:
        """The text of ``answer``."""
        made = super().__new__(cls, answer.text)
        made.answer = answer
        return made


class NeuralChatbot:
    """Answers questions; from its documents as long as ``plugins.retrieval.enable`` holds."""

    def __init__(
        self, alone: ChatBot, informed: ChatBot | None, switches: Plugins, score_threshold: float | None = None
    ) -> None:
        """Made by ``build_chatbot``: the chatbot without documents, the one with them, and what chooses among them."""
        self._alone, self._informed, self._switches, self._score_threshold = alone, informed, switches, score_threshold

    def predict(self, query: str, origin_query: str = "", config: GenerationConfig | None = None) -> Response:
        """The answer to ``query``: greedy, or drawn as ``config`` says. Raises where there is none."""
        answer = self._bot(config, origin_query).ask(query)
        self._warn_if_nothing_passed(query, answer)
        return Response(answer)

    def predict_stream(
        self, query: str, origin_query: str = "", config: GenerationConfig | None = None
    ) -> tuple[Iterator[str], list[str]]:
        """The pieces of the answer as they come, and the names of the documents it is given."""
        reply = self._bot(config, origin_query).reply(query)
        return self._pieces(query, reply), list(dict.fromkeys(hit.chunk.document_id for hit in reply.sources))

    chat = predict
    chat_stream = predict_stream

    def _pieces(self, query: str, reply: Reply) -> Generator[str, None, None]:
        yield from reply
        if reply.answer is not None:
            self._warn_if_nothing_passed(query, reply.answer)

    def _bot(self, config: GenerationConfig | None, origin_query: str) -> ChatBot:
        """The chatbot for one call, which draws as ``config`` says."""
        bot = self._informed if self._informed is not None and self._switches.retrieval.enable else self._alone
        warn_idle([*(["origin_query"] if origin_query else []), *(turned(config) if config else [])])
        if config is None:
            return bot
        check_device(config.device)
        settings = replace(bot.settings, sampling=sampling(config))
        return ChatBot(bot.model, bot.retriever, settings, bot.k, cache=bot.cache, gated=bot.gated)

    def _warn_if_nothing_passed(self, query: str, answer: Answer) -> None:
        """Says how far the nearest passage is where the threshold left out all of them."""
        knowledge = self._informed.retriever if self._informed is not None and self._switches.retrieval.enable else None
        if self._score_threshold is None or answer.sources or answer.guarded or not isinstance(knowledge, Knowledge):
            return
        nearest = knowledge.candidates([query])[0].dense[:1]
        said = f"the nearest has the cosine {nearest[0].score:.2f}" if nearest else "there is none"
        warnings.warn(
            f"score_threshold {self._score_threshold} leaves out every passage for {query!r}: {said}", stacklevel=3
        )


def _refuse_endpoints(config: PipelineConfig) -> None:
    """Raises ``InputError`` for a model that is to be asked elsewhere."""
    for name in ("hf_endpoint_url", "openai_config"):
        if getattr(config, name) is not None:
            raise InputError(f"{name} is not supported; name a model on a server as openai:MODEL@URL")


def _chat_settings(plugins: Plugins) -> ChatSettings:
    """How questions are asked, with what the cache and the list of words ask for."""
    words: tuple[str, ...] = ()
    if plugins.safety_checker.enable:
        folder = plugins.safety_checker.args.get("dict_path")
        if folder is None:
            raise InputError(
                "plugins.safety_checker needs args['dict_path'], a folder with dict.txt, one word per line"
            )
        words = read_words(Path(folder) / "dict.txt")
    similarity = _SAME_QUESTION if plugins.cache.enable else None
    return ChatSettings(sampling=Sampling(max_tokens=256), blocked_words=words, cache_similarity=similarity)
