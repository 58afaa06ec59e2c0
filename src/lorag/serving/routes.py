"""The routes: requests in, what ``asked``, ``said`` and ``uploads`` make of them out.

The core is synchronous and runs in threads; a client that goes away ends its answer at the next piece. Nothing that
is asked or said is logged, but what a failing part says of its failure.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from lorag.chat.bot import ChatBot, Reply
from lorag.errors import InputError, LoragError, ModelError
from lorag.serving.admission import require_admitted, require_json
from lorag.serving.chat_request import Asked, not_served, read_asked
from lorag.serving.chat_response import Completing, event
from lorag.serving.http_errors import HttpError, envelope
from lorag.serving.keys import THIS_MACHINE, Access, Permitted, permitted
from lorag.serving.turns import Turns
from lorag.serving.uploads import Uploads, plain_name
from lorag.settings import ServeSettings

_LOG = logging.getLogger("lorag.serving")
_SECONDS_TO_SEND = 60
"""Longest time that a client has to send its request."""
_GONE = 499
"""The status of a request whose client went away: nobody reads it."""
_FAILED = "the answer failed; see the server's log"
_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "5"}}


async def ending() -> AsyncGenerator[AsyncExitStack]:
    """What is to be done after a request, however it ends: a response that is streamed outlives its route."""
    async with AsyncExitStack() as after:
        yield after


@dataclass(slots=True)
class Service:
    """A chatbot, the ``key`` that opens everything but ``/health``, and the ``uploads`` that change its index.

    ``origins`` are the sites whose pages may ask here, such as ``https://app.example``, with the key. ``keys`` open
    some documents each, or all.
    """

    bot: ChatBot
    key: str | None = None
    uploads: Uploads | None = None
    settings: ServeSettings = field(default_factory=ServeSettings)
    origins: tuple[str, ...] = ()
    name: str = ""
    """What clients call the model; its own name unless another is given."""
    keys: Mapping[str, Access] = field(default_factory=dict)
    started: int = field(default_factory=lambda: int(time.time()))
    _turns: Turns = field(init=False)
    _accesses: Mapping[str, Access] = field(init=False)
    _permitted: Mapping[str, Permitted] = field(init=False)
    _preparing: threading.Lock = field(default_factory=threading.Lock)
    """Tokenizers are not made for several threads; to search and to count is a small part of an answer."""

    def __post_init__(self) -> None:
        """Makes the places for answers. Raises ``InputError`` for keys with a filter where no index is searched."""
        self.name = self.name or self.bot.model.name
        self._turns = Turns(self.settings)
        self._accesses = {**self.keys, **({self.key: Access("key")} if self.key is not None else {})}
        self._permitted = permitted(self.bot.retriever, self.keys)

    async def admit(self, request: Request) -> None:
        """Refuses whoever is not let in; notes what the others may see."""
        key = require_admitted(request.headers, self._accesses, self.origins)
        request.state.access = self._accesses[key] if key is not None else THIS_MACHINE

    async def health(self) -> dict[str, str]:
        """Whether the server runs."""
        return {"status": "ok"}

    async def models(self) -> dict[str, Any]:
        """The one model that is served, as a list."""
        return {"object": "list", "data": [await self.model(self.name)]}

    async def model(self, name: str) -> dict[str, Any]:
        """The model that is served, where it is asked for by its name."""
        if name != self.name:
            raise not_served(name, self.name)
        return {"id": name, "object": "model", "created": self.started, "owned_by": "lorag"}

    async def complete(self, request: Request, ending: Annotated[AsyncExitStack, Depends(ending)]) -> Response:
        """The answer to a conversation, whole or as a stream."""
        require_json(request.headers)
        body = await read_body(request, self.settings.max_request_bytes)
        asked = await run_in_threadpool(read_asked, body, self.name, self.bot.settings.sampling)
        turn = await self._turns.take()
        ending.callback(turn.end)
        reply = await turn.do(lambda: self._reply(asked, request.state.access))
        answering = Completing(self.name)
        headers = {"Lorag-Ignored": ", ".join(asked.ignored)} if asked.ignored else {}
        if asked.stream:
            events = _events(turn.pieces(reply), reply, answering, asked.include_usage)
            return StreamingResponse(events, 200, {"Cache-Control": "no-cache"} | headers, "text/event-stream")
        async for _ in turn.pieces(reply):
            if await request.is_disconnected():
                return Response(status_code=_GONE)
        assert reply.answer is not None
        return JSONResponse(answering.whole(reply.answer), 200, headers)

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

    def _reply(self, asked: Asked, access: Access) -> Reply:
        bot = self.bot.drawing(asked.sampling)
        if access.where is not None:
            bot = bot.searching(self._permitted[access.name])
        with self._preparing:
            try:
                return bot.reply(asked.question, asked.history, asked.instruction)
            except ModelError as error:  # its chat template does not take these turns
                raise HttpError(400, str(error), "messages") from error

    def _uploads(self, access: Access) -> Uploads:
        if access.where is not None:
            raise HttpError(403, "this key opens some documents and changes none")
        if self.uploads is None:
            raise HttpError(403, "this server takes no documents; start it with --uploads FOLDER")
        return self.uploads


def application(service: Service) -> FastAPI:
    """The routes of ``service``."""
    app = FastAPI(title="Lorag", openapi_url=None)
    v1 = APIRouter(prefix="/v1", dependencies=[Depends(service.admit)])
    v1.add_api_route("/models", service.models, response_model=None)
    v1.add_api_route("/models/{name:path}", service.model, response_model=None)
    v1.add_api_route("/chat/completions", service.complete, methods=["POST"], response_model=None)
    v1.add_api_route("/documents/{name:path}", service.put, methods=["PUT"], response_model=None)
    v1.add_api_route("/documents/{name:path}", service.delete, methods=["DELETE"], response_model=None)
    app.add_api_route("/health", service.health, response_model=None)
    app.include_router(v1)
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


async def _events(
    pieces: AsyncGenerator[str], reply: Reply, answering: Completing, include_usage: bool
) -> AsyncGenerator[str]:
    """The events of a stream; one that fails ends with an error, and without the mark of the end."""
    yield answering.chunk({"role": "assistant", "content": ""})
    try:
        async for piece in pieces:
            yield answering.chunk({"content": piece})
        assert reply.answer is not None
        yield answering.last(reply.answer, include_usage)
    except HttpError as error:
        yield event(envelope(error.status, error.message, error.param, error.code))
    except InputError as error:
        yield event(envelope(400, str(error)))
    except Exception:  # noqa: BLE001 - the status was sent, so no handler can answer any more
        _LOG.exception("a stream failed")
        yield event(envelope(500, _FAILED))


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
    raise HttpError(413, f"the body is larger than {most} bytes, which is the most that is read")
