"""The routes: requests in, what ``asked``, ``said`` and ``uploads`` make of them out.

The core is synchronous and runs in threads; a client that goes away ends its answer at the next piece. Nothing that
is asked or said is logged, but what a failing part says of its failure.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from lorag.chat.bot import ChatBot, Reply
from lorag.errors import InputError, LoragError, ModelError
from lorag.interfaces import Embedder, LanguageModel
from lorag.serving.admission import require_admitted, require_json
from lorag.serving.http_errors import HttpError, envelope
from lorag.serving.keys import THIS_MACHINE, Access, Permitted, permitted
from lorag.serving.prometheus import CONTENT_TYPE, Counted, Measures
from lorag.serving.protocol.chat_request import Asked, not_served, read_asked, read_text_asked
from lorag.serving.protocol.chat_response import Completing, TextCompleting, event
from lorag.serving.protocol.embeddings import read_embedding
from lorag.serving.turns import Turn, Turns
from lorag.serving.uploads import Uploads, plain_name
from lorag.settings import ServeSettings
from lorag.types import Answer, Sampling

T = TypeVar("T")

_LOG = logging.getLogger("lorag.serving")
_SECONDS_TO_SEND = 60
"""Longest time that a client has to send its request."""
_GONE = 499
"""The status of a request whose client went away: nobody reads it."""
_TEXTS_AT_ONCE = 16
"""Texts embedded in one piece of work, while which no question is searched for."""
_FAILED = "the answer failed; see the server's log"
_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "5"}}


async def ending() -> AsyncGenerator[AsyncExitStack]:
    """What is to be done after a request, however it ends: a response that is streamed outlives its route."""
    async with AsyncExitStack() as after:
        yield after


def by_name(*bots: ChatBot) -> dict[str, ChatBot]:
    """Chatbots under the names of their models."""
    return {bot.model.name: bot for bot in bots}


@dataclass(slots=True)
class Service:
    """Chatbots by the names that clients choose them by, and the ``embedder`` of their index.

    The ``key`` opens everything but ``/health``; ``keys`` open some documents each, or all. The ``uploads`` change the
    index. ``origins`` are the sites whose pages may ask here, such as ``https://app.example``, with a key.
    """

    bots: Mapping[str, ChatBot]
    key: str | None = None
    uploads: Uploads | None = None
    settings: ServeSettings = field(default_factory=ServeSettings)
    origins: tuple[str, ...] = ()
    keys: Mapping[str, Access] = field(default_factory=dict)
    embedder: Embedder | None = None
    started: int = field(default_factory=lambda: int(time.time()))
    measures: Measures = field(default_factory=Measures)
    _turns: Turns = field(init=False)
    _accesses: Mapping[str, Access] = field(init=False)
    _permitted: Mapping[str, Permitted] = field(init=False)
    _preparing: threading.Lock = field(default_factory=threading.Lock)
    """Tokenizers are not made for several threads; to search and to count is a small part of an answer."""

    def __post_init__(self) -> None:
        """Makes the places for answers. Raises ``InputError`` for keys with a filter where no index is searched."""
        self._turns = Turns(self.settings)
        self._accesses = {**self.keys, **({self.key: Access("key")} if self.key is not None else {})}
        self._permitted = permitted(next(filter(None, (bot.retriever for bot in self.bots.values())), None), self.keys)

    async def admit(self, request: Request) -> None:
        """Refuses whoever is not let in; notes what the others may see."""
        key = require_admitted(request.headers, self._accesses, self.origins)
        request.state.access = self._accesses[key] if key is not None else THIS_MACHINE

    async def health(self) -> dict[str, str]:
        """Whether the server runs."""
        return {"status": "ok"}

    async def metrics(self, request: Request) -> Response:
        """What was done so far, for Prometheus."""
        if request.state.access.where is not None:
            raise HttpError(403, "this key is limited to some documents and cannot read metrics")
        return Response(self.measures.text(self._turns.gauges()), media_type=CONTENT_TYPE)

    async def models(self) -> dict[str, Any]:
        """The models that are served, the embedder among them."""
        return {"object": "list", "data": [await self.model(name) for name in self._names()]}

    async def model(self, name: str) -> dict[str, Any]:
        """The model of that name."""
        if name not in self._names():
            raise not_served(name, self._names())
        return {"id": name, "object": "model", "created": self.started, "owned_by": "lorag"}

    async def complete(self, request: Request, ending: Annotated[AsyncExitStack, Depends(ending)]) -> Response:
        """The answers to a conversation, whole or as a stream."""
        return await self.completed(request, ending, self._usual(), self.bots.__getitem__)

    async def complete_text(self, request: Request, ending: Annotated[AsyncExitStack, Depends(ending)]) -> Response:
        """The answers to a text, as the older protocol has them."""
        own = (self._usual(), self.bots.__getitem__)
        return await self.completed(request, ending, *own, read_text_asked, TextCompleting)

    async def completed(
        self,
        request: Request,
        ending: AsyncExitStack,
        usual: Mapping[str, Sampling],
        bot_of: Callable[[str], ChatBot],
        read: Callable[[bytes, Mapping[str, Sampling]], Asked] = read_asked,
        objects: type[Completing] = Completing,
    ) -> Response:
        """The answers of one of the models in ``usual``, which has how each of them draws by default.

        ``bot_of`` gives the chatbot of a model. It is called in the request's turn: it may load the model.
        """
        require_json(request.headers)
        body = await read_body(request, self.settings.max_request_bytes)
        asked = await run_in_threadpool(read, body, usual)
        turn = await self._turn(asked.model, request, ending)
        bot = await turn.do(partial(bot_of, asked.model))
        ending.push_async_callback(self._count_rest, asked.model, bot.model, turn)
        replies = await turn.do(partial(self._prepared, partial(self._replies, bot, asked, request.state.access)))
        answering = objects(asked.model)
        headers = {"Lorag-Ignored": ", ".join(asked.ignored)} if asked.ignored else {}
        if asked.stream:
            events = self._events(turn, replies, answering, asked.include_usage)
            return StreamingResponse(events, 200, {"Cache-Control": "no-cache"} | headers, "text/event-stream")
        for reply in replies:
            async for _ in turn.pieces(reply):
                if await request.is_disconnected():
                    return Response(status_code=_GONE)
        return JSONResponse(answering.whole(self._answers(asked.model, turn, replies)), 200, headers)

    async def embed(self, request: Request, ending: Annotated[AsyncExitStack, Depends(ending)]) -> Response:
        """The vectors of texts, by the embedder of the index."""
        require_json(request.headers)
        if self.embedder is None:
            raise HttpError(404, "no index is served, and so no embedder; start without --no-sources")
        embedder, body = self.embedder, await read_body(request, self.settings.max_request_bytes)
        asked = await run_in_threadpool(self._prepared, partial(read_embedding, body, embedder))
        turn = await self._turn(embedder.name, request, ending)
        parts = [asked.texts[start : start + _TEXTS_AT_ONCE] for start in range(0, len(asked.texts), _TEXTS_AT_ONCE)]
        works = [partial(embedder.embed, part, asked.kind) for part in parts]
        vectors = [await turn.do(partial(self._prepared, work)) for work in works]
        self.measures.tokens(embedder.name, "prompt", asked.tokens)
        return JSONResponse(asked.answered(embedder.name, np.concatenate(vectors)))

    async def put(self, name: str, request: Request) -> JSONResponse:
        """Stores an uploaded document."""
        uploads = self._uploads(request.state.access)
        plain_name(name)
        content = await read_body(request, self.settings.max_upload_bytes)
        done = await run_in_threadpool(uploads.put, name, content)
        return JSONResponse(done, 201 if done["result"] == "added" else 200)

    async def delete(self, name: str, request: Request) -> dict[str, Any]:
        """Removes an uploaded document."""
        return await run_in_threadpool(self._uploads(request.state.access).delete, name)

    async def _turn(self, model: str, request: Request, ending: AsyncExitStack) -> Turn:
        """A place for an answer of ``model``, which is free again with the ``ending`` of the request.

        Raises ``ClientDisconnect`` where the client goes away while it waits.
        """
        start = time.perf_counter()

        async def take() -> Turn:
            turn = await self._turns.take()
            ending.callback(turn.end)
            return turn

        turn = await _while_connected(request, take())
        self.measures.waited(model, time.perf_counter() - start)
        return turn

    def _replies(self, bot: ChatBot, asked: Asked, access: Access) -> list[Reply]:
        """As many replies as are wanted, none of them begun."""
        if access.where is not None:
            bot = bot.searching(self._permitted[access.name] if bot.retriever is not None else None)
        bots = [bot.drawing(sampling) for sampling in asked.samplings]
        try:
            return [bot.reply(asked.question, asked.history, asked.instruction) for bot in bots]
        except ModelError as error:  # its chat template does not take these turns
            raise HttpError(400, str(error), "messages") from error

    def _answers(self, model: str, turn: Turn, replies: Sequence[Reply]) -> list[Answer]:
        """What became of replies that came to their end; they are counted."""
        answers = [reply.answer for reply in replies if reply.answer is not None]
        for answer in answers:
            self.measures.answer(model, answer)
        turn.said.clear()
        return answers

    async def _count_rest(self, name: str, model: LanguageModel, turn: Turn) -> None:
        """Counts the replies that were begun in ``turn`` and are not counted yet, as far as they came."""
        for reply, pieces in turn.said.items():
            if reply.answer is not None:
                self.measures.answer(name, reply.answer)
                continue
            count = partial(model.count_tokens, "".join(pieces))
            self.measures.unfinished(name, await run_in_threadpool(self._prepared, count))

    async def _events(
        self, turn: Turn, replies: Sequence[Reply], answering: Completing, include_usage: bool
    ) -> AsyncGenerator[str]:
        """The events of a stream; one that fails ends with an error, and without the mark of the end."""
        try:
            for number, reply in enumerate(replies):
                yield answering.chunk(number, {"role": "assistant", "content": ""})
                async for piece in turn.pieces(reply):
                    yield answering.chunk(number, {"content": piece})
                assert reply.answer is not None
                yield answering.ended(number, reply.answer)
            yield answering.last(self._answers(answering.model, turn, replies), include_usage)
        except HttpError as error:
            yield event(envelope(error.status, error.message, error.param, error.code))
        except InputError as error:
            yield event(envelope(400, str(error)))
        except Exception:  # noqa: BLE001 - the status was sent, so no handler can answer any more
            _LOG.exception("a stream failed")
            yield event(envelope(500, _FAILED))

    def _prepared(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, while no other thread uses a tokenizer."""
        with self._preparing:
            return work()

    def _usual(self) -> dict[str, Sampling]:
        return {name: bot.settings.sampling for name, bot in self.bots.items()}

    def _names(self) -> list[str]:
        return [*self.bots, *([self.embedder.name] if self.embedder is not None else [])]

    def _uploads(self, access: Access) -> Uploads:
        if access.where is not None:
            raise HttpError(403, "this key opens some documents and may change none")
        if self.uploads is None:
            raise HttpError(403, "this server accepts no documents; start it with --uploads FOLDER")
        return self.uploads


def application(service: Service) -> FastAPI:
    """The routes of ``service``."""
    app = FastAPI(title="Lorag", openapi_url=None)
    v1 = APIRouter(prefix="/v1", dependencies=[Depends(service.admit)])
    v1.add_api_route("/models", service.models, response_model=None)
    v1.add_api_route("/models/{name:path}", service.model, response_model=None)
    v1.add_api_route("/chat/completions", service.complete, methods=["POST"], response_model=None)
    v1.add_api_route("/completions", service.complete_text, methods=["POST"], response_model=None)
    v1.add_api_route("/embeddings", service.embed, methods=["POST"], response_model=None)
    v1.add_api_route("/documents/{name:path}", service.put, methods=["PUT"], response_model=None)
    v1.add_api_route("/documents/{name:path}", service.delete, methods=["DELETE"], response_model=None)
    app.add_api_route("/health", service.health, methods=["GET", "HEAD"], response_model=None)
    app.add_api_route("/metrics", service.metrics, dependencies=[Depends(service.admit)], response_model=None)
    app.include_router(v1)
    app.add_middleware(Counted, measures=service.measures)
    answer_failures(app)
    if service.origins:
        app.add_middleware(CORSMiddleware, allow_origins=service.origins, allow_methods=["*"], allow_headers=["*"])
    return app


def answer_failures(app: FastAPI) -> None:
    """Answers whatever a route raises with a status and its reason."""
    for kind in (HttpError, LoragError, HTTPException, ClientDisconnect, Exception):
        app.add_exception_handler(kind, _failed)


async def _failed(request: Request, error: Exception) -> Response:
    """What a client is told of ``error``: all of what it can mend, and nothing of what went wrong in here."""
    match error:
        case HttpError():
            status, body = error.status, envelope(error.status, error.message, error.param, error.code)
        case ClientDisconnect():
            return Response(status_code=_GONE)
        case InputError():
            status, body = 400, envelope(400, str(error))
        case HTTPException():
            status, body = error.status_code, envelope(error.status_code, str(error.detail))
        case _:
            if isinstance(error, LoragError):  # any other is logged where it is raised again
                _LOG.error("%s %s failed: %s", request.method, request.scope["route"].path, error)
            status, body = 500, envelope(500, _FAILED)
    return JSONResponse(body, status, _HEADERS.get(status))


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` gives. Ends it and raises ``ClientDisconnect`` where the client goes away before."""

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(left())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def read_body(request: Request, most: int) -> bytes:
    """The whole body. Raises ``HttpError`` as soon as it is known to be larger than ``most`` bytes, or too slow."""
    said = request.headers.get("content-length", "0")
    body = bytearray()
    if int(said if said.isdecimal() else 0) <= most:
        try:
            async with asyncio.timeout(_SECONDS_TO_SEND):
                async for piece in request.stream():
                    body += piece
                    if len(body) > most:
                        break
                else:
                    return bytes(body)
        except TimeoutError as error:
            raise HttpError(408, f"the body did not come within {_SECONDS_TO_SEND} seconds; send it again") from error
    raise HttpError(413, f"the body is larger than {most} bytes, the limit; send less")
