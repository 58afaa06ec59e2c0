"""Whatever lies in the folder of the page, its rooms open and show the rest."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from studio_place import write_adapter, write_run

LOOK = """
import json, os, sys
from pathlib import Path
from fastapi.testclient import TestClient
from lorag.serving.studio.assistants import Assistants
from lorag.serving.studio.studio_app import studio_application
from lorag.serving.studio.workplace import Workplace

def look(folder):
    place = Workplace.of(Path(folder), "documents")
    with TestClient(studio_application(place, Assistants(place.workspace)), base_url="http://127.0.0.1") as page:
        return {path: page.get(f"/studio/{path}").json() for path in ("runs", "files", "assistants", "documents")}

look(f"{sys.argv[1]}/open")  # imports what only root may be able to import
if os.geteuid() == 0:
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
print(json.dumps(look(sys.argv[1])))
"""


def test_folders_and_files_that_may_not_be_read_are_passed_over():
    """The page runs as a user without rights to them, also where the tests are run by root."""
    with TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        for run in (
            "open/.lorag/runs/first",
            *(f".lorag/runs/{name}" for name in ("closed", "first", "hidden-result")),
        ):
            write_run(root / run)
        for adapter in ("closed", "hidden-manifest", "support"):
            write_adapter(root / ".lorag" / "adapters" / adapter)
        for folder in ("closed", "notes"):
            (root / folder).mkdir()
            (root / folder / "lamp.md").write_text("The lamp is red.")
        closed = [
            *(root / "closed", root / ".lorag/runs/closed", root / ".lorag/adapters/closed"),
            *(root / ".lorag/runs/hidden-result/result.json", root / ".lorag/adapters/hidden-manifest/lorag.json"),
        ]
        modes = {path: path.stat().st_mode for path in closed}
        for path in closed:
            path.chmod(0)
        done = subprocess.run([sys.executable, "-c", LOOK, name], capture_output=True, text=True, check=False)
        for path, mode in modes.items():
            path.chmod(mode)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    states = {run["name"]: run["state"] for run in found["runs"]}
    assert states == {"first": "finished", "hidden-result": "failed"}
    assert [each["adapter"] for each in found["assistants"]["adapters"]] == [".lorag/adapters/support"]
    assert found["files"]["folders"] == ["notes"]
    assert found["documents"]["total"] == 0


def test_links_that_lead_nowhere_are_passed_over(page):
    links = {"far": "x" * 300, "loop": "loop", "loop.jsonl": "loop.jsonl"}
    for name, target in links.items():
        (page.place.root / name).symlink_to(target)
    assert "first" in [run["name"] for run in page.get("runs")]
    assert "loop.jsonl" in page.get("files")["rows"]
    assert page.send("GET", "data/rows?file=loop.jsonl")[0] == 400
    for name in links:
        (page.place.root / name).unlink()
