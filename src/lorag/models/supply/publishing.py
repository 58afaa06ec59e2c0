"""A folder put up on a hub, through ``huggingface_hub``: token, mirror and offline mode are the user's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lorag.errors import FetchError, InputError
from lorag.models.hub import HubName


def require_repository(name: str) -> str:
    """The address of the repository OWNER/NAME, made private where there is none yet.

    Raises ``InputError`` for a name of another form and without the right to write, ``FetchError`` when no hub is
    reached.
    """
    from huggingface_hub import HfApi, constants, get_token

    parsed = HubName.parse(name)
    if parsed is None or str(parsed) != parsed.repository:
        raise InputError(f"{name!r} names no repository to push to, expected OWNER/NAME")
    if constants.is_offline_mode():
        raise InputError(f"HF_HUB_OFFLINE is set, so nothing is pushed to {name}; unset it, or export without --push")
    if get_token() is None:
        raise InputError(
            f"pushing to {name} needs a token with write access: log in with `hf auth login`, or set HF_TOKEN"
        )
    with _upload_errors(name):
        return str(HfApi(constants.ENDPOINT).create_repo(name, private=True, exist_ok=True))


def upload(folder: Path, name: str, message: str) -> str:
    """Puts the files of ``folder`` up as one commit and returns its address. Raises as ``require_repository``."""
    from huggingface_hub import HfApi, constants

    with _upload_errors(name):
        done = HfApi(constants.ENDPOINT).upload_folder(repo_id=name, folder_path=folder, commit_message=message)
        return str(done)


@contextmanager
def _upload_errors(name: str) -> Iterator[None]:
    from huggingface_hub import constants, errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its transport

    hub = constants.ENDPOINT
    try:
        yield
    except errors.HfHubHTTPError as error:
        if error.response.status_code in (401, 403, 404):
            raise InputError(
                f"{hub} does not let you write to {name}; check the owner's name, and log in with a token with"
                " write access (`hf auth login`, or HF_TOKEN)"
            ) from error
        raise FetchError(f"{hub} refuses the upload to {name}: {error}; try again later") from error
    except HTTPError as error:
        raise FetchError(
            f"{hub} cannot be reached ({error}); set HF_ENDPOINT to a mirror, or export without --push"
        ) from error
