"""A bucket of an object store that speaks Amazon's S3: whole objects, a conditional write, errors that say what to do.

Address, region and credentials come from the environment (``AWS_*``), as every program of S3 reads them. A secret
appears in no name and no message.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from lorag.errors import InputError, OperationError, StoreError, require

_SCHEME = "s3://"
_ADDRESS = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{2,62})((?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._=-]+)*)/?")
_ENDPOINT = re.compile(r"https?://[\w.-]+(:\d+)?(/[\w./-]*)?|https?://\[[\da-fA-F:]+\](:\d+)?/?")
_PART_BYTES = 4 * 2**20
"""Bytes that are fetched in one request; one that is sent has 5 MB, the least of S3."""
_CLIENT: Any = {"connect_timeout": timedelta(seconds=10), "timeout": timedelta(seconds=120)}
"""The second is for a whole request: with eight at a time, 3 Mbit per second are enough."""
_BACKOFF = {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2}
_RETRIES: Any = {"max_retries": 4, "retry_timeout": timedelta(seconds=300), "backoff": _BACKOFF}
_CODES = re.compile(r"<Code>(\w+)</Code>"), re.compile(r"status code: (\d+ [A-Za-z ]+)")
"""What the server answered: in its own words, or else HTTP's."""
_HOST = re.compile(r"Error performing \w+ https?://([^/\s]+)")
_NO_KEYS = "169.254.169.254"
"""Where the client looks for credentials when the environment has none: at the cloud's own machine."""
_REDIRECT = "incorrectly configured region"


def is_bucket(place: str) -> bool:
    """Whether ``place`` is the address of a bucket."""
    return place.startswith(_SCHEME)


class Bucket:
    """The objects of a bucket below a prefix. Any thread may call; names are relative to the prefix.

    Methods raise ``StoreError`` when the server cannot be reached or refuses.
    """

    def __init__(self, address: str) -> None:
        """``address`` is ``s3://BUCKET/PREFIX``. Raises ``InputError`` for another form, ``MissingExtraError``."""
        require("obstore", "s3", "an index in an object store")
        from obstore.store import S3Store

        parts = _ADDRESS.fullmatch(address)
        if parts is None:  # not repeated: somebody may have written a key into it
            raise InputError(
                "the address of the bucket cannot be read; expected s3://BUCKET/PREFIX of letters, digits and . _ - =;"
                " put keys into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        self.endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        if self.endpoint and not _ENDPOINT.fullmatch(self.endpoint):
            raise InputError("AWS_ENDPOINT_URL cannot be read; expected http://HOST:PORT or https://HOST")
        self._name = f"{_SCHEME}{parts[1]}{parts[2]}"
        client: Any = {**_CLIENT, "allow_http": self.endpoint.startswith("http://")}
        with self._errors():
            self._store = S3Store(
                parts[1],
                prefix=parts[2].strip("/") or None,
                config={"endpoint": self.endpoint} if self.endpoint else {},
                client_options=client,
                retry_config=_RETRIES,
            )

    def __str__(self) -> str:
        """The address."""
        return self._name

    def read(self, name: str, unless: str | None = None) -> tuple[bytes, str] | None:
        """The bytes of an object and its ETag; no bytes where that is still ``unless``, None where there is no object.

        Raises ``StoreError`` where there is no bucket.
        """
        import obstore
        from obstore.exceptions import NotModifiedError

        with self._errors("read"):
            try:
                found = obstore.get(self._store, name, options={"if_none_match": unless} if unless else None)
                return bytes(found.bytes()), found.meta["e_tag"] or ""
            except NotModifiedError:
                return b"", unless or ""
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

    def fetch(self, name: str, path: Path, size: int) -> None:
        """Writes an object of ``size`` bytes to ``path``, which appears when it is whole.

        Raises ``FileNotFoundError`` where there is no such object, and ``StoreError`` where it is damaged: names begin
        with the SHA-256 of what they hold.
        """
        import obstore

        part, found = path.with_name(f"{path.name}.part"), hashlib.sha256()
        with part.open("wb") as file:
            for start in range(0, size, _PART_BYTES):
                end = min(start + _PART_BYTES, size)
                with self._errors("read", passed_on=(FileNotFoundError,)):
                    data = bytes(obstore.get_range(self._store, name, start=start, end=end))
                found.update(data)
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if not name.rpartition("/")[2].startswith(found.hexdigest()):
            raise StoreError(f"{self} is damaged: {name} does not hold what was written; rebuild the index")
        part.replace(path)

    def send(self, path: Path, name: str) -> None:
        """Writes the file at ``path`` to an object."""
        import obstore

        with self._errors("write"):
            obstore.put(self._store, name, path, max_concurrency=1)

    def swap(self, name: str, data: bytes, e_tag: str | None) -> str | None:
        """Writes an object if its ETag is still ``e_tag``, or, for None, if there is none; returns the new ETag.

        None where the condition did not hold. All of this is one step on the server.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._errors("write"):
            try:
                done = obstore.put(self._store, name, data, mode="create" if e_tag is None else {"e_tag": e_tag})
                return done["e_tag"]
            except (AlreadyExistsError, PreconditionError):
                return None

    def require_conditions(self) -> None:
        """Raises ``StoreError`` where the server ignores the condition of ``swap``, or does not allow to write."""
        name = "conditions"
        ignored = self.swap(name, b"", None) is not None and self.swap(name, b"", None) is not None
        if ignored or self.swap(name, b"", '"0"') is not None:
            raise StoreError(
                f"the server of {self} ignores If-None-Match or If-Match, so two writers would overwrite each other; "
                "use a store with conditional writes, such as Amazon S3, Cloudflare R2 or MinIO"
            )

    def names(self, folder: str) -> list[str]:
        """The names of all objects in ``folder``, or, for no name, of all."""
        import obstore

        with self._errors("list"):
            return [found["path"] for page in obstore.list(self._store, folder or None) for found in page]

    def delete(self, names: Sequence[str]) -> None:
        """Deletes the objects; one that is missing is skipped."""
        import obstore

        with self._errors("delete"):
            obstore.delete(self._store, names)

    @contextmanager
    def _errors(self, action: str = "use", passed_on: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Turns what the library raises into what to do; its own messages are long, and repeat what the server sent."""
        from obstore.exceptions import BaseError

        try:
            yield
        except passed_on:
            raise
        except (BaseError, FileNotFoundError) as error:
            raise self._translated(error, action) from error

    def _translated(self, error: Exception, action: str) -> OperationError:
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        text = str(error)
        told = next((found[1] for code in _CODES if (found := code.search(text))), "no answer")
        host = found[1] if (found := _HOST.search(text)) else "the server"
        if _NO_KEYS in text:
            return StoreError(
                f"{self}: there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and "
                "AWS_ENDPOINT_URL where it is not Amazon's)"
            )
        if isinstance(error, FileNotFoundError):
            if told == "NoSuchBucket":
                return StoreError(f"{self}: there is no such bucket at {host}; make it, or check the address")
            return StoreError(f"{self}: an object is missing ({told}); rebuild the index")
        if told == "AccessDenied":
            return StoreError(
                f"these credentials may not {action} {self} ({told}); to search, allow s3:GetObject and s3:ListBucket,"
                " to index also s3:PutObject and s3:DeleteObject"
            )
        if isinstance(error, PermissionDeniedError | UnauthenticatedError) or "Token" in told:
            return StoreError(
                f"{self} refuses the credentials ({told}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, if it is"
                " set, AWS_SESSION_TOKEN"
            )
        if told == "AuthorizationHeaderMalformed" or _REDIRECT in text:
            return StoreError(f"{self} lies in another region; set AWS_REGION to the bucket's")
        return StoreError(
            f"cannot {action} {self} ({host}: {told}); check the network and AWS_ENDPOINT_URL, and run the same command"
            " again"
        )
