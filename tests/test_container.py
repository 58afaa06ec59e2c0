"""The container runs as nobody in particular, writes into its volumes alone, and copies what is there.

No container is built here: the file is read as its builder reads it, and its health check and command are run. On
request, its steps are done in a folder: what it copies is installed, indexes documents, and serves.
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path, PurePosixPath

import pytest
from typer.testing import CliRunner

from listening import wait_for
from lorag.cli.commands import app
from lorag.models import catalogue

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Containerfile").read_text()


def instructions(text):
    """Every instruction and the rest of its line, in order; lines that are continued as one."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(None, 1)[0], " ".join(line.split(None, 1)[1].split())) for line in joined.splitlines()]


ALL = instructions(TEXT)
HADOLINT = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
LAST = ALL[max(number for number, (name, _) in enumerate(ALL) if name == "FROM") :]


def only(name):
    """The one instruction of that name in the last stage."""
    (found,) = [rest for each, rest in LAST if each == name]
    return found


ENVIRONMENT = dict(pair.split("=", 1) for pair in only("ENV").split())
VOLUMES = [PurePosixPath(each) for each in json.loads(only("VOLUME"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.skipif(
    HADOLINT is None,
    reason="hadolint, the linter of container files, is not installed (pip install 'lorag[dev]'); what the file says"
    " about user, volumes and health is tested anyway",
)
@pytest.mark.parametrize(
    ("spoiled", "by", "found"),
    [("", "", ""), ("USER 10001:10001", "USER 0", "DL3002"), ("python:3.11-slim-bookworm", "python", "DL3006")],
)
def test_a_linter_finds_nothing_in_it_but_what_is_spoiled(spoiled, by, found):
    command = [str(HADOLINT), "--no-color", "--format", "json", "-"]
    done = subprocess.run(command, input=TEXT.replace(spoiled, by), capture_output=True, text=True, check=False)
    assert {finding["code"] for finding in json.loads(done.stdout)} == ({found} if found else set()), done.stdout


def test_its_bases_are_pinned_to_the_python_that_is_tested():
    bases = [rest.split()[0] for name, rest in ALL if name == "FROM"]
    version = PROJECT["requires-python"].removeprefix(">=")
    pinned = [re.fullmatch(r"docker\.io/library/python:([\d.]+)-slim-\w+", base) for base in bases]
    assert {base[1] if base else None for base in pinned} == {version}


def test_it_runs_as_a_user_who_owns_the_volumes_alone():
    user, group = only("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    (made,) = [rest for name, rest in LAST if name == "RUN"]
    assert f"--uid {user}" in made
    owned = shlex.split(made[made.index("install --directory") :])
    assert [PurePosixPath(each) for each in owned if each.startswith("/")] == VOLUMES
    order = [name for name, _ in LAST]
    assert max(n for n, name in enumerate(order) if name in ("RUN", "COPY")) < order.index("USER")
    assert order.index("USER") < order.index("VOLUME") < order.index("ENTRYPOINT")


def test_whatever_is_written_goes_into_a_volume():
    kept = [only("WORKDIR"), *(ENVIRONMENT[name] for name in ("HOME", "HF_HOME", "LORAG_CACHE", "TMPDIR"))]
    for path in map(PurePosixPath, kept):
        assert any(path.is_relative_to(volume) for volume in VOLUMES), path
    assert (ENVIRONMENT["PYTHONDONTWRITEBYTECODE"], ENVIRONMENT["PIP_NO_CACHE_DIR"]) == ("1", "1")


def test_it_holds_no_secret_and_nothing_that_is_not_copied_by_name():
    assert not re.search(r"(?i)key|token|password|secret", TEXT)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {path for name, rest in ALL if name == "COPY" and "--from" not in rest for path in rest.split()[:-1]}
    assert copied == allowed
    assert all((ROOT / path).exists() for path in copied)


def test_it_installs_extras_that_there_are_under_the_constraints():
    (installed,) = [rest for name, rest in ALL if name == "RUN" and "pip install" in rest]
    source = re.search(r"'/source\[([\w,-]+)\]'", installed)
    assert source is not None
    extras = source[1].split(",")
    assert "serve" in extras
    assert set(extras) <= PROJECT["optional-dependencies"].keys()
    assert "--constraint /source/constraints.txt" in installed


@pytest.mark.parametrize("status", [200, 503])
def test_its_health_check_succeeds_where_the_server_is_well_and_fails_elsewhere(status):
    asked = []

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *arguments):
            """Says nothing."""

    python, *arguments = json.loads(only("HEALTHCHECK").split(" CMD ", 1)[1])
    assert python == "python"
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = [each.replace(f":{only('EXPOSE')}/", f":{server.server_port}/") for each in arguments]
        done = subprocess.run([sys.executable, *here], capture_output=True, check=False)
        server.shutdown()
    assert (asked, done.returncode == 0) == (["/health"], status == 200)


def copied(into):
    """Copies what the first stage copies; ``into`` stands for its root."""
    for name, rest in ALL[: len(ALL) - len(LAST)]:
        *given, target = rest.split() if name == "COPY" else [""]
        for path in given:
            place = into / target.lstrip("/")
            if (ROOT / path).is_dir():
                shutil.copytree(ROOT / path, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / path, place)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.mark.skipif(
    "LORAG_CONTAINER" not in os.environ,
    reason="installs PyTorch and the other packages, which takes minutes and 2 GB: set LORAG_CONTAINER to the index"
    " that TORCH_INDEX names when the image is built; what the file says is tested anyway",
)
def test_its_steps_make_a_server_that_its_health_check_finds_well(tmp_path):
    """Neither the root that is only read nor the user is tried: for these a container has to be built."""
    copied(tmp_path)
    (install,) = [rest for name, rest in ALL if name == "RUN" and "pip install" in rest]
    below = re.compile(r"(?<![\w/])/(?=opt/lorag|source|cache|workspace)")
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("LORAG_", "PYTHON"))}
    path = f"{Path(sys.executable).parent}:{outside['PATH']}"
    subprocess.run(
        ["sh", "-c", below.sub(f"{tmp_path}/", install)],
        env=outside | {"PATH": path, "TORCH_INDEX": os.environ["LORAG_CONTAINER"]},
        check=True,
    )
    for volume in VOLUMES:
        (tmp_path / volume.name).mkdir()
    inside = outside | {name: below.sub(f"{tmp_path}/", value) for name, value in ENVIRONMENT.items()}
    inside |= {"PATH": inside["PATH"].replace("$PATH", outside["PATH"]), "LORAG_API_KEY": "a secret"}
    Path(inside["LORAG_CACHE"]).symlink_to(catalogue.cache_folder())  # whose models are not fetched again
    begin = partial(subprocess.Popen, env=inside, cwd=below.sub(f"{tmp_path}/", only("WORKDIR")))
    entry, exposed, port = json.loads(only("ENTRYPOINT")), only("EXPOSE"), str(free_port())
    assert begin([*entry, "index", str(tmp_path / "source" / "src" / "lorag" / "corpus" / "docs")]).wait() == 0
    command = [port if each == exposed else each for each in json.loads(only("CMD"))]
    health = json.loads(only("HEALTHCHECK").split(" CMD ", 1)[1].replace(f":{exposed}/", f":{port}/"))
    with begin([*entry, *command]) as server:
        try:
            wait_for(lambda: server.poll() is not None or begin(health, stderr=subprocess.DEVNULL).wait() == 0, 600)
            assert server.poll() is None
            server.terminate()
            assert server.wait(60) == 0
        finally:
            server.kill()
    shutil.rmtree(tmp_path / "opt")


def test_its_command_is_one_of_ours_and_wants_a_key_before_others_can_reach_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LORAG_API_KEY", raising=False)
    assert json.loads(only("ENTRYPOINT")) == ["lorag"]
    command = json.loads(only("CMD"))
    assert command[command.index("--port") + 1] == only("EXPOSE")
    refused = CliRunner().invoke(app, [*command, "--no-sources"])
    assert (refused.exit_code, "set LORAG_API_KEY first" in refused.output) == (2, True), refused.output


def test_the_page_runs_it_with_a_root_that_is_only_read_and_its_volumes():
    page = (ROOT / "docs" / "serving.md").read_text().replace("\\\n", " ")
    runs = re.findall(r"^\$ podman run (.+)$", page, re.MULTILINE)
    assert len(runs) >= 2
    for line in runs:
        words = shlex.split(line)
        assert "--read-only" in words, line
        mounted = {PurePosixPath(words[n + 1].split(":")[1]) for n, word in enumerate(words) if word == "--volume"}
        assert set(VOLUMES) <= mounted, line
