"""A hub on this machine: a small server that speaks what ``huggingface_hub`` asks and puts up, over folders."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Published:
    """A repository: its commits by number of publication, the branches and tags on them, and who may see it."""

    commits: dict[str, Path] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    gated: bool = False
    licence: str = "apache-2.0"
    missing: tuple[str, ...] = ()
    """Files that the listing has and the storage does not."""


class LocalHub(ThreadingHTTPServer):
    """Serves what was published until it is closed; ``requests`` are the methods and paths that it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.repositories: dict[str, Published] = {}
        self.requests: list[str] = []
        self.pushed: dict[str, dict[str, bytes]] = {}
        """The files of each repository that a client with the token ``may-write`` made."""
        self.visibility: dict[str, str] = {}

    def publish(self, repository: str, folder: Path, *names: str, **options: object) -> str:
        """Puts a folder's files up as a new commit, which it returns, under ``main`` and other names."""
        known = self.repositories.setdefault(repository, Published(**options))  # type: ignore[arg-type]
        said = "".join(f"{path}{path.stat().st_size}" for path in sorted(folder.rglob("*")))
        commit = hashlib.sha1(f"{said}{len(known.commits)}".encode()).hexdigest()
        known.commits[commit] = folder
        known.names.update(dict.fromkeys(("main", *names), commit))
        return commit

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LocalHub

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        said = [json.loads(line) for line in body.splitlines()]
        if self.headers["Authorization"] != "Bearer may-write":
            self.fail(403, "")
        elif self.path == "/api/repos/create":
            name = f"{said[0]['organization']}/{said[0]['name']}"
            self.server.pushed.setdefault(name, {})
            self.server.visibility[name] = said[0].get("visibility", "public")
            self.send({"url": f"{self.server.address}/{name}"})
        elif self.path == "/api/validate-yaml":
            self.send({})
        elif "/preupload/" in self.path:
            self.send(
                {"files": [{**file, "uploadMode": "regular", "shouldIgnore": False} for file in said[0]["files"]]}
            )
        else:
            name = "/".join(self.path.split("/")[3:5])
            files = [line["value"] for line in said if line["key"] == "file"]
            self.server.pushed[name] |= {file["path"]: base64.b64decode(file["content"]) for file in files}
            address = f"{self.server.address}/{name}/commit/{'0' * 40}"
            self.send({"commitUrl": address, "commitOid": "0" * 40, "success": True})

    def answer(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        address = urlsplit(self.path)
        parts = [unquote(part) for part in address.path.strip("/").split("/")]
        if parts == ["api", "models"]:
            self.search(parse_qs(address.query).get("search", [""])[0])
        elif parts[:2] == ["api", "models"]:
            self.describe("/".join(parts[2:4]), parts[4:])
        elif parts[2:3] == ["resolve"]:
            self.file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self.fail(404, "RepoNotFound")

    def search(self, words: str) -> None:
        found = [name for name in self.server.repositories if words.lower() in name.lower()]
        self.send([self.card(name, self.server.repositories[name]) for name in found])

    def describe(self, name: str, more: list[str]) -> None:
        known = self.visible(name)
        if known is None:
            return
        revision = "/".join(more[1:]) or "main"
        folder = known.commits.get(known.names.get(revision, revision))
        if folder is None:
            self.fail(404, "RevisionNotFound")
        elif more[:1] == ["tree"]:
            self.send([self.listed(path, folder) for path in sorted(folder.rglob("*")) if path.is_file()])
        else:
            self.send(self.card(name, known) | {"sha": known.names.get(revision, revision)})

    def file(self, name: str, revision: str, path: str) -> None:
        known = self.visible(name)
        if known is None:
            return
        commit = known.names.get(revision, revision)
        file = known.commits[commit] / path
        if known.gated:
            self.fail(403, "GatedRepo")
        elif path in known.missing or not file.is_file():
            self.fail(404, "EntryNotFound")
        else:
            self.send(file.read_bytes(), 200, ETag=f'"{_digest(file)}"', **{"X-Repo-Commit": commit})

    def visible(self, name: str) -> Published | None:
        """The repository, or None once its being hidden from whoever asks was answered, as the hub answers it."""
        known = self.server.repositories.get(name)
        if known is None or known.token not in (None, (self.headers["Authorization"] or "").removeprefix("Bearer ")):
            self.fail(401, "RepoNotFound")
            return None
        return known

    def listed(self, path: Path, folder: Path) -> dict[str, Any]:
        shown = {"type": "file", "path": path.relative_to(folder).as_posix(), "size": path.stat().st_size}
        large = {"lfs": {"oid": _digest(path), "size": shown["size"], "pointerSize": 130}}
        return shown | {"oid": _digest(path)[:40]} | (large if path.suffix in (".safetensors", ".gguf") else {})

    def card(self, name: str, known: Published) -> dict[str, Any]:
        shown = {"id": name, "tags": ["safetensors", f"license:{known.licence}"], "downloads": 7, "siblings": []}
        return shown | {"safetensors": {"parameters": {"F32": 1_500_000_000}, "total": 1_500_000_000}}

    def fail(self, status: int, code: str) -> None:
        self.send({"error": code}, status, **{"X-Error-Code": code, "X-Error-Message": code})

    def send(self, body: object, status: int = 200, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command in ("GET", "POST"):
            self.wfile.write(data)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
