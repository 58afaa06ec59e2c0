"""The quick engine on a CPU: llama.cpp over one GGUF file, inside this process.

Prompts are rendered and cut into tokens by the model's own tokenizer, as the reference engine does it, so a document's
text cannot become a control token. What a prompt begins with is not computed again while it is kept. llama.cpp brings
a server of its own, which nobody can reach here. Not here: beams, GPUs (the reference engine takes both).
"""

from __future__ import annotations

import json
import os
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lorag.errors import InputError, ModelError, require
from lorag.llm.decoding.json_schema import schema_grammar
from lorag.llm.decoding.stop_texts import tokens_before
from lorag.llm.rendering import prompt_ids
from lorag.machine import cores, free_bytes, gigabytes
from lorag.models.gguf_reading import read_header, read_tokenizer
from lorag.types import Completion, Prompt, Sampling, TokenLogprob

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EXTRA = "fast"
_SLOTS = 8
"""Callers answered side by side; their contexts share one cache."""
_QUIET = -1
_SMALLEST_CONTEXT = 2048
_PROBE = "In 2024, the 12 engineers' café “Zoë” said: 你好, мир! 🙂\r\n\tif (x_1 >= 10.50) {\n    return (x+y)/2;\n}  "
"""A text in which tokenizers differ: digits, capitals, marks, scripts, code, white space."""


class LlamaCppModel:
    """A ``LanguageModel`` over a GGUF file and the tokenizer it was written with."""

    def __init__(
        self, file: Path, tokenizer: PreTrainedTokenizerBase, name: str, context_tokens: int, exact: bool = False
    ) -> None:
        """Loads the file. Raises ``ModelError`` when llama.cpp cannot, ``MissingExtraError`` without the package.

        ``exact`` attends in float32 throughout, which takes twice the room for keys and values and that of all scores;
        else llama.cpp adds up in 16 bits, and likelihoods are off by up to some hundredths of a nat.
        """
        self.name = name
        self.tokenizer = tokenizer
        self.context_tokens = context_tokens
        self._server = _start(file, context_tokens, exact)

    @classmethod
    def from_file(cls, file: Path, name: str) -> LlamaCppModel:
        """The model in a GGUF file from anywhere, with its own tokenizer and template.

        Its context is as long as memory allows. Raises ``ModelError`` where memory is too small, and where the
        tokenizer, as transformers reads it, does not cut a text as llama.cpp does.
        """
        require("xllamacpp", EXTRA, "a GGUF file")
        header, size, free = read_header(file), file.stat().st_size, free_bytes("cpu")
        room = (free - size) // 2 // max(header.cache_bytes, 1)
        if room < min(_SMALLEST_CONTEXT, header.context_tokens):
            needed = size + 2 * _SMALLEST_CONTEXT * header.cache_bytes
            raise ModelError(
                f"{name} needs about {gigabytes(needed)} of memory, and {gigabytes(free)} are free; choose a smaller"
                " model or quantisation, or end other programs"
            )
        model = cls(file, read_tokenizer(file), name, min(header.context_tokens, room))
        ours = len(model.tokenizer(_PROBE)["input_ids"])
        theirs = model._reply({"prompt": _PROBE, "max_tokens": 0})["usage"]["prompt_tokens"]
        if ours != theirs:
            raise ModelError(
                f"the tokenizer of {name} splits a text into {ours} tokens, and llama.cpp into {theirs}: this kind of"
                " tokenizer is not supported; use the model's safetensors, or let Ollama serve it (ollama:MODEL)"
            )
        return model

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion for each prompt, in order.

        One after the other, so that what they begin with alike is computed once: slots side by side are slower on a
        CPU. Raises ``ModelError`` when a prompt and its answer do not fit the model's context.
        """
        requests = [self._request(prompt, sampling) for prompt in prompts]
        start = time.perf_counter()
        replies = [self._reply(request) for request in requests]
        share = (time.perf_counter() - start) / max(len(replies), 1)
        return [
            _completion(reply["choices"][0]["text"], reply, share, _told(reply["choices"], sampling), sampling.stop)
            for reply in replies
        ]

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str, None, Completion]:
        """Pieces of one completion, which it returns; a piece never ends inside a character or a stop text."""
        request = self._request(prompt, sampling) | {"stream": True, "stream_options": {"include_usage": True}}
        start = time.perf_counter()
        text, shown, closed = "", "", threading.Event()
        told: tuple[TokenLogprob, ...] = ()
        replies = self._replies(request, closed)
        try:
            for reply in replies:
                choices = reply.get("choices") or [{"text": ""}]
                text += choices[0]["text"]
                told += _told(choices, sampling)
                if text.strip() != shown:
                    yield text.strip()[len(shown) :]
                    shown = text.strip()
                last = reply
        finally:
            closed.set()
        return _completion(text, last, time.perf_counter() - start, told, sampling.stop)

    def count_tokens(self, text: str) -> int:
        """The number of tokens of a plain text."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def room(self, prompt: Prompt, sampling: Sampling) -> int:
        """The tokens that the context has left beside ``prompt`` and its longest answer; below 0 they do not fit."""
        most = sampling.within(self.context_tokens).max_tokens
        return self.context_tokens - len(prompt_ids(self.tokenizer, prompt, sampling)) - most

    def tokens(self, prompt: Prompt, sampling: Sampling) -> list[tuple[int, float]]:
        """The tokens of an answer, each by its id and the logarithm of its probability."""
        request = self._request(prompt, sampling) | {"logprobs": 1}
        return [(said["id"], said["logprob"]) for said in self._reply(request)["choices"][0]["logprobs"]["content"]]

    def _request(self, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
        """What llama.cpp is asked. Raises ``ModelError`` for a prompt that does not fit, ``InputError`` for beams."""
        if sampling.num_beams > 1:
            raise InputError(
                f"llama.cpp does not support num_beams {sampling.num_beams!r}; choose the engine transformers"
            )
        sampling = sampling.within(self.context_tokens)
        ids = prompt_ids(self.tokenizer, prompt, sampling)
        if len(ids) + sampling.max_tokens > self.context_tokens:
            raise ModelError(
                f"a prompt of {len(ids)} tokens and an answer of up to {sampling.max_tokens} do not fit"
                f" {self.name}'s context of {self.context_tokens}; lower the context budget"
            )
        schema = sampling.json_schema
        if schema is not None:
            schema_grammar(schema)  # llama.cpp would answer freely under one that it does not understand
        greedy = sampling.temperature == 0
        return {
            "prompt": ids,
            "max_tokens": sampling.max_tokens,
            "stop": list(sampling.stop),
            # Greedily the one likeliest token is taken, and none of the others sorted.
            "samplers": ["penalties", "top_k"] if greedy else ["penalties", "temperature", "top_k", "top_p"],
            "temperature": sampling.temperature,
            "top_k": 1 if greedy else sampling.top_k,
            "top_p": sampling.top_p,
            "seed": sampling.seed % 2**32,
            "repeat_penalty": sampling.repetition_penalty,
            "repeat_last_n": self.context_tokens,
            **({"json_schema": json.loads(schema)} if schema is not None else {}),
            **({"logprobs": max(1, sampling.logprobs)} if sampling.logprobs is not None else {}),
        }

    def _reply(self, request: dict[str, Any]) -> Mapping[str, Any]:
        return self._whole(self._server.handle_completions(request))

    def _replies(self, request: dict[str, Any], closed: threading.Event) -> Generator[Mapping[str, Any]]:
        """What llama.cpp hands over, as it comes, until it is done or ``closed`` is set."""
        arrived: queue.SimpleQueue[Mapping[str, Any] | BaseException | None] = queue.SimpleQueue()

        def arrive(reply: Mapping[str, Any]) -> bool:
            arrived.put(reply)
            return closed.is_set()

        def work() -> None:
            try:
                self._server.handle_completions(request, arrive)
                arrived.put(None)
            except BaseException as error:  # noqa: BLE001 - raised to the reader
                arrived.put(error)

        threading.Thread(target=work, daemon=True).start()
        while (reply := arrived.get()) is not None:
            if isinstance(reply, BaseException):
                raise ModelError(f"{self.name} stopped in the middle of an answer: {reply}") from reply
            yield self._whole(reply)

    def _whole(self, reply: Mapping[str, Any]) -> Mapping[str, Any]:
        if "error" in reply or "choices" not in reply:
            said = reply.get("error", reply)
            raise ModelError(f"{self.name} cannot answer: {said.get('message', said)}")
        return reply


def _start(file: Path, context_tokens: int, exact: bool) -> Any:
    """llama.cpp with the file loaded. The socket it listens on is gone from its folder before anybody could use it."""
    xllamacpp = require("xllamacpp", EXTRA, "the engine llama.cpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(file)
    parameters.n_ctx, parameters.n_parallel, parameters.kv_unified = context_tokens, _SLOTS, True
    parameters.n_gpu_layers, parameters.fit_params, parameters.warmup, parameters.verbosity = 0, False, False, _QUIET
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = _threads()
    if exact:
        parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    with tempfile.TemporaryDirectory(prefix="lorag-") as folder, signals_kept():
        parameters.hostnames = [str(Path(folder) / "llama.sock")]
        try:
            server = xllamacpp.Server(parameters)
        except RuntimeError as error:
            raise ModelError(f"llama.cpp cannot load {str(file)!r}: {error}") from error
        # Its loop must run before it is taken down: told to end earlier, it would miss that and never end.
        server.handle_completions({"prompt": [0], "max_tokens": 1})
        return server


@contextmanager
def signals_kept() -> Iterator[None]:
    """llama.cpp takes Ctrl-C and the like for itself, as a program would; they belong to the caller."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _threads() -> int:
    """As many as this process may use, or as ``OMP_NUM_THREADS`` allows."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    if allowed.isdecimal() and int(allowed):
        return int(allowed)
    return cores()


def _told(choices: Sequence[Mapping[str, Any]], sampling: Sampling) -> tuple[TokenLogprob, ...]:
    """The log probabilities in a reply, or in one of a stream's."""
    if sampling.logprobs is None:
        return ()
    return tuple(
        TokenLogprob(
            said["token"],
            said["logprob"],
            tuple((each["token"], each["logprob"]) for each in said["top_logprobs"][: sampling.logprobs]),
        )
        for said in (choices[0].get("logprobs") or {}).get("content") or ()
    )


def _completion(
    text: str, last: Mapping[str, Any], seconds: float, told: Sequence[TokenLogprob], stops: Sequence[str]
) -> Completion:
    """``last`` is the reply, or the last of a stream's, which counts what was used."""
    usage, choices = last["usage"], last["choices"]
    finish: Literal["stop", "length"] = "length" if choices[0]["finish_reason"] == "length" else "stop"
    prefill = min(last["timings"]["prompt_ms"] / 1000, seconds)
    spent = (usage["prompt_tokens"], usage["completion_tokens"])
    return Completion(text.strip(), *spent, seconds, finish, prefill, tokens_before(told, stops))
