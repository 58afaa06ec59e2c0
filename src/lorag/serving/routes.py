"""The routes: requests in, what ``asked``, ``said`` and ``uploads`` make of them out.

The core is synchronous and runs in threads; a client that goes away ends its answer at the next piece. Nothing that
is asked or said is logged, but what a failing part says of its failure.
"""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.concurrency import iterate_in_threadpool, run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from lorag.chat.bot import ChatBot, Reply
from lorag.errors import InputError, LoragError
from lorag.serving.chat_request import Asked, read_asked
from lorag.serving.chat_response import Completing, event
from lorag.serving.http_errors import HttpError, envelope
from lorag.serving.uploads import Uploads, plain_name
from lorag.settings import ServeSettings

_LOG = logging.getLogger("lorag.serving")
_HERE = {"127.0.0.1", "localhost", "::1"}
_GONE = 499
"""The status of a request whose client went away: nobody reads it."""
_FAILED = "the answer failed; the server's log says why"


@dataclass(frozen=True, slots=True)
class Service:
    """A chatbot, the ``key`` that opens everything but ``/health``, and the ``uploads`` that change its index."""

    bot: ChatBot
    key: str | None = None
    uploads: Uploads | None = None
    settings: ServeSettings = field(default_factory=ServeSettings)
    started: int = field(default_factory=lambda: int(time.time()))
    _preparing: threading.Lock = field(default_factory=threading.Lock)
    """Tokenizers are not made for several threads; to search and to count is a small part of an answer."""

    async def admit(self, request: Request) -> None:
        """Refuses a wrong key; without one, a page of another site that a browser sends here under its own name."""
        if self.key is not None:
            given = request.headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, f"Bearer {self.key}".encode()):
                raise HttpError(
                    401, "the key is missing or wrong; send `Authorization: Bearer KEY`", code="invalid_api_key"
                )
        elif _hostname(request.headers.get("host", "")) not in _HERE:
            raise HttpError(403, "without a key only 127.0.0.1 and localhost are served; start with LORAG_API_KEY set")

    async def health(self) -> dict[str, str]:
        """Whether the server runs."""
        return {"status": "ok"}

    async def models(self) -> dict[str, Any]:
        """The one model that is served."""
        model = {"id": self.bot.model.name, "object": "model", "created": self.started, "owned_by": "lorag"}
        return {"object": "list", "data": [model]}

    async def complete(self, request: Request) -> Response:
        """The answer to a conversation, whole or as a stream."""
        body = await _body(request, self.settings.max_request_bytes)
        asked = read_asked(body, self.bot.model.name, self.bot.settings.sampling)
        reply = await run_in_threadpool(self._reply, asked)
        answering = Completing(self.bot.model.name)
        if asked.stream:
            events = _events(reply, answering, asked.include_usage)
            return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        async with aclosing(_pieces(reply)) as pieces:
            async for _ in pieces:
                if await request.is_disconnected():
                    return Response(status_code=_GONE)
        assert reply.answer is not None
        return JSONResponse(answering.whole(reply.answer))

    async def put(self, name: str, request: Request) -> JSONResponse:
        """Stores an uploaded document."""
        uploads = self._uploads()
        plain_name(name)
        content = await _body(request, self.settings.max_upload_bytes)
        done = await run_in_threadpool(uploads.put, name, content)
        return JSONResponse(done, 201 if done["result"] == "added" else 200)

    async def delete(self, name: str) -> dict[str, Any]:
        """Removes an uploaded document."""
        return await run_in_threadpool(self._uploads().delete, name)

    def _reply(self, asked: Asked) -> Reply:
        with self._preparing:
            return self.bot.drawing(asked.sampling).reply(asked.question, asked.history, asked.instruction)

    def _uploads(self) -> Uploads:
        if self.uploads is None:
            raise HttpError(403, "this server takes no documents; start it with --uploads FOLDER")
        return self.uploads


def application(service: Service) -> FastAPI:
    """The routes of ``service``."""
    app = FastAPI(title="Lorag", openapi_url=None)
    v1 = APIRouter(prefix="/v1", dependencies=[Depends(service.admit)])
    v1.add_api_route("/models", service.models, response_model=None)
    v1.add_api_route("/chat/completions", service.complete, methods=["POST"], response_model=None)
    v1.add_api_route("/documents/{name:path}", service.put, methods=["PUT"], response_model=None)
    v1.add_api_route("/documents/{name:path}", service.delete, methods=["DELETE"], response_model=None)
    app.add_api_route("/health", service.health, response_model=None)
    app.include_router(v1)
    for kind in (HttpError, LoragError, HTTPException, ClientDisconnect, Exception):
        app.add_exception_handler(kind, _failed)
    return app


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
    return JSONResponse(body, status, {"WWW-Authenticate": "Bearer"} if status == 401 else None)


async def _events(reply: Reply, answering: Completing, include_usage: bool) -> AsyncGenerator[str]:
    """The events of a stream; one that fails ends with an error, and without the mark of the end."""
    yield answering.chunk({"role": "assistant", "content": ""})
    try:
        async with aclosing(_pieces(reply)) as pieces:
            async for piece in pieces:
                yield answering.chunk({"content": piece})
        assert reply.answer is not None
        yield answering.last(reply.answer, include_usage)
    except InputError as error:
        yield event(envelope(400, str(error)))
    except Exception:  # noqa: BLE001 - the status was sent, so no handler can answer any more
        _LOG.exception("a stream failed")
        yield event(envelope(500, _FAILED))


async def _pieces(reply: Reply) -> AsyncGenerator[str]:
    """The pieces of ``reply``, each made in a thread; closed early, it frees the engine."""
    iterator = iter(reply)
    try:
        async for piece in iterate_in_threadpool(iterator):
            yield piece
    finally:
        iterator.close()


async def _body(request: Request, most: int) -> bytes:
    """The whole body. Raises ``HttpError`` as soon as it is known to be larger than ``most`` bytes."""
    said = request.headers.get("content-length", "0")
    body = bytearray()
    if int(said if said.isdecimal() else 0) <= most:
        async for piece in request.stream():
            body += piece
            if len(body) > most:
                break
        else:
            return bytes(body)
    raise HttpError(413, f"the body is larger than {most} bytes, which is the most that is read")


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
