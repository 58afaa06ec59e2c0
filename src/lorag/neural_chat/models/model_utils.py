"""``load_model`` puts a model under a name, ``predict_stream`` and ``predict`` ask it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from lorag import build
from lorag.errors import UnknownNameError
from lorag.files import fingerprint
from lorag.interfaces import LanguageModel
from lorag.llm.engines.base_model import Dtype, Weights, read_weights
from lorag.llm.engines.transformers import TransformersModel
from lorag.neural_chat.config import GenerationConfig, LoadingModelConfig
from lorag.neural_chat.knobs import made, turned, warn_idle
from lorag.neural_chat.loading import adapter_folder, check_device, dtype_of, named_model
from lorag.neural_chat.models.raw_prompt import messages
from lorag.types import Sampling

_DEFAULTS: dict[str, Any] = {"temperature": 0.9, "top_k": 1}
"""Where ``predict`` and ``predict_stream`` differ from a ``GenerationConfig``."""
_loaded: dict[str, LanguageModel] = {}
_bases: WeakValueDictionary[str, Weights] = WeakValueDictionary()
"""The weights that something loaded still answers with: a base is in memory once, with all its adapters beside it."""


def load_model(
    model_name: str,
    tokenizer_name: str | None = None,
    device: str = "auto",
    *,
    peft_path: str | None = None,
    optimization_config: Any = None,
    **more: Any,
) -> LanguageModel:
    """The model, with the adapter of ``peft_path`` applied when one is given; from now on also found by its name.

    A second model under one name takes the name over; the first one stays usable by what was returned for it, and a
    model with an adapter by its own ``name`` too. Models of one base share its weights. ``more`` are the fields of a
    ``LoadingModelConfig``. Raises where the model or the adapter does not load.
    """
    loading = made(LoadingModelConfig, {"peft_path": peft_path, **more})
    other_tokenizer = ["tokenizer_name"] if tokenizer_name not in (None, model_name) else []
    warn_idle([*turned(loading), *other_tokenizer])
    check_device(device)
    engine = build.language_model(
        named_model(model_name, loading),
        adapter_folder(loading),
        dtype=dtype_of(optimization_config),
        load=_base,
    )
    _loaded[model_name] = _loaded[engine.name] = engine
    return engine


def predict_stream(*, prompt: str, model_name: str | LanguageModel, **params: Any) -> Iterator[str]:
    """The pieces of an answer as they come.

    ``prompt`` is a question, or turns below ``### System:``, ``### User:`` and ``### Assistant:``. ``model_name`` is
    a name that ``load_model`` was given, or what it returned. ``params`` are the fields of a ``GenerationConfig``.
    Drawing follows ``transformers.set_seed``. What is wrong is raised by the call, or by the piece at which it shows.
    """
    config = made(GenerationConfig, _DEFAULTS | params)
    warn_idle(turned(config))
    check_device(config.device)
    engine = _engine(model_name)
    ends = ["</s>"]
    if isinstance(engine, TransformersModel):
        ends.append(str(engine.weights.tokenizer.eos_token))
    return engine.stream(messages(prompt, ends), sampling(config))


def predict(**params: Any) -> str:
    """The whole answer, and nothing of the prompt; see ``predict_stream``."""
    return "".join(predict_stream(**params))


def sampling(config: GenerationConfig) -> Sampling:
    """The same in the core's terms; the seed is drawn from torch's own generator."""
    import torch

    return Sampling(
        max_tokens=config.max_new_tokens,
        temperature=config.temperature if config.do_sample else 0.0,
        top_p=config.top_p,
        top_k=config.top_k,
        repetition_penalty=config.repetition_penalty,
        num_beams=config.num_beams,
        seed=int(torch.randint(2**31, ())),
    )


def _base(folder: Path, name: str, dtype: Dtype) -> TransformersModel:
    """The base of that folder over the weights that are loaded already, where they are."""
    files = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    key = fingerprint([str(folder.resolve()), files, name, dtype])
    weights = _bases.get(key)
    if weights is None:
        weights = _bases[key] = read_weights(folder, name, dtype)
    return TransformersModel(weights)


def _engine(name: str | LanguageModel) -> LanguageModel:
    if not isinstance(name, str):
        return name
    if name not in _loaded:
        raise UnknownNameError("loaded model", name, _loaded or ["none"], "Call load_model first.")
    return _loaded[name]
