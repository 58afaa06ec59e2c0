"""What a client is told when it does not get what it asked for: a status, and OpenAI's envelope around the reason."""

from __future__ import annotations

from typing import Any

_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_MOST_SAID = 500
"""Characters of a message: what a client sent is repeated to it, and may be long."""


class HttpError(Exception):
    """A request that is answered with an error; ``param`` is the field that is at fault, where it is one."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        """``status`` is that of HTTP."""
        self.status, self.message, self.param, self.code = status, message, param, code
        super().__init__(message)


def envelope(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The body of an error, as clients of OpenAI read it."""
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    said = message if len(message) <= _MOST_SAID else f"{message[:_MOST_SAID]}..."
    return {"error": {"message": said, "type": kind, "param": param, "code": code}}
