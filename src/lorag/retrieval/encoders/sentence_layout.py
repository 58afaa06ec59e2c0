"""How a folder of sentence-transformers makes one vector of a text: prompts, window, pooling, layers, normalisation.

``modules.json`` names the parts in order; what each does is in a configuration of its own. Weights of layers are read
from safetensors only. A folder without ``modules.json`` is an encoder whose pooling is the caller's to know. Vectors
are brought to length 1 at the end in any case: passages are compared by cosine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lorag.errors import ModelError
from lorag.files import fingerprint, sha256_of

Vector = NDArray[np.float32]
_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Older configurations have a flag for each pooling, in the order in which several are joined."""
_POOLS: dict[str, Callable[[Vector, Vector], Vector]] = {
    "cls": lambda states, places: states[0],
    "max": lambda states, places: states.max(axis=0),
    "mean": lambda states, places: states.mean(axis=0),
    "mean_sqrt_len_tokens": lambda states, places: states.sum(axis=0) / np.sqrt(np.float32(len(states))),
    "weightedmean": lambda states, places: (states * places[:, None]).sum(axis=0) / places.sum(),
    "lasttoken": lambda states, places: states[-1],
}
"""One vector from states of tokens ``(n, dim)`` and their places in the text, from 1."""
_PROMPTS = {"query": ("query",), "passage": ("document", "passage", "corpus")}
_LONGEST_WINDOW = 8192
_USUAL_WINDOW = 512


@dataclass(frozen=True, slots=True)
class SentenceLayout:
    """What makes a vector of the states of tokens; ``encoder`` is the folder of the transformer itself."""

    encoder: Path
    window: int
    """The longest text in tokens, special ones included."""
    pooling: tuple[str, ...]
    pools_prompt: bool = True
    """Whether the tokens of a prompt are pooled with the others."""
    layers: tuple[Callable[[Vector], Vector], ...] = ()
    layer_files: tuple[Path, ...] = ()
    prompts: Mapping[str, str] = field(default_factory=dict)
    lowercase: bool = False

    def text(self, text: str, kind: Literal["query", "passage"]) -> str:
        """``text`` with its prompt, as it goes into the tokenizer."""
        whole = self.prompts.get(kind, "") + text
        return whole.lower() if self.lowercase else whole

    def vector(self, states: Vector, prompt_tokens: int = 0) -> Vector:
        """The unit vector of a text from the states of its tokens, ``(tokens, dim)``."""
        skipped = 0 if self.pools_prompt or prompt_tokens >= len(states) else prompt_tokens
        places = np.arange(1, len(states) + 1, dtype=np.float32)[skipped:]
        vector = np.concatenate([_POOLS[mode](states[skipped:], places) for mode in self.pooling])
        for layer in self.layers:
            vector = layer(vector)
        return unit(vector)

    def dim(self, hidden: int) -> int:
        """The length of a vector where a token's state has ``hidden`` numbers."""
        return len(self.vector(np.ones((1, hidden), dtype=np.float32)))

    def identity(self, weights: Iterable[Path]) -> str:
        """A hash of all that decides the vectors of passages; reading 34 MB of weights for it takes 50 ms."""
        named = [self.encoder / "config.json", self.encoder / "tokenizer.json", *sorted(weights)]
        files = {file.name: sha256_of(file) for file in named if file.is_file()}
        more: dict[str, Any] = {str(number): sha256_of(file) for number, file in enumerate(self.layer_files)}
        if self.prompts.get("passage"):
            more |= {"prompt": self.prompts["passage"], "pools_prompt": self.pools_prompt}
        if self.lowercase:
            more["lowercase"] = True
        return fingerprint({"pooling": "+".join(self.pooling)} | files | more)


def read_layout(folder: Path, query_prefix: str | None, pooling: str | None, usual_pooling: str) -> SentenceLayout:
    """The layout in a folder; a ``query_prefix`` and a ``pooling`` that are given come before its own.

    Raises ``ModelError`` for parts that are not known here, or whose weights are pickles.
    """
    encoder, pools_prompt = folder, True
    modes: tuple[str, ...] = (usual_pooling,)
    layers: list[Callable[[Vector], Vector]] = []
    files: list[Path] = []
    modules = folder / "modules.json"
    for module in read_json(modules, list) if modules.is_file() else ():
        kind, place = str(module["type"]).rsplit(".", 1)[-1], folder / str(module["path"])
        if kind == "Transformer":
            encoder = place
        elif kind == "Pooling":
            modes, pools_prompt = _read_pooling(place / "config.json")
        elif kind == "Dense":
            layers.append(_read_dense(place))
            files.append(place / "model.safetensors")
        elif kind == "Normalize":
            layers.append(unit)
        elif kind != "Dropout":
            raise ModelError(
                f"{str(folder)!r} needs the module {module['type']}, which is not supported; choose an embedder of"
                " Transformer, Pooling, Dense and Normalize"
            )
    settings = _read_optional(encoder / "sentence_bert_config.json")
    prompts = _read_prompts(folder) | ({} if query_prefix is None else {"query": query_prefix})
    return SentenceLayout(
        encoder,
        int(settings.get("max_seq_length") or read_window(encoder)),
        (pooling,) if pooling else modes,
        pools_prompt,
        tuple(layers),
        tuple(files),
        prompts,
        bool(settings.get("do_lower_case")),
    )


def read_window(folder: Path) -> int:
    """The longest input in tokens, by the model's positions and its tokenizer, whichever is shorter."""
    config, tokenizer = _read_optional(folder / "config.json"), _read_optional(folder / "tokenizer_config.json")
    named = (config.get("max_position_embeddings"), tokenizer.get("model_max_length"))
    known = [int(limit) for limit in named if isinstance(limit, int | float) and 0 < limit <= 10**9]
    return min((*known, _LONGEST_WINDOW)) if known else _USUAL_WINDOW


def read_json(path: Path, kind: type[dict[str, Any]] | type[list[Any]] = dict) -> Any:
    """The object or list in a JSON file of a model. Raises ``ModelError`` where it is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} cannot be read ({error}); fetch the model again") from error
    if not isinstance(found, kind):
        raise ModelError(f"{str(path)!r} holds no {kind.__name__}; fetch the model again")
    return found


def unit(vector: Vector) -> Vector:
    """``vector`` at length 1; the first direction where it has no length."""
    norm = np.linalg.norm(vector)
    if norm == 0:
        first = np.zeros_like(vector)
        first[0] = 1
        return first
    return np.asarray(vector / norm, dtype=np.float32)


def _read_optional(path: Path) -> Any:
    return read_json(path) if path.is_file() else {}


def _read_pooling(path: Path) -> tuple[tuple[str, ...], bool]:
    config = read_json(path)
    named = config.get("pooling_mode") or [mode for flag, mode in _POOLINGS.items() if config.get(flag)] or ["mean"]
    modes = (named,) if isinstance(named, str) else tuple(named)
    if unknown := [mode for mode in modes if mode not in _POOLS]:
        raise ModelError(f"{str(path)!r} pools by {unknown[0]!r}; expected {', '.join(_POOLS)}")
    return modes, bool(config.get("include_prompt", True))


def _read_prompts(folder: Path) -> dict[str, str]:
    """The prompts before queries and passages by their usual names; others are for other tasks."""
    named = _read_optional(folder / "config_sentence_transformers.json").get("prompts") or {}
    prompts = {name: text for name, text in named.items() if text}
    return {kind: next((prompts[name] for name in known if name in prompts), "") for kind, known in _PROMPTS.items()}


def _read_dense(folder: Path) -> Callable[[Vector], Vector]:
    """A linear layer with its activation. Raises ``ModelError`` for weights in a pickle."""
    from scipy.special import erf, expit

    config, file = read_json(folder / "config.json"), folder / "model.safetensors"
    if not file.is_file():
        raise ModelError(
            f"{str(folder)!r} holds no weights in safetensors files; others are not loaded, since they can run code;"
            " choose another copy of the embedder"
        )
    weights = _read_weights(file)
    activations: dict[str, Callable[[Vector], Vector]] = {
        "Identity": lambda x: x,
        "Tanh": np.tanh,
        "ReLU": lambda x: np.maximum(x, 0),
        "GELU": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
        "Sigmoid": expit,
        "SiLU": lambda x: x * expit(x),
    }
    name = str(config.get("activation_function", "Tanh")).rsplit(".", 1)[-1]
    if name not in activations:
        raise ModelError(f"{str(folder)!r} has the activation {name}; expected {', '.join(activations)}")
    matrix, bias = weights["linear.weight"], weights.get("linear.bias", np.float32(0))
    residual = weights.get("residual.weight")

    def layer(vector: Vector) -> Vector:
        made = activations[name](matrix @ vector + bias)
        if config.get("use_residual"):
            made = made + (vector if residual is None else residual @ vector)
        return np.asarray(made, dtype=np.float32)

    return layer


def _read_weights(file: Path) -> dict[str, Vector]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return {name: values.astype(np.float32) for name, values in load_file(file).items()}
    except (SafetensorError, OSError, TypeError, KeyError) as error:  # numpy has no bfloat16
        from safetensors.torch import load_file as load_tensors

        try:
            return {name: values.float().numpy() for name, values in load_tensors(file).items()}
        except (SafetensorError, OSError):
            raise ModelError(f"{str(file)!r} is damaged ({error}); fetch the model again") from error
