"""The page and its routes as one application: everything is admitted first, and nothing comes from another host."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, FastAPI, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import FileResponse, JSONResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lorag.errors import InputError, LoragError
from lorag.serving.admission import require_admitted
from lorag.serving.http_errors import HttpError, envelope
from lorag.serving.routes import Service, answer_failures
from lorag.serving.studio.ask_room import AskRoom
from lorag.serving.studio.assistants import Assistants
from lorag.serving.studio.data_room import DataRoom
from lorag.serving.studio.documents_room import DocumentsRoom
from lorag.serving.studio.jobs import Jobs
from lorag.serving.studio.review_room import ReviewRoom
from lorag.serving.studio.runs_room import RunsRoom
from lorag.serving.studio.workplace import Workplace

_POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def studio_application(place: Workplace, assistants: Assistants) -> FastAPI:
    """The page of ``place`` and everything it asks for, as a server of its own."""
    app = FastAPI(title="Lorag", openapi_url=None)

    @app.api_route("/health", methods=["GET", "HEAD"])
    def health() -> dict[str, str]:
        """Whether the server runs."""
        return {"status": "ok"}

    answer_failures(app)
    add_page(app, place, assistants, Service({}))
    return app


def add_page(app: FastAPI, place: Workplace, assistants: Assistants, service: Service) -> None:
    """Adds the page of ``place`` to a server without a key; it then answers this machine alone, all of it.

    Questions on the page take turns with the requests of ``service`` and are counted with them.
    """
    routes, jobs = APIRouter(prefix="/studio"), Jobs(place.root)
    for room in (
        RunsRoom(place, jobs),
        AskRoom(place, assistants, service),
        DocumentsRoom(place, assistants, jobs),
        DataRoom(place, assistants.model),
        ReviewRoom(place),
    ):
        routes.include_router(room.routes())
    app.include_router(routes)
    folder = str(files("lorag.serving.studio") / "static")

    @app.api_route("/", methods=["GET", "HEAD"], response_model=None)
    def page() -> FileResponse:
        """The page itself."""
        return FileResponse(f"{folder}/index.html")

    app.mount("/static", StaticFiles(directory=folder))
    app.add_exception_handler(LoragError, _told)
    app.add_middleware(Guarded)


async def _told(request: Request, error: Exception) -> JSONResponse:
    """All of ``error``: whoever is at the page is who can mend it."""
    status = 400 if isinstance(error, InputError) else 500
    return JSONResponse(envelope(status, str(error)), status)


class Guarded:
    """Refuses the requests of other sites, and forbids the page whatever it does not need."""

    def __init__(self, app: ASGIApp) -> None:
        """``app`` answers whoever is let in."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._app
        try:
            require_admitted(Headers(scope=scope), (), ())
        except HttpError as error:
            answer = JSONResponse(envelope(error.status, error.message), error.status)
        await answer(scope, receive, send_guarded)
