"""A transformer encoder in a folder with an ONNX file and ``tokenizer.json``, run on the CPU without torch.

Where ``fused.onnx`` stands beside it, that is run: the same model with attention as one operator, a quarter quicker.

Every input is a model call of its own, and the calls run in parallel, one core each. So an output depends on its input
alone: the activations of an int8 model share one scale per call, and in a batch the neighbours of a text turn its
vector (cosine down to 0.996 for bge-small in batches of 16). It costs little: two cores embed 40 passages a second (25
in such batches) and 300 questions (350).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorag.errors import ModelError
from lorag.machine import cores
from lorag.models.quiet import quiet_transformers

_WEIGHTS = ("fused.onnx", "model.onnx", "onnx/model.onnx", "onnx/model_quantized.onnx")
_STATES = ("last_hidden_state", "token_embeddings")
"""What exporters call the states of tokens, where there are other outputs too."""
_OLDER_TOKENIZERS = ("vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


class OnnxEncoder:
    """Texts, or pairs of texts, through a model; what is beyond its window is cut off, the longer of a pair first."""

    def __init__(self, folder: Path, window: int, tokenizer: Path | None = None) -> None:
        """``window`` is in tokens, special ones included; ``tokenizer`` is the folder of that, when it is another one.

        Raises ``ModelError`` where ``folder`` holds no encoder.
        """
        self.window = Window(tokenizer or folder, window)
        self._session = _open_session(folder)
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        outputs = [entry.name for entry in self._session.get_outputs()]
        self._output = next((name for name in _STATES if name in outputs), outputs[0])
        if not self._inputs <= _INPUTS:
            raise ModelError(
                f"{str(folder)!r} asks for {sorted(self._inputs - _INPUTS)}; expected an encoder that takes only "
                f"{sorted(_INPUTS)}: export it for feature extraction, or for sequence classification to rerank with"
            )

    def outputs(self, inputs: Sequence[str] | Sequence[tuple[str, str]]) -> Iterator[NDArray[np.float32]]:
        """The states of tokens, or else the model's first output, for each input, in order, without a batch's axis."""
        encodings = self.window.encode(inputs)
        with ThreadPoolExecutor(cores()) as pool:
            yield from pool.map(self._run, encodings)

    def _run(self, encoding: Any) -> NDArray[np.float32]:
        tokens = np.array([encoding.ids], dtype=np.int64)
        kinds = np.array([encoding.type_ids], dtype=np.int64)
        values = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": kinds}
        output: NDArray[np.float32] = self._session.run([self._output], {name: values[name] for name in self._inputs})[
            0
        ][0]
        return output


def weights_file(folder: Path) -> Path:
    """The file that is run, the quicker form where there is one; it need not exist."""
    return next((folder / name for name in _WEIGHTS if (folder / name).is_file()), folder / "model.onnx")


class Window:
    """The tokenizer in a folder, as a model of a limited length is given its inputs."""

    def __init__(self, folder: Path, window: int) -> None:
        """``window`` is in tokens, special ones included."""
        self._tokenizer, self._counter = _read_tokenizer(folder), _read_tokenizer(folder)
        self._tokenizer.enable_truncation(window)
        self.max_tokens: int = window - self._tokenizer.num_special_tokens_to_add(False)

    def encode(self, inputs: Sequence[str] | Sequence[tuple[str, str]]) -> list[Any]:
        """What goes into the model for each text or pair, cut where it is longer, with special tokens."""
        encodings: list[Any] = self._tokenizer.encode_batch(list(inputs))
        return encodings

    def prompt_tokens(self, prompt: str) -> int:
        """The tokens with which every text begins that ``prompt`` stands before, special ones included; 0 for none."""
        if not prompt:
            return 0
        (encoding,) = self.encode([prompt])
        return len(encoding.ids) - int(encoding.special_tokens_mask[-1])

    def count_tokens(self, text: str) -> int:
        """The number of tokens of ``text``, special tokens left out, however long it is."""
        return len(self._counter.encode(text, add_special_tokens=False).ids)


def _read_tokenizer(folder: Path) -> Any:
    """The tokenizer as it is in the file, but neither cutting nor padding."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    try:
        older = not path.is_file() and any((folder / name).is_file() for name in _OLDER_TOKENIZERS)
        made = _converted_tokenizer(folder) if older else path.read_text(encoding="utf-8")
        tokenizer = Tokenizer.from_str(made)
    except Exception as error:  # the library raises Exception itself
        raise ModelError(f"{str(path)!r} is not a tokenizer ({error}); fetch the model again") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _converted_tokenizer(folder: Path) -> str:
    """An older tokenizer, such as a ``vocab.txt`` or a SentencePiece model, as ``tokenizer.json`` has it."""
    from transformers import AutoTokenizer

    with quiet_transformers():
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return str(tokenizer.backend_tokenizer.to_str())


def _open_session(folder: Path) -> Any:
    """The model, ready to run on one core a call."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it reports which models are loaded
    import onnxruntime  # type: ignore[import-untyped]

    path = weights_file(folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    slow = ["SkipLayerNormFusion"]  # its operator takes five times as long on a CPU as the two that it replaces
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"], disabled_optimizers=slow)
    except Exception as error:  # the library's errors have no other root
        raise ModelError(f"{str(path)!r} does not load ({error}); fetch the model again") from error
