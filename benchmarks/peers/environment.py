"""A Python environment for a peer, created once and kept in the user's cache."""

import hashlib
import subprocess
import venv
from pathlib import Path

from platformdirs import user_cache_path


def peer_python(name: str, requirements: tuple[str, ...]) -> Path:
    """The interpreter of an environment that holds exactly these requirements."""
    key = hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:12]
    folder = user_cache_path("lorag") / "peers" / f"{name}-{key}"
    ready = folder / ".ready"
    if not ready.is_file():
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *requirements], check=True)
        ready.touch()
    return folder / "bin" / "python"
