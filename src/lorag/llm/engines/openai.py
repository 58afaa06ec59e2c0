"""A language model behind an OpenAI-compatible address: vLLM, Ollama, a llama.cpp server, or a hosted one.

The key is taken from the environment (``OPENAI_API_KEY``), sent to the address that was named, and kept nowhere else.
An address with ``?api-version=`` is one of Azure, which takes the key in a header of its own and names deployments.
Weights, template and context are the server's own: no adapter is applied here, and what a prompt's text may make of
control tokens is decided there. Not here: images, tools. Embedders share ``client`` and its errors.
"""

from __future__ import annotations

import json
import os
import re
import time
import warnings
import weakref
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from lorag.errors import EndpointError, InputError, require
from lorag.files import fingerprint
from lorag.llm.engines.ledger import Ledger
from lorag.llm.engines.patience import Patience
from lorag.settings import RemoteSettings
from lorag.types import Completion, Prompt, Sampling, TokenLogprob

PREFIXES = ("openai:", "ollama:")
KEY = "OPENAI_API_KEY"
_FORM = re.compile(r"openai:(?P<model>.+?)@(?P<url>https?://.+)")
_OLLAMA_FORM = re.compile(r"ollama:(?P<model>[\w./-]+(:[\w.-]+)?)")
_OLLAMA_PORT = 11434
_AZURE = ".azure.com"
"""Hosts on which a model is asked for by the name of a deployment, and answers by its own."""
_API_VERSION = re.compile(r"api-version=(?P<version>[\w.-]+)")
_BYTES_A_TOKEN = 4
"""Of English text in the vocabularies in use, about."""


@dataclass(frozen=True, slots=True)
class Address:
    """A model's name and the base of the URLs it is reached under."""

    model: str
    url: str
    api_version: str | None = None
    """That of Azure's API, where the URL had ``?api-version=``."""

    @classmethod
    def parse(cls, name: str) -> Address:
        """The address that ``openai:MODEL@URL`` gives, or that of Ollama on this machine for ``ollama:MODEL[:TAG]``.

        Raises ``InputError`` for another form, or one with secrets.
        """
        if (ollama := _OLLAMA_FORM.fullmatch(name)) is not None:
            return cls(ollama["model"], f"{_ollama()}/v1")
        found = _FORM.fullmatch(name)
        if found is None:
            raise InputError(
                f"{name!r} is not a remote model; expected openai:MODEL@URL, such as openai:m@http://host:8000/v1, or"
                " ollama:MODEL[:TAG]"
            )
        parts = urlsplit(found["url"])
        version = _API_VERSION.fullmatch(parts.query)
        if parts.username or parts.password or (parts.query and version is None):
            # The name stands in reports: it is not repeated here either.
            raise InputError(
                f"the address of {found['model']!r} holds a password, or a query other than ?api-version=...;"
                f" set {KEY} instead"
            )
        url = found["url"].partition("?")[0].rstrip("/")
        return cls(found["model"], url, version["version"] if version else None)

    @property
    def is_azure(self) -> bool:
        """Whether models are asked for by the names of deployments."""
        return self.api_version is not None or (urlsplit(self.url).hostname or "").endswith(_AZURE)


def _ollama() -> str:
    """Where Ollama listens: ``OLLAMA_HOST`` as its own client reads it, else its usual port on this machine."""
    host = os.environ.get("OLLAMA_HOST", "").strip().rstrip("/") or "127.0.0.1"
    parts = urlsplit(host if "://" in host else f"http://{host}")
    name = "127.0.0.1" if parts.hostname in (None, "0.0.0.0") else parts.hostname
    port = parts.port or ({"http": 80, "https": 443}[parts.scheme] if "://" in host else _OLLAMA_PORT)
    return f"{parts.scheme}://{f'[{name}]' if ':' in name else name}:{port}"


def client(address: Address, settings: RemoteSettings, owner: object) -> Any:
    """OpenAI's client of an address, with the key of the environment; it connects to nothing yet.

    Its connections are closed with its ``owner``: its parts refer to each other and would wait for the collector. It
    repeats no request: see ``Patience``.

    Raises ``MissingExtraError`` without the package ``openai``.
    """
    openai = require("openai", "openai", "a remote model")
    given: dict[str, Any] = {
        "base_url": address.url,
        "api_key": os.environ.get(KEY) or "none",
        "timeout": settings.timeout_seconds,
        "max_retries": 0,
    }
    if address.api_version is None:
        made = openai.OpenAI(**given)
    elif address.url.endswith("/v1"):  # of Azure too, where it takes the key and the model as OpenAI does
        made = openai.OpenAI(**given, default_query={"api-version": address.api_version})
    else:
        made = openai.AzureOpenAI(**given, api_version=address.api_version)
    weakref.finalize(owner, made.close)
    return made


def require_named(address: Address, answer: Any) -> None:
    """Raises ``EndpointError`` for an answer by another model: some servers hold one, whatever is asked for.

    A dated release of a model is that model.
    """
    asked, answered = address.model, getattr(answer, "model", None) or ""
    same = re.fullmatch(rf"{re.escape(asked)}(-\d{{4}}(-?\d\d-?\d\d)?|:latest)?", answered)
    if answered and not same and not address.is_azure:
        raise EndpointError(
            f"{address.url} was asked for {asked!r} but answered as {answered!r}; if that is the model you"
            f" mean, name it (openai:{answered}@{address.url}), otherwise let the server load {asked!r}"
        )


@contextmanager
def endpoint_errors(address: Address, settings: RemoteSettings, expected: str) -> Iterator[None]:
    """Turns what the client raises into ``EndpointError`` with what to do; the key is in no message."""
    import openai

    where = address.url
    try:
        yield
    except openai.APITimeoutError as error:
        reason = f"did not answer within {settings.timeout_seconds:g} seconds, asked {settings.retries + 1} times; "
        raise EndpointError(f"{where} {reason}raise timeout_seconds, or lower concurrency") from error
    except openai.APIConnectionError as error:
        cause = error.__cause__ or error
        raise EndpointError(f"{where} cannot be reached: {cause}; start the server, or correct the address") from error
    except openai.APIStatusError as error:
        said = _without_key(error.message)
        advice = {401: f"set {KEY}", 403: f"set {KEY}", 404: f"see {where}/models", 429: "lower concurrency"}
        todo = advice.get(error.status_code, "see its log")
        raise EndpointError(f"{where} refuses {address.model!r}: {said}; {todo}") from None
    except (openai.APIError, ValueError, TypeError, AttributeError) as error:
        said = _without_key(str(error))
        raise EndpointError(
            f"{where} did not answer with {expected}: {said}; expected an OpenAI-compatible /v1 address"
        ) from error


class RemoteModel:
    """A ``LanguageModel`` over the wire; ``name`` is ``openai:MODEL@URL`` or ``ollama:MODEL``."""

    def __init__(self, name: str, settings: RemoteSettings | None = None, ledger: Ledger | None = None) -> None:
        """Connects to nothing yet. Raises ``MissingExtraError`` without the package ``openai``.

        ``ledger`` keeps what ``generate`` is answered, and its budget.
        """
        self.name = name
        self.opens_thoughts = False
        """Whether an answer began inside thoughts, which the server's chat template opens."""
        self._address = Address.parse(name)
        self._settings = settings or RemoteSettings()
        self._ledger = ledger
        self._context = self._settings.context_tokens
        self._client = client(self._address, self._settings, self)
        self._patience = Patience(self._settings)

    def require_reachable(self) -> None:
        """Raises ``EndpointError`` at once, before anything is asked, where no server listens or the key is wrong.

        A server that lists the length of the model's context, as vLLM does, is believed where the settings have none.
        vLLM lists that of a LoRA adapter with its base.
        """
        import openai

        with self._errors():
            try:
                found = self._client.models.list()
            except openai.APIStatusError as error:
                if error.status_code in (401, 403):  # other servers may have no list of models
                    raise
                return
        listed = {str(getattr(each, "id", "")): each for each in getattr(found, "data", None) or ()}
        own = listed.get(self._address.model)
        for each in (own, listed.get(str(getattr(own, "parent", "")))):
            if isinstance(length := getattr(each, "max_model_len", None), int):
                self._context = self._context or length

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion for each prompt, in order, ``concurrency`` of them asked for at a time.

        Raises ``EndpointError`` for the first that fails; those not yet asked for are then not asked for.
        """
        request = self._request(sampling)
        with ThreadPoolExecutor(self._settings.concurrency) as pool:
            return list(pool.map(lambda prompt: self._complete(prompt, request), prompts))

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str, None, Completion]:
        """Pieces of one completion as they arrive; white space around the whole of it is left out."""
        request = self._request(sampling)
        start, first = time.perf_counter(), 0.0
        text, shown, finish, usage = "", "", None, None
        told: tuple[TokenLogprob, ...] = ()
        with self._errors():
            request |= {"stream": True, "stream_options": {"include_usage": True}}
            chunks = self._patience.ask(
                lambda: self._client.chat.completions.create(messages=_messages(prompt), **request)
            )
        try:
            for chunk in self._arriving(chunks):
                require_named(self._address, chunk)
                usage = chunk.usage or usage
                for choice in (chunk.choices or [])[:1]:
                    text += choice.delta.content or ""
                    finish = choice.finish_reason or finish
                    told += _told(choice)
                first = first or time.perf_counter() - start
                if text.strip() != shown:
                    yield text.strip()[len(shown) :]
                    shown = text.strip()
        finally:
            chunks.close()
        if finish is None:
            raise EndpointError(f"{self.name} ended its stream in the middle of an answer; ask again, or see its log")
        done = self._completion(prompt, text, finish, usage, time.perf_counter() - start, first)
        return replace(done, logprobs=told)

    def count_tokens(self, text: str) -> int:
        """About the number of tokens of a text: the server's tokenizer is not at hand, so bytes are counted."""
        return -(-len(text.encode()) // _BYTES_A_TOKEN)

    def room(self, prompt: Prompt, sampling: Sampling) -> int | None:
        """About the tokens left, where the context is known from the settings or, once it was reached, the server.

        The protocol does not tell it; a server refuses what does not fit.
        """
        if self._context is None:
            return None
        return self._context - self._count(prompt) - sampling.within(self._context).max_tokens

    def _count(self, prompt: Prompt) -> int:
        return sum(self.count_tokens(turn.content) for turn in prompt)

    def _complete(self, prompt: Prompt, request: dict[str, Any]) -> Completion:
        if self._ledger is None:
            return self._asked(prompt, request)
        key = fingerprint([self.name, _messages(prompt), request])
        at_most = self._count(prompt) + request["max_tokens"]
        return self._ledger.completion(key, at_most, lambda: self._asked(prompt, request))

    def _asked(self, prompt: Prompt, request: dict[str, Any]) -> Completion:
        start = time.perf_counter()
        with self._errors():
            answer = self._patience.ask(
                lambda: self._client.chat.completions.create(messages=_messages(prompt), **request)
            )
            (choice, *_) = answer.choices
            told = _told(choice)
            text, finish, usage = choice.message.content or "", choice.finish_reason, answer.usage
        require_named(self._address, answer)
        done = self._completion(prompt, text, finish, usage, time.perf_counter() - start, 0.0)
        return replace(done, logprobs=told)

    def _completion(
        self, prompt: Prompt, text: str, finish: str, usage: Any, seconds: float, prefill_seconds: float
    ) -> Completion:
        """Tokens as the server counted them, or about as many as there are."""
        spent = usage.prompt_tokens if usage else self._count(prompt)
        said = usage.completion_tokens if usage else self.count_tokens(text)
        ended: Literal["stop", "length"] = "length" if finish == "length" else "stop"
        if (opens := "</think>" in text and "<think>" not in text) or ended == "stop":
            self.opens_thoughts = opens
        return Completion(text.strip(), spent, said, seconds, ended, prefill_seconds)

    def _request(self, sampling: Sampling) -> dict[str, Any]:
        """The settings on the wire. Raises ``InputError`` for one that the protocol cannot carry."""
        if sampling.num_beams > 1:
            raise InputError(f"{self.name} does not support num_beams {sampling.num_beams!r}; expected 0 or 1")
        beyond = {
            name: getattr(sampling, name)
            for name, without_effect in (("top_k", 0), ("repetition_penalty", 1.0))
            if getattr(sampling, name) != without_effect
        }
        if beyond:
            names = " and ".join(beyond)
            warnings.warn(f"{self.name} may ignore {names}, which the protocol does not define", stacklevel=3)
        return {
            "model": self._address.model,
            "max_tokens": (sampling if self._context is None else sampling.within(self._context)).max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
            **({"response_format": _format(sampling.json_schema)} if sampling.json_schema is not None else {}),
            **({"logprobs": True, "top_logprobs": sampling.logprobs} if sampling.logprobs is not None else {}),
            **({"extra_body": beyond} if beyond else {}),
        }

    def _arriving(self, chunks: Iterator[Any]) -> Iterator[Any]:
        """The chunks of a stream; what goes wrong on the wire as ``EndpointError``."""
        while True:
            with self._errors():
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def _errors(self) -> AbstractContextManager[None]:
        return endpoint_errors(self._address, self._settings, "a chat completion")


def _messages(prompt: Prompt) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in prompt]


def _told(choice: Any) -> tuple[TokenLogprob, ...]:
    """The log probabilities in a choice, or in one of a stream's chunks; none where the server gave none."""
    content = getattr(getattr(choice, "logprobs", None), "content", None) or ()
    return tuple(
        TokenLogprob(said.token, said.logprob, tuple((each.token, each.logprob) for each in said.top_logprobs or ()))
        for said in content
    )


def _without_key(text: str) -> str:
    """``text`` with the key blotted out: some servers repeat the key they refuse."""
    key = os.environ.get(KEY)
    return text.replace(key, "***") if key else text


def _format(schema: str) -> dict[str, Any]:
    """A JSON schema as the protocol asks for it; one that allows every object is its plain JSON mode."""
    parsed = json.loads(schema)
    if parsed == {"type": "object"}:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": parsed}}
