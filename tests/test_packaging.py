"""What is published is whole: the wheel and the source archive hold what runs, and the wheel works once installed."""

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import lorag

ROOT = Path(__file__).parents[1]
SOURCE = Path(lorag.__file__).parent


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the wheel and the source archive."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(out)], cwd=ROOT, check=True)
    return out


def test_the_wheel_holds_every_file_of_the_package(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("lorag/")}
    files = {
        f"lorag/{path.relative_to(SOURCE).as_posix()}"
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == files


def test_the_source_archive_holds_what_builds_and_tests_it(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        top = {Path(name).parts[1] for name in archive.getnames()}
    assert {"src", "tests", "benchmarks", "docs", "Makefile", "constraints.txt", "pyproject.toml"} <= top
    assert {"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "LICENSE"} <= top


def test_an_installed_wheel_runs(built, tmp_path):
    """In an environment that has this one's libraries, without this one's Lorag."""
    venv.create(tmp_path / "env", with_pip=False)
    site = next((tmp_path / "env" / "lib").glob("python*")) / "site-packages"
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    libraries = sysconfig.get_path("purelib")
    script = f"""
import sys
sys.path.append({libraries!r})
import lorag
assert lorag.__file__.startswith({str(tmp_path)!r}), lorag.__file__
assert len([getattr(lorag, name) for name in lorag.__all__]) == len(lorag.__all__)
sys.argv = ["lorag", "--help"]
from lorag.cli import main
main()
"""
    python = tmp_path / "env" / "bin" / "python"
    done = subprocess.run([python, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "measures which one to use" in done.stdout
