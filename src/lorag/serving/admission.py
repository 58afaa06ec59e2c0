"""Who is let in: whoever has the key, or without one the programs of this machine; never the page of another site.

A browser sends a page's requests from the user's own machine, past every firewall. Three of their headers are the
browser's own, and no page can forge them: ``Host`` is the name in the address that the page requested, ``Origin`` and
``Sec-Fetch-Site`` give the site that the page belongs to.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Mapping

from lorag.errors import InputError
from lorag.serving.http_errors import HttpError

_HERE = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)
_ORIGIN = re.compile(r"https?://[^\s/?#@*]+", re.IGNORECASE)


def require_origins(origins: Collection[str], key: str | None) -> None:
    """Raises ``InputError`` for an origin that is none, and for any where there is no ``key``."""
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise InputError(
                f"{origin!r} is not a valid origin; expected, for example, https://app.example, without a path"
            )
    if origins and key is None:
        raise InputError("pages of other sites are served only with a key; set LORAG_API_KEY first")


def require_admitted(headers: Mapping[str, str], keys: Collection[str], origins: Collection[str]) -> str | None:
    """The key that was sent; None where there are no ``keys``.

    Raises ``HttpError`` for a wrong key, without any for a name that is not this machine's, and for other sites.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    sent = None
    if keys:
        given = headers.get("authorization", "").encode()
        for key in keys:  # all of them, so that the time does not tell which one was nearly right
            if hmac.compare_digest(given, f"Bearer {key}".encode()):
                sent = key
        if sent is None:
            raise HttpError(
                401, "the key is missing or wrong; send `Authorization: Bearer KEY`", code="invalid_api_key"
            )
    elif not _HERE.fullmatch(host):
        raise HttpError(403, "without a key only 127.0.0.1 and localhost are served; start with LORAG_API_KEY set")
    if origin in origins:
        return sent
    elsewhere = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    if elsewhere or (origin is not None and origin.partition("://")[2] != host):
        raise HttpError(403, "pages of other sites are not served; start with LORAG_API_KEY and --allow-origin")
    return sent


def require_json(headers: Mapping[str, str]) -> None:
    """Raises ``HttpError`` for a body of another content type: forms of any page may send those without asking."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HttpError(415, f"the content type is {kind[:80]!r}; send `Content-Type: application/json`")
